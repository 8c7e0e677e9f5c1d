"""What is taken for what, and the most confident mistakes."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from galutils.evaluation.bootstrap import Graded


def confusion_table(predictions: pd.DataFrame, num_classes: int) -> np.ndarray:
    """(C, C) int64, true by predicted class. predictions: see :attr:`galutils.study.runs.Run.predictions`."""
    return confusion_matrix(predictions["y_true"], predictions["y_pred"], labels=np.arange(num_classes))


def confusion_of(graded: Graded) -> np.ndarray:
    """(C, C) int64, true by predicted class."""
    return confusion_matrix(graded.labels, graded.predicted, labels=np.arange(len(graded.classes)))


def mistake_titles(mistakes: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """ "true → predicted (confidence)" for each row of :func:`confident_mistakes`; classes: their names."""
    return [f"{classes[row.y_true]}\n→ {classes[row.y_pred]} ({row.confidence:.0%})" for row in mistakes.itertuples()]


def most_confused(counts: np.ndarray, top: int = 3, normalise: bool = True) -> list[tuple[int, int, float]]:
    """The most frequent confusions, if there are any, as (true class, predicted class, share of the true class).

    counts: (C, C) int, or with ``normalise`` False the shares themselves.
    """
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True)) if normalise else counts.copy()
    np.fill_diagonal(share, 0)
    order = np.argsort(share, axis=None)[::-1][: min(top, np.count_nonzero(share))]
    return [(int(i), int(j), float(share[i, j])) for i, j in zip(*np.unravel_index(order, share.shape), strict=True)]


def describe_confusions(counts: np.ndarray, classes: Sequence[str], top: int = 3) -> list[str]:
    """In words: the most frequent confusions of a matrix of counts (C, C), with the galaxies that they are."""
    return [
        f"{share:.0%} of {classes[true]} ({counts[true, predicted]:,} of {counts[true].sum():,}) "
        f"taken for {classes[predicted]}"
        for true, predicted, share in most_confused(counts, top)
    ]


def describe_shared(confusions: Mapping[str, np.ndarray], classes: Sequence[str], top: int = 5) -> list[str]:
    """In words: the confusions that all of several classifiers share, by the share of the one that makes least of it.

    confusions: counts (C, C) of each, by its title.
    """
    if len(confusions) < 2:
        return ["Fewer than two classifiers tell classes apart here, so there is nothing that they share."]
    shares = np.stack([counts / np.maximum(1, counts.sum(axis=1, keepdims=True)) for counts in confusions.values()])
    found = most_confused(shares.min(axis=0), top, normalise=False)
    if not found:
        return [f"There is no confusion that all {len(confusions)} classifiers share."]
    return [
        f"{classes[true]} taken for {classes[predicted]}: from {least:.0%} to {shares[:, true, predicted].max():.0%} "
        f"of the class by each of {len(confusions)} classifiers"
        for true, predicted, least in found
    ]


def confident_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The ten wrongly classified test rows with the highest probability for the wrong class, and ``confidence``."""
    probabilities = predictions.filter(regex="^p_").max(axis=1)
    wrong = predictions.assign(confidence=probabilities)[predictions["y_true"] != predictions["y_pred"]]
    return wrong.nlargest(10, "confidence")
