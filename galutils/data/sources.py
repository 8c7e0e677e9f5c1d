"""Which galaxies a study reads.

``data_path`` means the same in every notebook: ``simulated`` (made once, no download), ``galaxy10`` (the
full set, downloaded once) or the path of a file in Galaxy10's layout.
"""

from pathlib import Path

from galutils.data.download import GALAXY10, fetch
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.files import code_digest, data_home


def load_galaxies(data_path: str | Path) -> Galaxies:
    """Open the galaxies that ``data_path`` names; see the module's docstring."""
    if str(data_path) == "simulated":
        # Another version of the simulator makes other galaxies, so the name holds a digest of it.
        version = code_digest("data/simulate", "data/stretch.py", "data/galaxies.py", "data/galaxy10.py")[:8]
        path = data_home() / f"simulated-1000-64px-{version}.h5"
        if not path.exists():
            write_simulated(path, count=1000, size=64, seed=0)
        return open_galaxies(path)
    if str(data_path) == "galaxy10":
        return open_galaxies(fetch(GALAXY10, data_home()))
    return open_galaxies(Path(data_path).expanduser())
