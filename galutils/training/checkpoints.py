"""Checkpoints: from its last finished epoch an interrupted run goes on, and only that very run.

A run is the same if all that its numbers depend on is: settings, data, start and code.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from galutils.data.galaxies import Galaxies
from galutils.files import atomic_path, code_digest

#: What makes a run's numbers: any change there starts a run anew.
CODE = ("data", "models", "training", "device.py", "memory.py")


@dataclass(frozen=True)
class Checkpoint:
    """The file of one run.

    Attributes:
        path: None for a run that keeps no checkpoint.
        identity: of the run, see :func:`run_identity`; of no matter without a path.
    """

    path: str | Path | None
    identity: str

    def save(self, **state: Any) -> None:
        """Write the state in place of the earlier one: tensors and numbers, and lists and tables of them."""
        if self.path:
            with atomic_path(self.path) as partial:
                torch.save({"identity": self.identity, **state}, partial)

    def load(self) -> dict | None:
        """The state on the CPU; None if there is none of this run."""
        if not self.path or not Path(self.path).exists():
            return None
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        return state if state["identity"] == self.identity else None


def run_identity(settings: Any, galaxies: Galaxies, start: Iterable[bytes]) -> str:
    """A digest of everything that a run's numbers depend on.

    Args:
        settings: a dataclass.
        start: what else the run starts from: weights, rows.
    """
    digest = hashlib.sha256(repr(sorted(asdict(settings).items())).encode())
    stat = galaxies.path.stat()
    digest.update(f"{galaxies.path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode())
    for part in start:
        digest.update(part)
    digest.update(code_digest(*CODE).encode())
    return digest.hexdigest()
