import numpy as np
import pandas as pd
import pytest

from galutils import results
from galutils.runs import RunError


def table(*rows):
    columns = ["approach", "built", "pretrained", "accuracy", "standard_error"]
    return pd.DataFrame(rows, columns=columns).assign(supervised=True)


def test_the_answer_follows_the_numbers():
    adapted_wins = table(("A", True, False, 0.60, 0.02), ("B", False, True, 0.75, 0.02), ("C", False, True, 0.5, 0.02))
    text = results.answer(adapted_wins)
    assert "B, reaches 75.0%" in text
    assert "Adapting wins here, by 5.3 standard errors" in text  # 0.15 / (0.02 * sqrt 2)
    built_wins = adapted_wins.assign(accuracy=[0.9, 0.75, 0.5])
    assert "Building wins" in results.answer(built_wins)
    close = adapted_wins.assign(accuracy=[0.74, 0.75, 0.5])
    assert "do not decide" in results.answer(close)


def test_without_pretrained_weights_there_is_no_answer():
    control = table(("A", True, False, 0.60, 0.02), ("B (control)", False, False, 0.75, 0.02))
    text = results.answer(control)
    assert "cannot say" in text
    assert "wins" not in text
    assert "nothing" not in results.answer(control.assign(built=False, pretrained=True))


def test_clusterings_do_not_answer_whether_to_build_or_adapt():
    numbers = table(("A", True, False, 0.60, 0.02), ("B", False, True, 0.9, 0.02)).assign(supervised=[True, False])
    assert "cannot say" in results.answer(numbers)
    assert "none of them learnt from labels" in results.answer(numbers.assign(supervised=False))


def test_seeds_are_averaged_and_the_larger_error_is_given():
    runs = pd.DataFrame(
        {
            "experiment": "x", "approach": "X", "built": True, "supervised": True,
            "pretrained": False, "seed": [0, 1],
            "accuracy": [0.4, 0.6], "roc_auc": [0.8, 0.9], "macro_f1": 0.5, "n_test": 100, "parameters": 10,
            "trained_parameters": 10, "train_seconds": 1.0, "train_images_per_second": 1.0,
            "predict_images_per_second": 1.0, "paper_accuracy": 0.7, "paper_roc_auc": None,
        }
    )  # fmt: skip
    row = results.average_seeds(runs.astype({"paper_roc_auc": float})).iloc[0]
    assert row["accuracy"] == pytest.approx(0.5)
    assert row["seeds"] == 2
    # Between seeds: std 0.1414 / sqrt 2 = 0.1; sampling: sqrt(0.25 / 100) = 0.05.
    assert row["standard_error"] == pytest.approx(0.1)


def test_most_confused_by_hand():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert results.most_confused(counts, top=2) == [(1, 0, 0.5), (0, 1, 0.2)]


def test_confident_mistakes_come_most_confident_first():
    predictions = pd.DataFrame(
        {"row": [7, 8, 9], "y_true": [0, 1, 1], "y_pred": [1, 0, 1], "p0": [0.3, 0.9, 0.0], "p1": [0.7, 0.1, 1.0]}
    )
    mistakes = results.confident_mistakes(predictions)
    assert mistakes["row"].tolist() == [8, 7]
    assert results.mistake_titles(mistakes)[0] == "Merging\n→ Disturbed (90%)"


def test_no_runs_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match="has no complete run"):
        results.collect_runs(tmp_path)
