"""Whether a network's probabilities mean what they say.

Guo et al. (2017): reliability diagrams, the expected calibration error over equal bins of confidence, and
temperature scaling, one number by which all logits are divided, fitted on galaxies that were not trained on. Those
are set aside from the training galaxies (``calibration_fraction``), never taken from the test; the paper's protocol
has none, so that they come from runs beside the main ones.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import minimize_scalar

from galutils.evaluation.bootstrap import Graded, combine, galaxy_draws

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
        graded: see :func:`galutils.study.grades.grade_runs`; approaches with probabilities.

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


def pool(runs: Iterable[Graded]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of several runs, one after the other."""
    runs = list(runs)
    return np.concatenate([run.labels for run in runs]), np.concatenate([run.probabilities for run in runs])
