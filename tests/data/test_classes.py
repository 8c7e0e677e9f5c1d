"""What classes are called: by their file, by what a published file is, or by their numbers."""

import numpy as np
import pytest
from fakes import refusal, write_layout

from galutils.data.classes import GALAXY10, GALAXY10_COUNTS, GALAXY10_SDSS, class_columns, recognise, short_names
from galutils.data.galaxies import open_galaxies
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
    assert open_galaxies(write_layout(tmp_path / "a.h5", layout)).classes == ("class 0", "class 1", "class 2")
    names = ("ring", "no ring", "Größe", "none of these")
    assert open_galaxies(write_layout(tmp_path / "a.h5", layout, names)).classes == names
    write_simulated(tmp_path / "s.h5", 10, 8)
    assert open_galaxies(tmp_path / "s.h5").classes == GALAXY10


NO_LIST = "the attribute 'classes' is no list of 2 to 1000 different names; "
NO_LIST += "give one for each class, in the order of their numbers, or leave it out."
NO_NAME = "'ans' has labels from 0 to 9, though 'classes' names 2 classes; number the classes from 0."


@pytest.mark.parametrize(
    ("names", "said"), [(["a", "b"], NO_NAME), (["a"], NO_LIST), (["a", "a"], NO_LIST), (["a", " "], NO_LIST)]
)
def test_names_that_do_not_fit_are_refused(tmp_path, layout, names, said):
    path = write_layout(tmp_path / "a.h5", layout, names)
    assert refusal(open_galaxies, path) == f"{path}: {said}"


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
    scales = None if scale is None else np.full(20, scale)
    datasets = {"images": np.zeros((20, size, size, 3), np.uint8), "ans": layout["ans"], "pxscale": scales}
    path = write_layout(tmp_path / "a.h5", datasets, GALAXY10)
    assert open_galaxies(path).field == (None if field is None else pytest.approx(field))
    if scale == 1.048:
        scales[3] = 0.9
        assert open_galaxies(write_layout(path, datasets, GALAXY10)).field is None
