import h5py
import numpy as np
import pytest

from galutils.data.galaxies import DataError, open_galaxies
from galutils.data.galaxy10 import CLASS_COUNTS, CLASS_NAMES


def write(path, datasets):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
    return path


def test_class_counts_add_up_to_the_full_set():
    assert sum(CLASS_COUNTS) == 17736
    assert len(CLASS_NAMES) == len(CLASS_COUNTS) == 10


@pytest.mark.parametrize("missing", [(), ("ra", "dec")])
def test_opens_with_and_without_coordinates(tmp_path, layout, missing):
    galaxies = open_galaxies(write(tmp_path / "a.h5", {k: v for k, v in layout.items() if k not in missing}))
    assert len(galaxies) == 20
    assert galaxies.image_size == 16
    assert not galaxies.simulated
    assert (galaxies.ra is None) == ("ra" in missing)
    assert galaxies.redshift is None


def test_reads_rows_in_the_order_asked_for_with_repetitions(tmp_path, layout):
    galaxies = open_galaxies(write(tmp_path / "a.h5", layout))
    for rows in ([19, 0, 0, 7], [3, 4, 5], []):
        np.testing.assert_array_equal(galaxies.read_images(rows), layout["images"][rows])


def test_halving_the_size_averages_and_cropping_keeps_the_centre(tmp_path, layout):
    layout["images"][:] = 0
    layout["images"][:, 4:12, 4:12] = 200
    galaxies = open_galaxies(write(tmp_path / "a.h5", layout))
    np.testing.assert_array_equal(galaxies.read_images([0], crop=0.5, size=8), np.full((1, 8, 8, 3), 200))
    small = galaxies.read_images([0], size=8)
    assert small[0, 4, 4, 0] == 200
    assert small[0, 0, 0, 0] == 0
    assert abs(small.mean() - 50) < 1  # a quarter of the frame has 200


SPOILT = {
    "no images": ({"images": None}, "has no dataset 'images'"),
    "no labels": ({"ans": None}, "has no dataset 'ans'"),
    "float images": ({"images": np.zeros((20, 16, 16, 3), np.float32)}, "'images' has dtype float32"),
    "grey images": ({"images": np.zeros((20, 16, 16), np.uint8)}, r"'images' has shape \(20, 16, 16\)"),
    "channels first": ({"images": np.zeros((20, 3, 16, 16), np.uint8)}, "channels last"),
    "not square": ({"images": np.zeros((20, 16, 12, 3), np.uint8)}, "square"),
    "float labels": ({"ans": np.zeros(20)}, "'ans' has dtype float64"),
    "text labels": ({"ans": np.array([b"spiral"] * 20)}, "'ans' has dtype"),
    "label 10": ({"ans": np.full(20, 10)}, "labels from 10 to 10"),
    "negative label": ({"ans": np.full(20, -1)}, "labels from -1 to -1"),
    "too few labels": ({"ans": np.zeros(19, np.uint8)}, "there are 20 images"),
    "no rows": ({"images": np.zeros((0, 16, 16, 3), np.uint8), "ans": np.zeros(0, np.uint8)}, "has no rows"),
    "short ra": ({"ra": np.zeros(3)}, "'ra' is not a column of 20 numbers"),
    "text dec": ({"dec": np.array([b"north"] * 20)}, "'dec' is not a column of 20 numbers"),
}


@pytest.mark.parametrize(("change", "message"), SPOILT.values(), ids=SPOILT)
def test_each_fault_has_its_own_sentence(tmp_path, layout, change, message):
    spoilt = {name: values for name, values in {**layout, **change}.items() if values is not None}
    path = write(tmp_path / "spoilt.h5", spoilt)
    with pytest.raises(DataError, match=message) as caught:
        open_galaxies(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_hdf5(tmp_path, layout):
    with pytest.raises(DataError, match="no such file"):
        open_galaxies(tmp_path / "absent.h5")
    with pytest.raises(DataError, match="is a folder"):
        open_galaxies(tmp_path)
    page = tmp_path / "page.h5"
    page.write_text("<html>not found</html>")
    with pytest.raises(DataError, match="not an HDF5 file"):
        open_galaxies(page)
    page.write_bytes(b"")
    with pytest.raises(DataError, match="not an HDF5 file"):
        open_galaxies(page)
    whole = write(tmp_path / "whole.h5", layout).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        open_galaxies(tmp_path / "cut.h5")
