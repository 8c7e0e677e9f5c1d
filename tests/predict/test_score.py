import numpy as np
import pandas as pd
import pytest
from fakes import assert_said, refusal, write_layout

from galutils.evaluation.bootstrap import Graded
from galutils.predict.score import describe_score, grade_file, match_classes, read_links

SMOOTH = [("smooth", "Round"), ("smooth", "Cigar")]
OURS = ("Round", "Cigar", "Bar", "No bar")


@pytest.mark.parametrize(
    ("theirs", "links", "names", "their_place", "our_place"),
    [
        (("bar", "ROUND", "star"), [], OURS, [2, 0, -1], [0, 1, 2, 3]),
        # The file tells less apart than the run, and more.
        (("smooth", "bar"), SMOOTH, ("smooth", "Bar", "No bar"), [0, 1], [0, 0, 1, 2]),
        (("E", "E0"), [("E", "Round"), ("E0", "round")], OURS, [0, 0], [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_classes_match_by_name_and_by_links(theirs, links, names, their_place, our_place):
    found = match_classes(theirs, OURS, links)
    assert found.names == names
    assert found.theirs.tolist() == their_place
    assert found.ours.tolist() == our_place


def test_classes_that_do_not_match_are_refused():
    for links, said in (
        ([], "No class of the file (a, b) is one of the run (Round, Cigar, Bar, No bar); "
             "say which are the same with --classes FILE, a line 'theirs,ours' for each."),
        ([("c", "Bar")], "'c' is no class of the file; it has a, b."),
        ([("a", "spiral")], "'spiral' is no class of the run; it has Round, Cigar, Bar, No bar."),
    ):  # fmt: skip
        assert refusal(match_classes, ("a", "b"), OURS, links) == said


def test_links_are_read_with_and_without_a_heading(tmp_path):
    path = tmp_path / "links.csv"
    for heading in ("", "theirs,ours\n"):
        path.write_text(f'{heading}smooth, Round\n"disk, edge-on",Bar\n')
        assert read_links(path) == [("smooth", "Round"), ("disk, edge-on", "Bar")]
    for content, said in (
        ("smooth\n", "does not have two entries in each line; write 'theirs,ours' for each class."),
        ("", "cannot be read as CSV (…); write a line 'theirs,ours' for each class."),
    ):
        path.write_text(content)
        assert_said(refusal(read_links, path), f"{path}: {said}")


def test_one_galaxy_has_no_interval_and_none_no_score():
    one = Graded(*(np.zeros(1, int) for _ in range(4)), np.eye(2)[:1], ("A", "B"))
    assert describe_score(one, pd.Series([0.5])) == (
        "1 galaxy: accuracy 100.0%, mean recall 100.0%; the largest class alone would give 100.0%.\n"
        "0% of them are unlike the training galaxies.\n"
        "Rows are true classes, columns predicted ones:\n     0  1\n0 A  1  0\n1 B  0  0"
    )
    none = Graded(*(np.zeros(0, int) for _ in range(4)), np.zeros((0, 2)), ("A", "B"))
    assert refusal(describe_score, none, pd.Series(dtype=float)) == (
        "No galaxy of the file is of a class that the run knows; say which are the same with --classes FILE, "
        "a line 'theirs,ours' for each."
    )


def test_a_labelled_file_is_scored_by_the_classes_that_it_shares(tmp_path, layout):
    layout = {"images": layout["images"], "ans": np.arange(20) % 4}
    path = write_layout(tmp_path / "a.h5", layout, ["bar", "smooth", "star", "nothing like it"])
    values = np.zeros((20, 4))
    values[np.arange(20), np.where(np.arange(20) % 4 == 0, 2, 1)] = 1  # right but for nothing
    values[1] = [0.3, 0.25, 0.45, 0]  # a smooth galaxy: of one class of two, together more
    table = pd.DataFrame(values, columns=["p_round", "p_cigar", "p_bar", "p_no_bar"])
    table["path"] = [f"{path}[{row}]" for row in range(20)]
    graded, said, _ = grade_file(path, table, OURS, SMOOTH)
    assert said == [
        "5 galaxies of 'star' were left out: the run knows no such class.",
        "5 galaxies of 'nothing like it' were left out: the run knows no such class.",
    ]
    assert graded.row.tolist() == [row for row in range(20) if row % 4 < 2]
    assert graded.correct.all()
    text = describe_score(graded, pd.Series(np.where(np.arange(20) % 4, 0.5, 2.0))).splitlines()
    assert text[0] == (
        "10 galaxies: accuracy 100.0% (95% interval 66.1% to 100.0%), mean recall 100.0% (95% interval 66.1% to "
        "100.0%); the largest class alone would give 50.0%."
    )
    assert text[1] == "50% of them are unlike the training galaxies."
    assert text[4:] == ["0 smooth  5  0  0", "1 Bar     0  5  0", "2 No bar  0  0  0"]
