import numpy as np
import pandas as pd

from galutils.data.splits import Split
from galutils.report import tables
from galutils.study import grades
from galutils.study.runs import PROBABILITIES


def write(run_dir, rows, group=None):
    """Predictions of some rows, all of class 2 and all right; a split where there are galaxy numbers."""
    run_dir.mkdir(parents=True)
    table = pd.DataFrame({"row": rows, "y_true": 2, "y_pred": 2})
    table[PROBABILITIES] = np.eye(10)[np.full(len(rows), 2)]
    table.to_csv(run_dir / "predictions.csv", index=False)
    if group is not None:
        Split(np.full(len(group), "test", dtype=object), np.asarray(group)).write(run_dir / "split.csv")
    return run_dir


def test_runs_are_graded_by_seed_and_clusterings_know_the_same_galaxies(tmp_path):
    runs = pd.DataFrame(
        {
            "approach": ["Network", "Network", "Clusters"],
            "seed": [0, 1, 0],
            "supervised": [True, True, False],
            "run_dir": [
                write(tmp_path / "a", [1, 3], group=[5, 5, 6, 7]),
                write(tmp_path / "b", [0, 1], group=[5, 5, 6, 7]),
                write(tmp_path / "c", [0, 1, 2, 3]),
            ],
        }
    )
    graded = grades.grade_runs(runs)
    assert {title: list(seeds) for title, seeds in graded.items()} == {"Network": [0, 1], "Clusters": [0]}
    assert graded["Network"][0].group.tolist() == [5, 7]
    assert graded["Network"][1].group.tolist() == [5, 5]
    assert graded["Clusters"][0].group.tolist() == [5, 5, 6, 7]
    assert graded["Clusters"][0].probabilities is None
    alone = grades.grade_runs(runs.iloc[2:])
    assert alone["Clusters"][0].group.tolist() == [0, 1, 2, 3]


def test_scores_are_shown_with_their_interval():
    shown = pd.Series({"mean": 0.7125, "low": 0.64, "high": 0.774})
    assert tables.with_interval(shown) == "71.2% (64 to 77)"
    assert tables.with_interval(shown * np.nan) == "–"  # noqa: RUF001
