"""Whether a network's probabilities mean what they say.

Guo et al. (2017): reliability diagrams, the expected calibration error over equal bins of confidence, and
temperature scaling, one number by which all logits are divided, fitted on galaxies that were not trained on. Those
are set aside from the training galaxies (``calibration_fraction``), never taken from the test; the paper's protocol
has none, so that they come from runs beside the main ones.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.optimize import minimize_scalar

from galutils.bootstrap import Graded, combine, galaxy_draws
from galutils.galaxy10 import Galaxies
from galutils.images import load_images
from galutils.runs import PROBABILITIES, load_network, read_metrics, read_predictions, read_run_split
from galutils.trainer import predict_logits

BINS = 15


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of confidence, by galaxies.

    Args:
        labels: (n,) int. probabilities: (n, C) float.
    """
    confidence, right, number = _binned(labels, probabilities, bins)
    return float(np.abs(np.bincount(number, right - confidence)).sum() / len(labels))


def chance_calibration_error(probabilities: np.ndarray, draws: int = 200, seed: int = 0, bins: int = BINS) -> float:
    """Mean calibration error if the labels were drawn from the probabilities: what perfect calibration would show.

    It is not zero, since few galaxies in a bin are seldom right in just the expected share (Broecker & Smith 2007).
    """
    uniform = np.random.default_rng(seed).random((draws, len(probabilities), 1))
    labels = (probabilities.cumsum(axis=1) < uniform).sum(axis=2).clip(max=probabilities.shape[1] - 1)
    return float(np.mean([calibration_error(drawn, probabilities, bins) for drawn in labels]))


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,) what each galaxy adds to Brier's (1950) score: squared distance to its one-hot label, 0 to 2."""
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Mean ``confidence``, ``accuracy`` and ``count`` of each bin of confidence that holds galaxies."""
    confidence, right, number = _binned(labels, probabilities, bins)
    table = pd.DataFrame({"bin": number, "confidence": confidence, "accuracy": right, "count": 1})
    return table.groupby("bin").agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)


def _binned(labels: np.ndarray, probabilities: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) confidence, whether the likeliest class is right (0 or 1), and the bin of confidence, closed above."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    return confidence, right, np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def accuracy_by_coverage(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """``accuracy`` on the most confident galaxies, by the share of galaxies that they are, ``coverage``."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    kept = np.arange(1, len(right) + 1)
    return pd.DataFrame({"coverage": kept / len(right), "accuracy": right.cumsum() / kept})


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that makes the labels most likely; above 1 where the network is too sure of itself."""

    def loss(log_temperature: float) -> float:
        scaled = scale(probabilities, np.exp(log_temperature))
        return -np.log(np.maximum(scaled[np.arange(len(labels)), labels], np.finfo(float).tiny)).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 5), method="bounded").x))


def scale(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (n, C) of the logits divided by the temperature. Which class is the likeliest stays."""
    logits = np.log(np.maximum(probabilities, np.finfo(float).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def calibration_table(graded: dict[str, dict[int, Graded]]) -> pd.DataFrame:
    """How well the probabilities of each approach are calibrated, means over its seeds.

    Args:
        graded: see :func:`galutils.evaluation.grade_runs`; approaches with probabilities.

    Returns:
        indexed by approach: ``accuracy``, ``confidence`` (mean), ``ece``, ``chance_ece``, ``brier`` and its 95%
        interval ``brier_low``, ``brier_high``.
    """
    rows = {}
    for title, seeds in graded.items():
        runs = list(seeds.values())
        errors = [squared_errors(run.labels, run.probabilities) for run in runs]
        weights = galaxy_draws([run.group for run in runs])
        replicates = np.stack([(w @ e / w.sum(axis=1))[:, None] for w, e in zip(weights, errors, strict=True)])
        galaxies = len(np.unique(np.concatenate([run.group for run in runs])))
        brier = combine(np.array([[own.mean()] for own in errors]), replicates, galaxies).iloc[0]
        half = stats.t.ppf(0.975, brier["dof"]) * brier["standard_error"]
        rows[title] = {
            "accuracy": np.mean([run.correct.mean() for run in runs]),
            "confidence": np.mean([run.probabilities.max(axis=1).mean() for run in runs]),
            "ece": np.mean([calibration_error(run.labels, run.probabilities) for run in runs]),
            "chance_ece": np.mean([chance_calibration_error(run.probabilities) for run in runs]),
            "brier": brier["mean"],
            "brier_low": brier["mean"] - half,
            "brier_high": brier["mean"] + half,
        }
    return pd.DataFrame(rows).T


def predict_calibration(run_dir: str | Path, galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, 10) of the rows that a run set aside, from its saved network, on the CPU."""
    settings, rows = read_metrics(run_dir)["settings"], read_run_split(run_dir).calibration
    images = load_images(galaxies, rows, settings["image_size"], torch.device("cpu"), settings["crop"])
    logits = predict_logits(load_network(run_dir), images, rows)
    return galaxies.labels[rows].astype(np.int64), logits.double().softmax(1).numpy()


def temperature_table(runs: pd.DataFrame, galaxies: Galaxies) -> pd.DataFrame:
    """What a temperature fitted on the rows set aside does to the test rows.

    Args:
        runs: rows of :func:`galutils.results.collect_runs` or :func:`galutils.ablations.collect_ablations`; those
            that set no rows aside are left out.

    Returns:
        one row per run: ``approach``, ``seed``, ``set_aside`` (galaxies), ``temperature``, and ``ece``, ``brier`` with
        ``ece_scaled``, ``brier_scaled`` on the test rows.
    """
    rows = []
    for run in runs.itertuples():
        if not read_metrics(run.run_dir)["rows"]["calibration"]:
            continue
        temperature = fit_temperature(*(held := predict_calibration(run.run_dir, galaxies)))
        predictions = read_predictions(run.run_dir)
        labels = predictions["y_true"].to_numpy()
        plain = predictions[PROBABILITIES].to_numpy()
        found = {"approach": run.approach, "seed": run.seed, "set_aside": len(held[0]), "temperature": temperature}
        for suffix, probabilities in (("", plain), ("_scaled", scale(plain, temperature))):
            found[f"ece{suffix}"] = calibration_error(labels, probabilities)
            found[f"brier{suffix}"] = squared_errors(labels, probabilities).mean()
        rows.append(found)
    return pd.DataFrame(rows)


def format_temperatures(table: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`temperature_table` as it is shown; before and after the scaling stand side by side."""
    formats = {
        "approach": ("Approach", "{}"),
        "seed": ("Seed", "{}"),
        "set_aside": ("Galaxies set aside", "{}"),
        "temperature": ("Temperature", "{:.2f}"),
        "ece": ("Calibration error", "{:.1%}"),
        "ece_scaled": ("Calibration error, scaled", "{:.1%}"),
        "brier": ("Brier score", "{:.3f}"),
        "brier_scaled": ("Brier score, scaled", "{:.3f}"),
    }
    return pd.DataFrame(
        {heading: table[name].map(form.format) for name, (heading, form) in formats.items() if name in table}
    )


def pool(runs: Iterable[Graded]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of several runs, one after the other."""
    runs = list(runs)
    return np.concatenate([run.labels for run in runs]), np.concatenate([run.probabilities for run in runs])
