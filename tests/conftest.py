import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fakes import small_layout
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from galutils import cli
from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated

settings.register_profile("study", deadline=None)  # on a busy machine a test may take its time
settings.load_profile("study")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

#: Debian's Chromium, or what GitHub's machines have.
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""

torch.set_num_threads(1)

REPORT = "tests/report/"


def pytest_configure(config):
    """Nothing that a test keeps goes into the user's folder of data files."""
    folder = tempfile.mkdtemp(prefix="galutils-")
    os.environ["GALUTILS_DATA"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


class ByFile(LoadScopeScheduling):
    """Tests of one file run in one process, and so do all of the report, as they share one checkout."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return REPORT if file.startswith(REPORT) else file


def pytest_xdist_make_scheduler(config, log):
    """How ``pytest -n`` deals out the tests."""
    return ByFile(config, log)


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
    return small_layout()


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``galutils`` with arguments: exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["galutils", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def features_alone(monkeypatch):
    """VGGs without the classifier that no test needs: its hundred million numbers take a second to draw."""
    from torchvision.models import vgg

    layouts = {"vgg11": "A", "vgg13": "B"}
    features = {arch: partial(vgg.make_layers, vgg.cfgs[layout]) for arch, layout in layouts.items()}
    monkeypatch.setattr(
        "torchvision.models.get_model", lambda arch, weights: SimpleNamespace(features=features[arch]())
    )
