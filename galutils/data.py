"""Which galaxies a study reads.

``data_path`` means the same in every notebook: ``simulated`` (made once, no download), ``galaxy10`` (the
full set, downloaded once) or the path of a file in Galaxy10's layout.
"""

import hashlib
import json
import os
from pathlib import Path

from galutils import light, mock, recipes
from galutils.fetch import GALAXY10, fetch
from galutils.files import sha256
from galutils.galaxy10 import DataError, Galaxies, open_galaxies
from galutils.runs import read_metrics

#: What ``simulated`` gives when a notebook is run by hand.
SIMULATED_COUNT, SIMULATED_SIZE = 1000, 64


def load_galaxies(data_path: str | Path) -> Galaxies:
    """Open the galaxies that ``data_path`` names; see the module's docstring.

    Raises:
        galutils.galaxy10.DataError: they cannot be used.
        galutils.fetch.FetchError: they cannot be had.
    """
    if str(data_path) == "simulated":
        # Another version of the simulator makes other galaxies, so the name holds a digest of it.
        code = "".join(sha256(module.__file__) for module in (light, recipes, mock))
        version = hashlib.sha256(code.encode()).hexdigest()[:8]
        path = data_home() / f"simulated-{SIMULATED_COUNT}-{SIMULATED_SIZE}px-{version}.h5"
        if not path.exists():
            mock.write_simulated(path, SIMULATED_COUNT, SIMULATED_SIZE, seed=0)
        return open_galaxies(path)
    if str(data_path) == "galaxy10":
        return open_galaxies(fetch(GALAXY10, data_home()))
    return open_galaxies(Path(data_path).expanduser())


def find_galaxies(run_dir: str | Path, given: str | Path | None = None) -> Galaxies:
    """Open the very file that a run read: the one given, or where its notebook read it, or where data are kept.

    Raises:
        DataError: it is not there, or another file stands in its place.
        galutils.runs.RunError: there is no complete run in that directory.
    """
    run_dir, data = Path(run_dir).resolve(), read_metrics(run_dir)["data"]
    if given is not None:
        places = [Path(given).expanduser()]
    else:
        places = [_noted_path(run_dir), *(folder / data["file"] for folder in (run_dir.parents[1], data_home()))]
    for path in places:
        if path is not None and path.is_file() and sha256(path) == data["sha256"]:
            return open_galaxies(path)
    if given is not None and not places[0].exists():
        raise DataError(f"{given}: there is no such file; give {data['file']}, which the run read.")
    if given is not None:
        raise DataError(f"{given}: is not {data['file']} as the run read it, by its checksum; give that file.")
    raise DataError(f"{data['file']}, which the run in {run_dir} read, was not found; name it by --data.")


def _noted_path(run_dir: Path) -> Path | None:
    """The data file that papermill noted in a run's executed notebook."""
    try:
        notebook = json.loads((run_dir / "notebook.ipynb").read_text(encoding="utf-8"))
        return Path(notebook["metadata"]["papermill"]["parameters"]["data_path"]).expanduser()
    except (OSError, ValueError, KeyError, TypeError):
        return None  # run by hand


def data_home() -> Path:
    """Where data files are kept: ``$GALUTILS_DATA``, else the platform's folder for user data."""
    from platformdirs import user_data_path

    named = os.environ.get("GALUTILS_DATA")
    return Path(named).expanduser() if named else user_data_path("galutils")
