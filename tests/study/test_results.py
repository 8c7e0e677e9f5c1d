import json

import numpy as np
import pandas as pd
import pytest
from fakes import write_run

from galutils.evaluation.conclusion import conclude
from galutils.report import tables
from galutils.study import results
from galutils.study.results import load_results


def test_seeds_are_averaged_and_the_table_says_how_sure_it_is(tmp_path):
    for seed, right in ((0, 16), (1, 24)):
        write_run(tmp_path, "custom_cnn", seed, right)
    table = load_results(tmp_path).table
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


def test_folds_of_a_seed_are_one_run_on_all_galaxies(tmp_path):
    for seed, rights in ((0, (16, 24)), (1, (30, 10)), (2, (20, 20))):
        for fold, right in enumerate(rights):
            write_run(tmp_path, "custom_cnn", seed, right, fold=fold)
    found = load_results(tmp_path)
    assert found.runs["run"].map(lambda run: run.directory.name).tolist() == ["seed0", "seed1", "seed2"]
    assert found.runs["accuracy"].tolist() == [0.5] * 3
    (row,) = found.table.itertuples()
    assert (row.seeds, row.n_test, row.folds, row.accuracy, row.sd) == (3, 80, 2, 0.5, 0)
    predictions = found.runs["run"][1].predictions
    assert predictions["row"].tolist() == list(range(80))
    right = np.flatnonzero(predictions["y_true"] == predictions["y_pred"])
    assert right.tolist() == [*range(30), *range(40, 50)]


@pytest.mark.parametrize(
    ("built", "adapted", "expected"),
    [
        (12, 36, "Of these trained networks, the adapted one is better: on the same 40 galaxies"),
        (36, 12, "Of these trained networks, the built one is better: on the same 40 galaxies"),
        (20, 22, "Which of these trained networks is better stays open: "),
    ],
)
def test_the_answer_follows_the_predictions(tmp_path, built, adapted, expected):
    write_run(tmp_path, "vgg_scratch", 0, 11)
    write_run(tmp_path, "custom_cnn", 0, built)
    write_run(tmp_path, "vgg11_shallow", 0, adapted, weights={"source": "imagenet"})
    found = load_results(tmp_path)
    assert expected in conclude(found.table, found.comparisons)


def flat(value):
    """A table, or all tables of nested dictionaries of them."""
    return [value] if isinstance(value, pd.DataFrame) else [table for entry in value.values() for table in flat(entry)]


def test_statistics_are_computed_once_and_read_to_the_last_digit(tmp_path, monkeypatch):
    write_run(tmp_path, "custom_cnn", 0, 12)
    write_run(tmp_path, "custom_cnn", 1, 14)
    write_run(tmp_path, "vgg11_shallow", 0, 36, weights={"source": "imagenet"})
    first = load_results(tmp_path)
    monkeypatch.setattr(results, "estimate", None)  # whatever computes again fails
    second = load_results(tmp_path)
    for name in ("estimates", "comparisons", "calibration", "temperatures", "changes", "curves", "conditions"):
        for one, other in zip(flat(getattr(first, name)), flat(getattr(second, name)), strict=True):
            assert len(one) == len(other) == 0 or one.equals(other), name
    pd.testing.assert_frame_equal(first.table, second.table, check_exact=True)


@pytest.mark.parametrize("change", ["predictions", "metrics", "another run", "code", "damage"])
def test_statistics_of_other_runs_are_computed_anew(tmp_path, monkeypatch, change):
    write_run(tmp_path, "custom_cnn", 0, 12)
    load_results(tmp_path)
    run_dir, kept = tmp_path / "custom_cnn" / "seed0", tmp_path / "results.json"
    before = kept.read_text()
    if change == "predictions":
        table = pd.read_csv(run_dir / "predictions.csv")
        table.assign(y_pred=table["y_true"]).to_csv(run_dir / "predictions.csv", index=False)
    elif change == "metrics":
        metrics = json.loads((run_dir / "metrics.json").read_text())
        (run_dir / "metrics.json").write_text(json.dumps(metrics | {"parameters": 11}))
    elif change == "another run":
        write_run(tmp_path, "custom_cnn", 1, 14)
    elif change == "code":
        monkeypatch.setattr(results, "code_digest", lambda *parts: "other code")
    else:
        kept.write_text(before[:100])
    found = load_results(tmp_path)
    assert (kept.read_text() == before) == (change == "damage")
    if change == "predictions":
        assert found.table["accuracy"].tolist() == [1.0]
