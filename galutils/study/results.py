"""The results table beside the paper's numbers, and what follows from it, in words computed from it."""

from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.download import GALAXY10_SHA256
from galutils.evaluation import verdict
from galutils.evaluation.bootstrap import SCORES
from galutils.evaluation.confusion import confusion_table
from galutils.evaluation.paper import APPROACHES, Approach
from galutils.evaluation.significance import compare
from galutils.models.weights import RANDOM_LABEL
from galutils.study.grades import estimate_all, grade_runs
from galutils.study.runs import RunError, find_runs, read_metrics, read_predictions


def collect_runs(runs_dir: str | Path) -> pd.DataFrame:
    """One row per complete run below ``runs/<profile>``, in the paper's order, then others by name.

    Columns: ``experiment``, ``seed``, ``run_dir``, ``approach`` (title, marked if it is a control or uses
    stand-in weights), ``built``, ``supervised``, ``pretrained`` (whether its weights really are), ``accuracy``,
    ``roc_auc``, ``macro_f1``, ``n_test``, ``parameters``, ``trained_parameters``, ``multiply_adds``, ``train_seconds``,
    ``train_images_per_second``, ``predict_images_per_second``, ``paper_accuracy``, ``paper_roc_auc``.

    Raises:
        RunError: there is none.
    """
    rows = []
    for run_dir in find_runs(runs_dir):
        metrics = read_metrics(run_dir)
        name = metrics["experiment"]
        clustering = "clusters" in metrics["model"]
        approach = APPROACHES.get(name, Approach(name, metrics["weights"] is None, supervised=not clustering))
        weights = metrics["weights"] or {}
        title = approach.title.replace("VGG11", metrics["model"].get("arch", "VGG11").upper())
        if weights.get("source") == "random":
            title += f" ({RANDOM_LABEL})"
        elif weights.get("stand_in"):
            title += " (stand-in weights)"
        rows.append(
            {
                "experiment": name,
                "seed": metrics["settings"]["seed"],
                "run_dir": run_dir,
                "approach": title,
                "built": approach.built,
                "supervised": approach.supervised,
                "pretrained": bool(weights) and weights["source"] != "random",
                **{score: metrics["scores"][score] for score in ("accuracy", "roc_auc", "macro_f1")},
                "n_test": metrics["rows"]["test"],
                "parameters": metrics["parameters"],
                "trained_parameters": metrics["trained_parameters"],
                "multiply_adds": metrics["multiply_adds"],
                **{name: value for name, value in metrics["timing"].items() if name != "setup_seconds"},
                "paper_accuracy": approach.paper_accuracy,
                "paper_roc_auc": approach.paper_roc_auc,
            }
        )
    if not rows:
        raise RunError(f"{runs_dir}: has no complete run; run the experiments' notebooks first.")
    order = {name: i for i, name in enumerate(APPROACHES)}
    table = pd.DataFrame(rows)
    key = table["experiment"].map(lambda name: order.get(name, len(order)))
    return table.assign(key=key).sort_values(["key", "experiment", "seed"]).drop(columns="key").reset_index(drop=True)


def list_scores(folder: str | Path) -> pd.DataFrame:
    """One row per complete run below a folder of profiles, or of one: its directory, scores, data and weights.

    Raises:
        RunError: there is none.
    """
    folder = Path(folder)
    found = find_runs(folder) or [run for profile in sorted(folder.glob("*/")) for run in find_runs(profile)]
    if not found:
        raise RunError(f"{folder}: has no complete run; make report makes some, or name another folder.")
    rows = []
    for run_dir in found:
        metrics = read_metrics(run_dir)
        scores = {name: metrics["scores"][name] for name in ("accuracy", "roc_auc", "macro_f1")}
        weights = (metrics["weights"] or {}).get("source", "none")
        rows.append({"run": str(run_dir), **scores, "data": metrics["data"]["file"], "weights": Path(weights).name})
    return pd.DataFrame(rows)


def classifiers(runs: pd.DataFrame) -> pd.DataFrame:
    """The first run of each approach that learns from labels. runs: from :func:`collect_runs`.

    Raises:
        RunError: there is none.
    """
    return _first_runs(runs[runs["supervised"]], "02 to 05")


def clusterings(runs: pd.DataFrame) -> pd.DataFrame:
    """The first run of each approach without labels. runs: from :func:`collect_runs`.

    Raises:
        RunError: there is none.
    """
    return _first_runs(runs[~runs["supervised"]], "06 or 07")


def _first_runs(runs: pd.DataFrame, notebooks: str) -> pd.DataFrame:
    if runs.empty:
        raise RunError(f"No run of this kind is complete; run notebook {notebooks} first.")
    return runs.drop_duplicates("experiment")


def average_seeds(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per approach: means over its seeds, and how sure they are.

    Besides the columns of :func:`collect_runs`: ``balanced_accuracy``, ``top2_accuracy``; ``seeds`` (how many) and
    ``run_dirs`` (by seed); of the accuracy ``sd`` between seeds, ``standard_error``, and ``low`` and ``high``, the 95%
    interval over seeds and galaxies, see :mod:`galutils.evaluation.bootstrap`.
    """
    numbers = [
        "n_test",
        "parameters",
        "trained_parameters",
        "multiply_adds",
        "train_seconds",
        "train_images_per_second",
        "predict_images_per_second",
        "paper_accuracy",
        "paper_roc_auc",
    ]
    labels = ["experiment", "approach", "built", "supervised", "pretrained"]
    grouped = runs.groupby(labels, sort=False)
    table = grouped[numbers].mean().assign(seeds=grouped.size()).reset_index()
    table["run_dirs"] = [dict(zip(own["seed"], own["run_dir"], strict=True)) for _, own in grouped]
    estimates = estimate_all(grade_runs(runs))
    for score in SCORES:
        table[score] = [estimates[title].loc[score, "mean"] for title in table["approach"]]
    for column in ("sd", "standard_error", "low", "high"):
        table[column] = [estimates[title].loc["accuracy", column] for title in table["approach"]]
    return table


def compare_approaches(table: pd.DataFrame) -> pd.DataFrame:
    """Every pair of approaches that learn from labels, tested on the same galaxies. table: from :func:`average_seeds`.

    See :func:`galutils.evaluation.significance.compare`. Clusterings are left out: they are scored on other galaxies.
    """
    rows = [
        {"approach": row.approach, "seed": seed, "run_dir": run_dir, "supervised": True}
        for row in table[table["supervised"]].itertuples()
        for seed, run_dir in row.run_dirs.items()
    ]
    return compare(grade_runs(pd.DataFrame(rows, columns=["approach", "seed", "run_dir", "supervised"])))


def describe_sources(runs_dir: str | Path) -> tuple[str, list[str]]:
    """What the numbers below ``runs/<profile>`` come from.

    Returns:
        a label for the column of this study's numbers, and warnings, each a sentence, that hold for every
        page: simulated galaxies, a file other than the full set, stand-in or random weights.
    """
    data, warnings = set(), []
    stand_in, random = [], []
    for run_dir in find_runs(runs_dir):
        metrics = read_metrics(run_dir)
        name = metrics["experiment"]
        source = metrics["data"]
        if source["simulated"]:
            data.add("simulated galaxies")
        elif source["sha256"] == GALAXY10_SHA256:
            data.add("Galaxy10 DECaLS")
        else:
            data.add(f"{source['rows']:,} galaxies of {source['file']}")
        weights = metrics["weights"] or {}
        if weights.get("source") == "random":
            random.append(name)
        elif weights.get("stand_in"):
            stand_in.append(name)
    label = " and ".join(sorted(data)) or "no runs"
    if "simulated galaxies" in data:
        warnings.append("Simulated galaxies: these numbers show that the study runs, not how well it classifies.")
    elif data - {"Galaxy10 DECaLS"}:
        warnings.append(f"Not the full Galaxy10 DECaLS but {label}: do not compare with the paper's numbers.")
    if stand_in:
        warnings.append(f"Stand-in weights, not the paper's, in {', '.join(sorted(set(stand_in)))}.")
    if random:
        warnings.append(
            f"No pretrained weights were at hand: {', '.join(sorted(set(random)))} started from random ones "
            f"({RANDOM_LABEL})."
        )
    return label, warnings


def answer(table: pd.DataFrame) -> str:
    """The paper's question in words, see :func:`verdict.answer`. table: from :func:`average_seeds`."""
    return verdict.answer(table, compare_approaches(table))


def load_confusions(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Confusion counts (10, 10) of each approach, summed over its seeds, by its title."""
    tables: dict[str, np.ndarray] = {}
    for run in runs.itertuples():
        counts = confusion_table(read_predictions(run.run_dir))
        tables[run.approach] = tables.get(run.approach, 0) + counts
    return tables
