"""The results table beside the paper's numbers, and what follows from it, in words computed from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from galutils import verdict
from galutils.bootstrap import SCORES
from galutils.evaluation import estimate_all, grade_runs
from galutils.fetch import GALAXY10_SHA256
from galutils.galaxy10 import CLASS_NAMES, NUM_CLASSES
from galutils.metrics import confusion_counts
from galutils.runs import RunError, find_runs, read_metrics, read_predictions
from galutils.significance import compare
from galutils.weights import RANDOM_LABEL


@dataclass(frozen=True)
class Approach:
    """A row of the comparison.

    Attributes:
        title: how tables and figures call it.
        built: whether its network is built from scratch.
        paper_accuracy, paper_roc_auc: from the paper's table; None where it has no such row.
        supervised: whether it learns from labels. A clustering is scored on all galaxies, after matching.
    """

    title: str
    built: bool
    paper_accuracy: float | None = None
    paper_roc_auc: float | None = None
    supervised: bool = True


APPROACHES = {
    "vgg_scratch": Approach("VGG, 32 channels, from scratch", True, 0.73, 0.924),
    "vgg11_deep": Approach("VGG11, deep fine-tuning, new later layers", False, 0.74, 0.924),
    "vgg11_deep_pretrained": Approach("VGG11, deep fine-tuning, pretrained later layers", False),
    "vgg11_shallow": Approach("VGG11, shallow fine-tuning", False, 0.58, 0.880),
    "custom_cnn": Approach("Custom CNN, average pooling first", True, 0.76, 0.929),
    "dino_kmeans": Approach("DINO and k-means", False, 0.16, 0.521, supervised=False),
    "dino_lora_kmeans": Approach("DINO with LoRA, scale 1/32, and k-means", False, 0.16, 0.522, supervised=False),
    "dino_lora_kmeans_scale1": Approach("DINO with LoRA, scale 1, and k-means", False, supervised=False),
}


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
    interval over seeds and galaxies, see :mod:`galutils.bootstrap`.
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

    See :func:`galutils.significance.compare`. Clusterings are left out: they are scored on other galaxies.
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


def format_table(table: pd.DataFrame, label: str) -> pd.DataFrame:
    """The results table as it is shown. table: from :func:`average_seeds`; label: whose numbers they are."""
    percent = [f"{row.accuracy:.1%} ± {row.standard_error:.1%}" for row in table.itertuples()]
    return pd.DataFrame(
        {
            "Approach": table["approach"],
            f"Accuracy: {label}": percent,
            "95% interval": [f"{row.low:.1%} to {row.high:.1%}" for row in table.itertuples()],
            "SD of seeds": table["sd"].map("{:.1%}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            f"ROC AUC: {label}": table["roc_auc"].map("{:.3f}".format),
            f"Macro-F1: {label}": table["macro_f1"].map("{:.3f}".format),
            "Accuracy: paper": table["paper_accuracy"].map("{:.0%}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            "ROC AUC: paper": table["paper_roc_auc"].map("{:.3f}".format, na_action="ignore").fillna("–"),  # noqa: RUF001
            "Trained parameters": table["trained_parameters"].map("{:,.0f}".format),
            "Seeds": table["seeds"],
        }
    )


def answer(table: pd.DataFrame) -> str:
    """The paper's question in words, see :func:`galutils.verdict.answer`. table: from :func:`average_seeds`."""
    return verdict.answer(table, compare_approaches(table))


def load_confusions(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Confusion counts (10, 10) of each approach, summed over its seeds, by its title."""
    tables: dict[str, np.ndarray] = {}
    for run in runs.itertuples():
        counts = confusion_table(read_predictions(run.run_dir))
        tables[run.approach] = tables.get(run.approach, 0) + counts
    return tables


def confusion_table(predictions: pd.DataFrame) -> np.ndarray:
    """(10, 10) counts, true by predicted class. predictions: see galutils.runs.read_predictions."""
    return confusion_counts(predictions["y_true"], predictions["y_pred"], NUM_CLASSES)


def score_table(metrics: dict) -> pd.DataFrame:
    """The scores of one run, and the recall of each class, as they are shown in its notebook."""
    scores = metrics["scores"]
    shown = {"Accuracy": scores["accuracy"], "ROC AUC": scores["roc_auc"], "Macro-F1": scores["macro_f1"]}
    recall = dict(zip((f"Recall: {name}" for name in CLASS_NAMES), scores["recall"], strict=True))
    return pd.Series({**shown, **recall}, dtype=float).round(3).to_frame("value")


def mistake_titles(mistakes: pd.DataFrame) -> list[str]:
    """ "true → predicted (confidence)" for each row of :func:`confident_mistakes`."""
    return [
        f"{CLASS_NAMES[row.y_true]}\n→ {CLASS_NAMES[row.y_pred]} ({row.confidence:.0%})"
        for row in mistakes.itertuples()
    ]


def most_confused(counts: np.ndarray, top: int = 3) -> list[tuple[int, int, float]]:
    """The most frequent confusions as (true class, predicted class, share of the true class)."""
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    np.fill_diagonal(share, 0)
    order = np.argsort(share, axis=None)[::-1][:top]
    return [(int(i), int(j), float(share[i, j])) for i, j in zip(*np.unravel_index(order, share.shape), strict=True)]


def confident_mistakes(predictions: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The wrongly classified test rows with the highest probability for the wrong class, and ``confidence``."""
    probabilities = predictions.filter(regex=r"^p\d$").max(axis=1)
    wrong = predictions.assign(confidence=probabilities)[predictions["y_true"] != predictions["y_pred"]]
    return wrong.nlargest(count, "confidence")
