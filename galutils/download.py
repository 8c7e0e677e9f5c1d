"""Downloads that survive cut connections: resumed, checked, and under their final name only when they are right.

requests and urllib3 do the transfer, the retries with back-off and the proxies (``HTTPS_PROXY``); what they lack,
resuming a file and knowing that it is the right one, is here.
"""

import hashlib
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from galutils.errors import GalutilsError, first_line
from galutils.files import atomic_path, need_room, not_a_file


class FetchError(GalutilsError):
    """A file that could not be brought; one sentence that says why and what to do."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to download."""

    name: str  # under which it is kept
    url: str
    checksum: str  # "sha256:" or "md5:" and the hexadecimal digits, or as many of the first ones as are known
    size: int | None = None  # in bytes, where it is known
    advice: str = "bring the file yourself with --from FILE"  # if it cannot be downloaded: the end of a sentence


#: Seconds: between tries (times 1, 2, 4, ...), and that a server may be silent. Bytes written at once.
BACKOFF, TIMEOUT, _BLOCK = 1.0, 60.0, 1 << 16
_OTHER_DISK = "set GALUTILS_DATA to a folder on another disk"
#: Tries without a single new byte before a server is given up.
TRIES = 5


def fetch(file: RemoteFile, folder: str | Path, copy: str | Path | None = None, check: bool = False) -> Path:
    """Path of a file in ``folder``: as it is, if it is there; else downloaded, resumed where an earlier try stopped.

    check: whether a file that is there has to have the right checksum, else it is brought anew. For 2.7 GB that takes
    seconds, so a study leaves it to whoever asks for the file.

    The file stands under its name only when its checksum is right. Several processes may ask at once: one
    downloads, the others wait. A ``copy`` is checked and taken instead of downloading. A file that cannot be had, is
    not the right one is a FetchError, a disk without room for it a WriteError.
    """
    folder = Path(folder)
    path = folder / file.name
    if path.exists() and (not check or matches(file, path)):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{file.name}.lock"):
        if path.exists() and (not check or matches(file, path)):  # brought by another process meanwhile
            return path
        if copy is not None:
            _take_copy(file, Path(copy).expanduser(), path)
            return path
        partial = folder / f"{file.name}.part"
        try:
            _download(file, partial)
            if not matches(file, partial):
                partial.unlink()  # resuming a wrong file would never make it right
                raise FetchError("what came is another file, by its checksum, and was not kept")
        except FetchError as error:
            raise FetchError(f"{file.name} could not be downloaded ({file.url}: {error}); {file.advice}.") from None
        os.replace(partial, path)
    return path


def matches(file: RemoteFile, path: str | Path) -> bool:
    """Whether a file on disk has the checksum of a remote one."""
    algorithm, digits = file.checksum.split(":")
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest().startswith(digits)


def _take_copy(file: RemoteFile, copy: Path, path: Path) -> None:
    if not copy.is_file():
        raise FetchError(f"{copy}: {not_a_file(copy)}; give the path of your copy of {file.name}.")
    if not matches(file, copy):
        raise FetchError(f"{copy}: is not {file.name}, by its checksum; nothing was taken, get the file again.")
    need_room(path.parent, copy.stat().st_size, _OTHER_DISK)
    with atomic_path(path) as partial:
        shutil.copyfile(copy, partial)


def _download(file: RemoteFile, partial: Path) -> None:
    """Bring ``partial`` to its full length, however often the connection breaks, as long as bytes come."""
    import requests
    from urllib3.util import Retry

    # Not broken connections, which are tried again here, as a body that broke off can be resumed.
    retry = Retry(TRIES, connect=0, read=False, backoff_factor=BACKOFF, status_forcelist=(429, 500, 502, 503, 504))
    idle = 0
    with requests.Session() as session:
        # Bytes as they are on the server: a compressed answer could not be resumed.
        session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
        while True:
            before = _length(partial)
            try:
                if _continue(session, file, partial):
                    return
                reason = "the connection ended early"
            except requests.exceptions.RetryError:
                raise FetchError("the server keeps refusing; try again later") from None
            except requests.exceptions.RequestException as error:
                reason = _short(error)
            idle = 0 if _length(partial) > before else idle + 1
            if idle >= TRIES:
                raise FetchError(f"no progress in {TRIES} tries: {reason}")
            wait = BACKOFF * 2**idle
            print(f"{file.name}: {reason}; trying again in {wait:g} s", file=sys.stderr, flush=True)
            time.sleep(wait)


def _continue(session, file: RemoteFile, partial: Path) -> bool:
    """One request for what is missing; returns whether the file has its full length afterwards."""
    start = _length(partial)
    headers = {"Range": f"bytes={start}-"} if start else {}
    with session.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == 416:  # nothing is missing, or what is there is too long
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            complete = str(start) in (total, str(file.size))
            if not complete:
                partial.unlink(missing_ok=True)
            return complete
        if answer.status_code not in (200, 206):
            raise FetchError(f"the server answers {answer.status_code} {answer.reason}")
        start = start if answer.status_code == 206 else 0  # a server that answers 200 cannot resume
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        if file.size and total and total != file.size:
            raise FetchError(f"the server offers {total:,} bytes in place of {file.size:,}")
        total = total or file.size
        if total:
            need_room(partial.parent, total - start, _OTHER_DISK)
        with open(partial, "ab" if start else "wb") as out, _progress(file.name, start, total) as bar:
            for block in answer.iter_content(_BLOCK):
                out.write(block)
                bar.update(len(block))
    return total is None or _length(partial) >= total


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _progress(name: str, start: int, total: int | None) -> tqdm:
    """A bar with rate and remaining time where a person watches; one line where none does."""
    if not sys.stderr.isatty():
        amount = f"{total / 1e9:.2f} GB" if total else "unknown size"
        print(f"Downloading {name} ({amount}){', resumed' if start else ''}", file=sys.stderr, flush=True)
    return tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, unit_divisor=1000, disable=None)


def _short(error: Exception) -> str:
    """What a chain of wrapped transport errors began with, in few words."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "strerror", None) or first_line(error)
