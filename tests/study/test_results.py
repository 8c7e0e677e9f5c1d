import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from fakes import write_run

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import split_rows
from galutils.evaluation.baselines import FIVE, LARGEST, POSITION, baselines_once
from galutils.evaluation.conclusion import describe_beaten
from galutils.report import tables
from galutils.study import results
from galutils.study.results import load_results, temperature_table


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
    for fold in ("seed0", "seed0_fold1"):  # each gives one class, but not the same
        path = tmp_path / "custom_cnn" / fold / "predictions.csv"
        pd.read_csv(path).assign(y_pred=len(fold) % 10).to_csv(path, index=False)
    assert load_results(tmp_path).runs["collapsed"].tolist() == [True, False, False]


def test_baselines_stand_in_the_table_and_what_does_not_beat_them_is_said(tmp_path, simulated_path):
    galaxies = open_galaxies(shutil.copy(simulated_path, tmp_path / "sky.h5"))
    folds = [split_rows(galaxies, fold=fold) for fold in range(2)]
    truth = galaxies.labels
    for name, seed in (("custom_cnn", 0), ("custom_cnn", 1), ("custom_cnn", 2), ("vgg_scratch", 0)):
        for fold, split in enumerate(folds):
            data = {"sha256": galaxies.sha256, "file": "sky.h5"}
            write_run(tmp_path, name, seed, 0, n_test=20, fold=fold, data=data, classes=galaxies.classes)
            run_dir = tmp_path / name / (f"seed{seed}" + "_fold1" * fold)
            split.write(run_dir / "split.csv")
            rows = {"row": split.test, "y_true": truth[split.test]}
            right = (truth[split.test] + (0 if name == "custom_cnn" else 1)) % 10
            table = pd.read_csv(run_dir / "predictions.csv").assign(**rows, y_pred=right)
            table.to_csv(run_dir / "predictions.csv", index=False)
    found = load_results(tmp_path)
    expected = [baselines_once(galaxies, split) for split in folds]
    shown = tables.format_table(found.shown, "these").set_index("Approach")
    assert [*shown.index[2:]] == [f"Baseline: {title}" for title in (LARGEST, POSITION, FIVE)]
    for title in expected[0]:
        row = shown.loc[f"Baseline: {title}"]
        right = np.concatenate([own[title].correct for own in expected]).mean()
        assert row["Accuracy: these"].startswith(f"{right:.1%} ± ")
        assert [row["Seeds"], row["SD of seeds"], row["Trained parameters"]] == [tables.DASH] * 3
    assert shown["Seeds"].tolist()[:2] == ["1", "3"]
    assert found.against["galaxies"].tolist() == [40, 40]
    assert describe_beaten(found.against) == (
        "Held against a random forest on five measured numbers. Worse, of these trained networks: VGG, 32 channels, "
        "from scratch. Better: Custom CNN, average pooling first."
    )
    assert len(found.comparisons) == 1
    (tmp_path / "results.json").unlink()
    (tmp_path / "sky.h5").unlink()
    assert describe_beaten(load_results(tmp_path).against) == ""
    assert load_results(tmp_path).shown["approach"].tolist() == found.table["approach"].tolist()


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


def test_no_temperature_is_told_of_a_run_that_has_collapsed_or_set_nothing_aside():
    rng, columns = np.random.default_rng(0), ["p_a", "p_b"]
    first = rng.uniform(0.1, 0.9, 60)
    table = pd.DataFrame({"y_true": rng.integers(0, 2, 60), "p_a": first, "p_b": 1 - first})
    runs = [SimpleNamespace(calibration=own, predictions=table, columns=columns) for own in (table, table, None)]
    found = temperature_table(
        pd.DataFrame({"approach": list("ABC"), "seed": 0, "run": runs, "collapsed": [False, True, False]})
    )
    assert found["approach"].tolist() == ["A"]
    assert found["set_aside"].tolist() == [60]
