"""Checkpoints: from its last finished epoch an interrupted run goes on, and only that very run.

A run is the same if all that its numbers depend on is: settings, data, start and code.
"""

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from galutils.data.galaxies import Galaxies
from galutils.device import device_name, pick_device, pick_precision
from galutils.errors import first_line
from galutils.files import atomic_path, code_digest
from galutils.training.settings import Common

#: What makes a run's numbers: any change there starts a run anew.
CODE = ("data", "models", "training", "device.py", "memory.py")


@dataclass(frozen=True)
class Checkpoint:
    """The file of one run."""

    path: str | Path | None  # None for a run that keeps no checkpoint
    identity: str  # see run_identity; of no matter without a path

    def save(self, **state: Any) -> None:
        """Write the state in place of the earlier one: tensors and numbers, and lists and tables of them."""
        if self.path:
            # A power cut may leave it damaged, which costs epochs; to wait for the disk in every epoch costs more.
            with atomic_path(self.path, durable=False) as partial:
                torch.save({"identity": self.identity, **state}, partial)

    def load(self) -> dict | None:
        """The state on the CPU; None if there is none of this run, or a damaged one."""
        if not self.path or not Path(self.path).exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
            print(f"{self.path}: is damaged ({first_line(error)[:120]}); training starts anew.", file=sys.stderr)
            return None
        return state if state.get("identity") == self.identity else None


def run_identity(settings: Common, galaxies: Galaxies, start: Iterable[bytes]) -> str:
    """A digest of everything that a run's numbers depend on; ``start`` is what else it starts from: weights, rows."""
    device = pick_device(settings.device)
    resolved = {"device": device_name(device), "precision": pick_precision(settings.precision, device)}
    said = [
        asdict(settings) | resolved,
        galaxies.sha256,
        code_digest(*CODE),
        torch.__version__,
        torch.get_num_threads(),
    ]
    digest = hashlib.sha256(repr(said).encode())
    for part in start:
        digest.update(part)
    return digest.hexdigest()
