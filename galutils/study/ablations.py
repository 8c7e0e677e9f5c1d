"""Runs that differ from an experiment in one parameter: what the parameter changes.

They lie below ``runs/<profile>/ablations/<experiment>/<parameter>=<value>/``, so that they never stand in the table
of results, and are compared with the experiment itself on the same galaxies and seeds.
"""

from pathlib import Path

import pandas as pd

from galutils.evaluation.bootstrap import Graded, estimate
from galutils.evaluation.significance import compare_pair, correct_for_pairs
from galutils.study.grades import grade_runs
from galutils.study.results import collect_runs
from galutils.study.runs import find_runs, read_metrics

FOLDER = "ablations"

#: Parameters under which building and adapting are compared, and what a run's metrics say of each in words.
CONDITIONS = {
    "train_fraction": lambda metrics: f"{_train_share(metrics['rows']):.0%} of the training galaxies",
    "augment": lambda metrics: f"images {'turned and flipped' if metrics['settings']['augment'] else 'as they are'}",
}


def collect_ablations(runs_dir: str | Path) -> pd.DataFrame:
    """One row per complete ablation run below ``runs/<profile>``; none is no error.

    Columns: ``base`` (the experiment), ``parameter``, ``value`` (text), and those of
    :func:`galutils.study.results.collect_runs`.
    """
    tables = []
    for folder in sorted((Path(runs_dir) / FOLDER).glob("*")):
        if find_runs(folder):
            runs = collect_runs(folder)
            varied = [run_dir.parent.name.split("=", 1) for run_dir in runs["run_dir"]]
            parameters, values = zip(*varied, strict=True)
            tables.append(runs.assign(base=folder.name, parameter=parameters, value=values))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["base", "parameter", "value"])


def compare_with_base(runs: pd.DataFrame, ablations: pd.DataFrame) -> pd.DataFrame:
    """Every ablation beside the experiment that it varies.

    Args:
        runs: from :func:`galutils.study.results.collect_runs`. ablations: from :func:`collect_ablations`.

    Returns:
        one row per ablation: ``approach`` (title of its experiment), ``base``, ``parameter``, ``value``; ``accuracy``,
        ``sd``, ``low``, ``high`` and ``seeds``; ``base_accuracy`` over the same seeds; ``difference`` to the experiment
        with ``difference_low`` and ``difference_high``; and ``real``, by :mod:`evaluation.significance` with Holm's
        correction for the number of ablations.
    """
    rows = []
    for (base, parameter, value), own in ablations.groupby(["base", "parameter", "value"], sort=False):
        reference = runs[runs["experiment"] == base]
        if reference.empty:
            continue
        before, after = _graded(reference), _graded(own)
        found = compare_pair(before, after)
        if found is None:
            continue
        shared = [run.correct.mean() for seed, run in before.items() if seed in after]
        changed = {"difference_low": found.pop("low"), "difference_high": found.pop("high")}
        rows.append(
            {
                "approach": reference["approach"].iloc[0],
                "base": base,
                "parameter": parameter,
                "value": value,
                **score(after),
                "base_accuracy": sum(shared) / len(shared),
                **found,
                **changed,
            }
        )
    return correct_for_pairs(pd.DataFrame(rows)) if rows else pd.DataFrame()


def _graded(runs: pd.DataFrame) -> dict[int, Graded]:
    """The runs of one approach by seed."""
    (seeds,) = grade_runs(runs).values()
    return seeds


def score(seeds: dict[int, Graded]) -> dict:
    """``accuracy``, ``sd``, ``low``, ``high`` and number of ``seeds`` of an approach."""
    row = estimate(list(seeds.values())).loc["accuracy"]
    return {"accuracy": row["mean"], **row[["sd", "low", "high"]].to_dict(), "seeds": len(seeds)}


def curve(runs: pd.DataFrame, ablations: pd.DataFrame, parameter: str) -> dict[str, pd.DataFrame]:
    """Accuracy along a parameter, with the experiment itself as one of the points.

    Args:
        parameter: "train_fraction", drawn against the number of training rows, or "frozen_convs".

    Returns:
        for each approach (title) that the parameter was varied in: ``x``, ``accuracy``, ``low``, ``high``; by x.
    """
    curves = {}
    for base, own in ablations[ablations["parameter"] == parameter].groupby("base", sort=False):
        reference = runs[runs["experiment"] == base]
        points = []
        for _, group in pd.concat([reference.assign(value="itself"), own]).groupby("value", sort=False):
            metrics = read_metrics(group["run_dir"].iloc[0])
            x = metrics["rows"]["train"] if parameter == "train_fraction" else metrics["model"]["frozen_convs"]
            points.append({"x": x, **score(_graded(group))})
        if len(reference):
            curves[reference["approach"].iloc[0]] = pd.DataFrame(points).sort_values("x", ignore_index=True)
    return curves


def build_or_adapt(runs: pd.DataFrame, ablations: pd.DataFrame, parameter: str) -> pd.DataFrame:
    """Built against adapted networks, pair by pair, for every value of a parameter that both were given.

    Args:
        runs, ablations: see :func:`compare_with_base`.
        parameter: one of :data:`CONDITIONS`.

    Returns:
        one row per pair and value: ``built`` and ``adapted`` (titles), ``condition`` (words), and the entries of
        :func:`galutils.evaluation.significance.compare_pair` with ``real``; the difference is adapted less built.
    """
    varied = ablations[ablations["parameter"] == parameter]
    itself = runs[runs["experiment"].isin(varied["base"])]
    table = pd.concat([varied, itself.assign(base=itself["experiment"])])
    table["condition"] = [CONDITIONS[parameter](read_metrics(run_dir)) for run_dir in table["run_dir"]]
    titles = itself.drop_duplicates("experiment").set_index("experiment")["approach"]
    rows = []
    for condition, group in table[table["base"].isin(titles.index)].groupby("condition", sort=False):
        built, adapted = group[group["built"]], group[~group["built"] & group["pretrained"]]
        for first, one in built.groupby("base", sort=False):
            for second, other in adapted.groupby("base", sort=False):
                found = compare_pair(_graded(one), _graded(other))
                if found is not None:
                    rows.append({"built": titles[first], "adapted": titles[second], "condition": condition, **found})
    return correct_for_pairs(pd.DataFrame(rows)) if rows else pd.DataFrame()


def _train_share(rows: dict[str, int]) -> float:
    """Share of the galaxies that are there to learn from that a run learnt from."""
    return rows["train"] / (rows["train"] + rows["unused"])
