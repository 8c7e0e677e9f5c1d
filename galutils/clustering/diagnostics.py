"""What the scores of a clustering must be held against.

Other clusterers and classifiers on the same embedding, chance, mistakes of evaluation that resemble chance, and
how far fine-tuning has moved an embedding. Embeddings and features are (N, D) float, labels (N,) int.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import linalg

from galutils.clustering.methods import (
    METHODS,
    Clustering,
    cluster,
    kmeans_over_seeds,
    reduce_dimensions,
    score_clustering,
)
from galutils.clustering.scores import (
    apply_match,
    class_memberships,
    count_classes,
    match_clusters,
    matched_accuracy,
    one_hot,
)
from galutils.errors import GalutilsError
from galutils.evaluation.metrics import macro_roc_auc


def compare_clusterers(
    features: np.ndarray,
    labels: np.ndarray,
    methods: Sequence[str] = METHODS,
    over_clustering: Sequence[int] = (2, 5),
    seed: int = 0,
) -> pd.DataFrame:
    """Every method with a cluster for each class, and k-means with more of them, on the same features.

    As many clusters as classes are matched one-to-one. More of them (also where HDBSCAN finds more) are matched
    many-to-one, for which chance is higher: ``chance`` is the mean accuracy under permuted labels.
    ``noise`` is the share of rows without a cluster. over_clustering: how many times as many clusters as classes.
    """
    rows, classes = [], count_classes(labels)
    more = [("kmeans", classes * times) for times in over_clustering if classes * times < len(labels)]
    for method, count in [(method, classes) for method in methods] + more:
        started = time.perf_counter()
        found = cluster(features, method, count, seed)
        seconds = time.perf_counter() - started
        many = found.count > classes
        scores = score_clustering(found, labels, many_to_one=many)
        rows.append(
            {
                "method": method,
                "clusters": found.count,
                "matching": "many-to-one" if many else "one-to-one",
                "accuracy": scores["accuracy"],
                "chance": float(null_accuracies(labels, found.clusters, 100, many_to_one=many).mean()),
                **{name: scores[name] for name in ("macro_f1", "nmi", "ami", "ari")},
                "noise": float(np.mean(found.clusters < 0)),
                "seconds": seconds,
            }
        )
    return pd.DataFrame(rows)


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    kind: str = "linear",
    folds: int = 5,
    groups: np.ndarray | None = None,
    neighbors: int = 10,
) -> np.ndarray:
    """Accuracies (folds,) of a classifier on an embedding by cross-validation: is the class in there at all?

    Args:
        kind: "linear": logistic regression on standardised features; "knn": the ``neighbors`` nearest rows
            (Euclidean, equal votes).
        groups: (N,) int, rows of one galaxy, which stay on one side; see :func:`galutils.data.splits.group_rows`.

    Classes with fewer rows than there are folds are left out.

    Raises:
        GalutilsError: unknown kind, or fewer than two classes have as many rows as there are folds.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "knn": KNeighborsClassifier(neighbors),
    }
    if kind not in models:
        raise GalutilsError(f"kind is '{kind}'; choose linear or knn.")
    groups = np.arange(len(labels)) if groups is None else groups
    kept = np.bincount(labels)[labels] >= folds
    if len(np.unique(labels[kept])) < 2:
        raise GalutilsError(f"Fewer than two classes have {folds} rows or more; a probe has nothing to tell apart.")
    features, labels, groups = features[kept], labels[kept], groups[kept]
    cut = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    return cross_val_score(models[kind], features, labels, groups=groups, cv=cut, error_score="raise")


def assess_clusters(
    embedding: np.ndarray, labels: np.ndarray, variance: float | int = 0.95, seeds: Iterable[int] = range(10)
) -> dict:
    """k-means on an embedding's principal components, see :func:`galutils.clustering.methods.reduce_dimensions`.

    Scores are those of the seed with the lowest inertia; ``accuracy_std`` is taken over the seeds.
    """
    features = reduce_dimensions(embedding, variance)
    table, _ = kmeans_over_seeds(features, labels, seeds=seeds)
    reported = table[table["reported"]].iloc[0]
    return {
        "components": features.shape[1],
        "accuracy": reported["accuracy"],
        "accuracy_std": float(table["accuracy"].std(ddof=0)),
        **reported[["nmi", "ami", "roc_auc_hard", "roc_auc_soft"]].to_dict(),
    }


def assess(
    embedding: np.ndarray,
    labels: np.ndarray,
    variance: float | int = 0.95,
    seeds: Iterable[int] = range(10),
    groups: np.ndarray | None = None,
) -> dict:
    """:func:`assess_clusters`, with ``knn`` and ``linear``, the mean accuracies of :func:`probe` over five folds."""
    return {
        **assess_clusters(embedding, labels, variance, seeds),
        **{kind: float(probe(embedding, labels, kind, groups=groups).mean()) for kind in ("knn", "linear")},
    }


def assess_all(
    embeddings: Mapping[str, Mapping[str, np.ndarray]], labels: np.ndarray, variance: float, groups: np.ndarray
) -> dict[str, pd.DataFrame]:
    """For each cause that has cases the table of :func:`assess`, one row per case; embeddings by cause and case."""
    return {
        cause: pd.DataFrame({case: assess(e, labels, variance, groups=groups) for case, e in cases.items()}).T
        for cause, cases in embeddings.items()
        if cases
    }


def assess_dimensions(embedding: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """:func:`assess_clusters` of the first 2, 5, ... 200 components alone, as far as there are so many."""
    kept = [d for d in (2, 5, 10, 20, 50, 100, 200) if d < min(embedding.shape)]
    return pd.DataFrame({f"first {d} components": assess_clusters(embedding, labels, d) for d in kept}).T


def null_accuracies(
    labels: np.ndarray, clusters: np.ndarray, permutations: int = 1000, seed: int = 0, many_to_one: bool = False
) -> np.ndarray:
    """Matched accuracies (permutations,) of the same clusters with permuted labels: what a meaningless one gets."""
    rng, count = np.random.default_rng(seed), count_classes(labels)
    return np.array(
        [matched_accuracy(rng.permutation(labels), clusters, count, many_to_one) for _ in range(permutations)]
    )


def evaluation_faults(clustering: Clustering, labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """One clustering evaluated rightly and with faults that resemble chance.

    ``fault``, ``accuracy``, ``roc_auc_hard`` (from classes), ``roc_auc_soft`` (from memberships, where there are any).

    Raises:
        GalutilsError: the number of clusters is not that of classes.
    """
    count = count_classes(labels)
    if clustering.count != count:
        raise GalutilsError(f"There are {clustering.count} clusters; the inverse assignment needs {count}.")
    clusters, shuffled = clustering.clusters, np.random.default_rng(seed).permutation(labels)
    match, misled = (match_clusters(given, clusters, count, count) for given in (labels, shuffled))
    cases = {
        "none": (match, labels),
        "assignment applied in the inverse direction": (np.argsort(match), labels),
        "cluster numbers taken for classes": (np.arange(count), labels),
        "labels shuffled before matching": (misled, shuffled),
        "labels shuffled after matching": (match, shuffled),
    }
    rows = []
    for fault, (used, truth) in cases.items():
        predicted = apply_match(used, clusters)
        soft = None if clustering.soft is None else class_memberships(used, clustering.soft, count)
        rows.append(
            {
                "fault": fault,
                "accuracy": float(np.mean(predicted == truth)),
                "roc_auc_hard": macro_roc_auc(truth, one_hot(predicted, count)),
                "roc_auc_soft": None if soft is None else macro_roc_auc(truth, soft),
            }
        )
    return pd.DataFrame(rows)


def linear_cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of two embeddings of the same rows (Kornblith et al. 2019, section 3).

    One if they differ by rotation, shift and scale alone; near zero if they have nothing in common.
    """
    x, y = (e.astype(np.float64) - e.mean(axis=0, dtype=np.float64) for e in (first, second))
    return float(np.sum((y.T @ x) ** 2) / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def subspace_angles(first: np.ndarray, second: np.ndarray, dimensions: int = 10) -> np.ndarray:
    """Principal angles between what the leading components of two embeddings say about the same rows.

    The subspaces are spanned by the components' scores, one number per row: PCA and k-means see these alone,
    and a mere rotation of an embedding leaves them as they are. (dimensions,) degrees from 0 to 90, increasing.
    """
    scores = [reduce_dimensions(embedding, dimensions).astype(np.float64) for embedding in (first, second)]
    return np.degrees(linalg.subspace_angles(*scores))[::-1]


def drift(first: np.ndarray, second: np.ndarray) -> dict:
    """How far two embeddings of the same rows are apart: ``cka``, ``median_angle`` and ``largest_angle`` (degrees)."""
    angles = subspace_angles(first, second)
    return {"cka": linear_cka(first, second), "median_angle": np.median(angles), "largest_angle": angles.max()}


def drift_table(
    adapted: Mapping[str, np.ndarray], frozen: np.ndarray, assessed: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """:func:`drift` of adapted embeddings, by name, from the frozen one, and the ``change`` of the accuracy.

    Assessed comes from :func:`assess_all`, with the causes "reference" and, where anything was adapted, "LoRA".
    """
    table = pd.DataFrame({name: drift(frozen, embedding) for name, embedding in adapted.items()}).T
    if len(table):
        table["change"] = assessed["LoRA"]["accuracy"] - assessed["reference"].loc["frozen transformer", "accuracy"]
    return table
