"""What the scores of a clustering must be held against.

Other clusterers, other seeds and classifiers on the same embedding, mistakes of evaluation that resemble chance, and
how far an embedding is from another. Embeddings and features are (N, D) float, labels (N,) int. A column ``counts`` has
the table of each clustering, see :func:`galutils.clustering.scores.count_pairs`.
"""

import time
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import linalg, stats

from galutils.clustering.methods import (
    METHODS,
    Clustering,
    cluster,
    kmeans,
    kmeans_over_seeds,
    predict_classes,
    reduce_dimensions,
    score_clustering,
)
from galutils.clustering.null import null_accuracies, shuffle
from galutils.clustering.scores import count_classes, count_pairs, match_table, score_table
from galutils.errors import GalutilsError
from galutils.evaluation.bootstrap import galaxy_draws, weighted_roc_auc
from galutils.evaluation.metrics import macro_roc_auc

#: Classifiers of :func:`probe`.
PROBES = ("knn", "linear")


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
                **{name: scores[name] for name in ("macro_f1", "nmi", "ami", "ari", "roc_auc_hard")},
                "noise": float(np.mean(found.clusters < 0)),
                "seconds": seconds,
                "counts": counts_of(found, labels),
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


def compare_probes(cases: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Accuracies of :func:`probe` on several embeddings of the same rows, on the same five folds.

    A column for each case; rows, by ``kind`` and ``fold``, of each of :data:`PROBES`.
    """
    columns = {
        case: np.concatenate([probe(embedding, labels, kind, groups=groups) for kind in PROBES])
        for case, embedding in cases.items()
    }
    folds = len(next(iter(columns.values()))) // len(PROBES)
    return pd.DataFrame(columns, pd.MultiIndex.from_product([PROBES, range(folds)], names=["kind", "fold"]))


def fold_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of what the folds of a cross-validation gave (folds,), and its 95% interval.

    Folds share what they learn from, so that their spread alone would make it too narrow; the variance is corrected
    after Nadeau & Bengio 2003, Student's t with folds - 1 degrees of freedom.
    """
    folds, mean = len(values), float(np.mean(values))
    error = np.std(values, ddof=1) * np.sqrt(1 / folds + 1 / (folds - 1))
    half = float(stats.t.ppf(0.975, folds - 1) * error)
    return mean, mean - half, mean + half


def assess_clusters(
    embedding: np.ndarray, labels: np.ndarray, variance: float | int = 0.95, seeds: Iterable[int] = range(10)
) -> dict:
    """k-means on an embedding's principal components, see :func:`galutils.clustering.methods.reduce_dimensions`.

    Scores are those of the seed with the lowest inertia; ``accuracy_std`` is taken over the seeds.
    """
    features = reduce_dimensions(embedding, variance)
    table, best = kmeans_over_seeds(features, labels, seeds=seeds)
    reported = table[table["reported"]].iloc[0]
    return {
        "components": features.shape[1],
        "accuracy": reported["accuracy"],
        "accuracy_std": float(table["accuracy"].std(ddof=0)),
        **reported[["nmi", "ami", "roc_auc_hard", "roc_auc_soft"]].to_dict(),
        "counts": counts_of(best, labels),
    }


def assess_all(
    embeddings: Mapping[str, Mapping[str, np.ndarray]], labels: np.ndarray, variance: float
) -> dict[str, pd.DataFrame]:
    """For each cause that has cases the table of :func:`assess_clusters`, one row per case.

    embeddings: by cause and case.
    """
    return {
        cause: pd.DataFrame([assess_clusters(e, labels, variance) for e in cases.values()], list(cases))
        for cause, cases in embeddings.items()
        if cases
    }


def assess_dimensions(embedding: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    """:func:`assess_clusters` of the first 2, 5, ... 200 components alone, as far as there are so many."""
    kept = [d for d in (2, 5, 10, 20, 50, 100, 200) if d < min(embedding.shape)]
    names = [f"first {d} components" for d in kept]
    return pd.DataFrame([assess_clusters(embedding, labels, d) for d in kept], names)


def compare_seeds(features: np.ndarray, labels: np.ndarray, seeds: Sequence[int] = range(10)) -> pd.DataFrame:
    """k-means with ten starts and with one: of so many seeds the one with the lowest inertia, the median, the worst.

    Median and worst are by accuracy, which nobody knows who has no labels; the lowest inertia is what is reported.
    scikit-learn's default was ten starts before version 1.4 and is one since.
    """
    rows = {}
    for n_init, word in ((10, "ten starts"), (1, "one start")):
        found = [kmeans(features, count_classes(labels), seed, n_init) for seed in seeds]
        scores = pd.DataFrame([score_clustering(own, labels) for own in found])
        order = scores["accuracy"].argsort(kind="stable").to_numpy()
        lowest = int(np.argmin([own.inertia for own in found]))
        chosen = {"lowest inertia": lowest, "median seed": order[len(order) // 2], "worst seed": order[0]}
        for name, place in chosen.items():
            kept = scores.loc[place, ["accuracy", "nmi", "ami", "roc_auc_hard"]].to_dict()
            rows[f"{word}, {name}"] = {**kept, "counts": counts_of(found[place], labels)}
    return pd.DataFrame(list(rows.values()), list(rows))


def soft_gain(clustering: Clustering, labels: np.ndarray, groups: np.ndarray, draws: int = 200) -> dict[str, float]:
    """ROC AUC from ``soft`` and from ``hard`` assignments, and how far the first is above: ``gain``, ``low``, ``high``.

    The 95% interval is that of the bootstrap, both on the same galaxies. groups: (N,) int, of rows of one galaxy.
    """
    predicted, soft = predict_classes(clustering, labels)
    hard = np.equal.outer(predicted, np.arange(soft.shape[1])).astype(float)
    (weights,) = galaxy_draws([groups], draws)
    gains = weighted_roc_auc(labels, soft, weights) - weighted_roc_auc(labels, hard, weights)
    low, high = np.nanquantile(gains, (0.025, 0.975))
    found = {"soft": macro_roc_auc(labels, soft), "hard": macro_roc_auc(labels, hard)}
    return found | {"gain": found["soft"] - found["hard"], "low": float(low), "high": float(high)}


def evaluation_faults(tables: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """A clustering scored rightly and with faults that resemble chance, as a mean over tables (draws, K + 1, C).

    ``fault``, ``accuracy`` with the ends of its central 95%, ``accuracy_low`` and ``accuracy_high``, and
    ``roc_auc_hard``. What is drawn by lot, permuted labels and the numbering of the clusters, is drawn for each table.

    Raises:
        GalutilsError: the number of clusters is not that of classes.
    """
    clusters, classes = tables.shape[1] - 1, tables.shape[2]
    if clusters != classes:
        raise GalutilsError(f"There are {clusters} clusters; the inverse assignment needs {classes}.")
    rng, scores = np.random.default_rng(seed), []
    for draw, table in enumerate(tables):
        match, (shuffled,) = match_table(table), shuffle(table, 1, seed + draw)
        cases = {
            "none": (table, match),
            "assignment applied in the inverse direction": (table, np.append(np.argsort(match[:-1]), -1)),
            "cluster numbers taken for classes, any numbering": (table, np.append(rng.permutation(classes), -1)),
            "labels shuffled before matching": (shuffled, match_table(shuffled)),
            "labels shuffled after matching": (shuffled, match),
        }
        scores += [(fault, *score_table(*case)) for fault, case in cases.items()]
    grouped = pd.DataFrame(scores, columns=["fault", "accuracy", "roc_auc_hard"]).groupby("fault", sort=False)
    low, high = (grouped["accuracy"].quantile(share) for share in (0.025, 0.975))
    return grouped.mean().assign(accuracy_low=low, accuracy_high=high).reset_index()


def counts_of(clustering: Clustering, labels: np.ndarray) -> np.ndarray:
    """The table (K + 1, C) of a clustering; see :func:`galutils.clustering.scores.count_pairs`."""
    return count_pairs(labels, clustering.clusters, count_classes(labels), clustering.count)


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
