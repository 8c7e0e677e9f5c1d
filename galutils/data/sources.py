"""Which galaxies a study reads.

``data_path`` means the same in every notebook: ``simulated`` (made once, no download), ``galaxy10`` (the
full set, downloaded once) or the path of a file in Galaxy10's layout.
"""

import hashlib
from pathlib import Path

from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.download import RemoteFile, fetch, matches
from galutils.files import code_digest, data_home

_RECORD = "https://zenodo.org/records/10845026/files"
GALAXY10_SHA256 = "19aefc477c41bb7f77ff07599a6b82a038dc042f889a111b0d4d98bb755c1571"
_ADVICE = "bring the file yourself (galutils fetch data --from FILE), or name your copy with DATA=/path/to/file.h5"
GALAXY10 = RemoteFile(
    "Galaxy10_DECals.h5", f"{_RECORD}/Galaxy10_DECals.h5", f"sha256:{GALAXY10_SHA256}", 2_735_267_419, _ADVICE
)
#: The same without the galaxies that occur twice, 17,675 rows; for those who have it.
WITHOUT_DUPLICATES = RemoteFile(
    "Galaxy10_DECals_NoDuplicated.h5",
    f"{_RECORD}/Galaxy10_DECals_NoDuplicated.h5",
    "md5:a920094d5e470e3705f4691c0d6dff54",
    advice=_ADVICE,
)


def load_galaxies(data_path: str | Path) -> Galaxies:
    """Open the galaxies that ``data_path`` names; see the module's docstring."""
    if str(data_path) == "simulated":
        return load_simulated(800, crop=0.5, proportions="galaxy10")  # those of the profile quick
    if str(data_path) == "galaxy10":
        return open_galaxies(fetch(GALAXY10, data_home()))
    return open_galaxies(Path(data_path).expanduser())


def fetch_galaxy10(to: Path | None = None, copy: Path | None = None) -> Path:
    """Bring the full set into a folder, that of data files by default, from Zenodo or a copy, and check it."""
    return fetch(GALAXY10, to or data_home(), copy, check=True)


def load_simulated(count: int, processes: int = 1, proportions: str = "balanced", **setup) -> Galaxies:
    """Simulated galaxies, made once; ``setup``: see :class:`galutils.data.simulate.cutouts.Setup`."""
    from galutils.data.simulate.cutouts import Setup, write_simulated

    # Another version of the simulator makes other galaxies, so the name holds a digest of it.
    code = code_digest("data/simulate", "data/stretch.py", "data/galaxies.py", "data/classes.py")
    setup = Setup(**setup)
    version = hashlib.sha256(f"{code} {proportions} {setup}".encode()).hexdigest()[:8]
    path = data_home() / f"simulated-{count}-{setup.size}px-{version}.h5"
    if not path.exists():
        write_simulated(path, count, proportions=proportions, processes=processes, **setup._asdict())
    return open_galaxies(path)


def published(path: str | Path) -> RemoteFile | None:
    """Which published file this is, by its checksum; None where it is none."""
    return next((file for file in (GALAXY10, WITHOUT_DUPLICATES) if matches(file, path)), None)
