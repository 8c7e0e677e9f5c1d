"""From embeddings to classes without training: PCA, k-means and other clusterers.

The paper's way (section 4.5): PCA to 95% of the variance, k-means with a cluster for each class, Hungarian matching
of clusters and classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn import metrics as sk

from galutils.clustering.scores import count_classes, count_pairs, match_table, one_hot
from galutils.errors import GalutilsError
from galutils.evaluation.metrics import class_recall, roc_auc

#: Clusterers that :func:`cluster` knows.
METHODS = ("kmeans", "gmm", "spherical", "ward", "spectral", "hdbscan")

#: Above this number of rows, Ward joins near neighbours only: all distances would not fit into memory. Where k-means is
#: one of many to compare, it has one start in place of ten then: starts differ the less, the more rows there are.
MANY = 10_000
#: Of how many rows, drawn with a fixed seed, the silhouette is taken: its cost is quadratic.
_SILHOUETTE_ROWS = 2000


@dataclass(frozen=True)
class Clustering:
    """Rows put into clusters."""

    clusters: np.ndarray  # (N,) int64 from 0; -1 where a row has none (HDBSCAN's noise)
    soft: np.ndarray | None = None  # (N, K) float64 memberships, rows sum to one; None where the method has none
    inertia: float | None = None  # of k-means: sum of squared distances to the cluster centres, lower is better

    @property
    def count(self) -> int:
        """Number of clusters, empty ones included where they are known."""
        return self.soft.shape[1] if self.soft is not None else int(self.clusters.max(initial=-1)) + 1

    @property
    def shares(self) -> np.ndarray:
        """(K,) float64: share of the clustered rows in each cluster."""
        kept = self.clusters[self.clusters >= 0]
        return np.bincount(kept, minlength=self.count) / max(1, len(kept))

    def typical_rows(self, count: int) -> list[np.ndarray]:
        """For each cluster up to ``count`` row numbers, those with the highest membership first."""
        if self.soft is None:
            raise GalutilsError("This clustering has no memberships; use kmeans, gmm or spherical.")
        ranked = np.argsort(-self.soft, axis=0, kind="stable").T
        return [rows[self.clusters[rows] == k][:count] for k, rows in enumerate(ranked)]


def reduce_dimensions(embedding: np.ndarray, variance: float | int = 0.95, centered: bool = True) -> np.ndarray:
    """Principal components (N, d) float32 of an embedding (N, D), not rescaled.

    Args:
        variance: share of the variance to keep, 1.0 for all of it; or, if an integer, the number of components.
        centered: without it, as a bare singular value decomposition does it, the mean takes most of the share.
    """
    from sklearn.decomposition import PCA

    if variance <= 0 or (isinstance(variance, float) and variance > 1):
        raise GalutilsError(f"variance is {variance}; give a share above 0 and up to 1.0, or a number of components.")
    rows = len(embedding)
    # Exact solvers: the randomised one cannot keep a share, and draws. Of many rows the covariance is decomposed, which
    # takes a fifth of the time; in double precision, since it squares what the values differ by.
    if isinstance(variance, float):
        components = variance if variance < 1 else None
    else:
        components = min(variance, *embedding.shape)
    if not centered:
        # Mirrored at the origin, a set has its uncentred components and a mean of zero.
        embedding = np.concatenate([embedding, -embedding])
    solver = "covariance_eigh" if len(embedding) >= embedding.shape[1] else "full"
    return PCA(components, svd_solver=solver).fit_transform(embedding.astype(np.float64))[:rows].astype(np.float32)


def memberships(features: np.ndarray, centers: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Soft assignments (N, K) float64 by distance: softmax over centres (K, D) of -d² / (2 s²).

    The posterior of the mixture that k-means stands for: equally likely round Gaussians with one variance
    s², the mean squared distance to the own centre per dimension.
    """
    squared = sk.euclidean_distances(features.astype(np.float64), centers.astype(np.float64), squared=True)
    variance = squared[np.arange(len(clusters)), clusters].mean() / features.shape[1]
    smallest = np.finfo(float).eps * squared.max() or 1.0  # where every row is a centre
    return softmax(-squared / (2 * max(variance, smallest)), axis=1)


def kmeans(features: np.ndarray, clusters: int = 10, seed: int = 0, n_init: int = 10) -> Clustering:
    """scikit-learn's k-means: the best of ``n_init`` starts by inertia."""
    from sklearn.cluster import KMeans

    _check_count(features, clusters)
    fitted = KMeans(clusters, n_init=n_init, random_state=seed).fit(features)
    found = fitted.labels_.astype(np.int64)
    return Clustering(found, memberships(features, fitted.cluster_centers_, found), float(fitted.inertia_))


def usual_starts(rows: int) -> int:
    """How many starts k-means has from each seed where it is one of many to compare."""
    return 1 if rows > MANY else 10


def kmeans_over_seeds(
    features: np.ndarray,
    labels: np.ndarray,
    clusters: int | None = None,
    seeds: Iterable[int] = range(10),
    n_init: int = 10,
) -> tuple[pd.DataFrame, Clustering]:
    """k-means from several seeds; the one with the lowest inertia, which needs no labels, is the reported one.

    Args:
        clusters: as many as there are classes if None.

    Returns:
        one row per seed: ``seed``, ``inertia``, ``reported`` (bool), and the scores of :func:`score_clustering` that
        are numbers; and the reported clustering.
    """
    clusters = clusters or count_classes(labels)
    found = {seed: kmeans(features, clusters, seed, n_init) for seed in seeds}
    best = min(found.values(), key=lambda own: own.inertia)
    rows = [{"seed": seed, "inertia": own.inertia, "reported": own is best} for seed, own in found.items()]
    scores = pd.DataFrame([score_clustering(own, labels) for own in found.values()])
    return pd.DataFrame(rows).join(scores.select_dtypes(float)), best


def counts_of(clustering: Clustering, labels: np.ndarray, num_classes: int | None = None) -> np.ndarray:
    """The table (K + 1, C) of a clustering; see :func:`galutils.clustering.scores.count_pairs`."""
    return count_pairs(labels, clustering.clusters, num_classes or count_classes(labels), clustering.count)


def score_clustering(
    clustering: Clustering,
    labels: np.ndarray,
    features: np.ndarray | None = None,
    many_to_one: bool = False,
    num_classes: int | None = None,
) -> dict:
    """The scores that every clustering reports.

    Args:
        features: (N, D) what was clustered, for the silhouette (Euclidean).
        many_to_one: see :func:`galutils.clustering.scores.match_table`.

    Returns:
        after matching: ``accuracy``, ``macro_f1``, ``recall`` (list), ``roc_auc_hard`` (from one-hot predictions) and
        ``roc_auc_soft`` (None without memberships); without it: ``nmi`` (arithmetic mean), ``ami``, ``ari`` and
        ``silhouette`` (None without ``features`` or with one cluster); and ``matched``, the class of each cluster.
    """
    clusters, table = clustering.clusters, counts_of(clustering, labels, num_classes)
    predicted, soft = predict_classes(clustering, labels, num_classes, many_to_one)
    classes = np.arange(table.shape[1])
    silhouette = None
    if features is not None:
        rows = np.random.default_rng(0).permutation(len(labels))[:_SILHOUETTE_ROWS]
        if 2 <= len(np.unique(clusters[rows])) < len(rows):
            silhouette = float(sk.silhouette_score(features[rows], clusters[rows]))
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(sk.f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        "recall": class_recall(labels, predicted, len(classes)),
        "roc_auc_hard": roc_auc(labels, one_hot(predicted, len(classes))),
        "roc_auc_soft": None if clustering.soft is None else roc_auc(labels, soft),
        "nmi": float(sk.normalized_mutual_info_score(labels, clusters)),
        "ami": float(sk.adjusted_mutual_info_score(labels, clusters)),
        "ari": float(sk.adjusted_rand_score(labels, clusters)),
        "silhouette": silhouette,
        "matched": match_table(table, many_to_one)[:-1].tolist(),
    }


def predict_classes(
    clustering: Clustering, labels: np.ndarray, num_classes: int | None = None, many_to_one: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Class of each row by matching, (N,) int64, -1 where it has none, and its probabilities (N, C) float64.

    Those are the memberships summed over the clusters of each class; 0 or 1 where the clustering has none.
    """
    table = counts_of(clustering, labels, num_classes)
    match, classes = match_table(table, many_to_one), table.shape[1]
    predicted = match[clustering.clusters]
    if clustering.soft is None:
        return predicted, one_hot(predicted, classes)
    return predicted, clustering.soft @ one_hot(match[:-1], classes)


def cluster(features: np.ndarray, method: str, clusters: int = 10, seed: int = 0) -> Clustering:
    """Cluster rows of features (N, D) by one of :data:`METHODS`.

    Args:
        method: kmeans; gmm (Gaussian mixture, a diagonal covariance each); spherical (k-means of the directions);
            ward (agglomerative; over 15 near neighbours where there are more than 10,000 rows); spectral
            (on the graph of 10 near neighbours); hdbscan (finds the number of clusters itself, none
            smaller than 1% of the rows, and leaves noise without one).

    Raises:
        GalutilsError: unknown method, or fewer rows than clusters.
    """
    from sklearn import cluster as sk
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import normalize

    _check_count(features, clusters)
    if method in ("kmeans", "spherical"):
        directions = features if method == "kmeans" else normalize(features.astype(np.float64))
        return kmeans(directions, clusters, seed, usual_starts(len(features)))
    if method == "gmm":
        # Principal components are uncorrelated over all rows, and full covariances would have more
        # parameters than a small set has numbers.
        fitted = GaussianMixture(clusters, covariance_type="diag", n_init=3, random_state=seed).fit(features)
        soft = fitted.predict_proba(features).astype(np.float64)
        return Clustering(soft.argmax(axis=1), soft)
    if method == "ward":
        graph = kneighbors_graph(features, 15) if len(features) > MANY else None
        model = sk.AgglomerativeClustering(clusters, linkage="ward", connectivity=graph)
    elif method == "spectral":
        neighbors = min(10, len(features) - 1)
        model = sk.SpectralClustering(clusters, affinity="nearest_neighbors", n_neighbors=neighbors, random_state=seed)
    elif method == "hdbscan":
        model = sk.HDBSCAN(min_cluster_size=max(5, len(features) // 100), copy=True)
    else:
        raise GalutilsError(f"method is '{method}'; choose {', '.join(METHODS)}.")
    return Clustering(model.fit_predict(features).astype(np.int64))


def _check_count(features: np.ndarray, clusters: int) -> None:
    if not 1 <= clusters <= len(features):
        raise GalutilsError(f"{len(features)} rows cannot be put into {clusters} clusters; set clusters to fewer.")
