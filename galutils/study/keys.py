"""What an executed notebook depends on, so that it is run again where that changes, and only there.

Time stamps do not count: a finished run that was copied to another machine stays finished. The key is kept in the
metadata of the executed notebook.
"""

import hashlib
import json
import os
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from galutils.evaluation.paper import starting_weights
from galutils.files import PACKAGED, SIMULATED_CNN, SIMULATED_VIT, code_digest, sha256
from galutils.study.profile import StudyError, declared_parameters, find_gpus

#: Which runs a study has; written below ``runs/<profile>`` when it is started.
MANIFEST = "study.json"

#: What follows from them, beside them; see :mod:`galutils.study.results`.
RESULTS = "results.json"

#: Of what a run directory holds; a change makes runs of earlier versions unreadable, and has them run again.
FORMAT = 2

#: Parameters that say where something lies, which changes nothing.
PLACES = ("run_dir", "runs_dir", "cache_dir")

#: Code that makes the numbers of a run. A new figure, or a new style, trains nothing again.
CODE = ("data", "models", "training", "clustering", "evaluation", "device.py", "memory.py", "files.py")


def notebook_key(source: str | Path, parameters: dict, threads: str | None = None) -> dict:
    """Everything that the output of a notebook depends on, by name. threads: by default those of the environment."""
    source = Path(source)
    given = declared_parameters(source) | parameters
    cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
    key = {
        "notebook": hashlib.sha256("\0".join("".join(cell["source"]) for cell in cells).encode()).hexdigest(),
        "parameters": {name: _content(source, value) for name, value in given.items() if name not in PLACES},
        "code": code_of("run_dir" in given),
        "torch": version("torch"),
        "device": "cpu" if given.get("device") == "cpu" or not find_gpus() else "cuda",
        "threads": threads or os.environ.get("OMP_NUM_THREADS", "all"),
    }
    if given.get("weights") == "auto":
        key["pretrained weights at hand"] = weights_at_hand(starting_weights(source.stem), given["arch"])
    if given.get("weights") == "simulated":
        key["simulated weights"] = _checksum(SIMULATED_CNN if "custom_cnn" in source.stem else SIMULATED_VIT)
    if "runs_dir" in given:
        key["runs"] = digest_runs(source.parent / given["runs_dir"])
    return key


def read_key(executed: str | Path, run_dir: str | Path | None = None) -> dict | None:
    """The key of an executed notebook; None where it, or the run that it should have written, is not complete."""
    try:
        key = _metadata(executed)["galutils"]
        metrics = json.loads((Path(run_dir) / "metrics.json").read_text(encoding="utf-8")) if run_dir else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key if not run_dir or is_current(metrics) else None


def stamp_of(run_dir: Path | None) -> int | None:
    """When a run was completed, in nanoseconds; None where there is none, or it is not complete."""
    metrics = run_dir / "metrics.json" if run_dir else None
    return metrics.stat().st_mtime_ns if metrics and metrics.exists() else None


def is_executed(notebook: str | Path) -> bool:
    """Whether a notebook has been executed by this package."""
    try:
        return "galutils" in _metadata(notebook)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _metadata(notebook: str | Path) -> dict:
    return json.loads(Path(notebook).read_text(encoding="utf-8"))["metadata"]


def is_current(metrics: object) -> bool:
    """Whether a run with such metrics is of this version."""
    return isinstance(metrics, dict) and metrics.get("format") == FORMAT and "classes" in metrics


def describe_changes(before: dict, after: dict) -> str:
    """In words: what differs between two keys. What one alone has goes with a parameter, which is named."""
    said = []
    for name in [name for name in after if name in before]:
        if name == "parameters":
            old, new = before.get(name, {}), after[name]
            changed = [parameter for parameter in new | old if old.get(parameter) != new.get(parameter)]
            said += [
                f"{parameter} {_short(old.get(parameter))} → {_short(new.get(parameter))}" for parameter in changed
            ]
        elif before[name] != after[name]:
            other = {"notebook": "another", "code": "another", "runs": "another", "simulated weights": "other"}.get(
                name
            )
            said.append(f"{other} {name}" if other else f"{name} {after[name]}")
    return ", ".join(said) or "what is noted of a run"


def read_manifest(profile_dir: str | Path) -> dict:
    """What the study below ``runs/<profile>`` is: its runs, and its plan of comparisons; nothing where none began."""
    path = Path(profile_dir) / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def register(plan: dict, profile_dir: str | Path) -> list[str]:
    """Checksums of the plan of an experiment on labels and of those before it, in the order in which they began."""
    own = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    return [*(before for before in read_manifest(profile_dir).get("plans", []) if before != own), own]


#: Kinds of runs that a profile has, and where they lie below its folder.
KINDS = {"runs": "*/seed*", "ablations": "ablations/*/*=*/seed*", "labels": "labels/*/*/seed*"}


def run_directories(profile_dir: str | Path, kind: str = "runs") -> list[Path]:
    """Those of the complete runs of a kind below ``runs/<profile>``: its study's, or all where none was started.

    So a run of an earlier configuration, which the study no longer has, stays out of its results.
    """
    folder = Path(profile_dir)
    if named := read_manifest(folder):
        found = [folder / name for name in named.get(kind, [])]
    else:
        found = folder.glob(KINDS[kind])
    return sorted(directory for directory in found if (directory / "metrics.json").exists())


def check_profile_dir(folder: str | Path) -> None:
    """Refuse a folder that has no complete run as a profile's has, ``runs/<profile>/<experiment>/seed<k>``.

    Raises:
        StudyError: it is a run itself, or an approach's, or there is none.
    """
    folder = Path(folder)
    if run_directories(folder):
        return
    above = [place for place in folder.resolve().parents[:2] if run_directories(place)]
    what = "a single run" if (folder / "metrics.json").exists() else "a part of a profile"
    if above:
        raise StudyError(f"{folder}: is {what}; name the profile's folder above it, {above[0]}.")
    if (folder / "metrics.json").exists():
        raise StudyError(f"{folder}: is a single run, of no profile; galutils runs {folder} says how it did.")
    raise StudyError(f"{folder}: has no complete run; make report makes some, or name another folder.")


def digest_runs(profile_dir: str | Path) -> str:
    """A digest of what the runs of every kind below ``runs/<profile>`` say."""
    folder, digest = Path(profile_dir), hashlib.sha256()
    for directory in [directory for kind in KINDS for directory in run_directories(folder, kind)]:
        said = [sha256(directory / name) for name in ("metrics.json", "predictions.csv") if (directory / name).exists()]
        digest.update(f"{directory.relative_to(folder)} {said}".encode())
    return digest.hexdigest()


@cache
def code_of(experiment: bool) -> str:
    """Digest of the code behind an experiment's notebook, or behind one about data or results."""
    return code_digest(*CODE) if experiment else code_digest(*CODE, "study", "report")


def _content(source: Path, value: object) -> object:
    """A parameter; for a file its checksum, since content counts, not the place."""
    if isinstance(value, list):
        return [_content(source, own) for own in value]
    path = source.parent / Path(value).expanduser() if isinstance(value, str) and value else None
    return f"file {_checksum(path)}" if path is not None and path.is_file() else value


@cache
def _checksum(path: Path) -> str:
    return sha256(path)


def weights_at_hand(kind: str, arch: str) -> list[str]:
    """What there is of an approach's official weights: a package, or files in the caches of torch and Hugging Face."""
    if (package := PACKAGED.get(arch.split(".")[0])) and find_spec(package):
        return [package]
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    torch_home = Path(os.environ.get("TORCH_HOME", home / "torch"))
    hub = Path(os.environ.get("HF_HOME", home / "huggingface")) / "hub"
    if kind == "imagenet":
        return sorted(path.name for path in (torch_home / "hub" / "checkpoints").glob("vgg*.pth"))
    name = "timm--*dino*" if arch == "auto" else f"timm--{arch}*"
    if arch.startswith("hf_hub:"):
        name = arch.removeprefix("hf_hub:").replace("/", "--")
    return sorted({path.parents[2].name for path in hub.glob(f"models--{name}/snapshots/*/*.[sb]*")})


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:16]}…"
