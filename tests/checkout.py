"""A copy of the study in another folder, and its smoke profile there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

COPIED = ("config", "notebooks", "galutils", "Snakefile")
COMMAND = ("snakemake", "--cores", "2", "--quiet", "all", "--nolock", "--rerun-incomplete", "--config", "profile=smoke")


def copy_checkout(target: Path) -> Path:
    """Copy what the study is made of to ``target``."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


def start_report(checkout: Path, *config: str) -> subprocess.Popen:
    """Start the smoke profile in a process group of its own."""
    empty = str(checkout / "empty-cache")  # weights: auto must find nothing, wherever the tests run
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TORCH_HOME": empty,
        "HF_HOME": empty,
        "PYTHONPATH": str(checkout),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *config], cwd=checkout, env=environment, start_new_session=True, **pipes)


def make_report(checkout: Path, *config: str) -> subprocess.CompletedProcess:
    """Run the smoke profile to its end."""
    process = start_report(checkout, *config)
    said = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, *said)
