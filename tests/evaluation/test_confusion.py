import numpy as np
import pandas as pd

from galutils.evaluation.confusion import confident_mistakes, mistake_titles, most_confused


def test_most_confused_by_hand():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert most_confused(counts, top=2) == [(1, 0, 0.5), (0, 1, 0.2)]
    assert most_confused(np.array([[0, 3], [0, 3]])) == [(0, 1, 1.0)]  # what does not happen is no confusion


def test_confident_mistakes_come_most_confident_first():
    predictions = pd.DataFrame(
        {"row": [7, 8, 9], "y_true": [0, 1, 1], "y_pred": [1, 0, 1], "p_a": [0.3, 0.9, 0.0], "p_b": [0.7, 0.1, 1.0]}
    )
    mistakes = confident_mistakes(predictions)
    assert mistakes["row"].tolist() == [8, 7]
    assert mistake_titles(mistakes, ["Disturbed", "Merging"])[0] == "Merging\n→ Disturbed (90%)"


def test_the_eleventh_and_further_classes_have_a_confidence():
    table = pd.DataFrame([{"row": 3, "y_true": 0, "y_pred": 11, **{f"p_class_{i}": float(i == 11) for i in range(12)}}])
    assert confident_mistakes(table)["confidence"].tolist() == [1.0]
