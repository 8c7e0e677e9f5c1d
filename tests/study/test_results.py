import numpy as np
import pandas as pd
import pytest
from fakes import write_run

from galutils.evaluation import confusion
from galutils.report import tables
from galutils.study import results
from galutils.study.runs import RunError


def test_seeds_are_averaged_and_the_table_says_how_sure_it_is(tmp_path):
    for seed, right in ((0, 16), (1, 24)):
        write_run(tmp_path, "custom_cnn", seed, right)
    table = results.average_seeds(results.collect_runs(tmp_path))
    (row,) = table.itertuples()
    assert row.seeds == 2
    assert row.accuracy == pytest.approx(0.5)
    assert row.sd == pytest.approx(0.2 / 2**0.5)
    assert row.low < 0.4 < 0.6 < row.high
    shown = tables.format_table(table, "these").iloc[0]
    assert shown["Accuracy: these"] == f"50.0% ± {row.standard_error:.1%}"
    assert shown["95% interval"] == f"{row.low:.1%} to {row.high:.1%}"
    assert shown["SD of seeds"] == "14.1%"
    assert shown["Accuracy: paper"] == "76%"


@pytest.mark.parametrize(("right", "expected"), [((12, 36), "Adapting wins"), ((36, 12), "Building wins")])
def test_the_answer_follows_the_predictions(tmp_path, right, expected):
    write_run(tmp_path, "custom_cnn", 0, right[0])
    write_run(tmp_path, "vgg11_shallow", 0, right[1], weights={"source": "imagenet"})
    text = results.answer(results.average_seeds(results.collect_runs(tmp_path)))
    assert f"{expected} here: on the same 40 galaxies" in text
    assert "There was one seed" in text


def test_a_small_difference_is_left_undecided(tmp_path):
    write_run(tmp_path, "custom_cnn", 0, 20)
    write_run(tmp_path, "vgg11_shallow", 0, 22, weights={"source": "imagenet"})
    text = results.answer(results.average_seeds(results.collect_runs(tmp_path)))
    assert "do not decide between them" in text
    write_run(tmp_path, "vgg_scratch", 0, 21)
    text = results.answer(results.average_seeds(results.collect_runs(tmp_path)))
    assert "VGG11, shallow fine-tuning against Custom CNN" in text.split("Not decided: ")[1]


def test_most_confused_by_hand():
    counts = np.array([[8, 2, 0], [5, 5, 0], [0, 1, 9]])
    assert confusion.most_confused(counts, top=2) == [(1, 0, 0.5), (0, 1, 0.2)]


def test_confident_mistakes_come_most_confident_first():
    predictions = pd.DataFrame(
        {"row": [7, 8, 9], "y_true": [0, 1, 1], "y_pred": [1, 0, 1], "p0": [0.3, 0.9, 0.0], "p1": [0.7, 0.1, 1.0]}
    )
    mistakes = confusion.confident_mistakes(predictions)
    assert mistakes["row"].tolist() == [8, 7]
    assert confusion.mistake_titles(mistakes)[0] == "Merging\n→ Disturbed (90%)"


def test_no_runs_is_one_sentence(tmp_path):
    with pytest.raises(RunError, match="has no complete run"):
        results.collect_runs(tmp_path)
