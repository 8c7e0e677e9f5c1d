"""Which galaxies a study reads.

``data_path`` means the same in every notebook: ``simulated`` (made once, no download), ``galaxy10`` (the
full set, downloaded once) or the path of a file in Galaxy10's layout.
"""

import os
from pathlib import Path

from galutils.data.download import GALAXY10, fetch
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.simulate import cutouts
from galutils.files import code_digest

#: What ``simulated`` gives when a notebook is run by hand.
SIMULATED_COUNT, SIMULATED_SIZE = 1000, 64


def load_galaxies(data_path: str | Path) -> Galaxies:
    """Open the galaxies that ``data_path`` names; see the module's docstring.

    Raises:
        galutils.data.galaxies.DataError: they cannot be used.
        galutils.data.download.FetchError: they cannot be had.
    """
    if str(data_path) == "simulated":
        # Another version of the simulator makes other galaxies, so the name holds a digest of it.
        version = code_digest("data/simulate", "data/stretch.py", "data/galaxies.py", "data/galaxy10.py")[:8]
        path = data_home() / f"simulated-{SIMULATED_COUNT}-{SIMULATED_SIZE}px-{version}.h5"
        if not path.exists():
            cutouts.write_simulated(path, SIMULATED_COUNT, SIMULATED_SIZE, seed=0)
        return open_galaxies(path)
    if str(data_path) == "galaxy10":
        return open_galaxies(fetch(GALAXY10, data_home()))
    return open_galaxies(Path(data_path).expanduser())


def data_home() -> Path:
    """Where data files are kept: ``$GALUTILS_DATA``, else the platform's folder for user data."""
    from platformdirs import user_data_path

    named = os.environ.get("GALUTILS_DATA")
    return Path(named).expanduser() if named else user_data_path("galutils")
