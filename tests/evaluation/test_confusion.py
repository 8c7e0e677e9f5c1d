import numpy as np
import pandas as pd

from galutils.evaluation.confusion import answer_titles, most_confused, telling_galaxies


def test_most_confused_by_hand():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert most_confused(counts, top=2) == [(1, 0, 0.5), (0, 1, 0.2)]
    assert most_confused(np.array([[0, 3], [0, 3]])) == [(0, 1, 1.0)]  # what does not happen is no confusion


def test_the_surest_come_first_and_the_least_decided():
    predictions = pd.DataFrame(
        {"row": [7, 8, 9], "y_true": [0, 1, 1], "y_pred": [1, 0, 1], "p_a": [0.3, 0.9, 0.0], "p_b": [0.7, 0.1, 1.0]}
    )
    found = telling_galaxies(predictions, count=2)
    rows = {kind: own["row"].tolist() for kind, own in found.items()}
    assert rows == {"right": [9], "wrong": [8, 7], "undecided": [7, 8]}
    titles = {kind: answer_titles(own, ["Disturbed", "Merging"])[0] for kind, own in found.items()}
    assert titles == {
        "right": "Merging (100%)", "wrong": "Merging\n→ Disturbed (90%)", "undecided": "Disturbed\n→ Merging (70%)",
    }  # fmt: skip


def test_the_eleventh_and_further_classes_have_a_confidence():
    table = pd.DataFrame([{"row": 3, "y_true": 0, "y_pred": 11, **{f"p_class_{i}": float(i == 11) for i in range(12)}}])
    assert telling_galaxies(table)["wrong"]["confidence"].tolist() == [1.0]
