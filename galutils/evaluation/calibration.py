"""Whether a network's probabilities mean what they say.

Guo et al. (2017): reliability diagrams, the expected calibration error over equal bins of confidence, and
temperature scaling, one number by which all logits are divided, fitted on galaxies that were not trained on. Those
are set aside from the training galaxies (``calibration_fraction``), never taken from the test; the paper's protocol
has none, so that they come from runs beside the main ones.

Where classes occur in other proportions than in training, and galaxies of a class look as they did there,
expectation-maximisation finds the new proportions from the probabilities alone (Saerens, Latinne & Decaestecker 2002).

The galaxies that were set aside also say how many classes one has to name for the true one to be among them (split
conformal prediction; Vovk et al. 2005, Lei et al. 2018), whatever the probabilities are worth.

Labels are (n,) int and probabilities (n, C) float throughout.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from galutils.evaluation.bootstrap import Graded, estimate_mean
from galutils.evaluation.significance import ALPHA

BINS = 15
#: Share of galaxies whose conformal set holds the true class, at least, and what the column of sets is called.
COVERAGE, SETS = 0.9, "set90"
#: Rounds of expectation-maximisation at most, and the change of a proportion below which nothing changes any more.
_ROUNDS, _CHANGE = 10_000, 1e-7


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of confidence, by galaxies."""
    confidence, right, number = _binned(labels, probabilities)
    return float(np.abs(np.bincount(number, right - confidence)).sum() / len(labels))


def calibration_test(graded: Graded, draws: int = 1000) -> tuple[float, float, float]:
    """The calibration error of a run, its mean if the probabilities were true, and the p-value of the run's.

    Even true probabilities show an error, since few galaxies in a bin are seldom right in just the expected share
    (Broecker & Smith 2007). So whether the predicted class is right is drawn anew with the probability that it was
    given, alike for all rows of one galaxy; p is the share of draws, the run itself among them, with as large an error.
    """
    confidence, right, number = _binned(graded.labels, graded.probabilities)
    _, galaxy = np.unique(graded.group, return_inverse=True)
    rng = np.random.default_rng(0)

    def error(right: np.ndarray) -> float:
        return np.abs(np.bincount(number, right - confidence)).sum() / len(right)

    own = error(right)
    errors = np.array([error(rng.random(galaxy.max() + 1)[galaxy] < confidence) for _ in range(draws)])
    # What is as large but for rounding counts as as large.
    return float(own), float(errors.mean()), float((1 + np.sum(errors >= own - 1e-9)) / (1 + draws))


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


class Calibration(NamedTuple):
    """What galaxies that were set aside say of a network's probabilities."""

    count: int  # of these galaxies
    temperature: float  # for :func:`scale`
    threshold: float  # for :func:`conformal_sets`


def calibrate(labels: np.ndarray, probabilities: np.ndarray) -> Calibration:
    return Calibration(len(labels), fit_temperature(labels, probabilities), fit_threshold(labels, probabilities))


def fit_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How improbable the true class of a further galaxy is at most, in nine of ten cases; 1 where too few tell.

    It follows from order alone: among galaxies drawn alike, the ceil(0.9 (n + 1))-th smallest of n is not exceeded by a
    further one with a chance of 0.9 or a little more.
    """
    improbable = np.sort(1 - probabilities[np.arange(len(labels)), labels])
    place = math.ceil(round(COVERAGE * (len(labels) + 1), 9))
    return float(improbable[place - 1]) if place <= len(labels) else 1.0


def conformal_sets(probabilities: np.ndarray, threshold: float, classes: Sequence[str]) -> list[list[str]]:
    """Classes of each galaxy that are no more improbable than that, likeliest first; the likeliest in any case.

    The probabilities are those of the network, without a temperature, as they were when the threshold was fitted.
    """
    order, counts = np.argsort(-probabilities, axis=1), (1 - probabilities <= threshold).sum(axis=1)
    return [[classes[one] for one in row[: max(count, 1)]] for row, count in zip(order, counts, strict=True)]


def correct_label_shift(probabilities: np.ndarray, trained: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proportions (C,) of the classes among some galaxies, and their probabilities (n, C) corrected for them.

    Args:
        probabilities: (n, C), of a classifier; rows sum to one.
        trained: (C,) proportions of the classes in training; a class that was not trained stays without galaxies.
    """
    ratio = np.divide(1, trained, out=np.zeros(len(trained)), where=trained > 0)
    proportions = trained / trained.sum()
    for _ in range(_ROUNDS):
        corrected = probabilities * (proportions * ratio)
        corrected /= corrected.sum(axis=1, keepdims=True)
        before, proportions = proportions, corrected.mean(axis=0)
        if np.abs(proportions - before).max() < _CHANGE:
            break
    return proportions, corrected


def calibration_table(graded: Mapping[str, Mapping[int, Graded]]) -> pd.DataFrame:
    """How well the probabilities of each approach in :func:`galutils.study.collect.grade_runs` are calibrated.

    Indexed by approach, from its runs that have not collapsed, ``seeds`` of them; an approach without one is left out.
    Means over seeds are ``accuracy``, ``confidence``, ``ece`` (:func:`calibration_error` of each run) and
    ``chance_ece``, what it would be of true probabilities. ``p`` is that of :func:`calibration_test`, for several seeds
    twice their median (Meinshausen et al. 2009). ``gap`` is confidence less accuracy, ``brier`` the mean of
    :func:`squared_errors`, each with its 95% interval over galaxies and seeds, ``gap_low``, ``gap_high``, ``brier_low``
    and ``brier_high``.
    """
    rows = {}
    for title, seeds in graded.items():
        runs = [run for run in seeds.values() if not run.collapsed]
        if not runs:
            continue
        groups = [run.group for run in runs]
        errors, chance, p = zip(*map(calibration_test, runs), strict=True)
        confidence = [run.probabilities.max(axis=1) for run in runs]
        gap = estimate_mean(groups, [sure - run.correct for sure, run in zip(confidence, runs, strict=True)])
        gap |= {end: float(np.clip(gap[end], -1, 1)) for end in ("low", "high")}
        brier = estimate_mean(groups, [squared_errors(run.labels, run.probabilities) for run in runs])
        rows[title] = {
            "accuracy": np.mean([run.correct.mean() for run in runs]),
            "confidence": np.mean([sure.mean() for sure in confidence]),
            "ece": np.mean(errors),
            "chance_ece": np.mean(chance),
            "seeds": len(runs),
            "p": p[0] if len(p) == 1 else min(1, 2 * np.median(p)),
            **{f"gap{part}": gap[name] for part, name in (("", "mean"), ("_low", "low"), ("_high", "high"))},
            **{f"brier{part}": brier[name] for part, name in (("", "mean"), ("_low", "low"), ("_high", "high"))},
        }
    return pd.DataFrame(rows).T


def describe_calibration(table: pd.DataFrame) -> list[str]:
    """In words: for each row of a :func:`calibration_table` whether it departs from calibration, and which way."""
    sentences = []
    for title, row in table.iterrows():
        low, high = row["gap_low"], row["gap_high"]
        size = "less than 0.1%" if row["p"] < 0.001 else f"{row['p']:.1%}"
        shown = f"true probabilities show as much in {size} of draws"
        if row["seeds"] > 1:
            shown = f"p is {size}, twice the median of {row['seeds']:.0f} seeds"
        error = f"its calibration error is {row['ece']:.1%}, and {shown}"
        points = f"{row['gap'] * 100:+z.1f} points (95% interval {low * 100:+z.1f} to {high * 100:+z.1f})"
        if low > 0 or high < 0:
            way = f"too {'sure' if low > 0 else 'timid'} on average"
        else:
            way = "not calibrated, which way is open" if row["p"] < ALPHA else "no departure from calibration is shown"
        sentences.append(f"{title}: {way}; {error}; confidence less accuracy is {points}.")
    return sentences


def pool(runs: Iterable[Graded]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of several runs, one after the other."""
    labels, probabilities = zip(*((run.labels, run.probabilities) for run in runs), strict=True)
    return np.concatenate(labels), np.concatenate(probabilities)
