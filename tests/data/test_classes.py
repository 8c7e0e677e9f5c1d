"""What classes are called: by their file, by what a published file is, or by their numbers."""

import h5py
import numpy as np
import pytest
from fakes import write_layout

from galutils.data.classes import GALAXY10, GALAXY10_COUNTS, GALAXY10_SDSS, class_columns, recognise, short_names
from galutils.data.galaxies import DataError, open_galaxies
from galutils.data.simulate.cutouts import write_simulated

FULL = np.repeat(np.arange(10), GALAXY10_COUNTS)


@pytest.mark.parametrize(
    ("labels", "size", "scale", "expected"),
    [
        (FULL, 256, 0.262, GALAXY10),
        (FULL, 64, None, GALAXY10),  # made smaller, and still all of it
        (np.delete(FULL, range(61)), 256, None, GALAXY10),  # without duplicates
        (np.delete(FULL, range(61)), 64, None, None),
        (np.delete(FULL, range(3)), 256, 0.262, None),
        (np.arange(21_785) % 10, 69, None, GALAXY10_SDSS),
        (np.arange(30) % 10, 69, 0.396, GALAXY10_SDSS),
        (np.arange(30) % 10, 69, None, None),
        (np.arange(30) % 10, 64, 0.396, None),
        (np.arange(33) % 11, 69, 0.396, None),
    ],
)
def test_a_published_set_is_known_by_its_layout_alone(labels, size, scale, expected):
    assert recognise(labels, size, scale) == expected


def test_a_file_says_what_its_classes_are_called(tmp_path, layout):
    layout["ans"] %= 3
    path = write_layout(tmp_path / "a.h5", layout)
    assert open_galaxies(path).classes == ("class 0", "class 1", "class 2")
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = ["ring", "no ring", "Größe", "none of these"]
    assert open_galaxies(path).classes == ("ring", "no ring", "Größe", "none of these")
    write_simulated(tmp_path / "s.h5", 10, 8)
    assert open_galaxies(tmp_path / "s.h5").classes == GALAXY10


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b"], "'ans' has labels from 0 to 9, though 'classes' names 2 classes; number the classes from 0."),
        (["a"], "is no list"),
        (["a", "a"], "is no list"),
        (["a", " "], "is no list"),
        (None, "'ans' has labels from 0 to 1000, not 0 to 999; number the classes from 0."),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, layout, names, said):
    if names is None:
        layout["ans"] = layout["ans"].astype(int)
        layout["ans"][-1] = 1000
    path = write_layout(tmp_path / "a.h5", layout)
    with h5py.File(path, "a") as file:
        if names:
            file.attrs["classes"] = names
    if said == "is no list":
        said = (
            "the attribute 'classes' is no list of 2 to 1000 different names; "
            "give one for each class, in the order of their numbers, or leave it out."
        )
    with pytest.raises(DataError) as error:
        open_galaxies(path)
    assert str(error.value) == f"{path}: {said}"


def test_columns_are_in_snake_case_and_differ():
    assert class_columns(GALAXY10)[3:6] == ["p_in_between_round_smooth", "p_cigar_shaped_smooth", "p_barred_spiral"]
    assert class_columns(["Größe, 1", "a-b", "a b", "a_b"]) == ["p_größe_1", "p_a_b", "p_a_b_2", "p_a_b_3"]
    assert class_columns(["a b 2", "a-b", "a b"]) == ["p_a_b_2", "p_a_b", "p_a_b_3"]


def test_short_names_fit_an_axis():
    assert short_names(GALAXY10)[6:] == ["tight spiral", "loose spiral", "Edge-on w/o bulge", "Edge-on with bulge"]
    assert short_names(["Unbarred", "a" * 40]) == ["Unbarred", "a" * 27 + "…"]


@pytest.mark.parametrize(
    ("size", "scale", "field"), [(256, None, 67.072), (64, None, None), (64, 1.048, 67.072), (64, np.nan, None)]
)
def test_the_field_of_view_follows_the_pixel_scale(tmp_path, layout, size, scale, field):
    layout = {"images": np.zeros((20, size, size, 3), np.uint8), "ans": layout["ans"]}
    if scale is not None:
        layout["pxscale"] = np.full(20, scale)
    path = write_layout(tmp_path / "a.h5", layout)
    with h5py.File(path, "a") as file:
        file.attrs["classes"] = GALAXY10
    assert open_galaxies(path).field == (None if field is None else pytest.approx(field))
    if scale == 1.048:
        with h5py.File(path, "a") as file:
            file["pxscale"][3] = 0.9
        assert open_galaxies(path).field is None
