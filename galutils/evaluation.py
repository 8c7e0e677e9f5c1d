"""Scores of the approaches with their intervals, from the predictions that runs left behind."""

import numpy as np
import pandas as pd

from galutils.bootstrap import CONFUSABLE, Graded, estimate
from galutils.galaxy10 import CLASS_NAMES
from galutils.runs import PROBABILITIES, read_predictions, read_run_split


def grade_runs(runs: pd.DataFrame) -> dict[str, dict[int, Graded]]:
    """The predictions of every approach (by title) and seed.

    Args:
        runs: from :func:`galutils.results.collect_runs`.

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
    """For each approach all its scores with intervals, see :func:`galutils.bootstrap.estimate`."""
    return {title: estimate(list(seeds.values()), **options) for title, seeds in graded.items()}


def imbalance_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Scores that rare classes weigh in: one row per approach. estimates: from :func:`estimate_all`."""
    names = {
        "balanced_accuracy": "Balanced accuracy",
        "macro_f1": "Macro-F1",
        "roc_auc": "ROC AUC",
        "top2_accuracy": "Top-2 accuracy",
    }
    rows = {
        title: {label: with_interval(table.loc[name]) for name, label in names.items()}
        for title, table in estimates.items()
    }
    return pd.DataFrame(rows).T


def class_table(estimates: dict[str, pd.DataFrame], score: str) -> pd.DataFrame:
    """ "recall" or "precision" by class (rows) and approach (columns), with intervals."""
    columns = {
        title: [with_interval(table.loc[f"{score} {label}"]) for label in range(len(CLASS_NAMES))]
        for title, table in estimates.items()
    }
    return pd.DataFrame(columns, index=CLASS_NAMES)


def confusable_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """For each approach the share of the galaxies of two similar classes that it takes for the other one."""
    rows = {
        title: {pair.capitalize(): with_interval(table.loc[f"confused {pair}"]) for pair in CONFUSABLE}
        for title, table in estimates.items()
    }
    return pd.DataFrame(rows).T


def with_interval(score: pd.Series) -> str:
    """ "71% (64 to 77)"; an en dash where the score has no meaning."""
    if not np.isfinite(score["mean"]):
        return "–"  # noqa: RUF001
    return f"{score['mean']:.1%} ({score['low'] * 100:.0f} to {score['high'] * 100:.0f})"


def format_comparisons(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Pairs of approaches as they are shown. comparisons: from :func:`galutils.significance.compare`."""
    rows = [
        {
            "Approach": row.first,
            "against": row.second,
            "Second less first, points": f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})",
            "Right alone: first, second": f"{row.only_first:.0f}, {row.only_second:.0f} of {row.galaxies:,}",
            "McNemar, p": _p_value(row.mcnemar_holm),
            "Bootstrap, p": _p_value(row.bootstrap_holm),
            "Difference": "real" if row.real else "undecided",
        }
        for row in comparisons.itertuples()
    ]
    return pd.DataFrame(rows)


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
