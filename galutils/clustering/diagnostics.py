"""What the scores of a clustering must be held against.

Other clusterers, other seeds and classifiers on the same embedding, mistakes of evaluation that resemble chance, and
how far an embedding is from another. Embeddings and features are (N, D) float, labels (N,) int. A column ``counts`` has
the table of each clustering, see :func:`galutils.clustering.scores.count_pairs`.
"""

import time
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import linalg, stats

from galutils.clustering import methods
from galutils.clustering.null import null_accuracies, shuffle
from galutils.clustering.scores import count_classes, match_table, one_hot, score_table
from galutils.errors import GalutilsError
from galutils.evaluation.bootstrap import galaxy_draws, weighted_roc_auc
from galutils.evaluation.metrics import roc_auc

#: Methods whose time grows with the square of the rows, and how many of many rows these and the probes see.
SLOW, SAMPLE = ("spectral", "hdbscan"), 4000


def sample_rows(size: int, seed: int = 0) -> np.ndarray:
    """Row numbers, ascending: :data:`SAMPLE` drawn at random of more than :data:`methods.MANY`, else all of them."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(size, SAMPLE, replace=False)) if size > methods.MANY else np.arange(size)


def compare_clusterers(features: np.ndarray, labels: np.ndarray, seed: int = 0) -> pd.DataFrame:
    """Every method with a cluster for each class, and k-means with two and five times as many, on the same features.

    As many clusters as classes are matched one-to-one. More of them (also where HDBSCAN finds more) are matched
    many-to-one, for which chance is higher: ``chance`` is the mean accuracy under permuted labels.
    ``noise`` is the share of rows without a cluster. What is :data:`SLOW` sees a sample of many rows, and says so.
    """
    rows, classes = [], count_classes(labels)
    more = [("kmeans", times * classes) for times in (2, 5) if times * classes < len(labels)]
    sample = sample_rows(len(labels), seed)
    for method, count in [(method, classes) for method in methods.METHODS] + more:
        sampled = method in SLOW and len(sample) < len(labels)
        own, known = (features[sample], labels[sample]) if sampled else (features, labels)
        started = time.perf_counter()
        found = methods.cluster(own, method, count, seed)
        seconds = time.perf_counter() - started
        many = found.count > classes
        scores = methods.score_clustering(found, known, many_to_one=many, num_classes=classes)
        rows.append(
            {
                "method": f"{method} on {SAMPLE:,} galaxies" if sampled else method,
                "clusters": found.count,
                "matching": "many-to-one" if many else "one-to-one",
                "accuracy": scores["accuracy"],
                "chance": float(null_accuracies(known, found.clusters, 100, many_to_one=many).mean()),
                **{name: scores[name] for name in ("macro_f1", "nmi", "ami", "ari", "roc_auc_hard")},
                "noise": float(np.mean(found.clusters < 0)),
                "seconds": seconds,
                "counts": methods.counts_of(found, known, classes),
            }
        )
    return pd.DataFrame(rows)


def compare_probes(cases: Mapping[str, np.ndarray], labels: np.ndarray, groups: np.ndarray) -> pd.DataFrame:
    """Accuracies of classifiers on embeddings of the same rows, by five-fold cross-validation: are the classes there?

    A column for each case; rows by ``kind`` and ``fold``. "knn" are the ten nearest rows (Euclidean, equal votes),
    "linear" is ridge regression of the classes on standardised features, with a penalty of their number. Of many
    rows :func:`sample_rows` are seen; classes with fewer than five of them are left out.

    Args:
        groups: (N,) int, rows of one galaxy, which stay on one side; see :func:`galutils.data.splits.group_rows`.

    Raises:
        GalutilsError: fewer than two classes have five rows.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = sample_rows(len(labels))
    kept = rows[np.bincount(labels[rows])[labels[rows]] >= 5]
    if len(np.unique(labels[kept])) < 2:
        raise GalutilsError("Fewer than two classes have 5 rows or more; a probe has nothing to tell apart.")
    given = {
        "y": labels[kept], "groups": groups[kept], "cv": StratifiedGroupKFold(5, shuffle=True, random_state=0),
        "error_score": "raise",
    }  # fmt: skip
    columns = {}
    for case, embedding in cases.items():
        linear = make_pipeline(StandardScaler(), RidgeClassifier(alpha=embedding.shape[1]))
        probes = {"knn": KNeighborsClassifier(10), "linear": linear}
        columns[case] = np.concatenate([cross_val_score(model, embedding[kept], **given) for model in probes.values()])
    return pd.DataFrame(columns, pd.MultiIndex.from_product([probes, range(5)], names=["kind", "fold"]))


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
    features = methods.reduce_dimensions(embedding, variance)
    table, best = methods.kmeans_over_seeds(features, labels, seeds=seeds, n_init=methods.usual_starts(len(labels)))
    reported = table[table["reported"]].iloc[0]
    return {
        "components": features.shape[1],
        "accuracy": reported["accuracy"],
        "accuracy_std": float(table["accuracy"].std(ddof=0)),
        **reported[["nmi", "ami", "roc_auc_hard", "roc_auc_soft"]].to_dict(),
        "counts": methods.counts_of(best, labels),
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


def compare_seeds(features: np.ndarray, labels: np.ndarray) -> tuple[pd.DataFrame, methods.Clustering]:
    """k-means with ten starts and with one: of ten seeds the one with the lowest inertia, the median, the worst.

    Median and worst are by accuracy, which nobody knows who has no labels; the lowest inertia is what is reported.
    scikit-learn's default was ten starts before version 1.4 and is one since. The clustering given back is that of
    ten starts with the lowest inertia.
    """
    rows, reported = {}, None
    for n_init, word in ((10, "ten starts"), (1, "one start")):
        found = [methods.kmeans(features, count_classes(labels), seed, n_init) for seed in range(10)]
        scores = pd.DataFrame([methods.score_clustering(own, labels) for own in found])
        order = scores["accuracy"].argsort(kind="stable").to_numpy()
        lowest = int(np.argmin([own.inertia for own in found]))
        reported = reported or found[lowest]
        chosen = {"lowest inertia": lowest, "median seed": order[len(order) // 2], "worst seed": order[0]}
        for name, place in chosen.items():
            kept = scores.loc[place, ["accuracy", "nmi", "ami", "roc_auc_hard"]].to_dict()
            rows[f"{word}, {name}"] = {**kept, "counts": methods.counts_of(found[place], labels)}
    return pd.DataFrame(list(rows.values()), list(rows)), reported


def soft_gain(clustering: methods.Clustering, labels: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """ROC AUC from ``soft`` and from ``hard`` assignments, and how far the first is above: ``gain``, ``low``, ``high``.

    The 95% interval is that of the bootstrap, both on the same galaxies. groups: (N,) int, of rows of one galaxy.
    """
    predicted, soft = methods.predict_classes(clustering, labels)
    hard = one_hot(predicted, soft.shape[1])
    (weights,) = galaxy_draws([groups], 200)
    gains = weighted_roc_auc(labels, soft, weights) - weighted_roc_auc(labels, hard, weights)
    low, high = np.nanquantile(gains, (0.025, 0.975))
    found = {"soft": roc_auc(labels, soft), "hard": roc_auc(labels, hard)}
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


def drift(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """How far two embeddings of the same rows are apart: ``cka``, ``median_angle`` and ``largest_angle``.

    Linear centred kernel alignment (Kornblith et al. 2019, section 3) is one if they differ by rotation, shift and
    scale alone; near zero if they have nothing in common. The principal angles (degrees from 0 to 90) are those between
    the subspaces that the scores of the ten leading components span, one number per row: PCA and k-means see these
    alone, and a mere rotation of an embedding leaves them as they are.
    """
    x, y = (e.astype(np.float64) - e.mean(axis=0, dtype=np.float64) for e in (first, second))
    covariances = [e.T @ e for e in (x, y)]
    cka = np.sum((y.T @ x) ** 2) / np.prod([np.linalg.norm(own) for own in covariances])
    scores = [e @ _leading(own, 10) for e, own in zip((x, y), covariances, strict=True)]
    angles = np.degrees(linalg.subspace_angles(*scores))
    return {"cka": float(cka), "median_angle": np.median(angles), "largest_angle": angles.max()}


def _leading(covariance: np.ndarray, count: int) -> np.ndarray:
    """(D, count) eigenvectors of a covariance (D, D) that have the largest values, fewer where there are fewer."""
    size = len(covariance)
    return linalg.eigh(covariance, subset_by_index=(max(0, size - count), size - 1))[1]
