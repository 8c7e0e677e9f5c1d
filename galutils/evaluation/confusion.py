"""What is taken for what, and the most confident mistakes."""

from collections.abc import Sequence

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


def most_confused(counts: np.ndarray, top: int = 3) -> list[tuple[int, int, float]]:
    """The most frequent confusions, if there are any, as (true class, predicted class, share of the true class)."""
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    np.fill_diagonal(share, 0)
    order = np.argsort(share, axis=None)[::-1][: min(top, np.count_nonzero(share))]
    return [(int(i), int(j), float(share[i, j])) for i, j in zip(*np.unravel_index(order, share.shape), strict=True)]


def confident_mistakes(predictions: pd.DataFrame) -> pd.DataFrame:
    """The ten wrongly classified test rows with the highest probability for the wrong class, and ``confidence``."""
    probabilities = predictions.filter(regex="^p_").max(axis=1)
    wrong = predictions.assign(confidence=probabilities)[predictions["y_true"] != predictions["y_pred"]]
    return wrong.nlargest(10, "confidence")
