"""Scores of the approaches with their intervals, from the predictions that runs left behind."""

import pandas as pd

from galutils.evaluation.bootstrap import Graded, estimate
from galutils.study.runs import PROBABILITIES, read_predictions, read_run_split


def grade_runs(runs: pd.DataFrame) -> dict[str, dict[int, Graded]]:
    """The predictions of every approach (by title) and seed.

    Args:
        runs: from :func:`galutils.study.results.collect_runs`.

    A clustering has no split; its rows get their galaxy numbers from the split of a classifier on the same file, and
    count as a galaxy each where there is none. Its matching with the classes is taken as it is.
    """
    splits = [read_run_split(path) for path in runs["run_dir"] if (path / "split.csv").exists()]
    graded: dict[str, dict[int, Graded]] = {}
    for run in runs.itertuples():
        predictions = read_predictions(run.run_dir)
        row = predictions["row"].to_numpy()
        known = bool(splits) and row.max() < len(splits[0].group)
        graded.setdefault(run.approach, {})[run.seed] = Graded(
            row=row,
            group=splits[0].group[row] if known else row,
            labels=predictions["y_true"].to_numpy(),
            predicted=predictions["y_pred"].to_numpy(),
            probabilities=predictions[PROBABILITIES].to_numpy() if run.supervised else None,
        )
    return graded


def estimate_all(graded: dict[str, dict[int, Graded]], **options) -> dict[str, pd.DataFrame]:
    """For each approach all its scores with intervals, see :func:`galutils.evaluation.bootstrap.estimate`."""
    return {title: estimate(list(seeds.values()), **options) for title, seeds in graded.items()}
