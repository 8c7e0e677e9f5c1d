"""What meaningless clusters get from the matching, and what a clustering would get on the paper's galaxies.

Accuracy and hard ROC AUC follow from a table of counts alone: its rows (K,) are clusters, its columns (C,) classes. So
chance is a draw among all tables with the same sums of rows and of columns, which needs no image.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import random_table

from galutils.clustering.scores import count_classes, count_pairs, match_table, score_table
from galutils.data.classes import GALAXY10, GALAXY10_COUNTS
from galutils.evaluation.paper import APPROACHES

_ROWS = [APPROACHES[name] for name in ("dino_kmeans", "dino_lora_kmeans")]
#: Accuracies and ROC AUCs that are rounded to one of those in the paper's fifth and sixth row.
PAPER_BOX = {
    "accuracy": (min(row.accuracy for row in _ROWS) - 0.005, max(row.accuracy for row in _ROWS) + 0.005),
    "roc_auc_hard": (min(row.roc_auc for row in _ROWS) - 0.0005, max(row.roc_auc for row in _ROWS) + 0.0005),
}
SCORES = tuple(PAPER_BOX)

#: Numbers of galaxies at which chance is drawn; the last is the full set.
SIZES = (300, 400, 500, 600, 700, 800, 1000, 1300, 1774, 3547, 8868, sum(GALAXY10_COUNTS))


def null_accuracies(
    labels: np.ndarray, clusters: np.ndarray, permutations: int = 1000, seed: int = 0, many_to_one: bool = False
) -> np.ndarray:
    """Matched accuracies (permutations,) of the same clusters with permuted labels: what a meaningless one gets."""
    table = count_pairs(labels, clusters, count_classes(labels))
    return score_tables(shuffle(table, permutations, seed), many_to_one)[:, 0]


def shuffle(table: np.ndarray, draws: int, seed: int = 0) -> np.ndarray:
    """Tables (draws, K, C) with the sums of this one, as permuted labels give them."""
    return random_table(table.sum(1), table.sum(0)).rvs(draws, random_state=seed).astype(np.int64)


def score_tables(tables: Iterable[np.ndarray], many_to_one: bool = False) -> np.ndarray:
    """Accuracy and hard ROC AUC (draws, 2) of tables of counts, the last row of each being noise, each matched best."""
    return np.array([score_table(table, match_table(table, many_to_one)) for table in tables])


def in_proportion(total: int, counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Whole numbers in the proportions of ``counts`` (n,) that sum to ``total``."""
    ends = np.round(np.cumsum(counts) / np.sum(counts) * total).astype(int)
    return np.diff(ends, prepend=0)


def chance_plane(
    shares: Mapping[str, np.ndarray], sizes: Sequence[int] = SIZES, draws: int = 200, seed: int = 0
) -> pd.DataFrame:
    """What meaningless clusters get on so many galaxies in Galaxy10 DECaLS's proportions.

    Args:
        shares: by name, (K,) shares of the clusters.

    Returns:
        one row per name and size: ``shares`` (the name), ``galaxies``, and the mean of ``accuracy`` and
        ``roc_auc_hard`` over the draws with the ends of their central 95%, such as ``accuracy_low``.
    """
    rows = []
    for name, own in shares.items():
        for size in sizes:
            classes, clusters = in_proportion(size, GALAXY10_COUNTS), in_proportion(size, own)
            scores = score_tables(random_table([*clusters, 0], classes).rvs(draws, random_state=seed))
            rows.append([name, size, *scores.mean(axis=0), *np.quantile(scores, (0.025, 0.975), axis=0).ravel()])
    parts = [f"{score}{part}" for part in ("", "_low", "_high") for score in SCORES]
    return pd.DataFrame(rows, columns=["shares", "galaxies", *parts])


def project(table: np.ndarray, many_to_one: bool = False, draws: int = 200, seed: int = 0) -> np.ndarray:
    """Tables (draws, K, C) of the full Galaxy10 DECaLS in which classes fall into clusters as in this one (K, C).

    Each of its classes has to occur. What a small table shows is in part chance, which the best matching turns into
    accuracy. So each class's shares of the clusters are drawn towards those of all classes, by as much as makes tables
    of the given size and class counts as accurate, on average, as this one is.
    """
    rng, totals = np.random.default_rng(seed), table.sum(0)
    overall = table.sum(1) / table.sum()
    own = table / totals

    def draw(weight: float, counts: Sequence[int] | np.ndarray, number: int) -> np.ndarray:
        mixed = weight * own + (1 - weight) * overall[:, None]
        parts = [rng.multinomial(count, mixed[:, c], number) for c, count in enumerate(counts)]
        return np.stack(parts, axis=-1)

    weights = np.linspace(0, 1, 11)
    reached = [score_tables(draw(weight, totals, 60), many_to_one)[:, 0].mean() for weight in weights]
    accuracy = score_table(table, match_table(table, many_to_one))[0]
    weight = np.interp(accuracy, np.maximum.accumulate(reached), weights)
    return draw(weight, GALAXY10_COUNTS, draws)


def is_paper(classes: Sequence[str], labels: np.ndarray) -> bool:
    """Whether the paper's numbers are about these classes: they are Galaxy10 DECaLS's, and all of them occur."""
    return tuple(classes) == GALAXY10 and len(np.unique(labels)) == len(GALAXY10)


def inside_box(scores: pd.DataFrame) -> pd.Series:
    """Which rows' ``accuracy`` and ``roc_auc_hard`` are the paper's, as far as rounding tells."""
    return pd.concat([scores[name].between(low, high) for name, (low, high) in PAPER_BOX.items()], axis=1).all(axis=1)


def within_chance(plane: pd.DataFrame) -> pd.Series:
    """At which sizes of :func:`chance_plane` the paper's numbers lie within the central 95% of both scores."""
    met = [(plane[f"{name}_low"] <= high) & (plane[f"{name}_high"] >= low) for name, (low, high) in PAPER_BOX.items()]
    return pd.concat(met, axis=1).all(axis=1)
