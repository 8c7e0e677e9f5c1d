import numpy as np
import pandas as pd
import pytest

from galutils.data import check
from galutils.data.check import measure_images, measure_once

Y, X = np.mgrid[:101, :101] - 50


def test_disk_on_a_flat_sky_by_hand():
    """A uniform disk of radius R holds half of its light within R / sqrt 2."""
    image = np.full((101, 101, 3), 30, np.uint8)
    image[np.hypot(Y, X) <= 20] = (230, 130, 130)
    row = measure_images(image[None]).iloc[0]
    assert row[["sky", "noise"]].tolist() == [30, 0]
    assert row["peak"] == pytest.approx(490 / 3)
    assert row["half_light_radius"] == pytest.approx(20 / np.sqrt(2), abs=0.5)
    assert row["colour"] == pytest.approx(2)
    assert row["axis_ratio"] == pytest.approx(1, abs=0.01)
    # Light within a radius grows as its square: radii of 80% and 20% are two to one.
    assert row["concentration"] == pytest.approx(5 * np.log10(2), abs=0.1)


@pytest.mark.parametrize(("short", "turned"), [(0.25, False), (0.5, True), (0.8, False)])
def test_axis_ratio_of_an_ellipse(short, turned):
    along, across = (Y, X) if turned else ((X + Y) / np.sqrt(2), (X - Y) / np.sqrt(2))
    image = np.full((101, 101, 3), 30, np.uint8)
    image[np.hypot(along / 20, across / (20 * short)) <= 1] = 200
    assert measure_images(image[None])["axis_ratio"][0] == pytest.approx(short, abs=0.03)


def test_all_rows_are_measured_once(simulated, monkeypatch, tmp_path):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    expected = measure_images(simulated.read_images(range(len(simulated))))
    pd.testing.assert_frame_equal(measure_once(simulated, block=30), expected)
    monkeypatch.setattr(check, "measure_images", None)  # what is kept is not computed again
    pd.testing.assert_frame_equal(measure_once(simulated), expected)


def test_sky_has_noise_and_no_size():
    grey = np.clip(np.random.default_rng(0).normal(100, 9, (1, 128, 128, 1)), 0, 255).round().astype(np.uint8)
    assert measure_images(np.repeat(grey, 3, axis=3))["noise"][0] == pytest.approx(9, rel=0.06)
    empty = measure_images(np.full((1, 32, 32, 3), 32, np.uint8))
    assert empty[["half_light_radius", "colour", "axis_ratio", "concentration"]].isna().all(axis=None)
