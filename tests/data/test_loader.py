"""Images that are decoded once and kept."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from galutils.data import loader
from galutils.data.galaxies import Galaxies

CPU, ROWS = torch.device("cpu"), np.array([7, 3, 99, 3])


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder in which decoded images are kept."""
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    return tmp_path / "decoded"


def batch(images) -> np.ndarray:
    return next(images.batches([ROWS])).permute(0, 2, 3, 1).numpy()


@pytest.fixture
def reads(monkeypatch):
    """How many rows were read from the file itself, call by call."""
    read, counts = Galaxies.read_images, []

    def watched(self, rows, *how):
        counts.append(len(rows))
        return read(self, rows, *how)

    monkeypatch.setattr(Galaxies, "read_images", watched)
    return counts


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("size", "crop"), [(32, 1.0), (16, 0.5), (20, 1.0)])
def test_images_are_decoded_once_and_are_those_of_the_file(simulated, kept, reads, resident, size, crop):
    expected = simulated.read_images(ROWS, size, crop)
    reads.clear()
    for damaged in (False, False, True):
        if damaged:
            (path,) = kept.iterdir()
            assert path.stat().st_size == 100 * size * size * 3 + 128, "and a header"
            path.write_bytes(path.read_bytes()[:1000])
        images = loader.load_images(simulated, np.arange(100), size, CPU, crop, resident)
        np.testing.assert_array_equal(batch(images), expected)
    assert reads == [100, 100], "at first, and when what was kept was damaged"


@pytest.mark.parametrize("why", ["few", "once", "full", "refused"])
def test_nothing_is_kept_where_it_does_not_pay_or_cannot_be(simulated, kept, monkeypatch, why):
    rows = np.array([3, 7, 99]) if why == "few" else np.arange(100)
    if why == "full":
        monkeypatch.setattr(loader.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 * 32 * 32 * 3))
    if why == "refused":
        kept.write_text("a file where the folder should be")
    images = loader.load_images(simulated, rows, 32, CPU, once=why == "once")
    np.testing.assert_array_equal(batch(images), simulated.read_images(ROWS))
    assert why == "refused" or not any(kept.iterdir() if kept.exists() else ())


def test_another_file_is_decoded_anew(simulated, kept):
    other = replace(simulated)
    other.__dict__["sha256"] = "another"
    for galaxies in (simulated, other):
        loader.load_images(galaxies, np.arange(100), 32, CPU)
    assert len([*kept.iterdir()]) == 2
