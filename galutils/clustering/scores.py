"""Scores of a clustering: matching of clusters and classes, and what follows from it.

Labels are (N,) int from 0 to C-1, clusters (N,) int, -1 where a row has none (a density clusterer's noise). A table
(K + 1, C) int says how many rows of each cluster have each class, and in its last row those that have no cluster.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

#: The scores that k-means gives for every seed, without the features themselves.
CLUSTER_SCORES = ("accuracy", "macro_f1", "nmi", "ami", "ari", "roc_auc_hard", "roc_auc_soft")


def count_classes(labels: np.ndarray) -> int:
    """How many classes there are at least: one more than the largest label, the smallest being zero."""
    return int(labels.max()) + 1


def count_pairs(
    labels: np.ndarray, clusters: np.ndarray, num_classes: int, num_clusters: int | None = None
) -> np.ndarray:
    """The table of a clustering. num_clusters: K, where the last may be empty; what occurs if None.

    Raises:
        ValueError: labels and clusters differ in length.
    """
    if len(labels) != len(clusters):
        raise ValueError(f"{len(labels)} labels do not go with {len(clusters)} cluster numbers.")
    size = num_clusters or int(clusters.max(initial=-1)) + 1
    where = np.where(clusters < 0, size, clusters)
    return np.bincount(where * num_classes + labels, minlength=(size + 1) * num_classes).reshape(-1, num_classes)


def match_table(table: np.ndarray, many_to_one: bool = False) -> np.ndarray:
    """Which class each row of a table stands for, chosen so that the most are right: (K + 1,) int64, -1 for none.

    The last row, of those without a cluster, has none, so that ``match[clusters]`` are the predicted classes.
    One-to-one is the assignment problem (Kuhn 1955, "Hungarian method"). With more clusters than classes the surplus
    clusters stay without a class; with fewer, some classes stay without a cluster. Many-to-one gives every cluster
    the class that most of its rows have. An empty cluster has none in many-to-one matching; in one-to-one it takes
    a class that is left over, which changes no score.
    """
    counts, match = table[:-1], np.full(len(table), -1)
    if many_to_one:
        match[:-1] = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), -1)
    else:
        rows, columns = linear_sum_assignment(counts, maximize=True)
        match[rows] = columns
    return match


def score_table(table: np.ndarray, match: np.ndarray) -> tuple[float, float]:
    """Accuracy, and macro ROC AUC of hard assignments, of a table (K, C) whose rows stand for classes (K,).

    With one predicted class per row, a class's curve has one corner, and its area is the mean of recall and
    specificity. As in :func:`galutils.evaluation.metrics.roc_auc` classes that do not occur, or fill it, are
    left out.
    """
    totals, size = table.sum(axis=0), table.sum()
    predicted = np.zeros((table.shape[1], table.shape[1]))
    np.add.at(predicted, match[match >= 0], table[match >= 0])  # predicted class by true class
    right = predicted.diagonal()
    kept = (totals > 0) & (totals < size)
    recall = right[kept] / totals[kept]
    specificity = 1 - (predicted.sum(axis=1)[kept] - right[kept]) / (size - totals[kept])
    return float(right.sum() / size), float((recall + specificity).mean() / 2)


def one_hot(predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(N, C) float64 with a one at each predicted class; a row of zeros where that is negative."""
    return np.equal.outer(predicted, np.arange(num_classes)).astype(np.float64)
