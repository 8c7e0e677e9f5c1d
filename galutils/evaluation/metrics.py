"""Scores of a classifier and of a clustering, which scikit-learn counts, and which approaches are worth their cost."""

import numpy as np
from sklearn import metrics as sk

#: Costs of a run with their names; whether less of it is better.
COSTS = {
    "parameters": ("Parameters", True),
    "multiply_adds": ("Multiply-adds per image", True),
    "train_images_per_second": ("Images per second, training", False),
    "predict_images_per_second": ("Images per second, prediction", False),
}


def classification_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """The scores that every supervised run reports, from labels (N,) int and probabilities (N, C) float.

    ``accuracy``, ``roc_auc`` (see :func:`roc_auc`), ``macro_f1`` and ``recall`` (see :func:`class_recall`).

    Raises:
        ValueError: shapes disagree, or a probability is not finite.
    """
    if probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"{len(labels)} labels do not go with probabilities of shape {probabilities.shape}.")
    if not np.isfinite(probabilities).all():
        raise ValueError("Some probabilities are not finite.")
    predicted = probabilities.argmax(axis=1)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "roc_auc": roc_auc(labels, probabilities),
        "macro_f1": float(sk.f1_score(labels, predicted, average="macro", zero_division=0)),
        "recall": class_recall(labels, predicted, probabilities.shape[1]),
    }


def roc_auc(labels: np.ndarray, scores: np.ndarray, average: str = "macro") -> float:
    """Mean over classes of the area under the one-versus-rest ROC curve, from scores (N, C) on any monotone scale.

    Only classes that occur in ``labels``, and do not fill it, have a curve; the mean is over those. Other averages are
    "weighted", by the galaxies of a class, and "micro", one curve of all pairs of a galaxy and a class.
    """
    truth = labels[:, None] == np.arange(scores.shape[1])
    known = (truth.sum(axis=0) > 0) & (truth.sum(axis=0) < len(labels))
    if not known.any():
        raise ValueError("ROC AUC needs at least two classes among the labels.")
    return float(sk.roc_auc_score(truth[:, known], scores[:, known], average=average))


def class_recall(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> list[float | None]:
    """Share of each true class that was predicted as it; None where the class does not occur."""
    recall = sk.recall_score(labels, predicted, labels=np.arange(num_classes), average=None, zero_division=np.nan)
    return [None if np.isnan(share) else float(share) for share in recall]


def on_front(cost: np.ndarray, accuracy: np.ndarray, less_is_better: bool = True) -> np.ndarray:
    """(n,) bool: approaches that no other beats in one of accuracy and cost without losing in the other.

    An approach without a cost, NaN, is not on the front.
    """
    cost = np.asarray(cost, float) * (1 if less_is_better else -1)
    accuracy = np.asarray(accuracy, float)
    no_worse = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    return np.isfinite(cost) & ~(no_worse & better).any(axis=1)
