"""Scores of a clustering: matching of clusters and classes, and what follows from it.

Labels are (N,) int from 0 to C-1, clusters (N,) int, negative where a row has none (a density clusterer's noise).
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sk

from galutils.evaluation.metrics import class_recall, macro_roc_auc

#: The scores that k-means gives for every seed, without the features themselves.
CLUSTER_SCORES = ("accuracy", "macro_f1", "nmi", "ami", "ari", "roc_auc_hard", "roc_auc_soft")
#: Of how many rows, drawn with a fixed seed, the silhouette is taken: its cost is quadratic.
_SILHOUETTE_ROWS = 2000


def count_classes(labels: np.ndarray) -> int:
    """How many classes there are at least: one more than the largest label, the smallest being zero."""
    return int(labels.max()) + 1


def match_clusters(
    labels: np.ndarray,
    clusters: np.ndarray,
    num_classes: int,
    num_clusters: int | None = None,
    many_to_one: bool = False,
) -> np.ndarray:
    """Which class each cluster stands for, chosen so that the most rows are right: (K,) int64, -1 for none.

    One-to-one is the assignment problem (Kuhn 1955, "Hungarian method"). With more clusters than classes the surplus
    clusters stay without a class; with fewer, some classes stay without a cluster. Many-to-one gives every cluster
    the class that most of its rows have. An empty cluster has none in many-to-one matching; in one-to-one it takes
    a class that is left over, which changes no score.

    Args:
        num_clusters: K, where clusters at the end may be empty; the largest number that occurs if None.

    Raises:
        ValueError: labels and clusters differ in length.
    """
    return match_table(count_pairs(labels, clusters, num_classes, num_clusters), many_to_one)[:-1]


def count_pairs(
    labels: np.ndarray, clusters: np.ndarray, num_classes: int, num_clusters: int | None = None
) -> np.ndarray:
    """Rows of each cluster that have each class, (K + 1, C) int; in the last row those that have no cluster."""
    if len(labels) != len(clusters):
        raise ValueError(f"{len(labels)} labels do not go with {len(clusters)} cluster numbers.")
    size = num_clusters or int(clusters.max(initial=-1)) + 1
    where = np.where(clusters < 0, size, clusters)
    return np.bincount(where * num_classes + labels, minlength=(size + 1) * num_classes).reshape(-1, num_classes)


def match_table(table: np.ndarray, many_to_one: bool = False) -> np.ndarray:
    """The class of each row of a table (K + 1, C) of :func:`count_pairs`, as in :func:`match_clusters`; -1 for none."""
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
    specificity. As in :func:`galutils.evaluation.metrics.macro_roc_auc` classes that do not occur, or fill it, are
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


def apply_match(match: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Predicted class (N,) int64 of each row; -1 where a row has no cluster or its cluster no class."""
    return np.append(match, -1)[np.where(clusters < 0, len(match), clusters)]


def matched_accuracy(labels: np.ndarray, clusters: np.ndarray, num_classes: int, many_to_one: bool = False) -> float:
    """Share of rows that are right under the best matching; see :func:`match_clusters`."""
    match = match_clusters(labels, clusters, num_classes, many_to_one=many_to_one)
    return float(np.mean(apply_match(match, clusters) == labels))


def cluster_scores(
    labels: np.ndarray,
    clusters: np.ndarray,
    num_classes: int,
    *,
    soft: np.ndarray | None = None,
    features: np.ndarray | None = None,
    many_to_one: bool = False,
) -> dict:
    """The scores that every clustering reports.

    Args:
        soft: (N, K) float, membership of each row in each cluster, if there is one.
        features: (N, D) what was clustered, for the silhouette (Euclidean).
        many_to_one: see :func:`match_clusters`.

    Returns:
        after matching: ``accuracy``, ``macro_f1``, ``recall`` (list), ``roc_auc_hard`` (from one-hot predictions) and
        ``roc_auc_soft`` (None without ``soft``); without it: ``nmi`` (arithmetic mean), ``ami``, ``ari`` and
        ``silhouette`` (None without ``features`` or with one cluster); and ``matched``, the class of each cluster.
    """
    match = match_clusters(labels, clusters, num_classes, soft.shape[1] if soft is not None else None, many_to_one)
    predicted = apply_match(match, clusters)
    classes = np.arange(num_classes)
    silhouette = None
    if features is not None:
        rows = np.random.default_rng(0).permutation(len(labels))[:_SILHOUETTE_ROWS]
        if 2 <= len(np.unique(clusters[rows])) < len(rows):
            silhouette = float(sk.silhouette_score(features[rows], clusters[rows]))
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(sk.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        "recall": class_recall(labels, predicted, num_classes),
        "roc_auc_hard": macro_roc_auc(labels, one_hot(predicted, num_classes)),
        "roc_auc_soft": None if soft is None else macro_roc_auc(labels, class_memberships(match, soft, num_classes)),
        "nmi": float(sk.normalized_mutual_info_score(labels, clusters)),
        "ami": float(sk.adjusted_mutual_info_score(labels, clusters)),
        "ari": float(sk.adjusted_rand_score(labels, clusters)),
        "silhouette": silhouette,
        "matched": match.tolist(),
    }


def class_memberships(match: np.ndarray, soft: np.ndarray, num_classes: int) -> np.ndarray:
    """(N, C) float64: memberships (N, K) in clusters summed over the clusters of each class."""
    return soft @ one_hot(match, num_classes)


def one_hot(predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """(N, C) float64 with a one at each predicted class; a row of zeros where that is negative."""
    return np.equal.outer(predicted, np.arange(num_classes)).astype(np.float64)
