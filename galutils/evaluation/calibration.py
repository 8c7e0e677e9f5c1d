"""Whether a network's probabilities mean what they say.

Guo et al. (2017): reliability diagrams, the expected calibration error over equal bins of confidence, and
temperature scaling, one number by which all logits are divided, fitted on galaxies that were not trained on. Those
are set aside from the training galaxies (``calibration_fraction``), never taken from the test; the paper's protocol
has none, so that they come from runs beside the main ones.

Labels are (n,) int and probabilities (n, C) float throughout.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from galutils.evaluation.bootstrap import Graded, estimate_mean

BINS = 15


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of confidence, by galaxies."""
    confidence, right, number = _binned(labels, probabilities)
    return float(np.abs(np.bincount(number, right - confidence)).sum() / len(labels))


def chance_calibration_error(probabilities: np.ndarray) -> float:
    """Mean calibration error if the labels were drawn from the probabilities: what perfect calibration would show.

    It is not zero, since few galaxies in a bin are seldom right in just the expected share (Broecker & Smith 2007).
    """
    uniform = np.random.default_rng(0).random((200, len(probabilities), 1))
    labels = (probabilities.cumsum(axis=1) < uniform).sum(axis=2).clip(max=probabilities.shape[1] - 1)
    return float(np.mean([calibration_error(drawn, probabilities) for drawn in labels]))


def squared_errors(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(n,) what each galaxy adds to Brier's (1950) score: squared distance to its one-hot label, 0 to 2."""
    return ((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1)


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Mean ``confidence``, ``accuracy`` and ``count`` of each bin of confidence that holds galaxies."""
    confidence, right, number = _binned(labels, probabilities)
    table = pd.DataFrame({"bin": number, "confidence": confidence, "accuracy": right, "count": 1})
    return table.groupby("bin").agg({"confidence": "mean", "accuracy": "mean", "count": "sum"}).reset_index(drop=True)


def _binned(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) confidence, whether the likeliest class is right (0 or 1), and the bin of confidence, closed above."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    return confidence, right, np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)


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
    """Probabilities of the logits divided by the temperature. Which class is the likeliest stays."""
    return softmax(np.log(np.maximum(probabilities, np.finfo(float).tiny)) / temperature, axis=1)


def calibration_table(graded: dict[str, dict[int, Graded]]) -> pd.DataFrame:
    """How well the probabilities of each approach in :func:`galutils.study.collect.grade_runs` are calibrated.

    Indexed by approach, means over its seeds: ``accuracy``, ``confidence``, ``ece``, ``chance_ece``, ``brier`` and its
    95% interval ``brier_low``, ``brier_high``.
    """
    rows = {}
    for title, seeds in graded.items():
        runs = list(seeds.values())
        errors = [squared_errors(run.labels, run.probabilities) for run in runs]
        brier = estimate_mean([run.group for run in runs], errors)
        rows[title] = {
            "accuracy": np.mean([run.correct.mean() for run in runs]),
            "confidence": np.mean([run.probabilities.max(axis=1).mean() for run in runs]),
            "ece": np.mean([calibration_error(run.labels, run.probabilities) for run in runs]),
            "chance_ece": np.mean([chance_calibration_error(run.probabilities) for run in runs]),
            "brier": brier["mean"],
            "brier_low": brier["low"],
            "brier_high": brier["high"],
        }
    return pd.DataFrame(rows).T


def pool(runs: Iterable[Graded]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of several runs, one after the other."""
    labels, probabilities = zip(*((run.labels, run.probabilities) for run in runs), strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)
