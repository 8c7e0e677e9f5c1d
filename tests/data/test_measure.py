import numpy as np
import pytest

from galutils.data.check import measure_images


def test_disk_on_a_flat_sky_by_hand():
    """A uniform disk of radius R holds half of its light within R / sqrt 2."""
    y, x = np.mgrid[:101, :101] - 50
    image = np.full((101, 101, 3), 30, np.uint8)
    image[np.hypot(y, x) <= 20] = (230, 130, 130)
    row = measure_images(image[None]).iloc[0]
    assert row["sky"] == 30
    assert row["noise"] == 0
    assert row["peak"] == pytest.approx(490 / 3)
    assert row["half_light_radius"] == pytest.approx(20 / np.sqrt(2), abs=0.5)
    assert row["colour"] == pytest.approx(2)


def test_noise_is_the_standard_deviation_of_the_sky():
    rng = np.random.default_rng(0)
    grey = np.clip(rng.normal(100, 9, (1, 128, 128, 1)), 0, 255).round().astype(np.uint8)
    row = measure_images(np.repeat(grey, 3, axis=3)).iloc[0]
    assert row["noise"] == pytest.approx(9, rel=0.06)


def test_an_empty_frame_has_no_size():
    row = measure_images(np.full((1, 32, 32, 3), 32, np.uint8)).iloc[0]
    assert np.isnan(row["half_light_radius"])
    assert np.isnan(row["colour"])
