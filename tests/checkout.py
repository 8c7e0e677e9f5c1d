"""A copy of the study in another folder, and its smoke profile there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import ROOT

COPIED = ("benchmarks", "config", "notebooks", "galutils", "Snakefile")
COMMAND = ("snakemake", "--cores", "2", "--quiet", "all", "--scheduler", "greedy", "--nolock", "--rerun-incomplete")
COMMAND += ("--config", "profile=smoke")


def copy_checkout(target: Path) -> Path:
    """Copy what the study is made of to ``target``."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


def write_profile(folder: Path, name: str, **changes) -> Path:
    """A checkout whose only profile is the smoke one without ablations, so changed; the folder."""
    profile = yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | {"ablations": {}} | changes
    (folder / "config").mkdir(parents=True)
    (folder / "config" / f"{name}.yaml").write_text(yaml.safe_dump(profile))
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    return folder


#: Without these even root heeds permissions.
POWERS = "-dac_override,-dac_read_search"


def environment(checkout: Path) -> dict[str, str]:
    """Of this Python, and without weights: auto must find nothing, wherever the tests run."""
    empty, path = str(checkout / "empty-cache"), f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "TORCH_HOME": empty, "HF_HOME": empty}


def start_report(checkout: Path, *config: str, powerless: bool = False) -> subprocess.Popen:
    """Start the smoke profile in a process group of its own; ``powerless``: heeding permissions, also as root."""
    drop = ["setpriv", f"--bounding-set={POWERS}", f"--inh-caps={POWERS}"] if powerless and os.geteuid() == 0 else []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [*drop, *COMMAND, *config], cwd=checkout, env=environment(checkout), start_new_session=True, **pipes
    )


def make_report(checkout: Path, *config: str, powerless: bool = False) -> subprocess.CompletedProcess:
    """Run the smoke profile to its end; see :func:`start_report`."""
    process = start_report(checkout, *config, powerless=powerless)
    said = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, *said)
