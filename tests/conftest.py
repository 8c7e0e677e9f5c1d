import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fakes import small_layout
from filelock import FileLock
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from galutils import cli
from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated

settings.register_profile("study", deadline=None)  # on a busy machine a test may take its time
settings.load_profile("study")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

#: Debian's Chromium, or what GitHub's machines have.
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
needs_chromium = pytest.mark.skipif(not CHROMIUM and os.environ.get("CI") != "true", reason="no Chromium here")

torch.set_num_threads(1)

#: What takes longest, in the order in which it is begun, so that no process has it left at the end; what needs the
#: smoke profile's checkout comes when another process may have made it.
LONGEST = (
    "report/test_browser.py", "report/test_own_data.py", "predict/test_survey.py", "test_benchmarks.py", "test_lab.py",
    "test_bad_input.py", "report/test_build.py", "study/test_execute.py", "training/test_pretrain.py",
    "report/test_bundle.py", "test_download.py",
)  # fmt: skip


def pytest_configure(config):
    """Nothing that a test keeps goes into the user's folder of data files."""
    folder = tempfile.mkdtemp(prefix="galutils-")
    os.environ["GALUTILS_DATA"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((k for k, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))


def pytest_xdist_make_scheduler(config, log):
    """Tests of one file run in one process, files in the order in which they were collected."""
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


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
def checkout(tmp_path_factory, worker_id):
    """A checkout in which the smoke profile has run, once for all tests in all processes."""
    from checkout import copy_checkout, make_report

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "smoke"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            done = make_report(copy_checkout(folder))
            assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "reports/smoke/index.html").exists()
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "CI=true, but there is no Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM)


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
