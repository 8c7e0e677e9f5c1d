"""Scores of a classifier and of a clustering; scikit-learn does the counting."""

import numpy as np
from sklearn import metrics as sk


def classification_scores(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """The scores that every supervised run reports, from labels (N,) int and probabilities (N, C) float.

    ``accuracy``, ``roc_auc`` (see :func:`macro_roc_auc`), ``macro_f1`` and ``recall`` (see :func:`class_recall`).

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
        "roc_auc": macro_roc_auc(labels, probabilities),
        "macro_f1": float(sk.f1_score(labels, predicted, average="macro", zero_division=0)),
        "recall": class_recall(labels, predicted, probabilities.shape[1]),
    }


def macro_roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean over classes of the area under the one-versus-rest ROC curve, from scores (N, C) on any monotone scale.

    Only classes that occur in ``labels``, and do not fill it, have a curve; the mean is over those.
    """
    areas = [
        sk.roc_auc_score(labels == label, scores[:, label])
        for label in range(scores.shape[1])
        if 0 < np.sum(labels == label) < len(labels)
    ]
    if not areas:
        raise ValueError("ROC AUC needs at least two classes among the labels.")
    return float(np.mean(areas))


def class_recall(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> list[float | None]:
    """Share of each true class that was predicted as it; None where the class does not occur."""
    recall = sk.recall_score(labels, predicted, labels=np.arange(num_classes), average=None, zero_division=np.nan)
    return [None if np.isnan(share) else float(share) for share in recall]
