from io import BytesIO

import h5py
import numpy as np
import pytest
from fakes import refusal
from PIL import Image
from scipy.stats import spearmanr

from galutils.data.check import measure_images
from galutils.data.classes import GALAXY10_COUNTS
from galutils.data.galaxies import open_galaxies, prepare, resize
from galutils.data.simulate import cutouts
from galutils.data.simulate.cutouts import class_counts, simulate, write_simulated
from galutils.data.stretch import combine

COLUMNS = ("images", "ans", "ra", "dec", "redshift", "pxscale")


def datasets(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}


def write(tmp_path, name, *arguments, **settings):
    write_simulated(tmp_path / name, *arguments, **settings)
    return datasets(tmp_path / name)


@pytest.fixture(scope="module")
def full_size():
    """120 simulated galaxies at the size of the real cutouts, twelve of each class."""
    return simulate(120, 256, seed=1)


@pytest.fixture(scope="module")
def measured(full_size):
    return measure_images(full_size.images)


def channel_noise(images):
    """Median over images of the scatter (1.48 MAD) of each channel in the frame's outer eighth; (3,) grey levels."""
    edge = images.shape[1] // 8
    border = np.concatenate([images[:, :edge], images[:, -edge:]], axis=1).reshape(len(images), -1, 3).astype(float)
    deviation = np.abs(border - np.median(border, axis=1, keepdims=True))
    return np.median(1.4826 * np.median(deviation, axis=1), axis=0)


def jpeg(image):
    """A copy of an image (H, W, 3) uint8 that went through JPEG at quality 75."""
    with BytesIO() as buffer:
        Image.fromarray(image).save(buffer, "JPEG", quality=75)
        return np.asarray(Image.open(buffer))


# --- Files ---------------------------------------------------------------------------------------------


def test_same_seed_same_file_other_seed_other_galaxies(tmp_path):
    first = write(tmp_path, "a.h5", 20, 32, seed=3)
    again = write(tmp_path, "b.h5", 20, 32, seed=3)
    other = write(tmp_path, "c.h5", 20, 32, seed=4)
    for name in COLUMNS:
        assert first[name].tobytes() == again[name].tobytes()
    for name in ("images", "ra", "dec", "redshift"):
        assert first[name].tobytes() != other[name].tobytes()
    assert first["ans"].tobytes() == other["ans"].tobytes()
    assert len(np.unique(first["images"].reshape(20, -1), axis=0)) == 20


@pytest.mark.parametrize("way", [{"block": 4}, {"block": 4, "processes": 2}])
def test_how_it_is_made_does_not_change_the_file(tmp_path, way):
    whole = write(tmp_path, "a.h5", 15, 32, seed=0)
    blocks = write(tmp_path, "b.h5", 15, 32, seed=0, **way)
    for name in COLUMNS:
        assert whole[name].tobytes() == blocks[name].tobytes()


def test_a_smaller_set_is_the_start_of_each_class_of_a_larger_one():
    small, large = simulate(12, 32, seed=5), simulate(30, 32, seed=5)
    for label in range(10):
        ours, theirs = small.ans == label, large.ans == label
        n = ours.sum()
        assert n == (2 if label < 2 else 1)
        assert theirs.sum() == 3
        for name in ("images", "ra", "dec", "redshift"):
            np.testing.assert_array_equal(getattr(small, name)[ours], getattr(large, name)[theirs][:n])


@pytest.mark.parametrize("size", [8, 32, 64, 100, 200, 256])
def test_any_size_has_the_layout_of_galaxy10_and_is_marked_as_simulated(tmp_path, size):
    columns = write(tmp_path, "a.h5", 10, size)
    assert columns["images"].shape == (10, size, size, 3)
    kinds = dict.fromkeys(COLUMNS, np.float64) | {"images": np.uint8, "ans": np.uint8}
    assert {name: column.dtype for name, column in columns.items()} == kinds
    galaxies = open_galaxies(tmp_path / "a.h5")
    assert galaxies.simulated
    assert galaxies.image_size == size
    np.testing.assert_array_equal(galaxies.labels, range(10))
    np.testing.assert_allclose(galaxies.pxscale * size, 67.072)  # 256 native pixels of 0.262 arcsec


def test_another_size_shows_the_same_galaxies(full_size):
    shrunk = resize(full_size.images[::12], 64).astype(float)
    drawn_small = simulate(10, 64, seed=1).images.astype(float)
    same = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(shrunk, drawn_small, strict=True)]
    others = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(shrunk, drawn_small[::-1], strict=True)]
    assert min(same) > 0.9 > 0.8 > max(others)
    # Scaled down in the same way, they have the same grain too.
    np.testing.assert_allclose(channel_noise(drawn_small), channel_noise(shrunk), rtol=0.25)


def test_a_crop_shows_the_centre_of_the_same_galaxies():
    whole, centre = simulate(10, 128, seed=1), simulate(10, 64, seed=1, crop=0.5)
    np.testing.assert_allclose(centre.pxscale, whole.pxscale)
    pairs = zip(prepare(whole.images, 64, 0.5).astype(float), centre.images.astype(float), strict=True)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs) > 0.8


def test_scrambled_galaxies_keep_their_place_in_size_and_colour_but_are_round():
    own, scrambled = (
        measure_images(simulate(60, 64, crop=0.5, version="U", without=part).images) for part in ("", "shapes")
    )
    for name, least in {"half_light_radius": 0.4, "colour": 0.8}.items():
        assert spearmanr(own[name], scrambled[name]).statistic > least
    assert scrambled["axis_ratio"].median() > 0.9 > own["axis_ratio"].median()


@pytest.mark.parametrize(
    ("part", "without_it"),
    [("arms", {"arms": 0}), ("bars", {"bar": 0.0}), ("shapes", {"arms": 0, "bar": 0.0, "bulge": 0.0, "knots": 0})],
)
def test_a_part_that_is_left_out_is_in_no_galaxy(monkeypatch, part, without_it):
    drawn = []
    monkeypatch.setattr(cutouts, "draw", lambda galaxy, *_: drawn.append(galaxy))
    simulate(100, 8, seed=1)
    simulate(100, 8, seed=1, without=part)
    for name, value in without_it.items():
        values = {getattr(galaxy, name) for galaxy in drawn[-100:]}
        assert values == {value} != {getattr(galaxy, name) for galaxy in drawn[:100]}


def test_the_camera_may_be_without_seeing_noise_and_neighbours():
    own, silent, alone = (simulate(40, 64, seed=1, without=part).images for part in ("", "noise", "neighbours"))
    assert np.median(channel_noise(silent)) < 0.2 * np.median(channel_noise(own))
    crowded, empty = (np.mean(images[:, :12, :12].max(axis=(1, 2, 3)) > 100) for images in (own, alone))
    assert empty < 0.1 < crowded
    # Without seeing the steepest slopes are steeper.
    blurred, sharp = (simulate(40, 128, seed=1, crop=0.25, without=part).images for part in ("", "seeing"))
    centres = (images[:, 32:-32, 32:-32].astype(float) for images in (blurred, sharp))
    slopes = [np.percentile(np.abs(np.diff(centre, axis=1)), 99) for centre in centres]
    assert slopes[1] > 1.2 * slopes[0]


def test_positions_and_redshifts_are_possible(full_size):
    assert (full_size.ra >= 0).all()
    assert (full_size.ra < 360).all()
    assert (np.abs(full_size.dec) <= 66).all()
    assert len(np.unique(full_size.ra)) == 120
    known = full_size.redshift[np.isfinite(full_size.redshift)]
    assert len(known) > 100
    assert (known > 0).all()
    assert (known <= 0.4).all()


# --- Counts and faults ---------------------------------------------------------------------------------


def test_counts_worked_out_by_hand():
    np.testing.assert_array_equal(class_counts(30), [3] * 10)
    np.testing.assert_array_equal(class_counts(23), [3, 3, 3, 2, 2, 2, 2, 2, 2, 2])
    # Of 100, Galaxy10's shares are 6.10 10.45 14.91 11.43 1.88 11.52 10.31 14.82 8.02 10.56; rounded down
    # they make 95, and the five largest remainders are those of classes 2, 4, 7, 9 and 5.
    np.testing.assert_array_equal(class_counts(100, "galaxy10"), [6, 10, 15, 11, 2, 12, 10, 15, 8, 11])
    np.testing.assert_array_equal(class_counts(17736, "galaxy10"), GALAXY10_COUNTS)


def test_a_file_has_the_proportions_asked_for_sorted_by_class(tmp_path):
    ans = write(tmp_path, "a.h5", 40, 8, proportions="galaxy10")["ans"]
    # Shares 2.44 4.18 5.97 4.57 0.75 4.61 4.12 5.93 3.21 4.22; classes 2, 7, 4, 5 and 3 are rounded up.
    np.testing.assert_array_equal(ans, np.repeat(range(10), [2, 4, 6, 5, 1, 5, 4, 6, 3, 4]))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"proportions": "equal"}, "proportions is 'equal'; choose balanced or galaxy10."),
        ({"count": 0}, "count is 0; simulate one galaxy or more."),
        ({"count": -5}, "count is -5; simulate one galaxy or more."),
        ({"size": 7}, "size is 7; images need 8 pixels or more."),
        ({"seed": -1}, "seed is -1; choose zero or a positive number."),
        ({"block": 0}, "block is 0; simulate one image or more at a time."),
        ({"version": "B"}, "version is 'B'; choose A or U."),
        ({"crop": 2.0}, "crop is 2.0; choose a share from 0.1 to 1."),
        (
            {"without": "odd"},
            "without is 'odd'; choose one of shapes, arms, bars, seeing, noise, neighbours, or leave it empty.",
        ),
    ],
)
def test_bad_arguments_have_their_sentence_and_leave_no_file(tmp_path, fault, sentence):
    given = {"count": 10, "size": 8} | fault
    assert refusal(write_simulated, tmp_path / "a.h5", **given) == sentence
    assert list(tmp_path.iterdir()) == []


# --- Likeness to the real images -----------------------------------------------------------------------


def test_an_empty_pixel_has_the_surveys_grey_level_and_bright_ones_saturate():
    # The viewer's curve: 255 asinh(20 * 0.03) / sqrt(20) = 32.4.
    np.testing.assert_allclose(combine(np.zeros((3, 1, 1))), 32.43, atol=0.05)
    assert combine(np.full((3, 1, 1), 100.0)).min() == 255
    # g is blue, z is red.
    assert combine(np.array([0.1, 0.05, 0.0])[:, None, None])[0, 0].argmax() == 2


def test_the_noise_of_the_sky_is_that_of_lossless_images(full_size):
    np.testing.assert_allclose(channel_noise(full_size.images), 12, atol=3)


#: Medians by class of 500 real images, fifty of each class, measured by :func:`measure_images`.
REAL = {
    "half_light_radius": (21.85, 21.81, 19.30, 16.96, 18.37, 23.89, 23.91, 20.01, 27.90, 22.77),
    "colour": (0.983, 1.409, 1.443, 1.195, 1.070, 1.218, 1.075, 0.955, 0.901, 1.619),
}


def test_first_order_statistics_agree_with_real_images(full_size, measured):
    assert measured["sky"].median() == pytest.approx(32.3, abs=1.5)
    assert measured["peak"].median() == pytest.approx(233.7, abs=15)
    # The real images are JPEG copies, which lost much of their noise; so must ours before they are compared.
    copies = np.stack([jpeg(image) for image in full_size.images])
    np.testing.assert_allclose(channel_noise(copies), [8.90, 7.41, 7.41], rtol=0.25)
    for name, theirs in REAL.items():
        ours = measured[name].groupby(full_size.ans).median()
        assert (ours.argmin(), ours.argmax()) == (np.argmin(theirs), np.argmax(theirs))
        assert spearmanr(theirs, ours).statistic > 0.7
        assert np.abs(np.log(ours / theirs)).max() < 0.2
