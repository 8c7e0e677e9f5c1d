"""What a reader needs to judge and repeat a run: commit, versions, machine, data."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from galutils.data.galaxies import Galaxies


def describe_environment(device: str | None = None) -> dict:
    """Git commit, versions, machine and threads: what a reader needs to judge and repeat a run."""
    packages = ("galutils", "torch", "torchvision", "numpy", "scikit-learn")
    return {
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in packages},
        "platform": platform.platform(terse=True),
        "cpu_cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": device,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout on Python's path, say, that was never installed
        return "not installed"


def environment_line() -> str:
    """Versions, device and commit in one line, for the first cell of a notebook."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} thread(s)"
    packages = describe_environment()["packages"]
    names = ", ".join(f"{name} {number}" for name, number in packages.items())
    return f"Python {platform.python_version()}, {names}; {device}; commit {git_commit()}"


def git_commit() -> str:
    """Commit of this very checkout, with "-dirty" if files differ from it; "unknown" where it has none.

    Git answers for any repository around a folder, and for the one that GIT_DIR names: neither is asked.
    """
    root = Path(__file__).resolve().parents[2]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}

    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *arguments], cwd=root, env=own, capture_output=True, text=True)

    try:
        top = git("rev-parse", "--show-toplevel")
    except OSError:  # there is no git
        return "unknown"
    if "dubious ownership" in top.stderr:
        return f"unknown (git asks to trust the owner: git config --global --add safe.directory {root})"
    if top.returncode or Path(top.stdout.strip()).resolve() != root:
        return "unknown"
    return git("describe", "--always", "--abbrev=12", "--dirty", "--exclude=*").stdout.strip() or "unknown"


def describe_data(galaxies: Galaxies) -> dict:
    """Name, checksum, size and kind of a data file."""
    return {
        "file": galaxies.path.name,
        "sha256": galaxies.sha256,
        "rows": len(galaxies),
        "image_size": galaxies.image_size,
        "field": galaxies.field,
        "simulated": galaxies.simulated,
    }
