import numpy as np
from fakes import write_layout

from galutils.data.check import survey_file
from galutils.data.classes import GALAXY10
from galutils.data.splits import contradicting_groups


def test_survey_says_what_the_file_holds(tmp_path, layout):
    layout["images"][3] = layout["images"][6] = 32  # blank: no galaxies, so not one galaxy twice
    layout["images"][5] = layout["images"][4]  # one galaxy, classes 4 and 5
    layout["ra"][12], layout["dec"][12] = layout["ra"][2], layout["dec"][2]  # one galaxy, class 2 twice
    layout["redshift"] = np.where(np.arange(20) < 3, np.nan, 0.1)
    path = write_layout(tmp_path / "sky.h5", layout)
    assert survey_file(path).splitlines() == [
        f"{path}: 20 galaxies, 16 pixels wide",
        *(f"  {number} class {number}: 2" for number in range(10)),
        "The file does not name its classes: give it an attribute 'classes', a list of their names, or make it with "
        "galutils pack.",
        "Blank images: 2 (rows 3, 6)",
        "Pairs of rows at the same position: 1",
        "Galaxies with several rows: 2, with contradicting labels: 1",
        "  rows 4, 5: class 4, class 5",
        "Missing redshifts: 3",
        "Field of view: not said by this file",
        "Checksum: not that of a published file",
    ]


def test_known_classes_are_named_and_hundreds_are_not_listed(tmp_path, layout):
    kinds = [f"kind {number}" for number in range(100)]
    known, many = (
        survey_file(write_layout(tmp_path / "a.h5", layout, names)).splitlines() for names in (GALAXY10, kinds)
    )
    assert known[11] == "These are the classes of Galaxy10 DECaLS, the paper's."
    assert many[41:43] == [
        "  and 60 more",
        f"Too few galaxies to train and test on: {'; '.join(kinds[10:20])} and 80 more",
    ]


def test_contradicting_groups_by_hand():
    found = contradicting_groups(np.array([1, 2, 1, 1, 3]), np.array([0, 1, 0, 1, 2]))
    assert [rows.tolist() for rows in found] == [[1, 3]]
