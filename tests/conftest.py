import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

#: Debian's Chromium, or what GitHub's machines have.
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def simulated_path(tmp_path_factory):
    """100 simulated galaxies of 32 pixels, ten of each class."""
    path = tmp_path_factory.mktemp("data") / "simulated.h5"
    write_simulated(path, 100, 32, seed=0)
    return path


@pytest.fixture(scope="session")
def simulated(simulated_path):
    return open_galaxies(simulated_path)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A checkout in which the smoke profile has run, once for all tests."""
    from checkout import copy_checkout, make_report

    folder = copy_checkout(tmp_path_factory.mktemp("checkout"))
    done = make_report(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def layout():
    """The datasets of a small valid file, to be spoilt."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8),
        "ans": np.arange(20, dtype=np.uint8) % 10,
        "ra": rng.uniform(0, 360, 20),
        "dec": rng.uniform(-20, 30, 20),
    }
