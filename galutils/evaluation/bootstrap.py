"""How far a score may lie from what other galaxies and other seeds would have given.

Galaxies are drawn anew with replacement, all rows of one galaxy together (the cluster bootstrap; Field & Welsh
2007), and the seeds of an approach are tested on the same draw. That gives the variance due to the galaxies.
Between seeds the scores differ for two reasons: the seeds, and that they err on different galaxies; the
bootstrap knows the second part, and what is left is the variance due to the seeds. Their sum has Satterthwaite's
(1946) degrees of freedom, which are few where few seeds carry the uncertainty.

Intervals of scores between 0 and 1 are Wilson's (1927) with the number of galaxies that would give the variance
found (Korn & Graubard 1998): they stay between 0 and 1, and have a width where every galaxy was right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from galutils.data.classes import COARSE, CONFUSABLE, GALAXY10

DRAWS = 1000
LEVEL = 0.95  # of every interval
#: Share of its galaxies to which an approach gives one and the same class from which on it has collapsed.
COLLAPSED = 0.95
#: Scores of :func:`weighted_scores` that are single numbers.
SCORES = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "top2_accuracy")


@dataclass(frozen=True)
class Graded:
    """The predictions of one run; classes and numbers are int."""

    row: np.ndarray  # (n,) rows of the file
    group: np.ndarray  # (n,) rows with the same number show the same galaxy
    labels: np.ndarray  # (n,) classes
    predicted: np.ndarray  # (n,) classes, -1 where none was predicted
    probabilities: np.ndarray | None = None  # (n, C) float; None where there are hard assignments only
    classes: tuple[str, ...] = GALAXY10  # what the C classes are called

    @property
    def correct(self) -> np.ndarray:
        """(n,) bool."""
        return self.labels == self.predicted

    @property
    def collapsed(self) -> bool:
        """Whether one class is the answer for :data:`COLLAPSED` of the galaxies or more, whatever they are.

        Other answers must also be less than half as many as there are galaxies of other classes: where nearly all
        galaxies are of one class, to say so is right.
        """
        given = np.bincount(self.predicted[self.predicted >= 0], minlength=len(self.classes))
        usual = int(given.argmax())
        others = len(self.row) - given[usual]
        return bool(given[usual] >= COLLAPSED * len(self.row) and 2 * others < np.sum(self.labels != usual))

    @property
    def confusable(self) -> dict[str, tuple[int, int]]:
        """Of :data:`galutils.data.classes.CONFUSABLE` the pairs that are classes here: their numbers by their names."""
        number = {name: i for i, name in enumerate(self.classes)}
        return {f"{a}, {b}": (number[a], number[b]) for a, b in CONFUSABLE if a in number and b in number}


def join(parts: Sequence[Graded]) -> Graded:
    """Predictions of several sets of rows, such as the folds of a split, as those of one."""
    fields = ("row", "group", "labels", "predicted", "probabilities")
    return Graded(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields), parts[0].classes)


def coarsen(graded: Graded) -> Graded:
    """The same by the classes of :data:`galutils.data.classes.COARSE`, for Galaxy10's; probabilities are summed."""
    coarse = np.array([[name in fine for name in GALAXY10] for fine in COARSE.values()])  # (coarse, fine)
    numbers = np.append(coarse.argmax(axis=0), -1)  # what was not predicted stays so
    probabilities = None if graded.probabilities is None else graded.probabilities @ coarse.T
    predicted = numbers[graded.predicted] if probabilities is None else probabilities.argmax(axis=1)
    return Graded(graded.row, graded.group, numbers[graded.labels], predicted, probabilities, tuple(COARSE))


def weighted_scores(graded: Graded, weights: np.ndarray) -> dict[str, np.ndarray]:
    """All scores, for several weightings of the rows at once: weights (B, n) say how often each row counts.

    The :data:`SCORES`, each (B,), of which ``balanced_accuracy`` is the mean recall; ``recall`` and ``precision``, each
    (B, C); and ``confused``, (B, K): the share of the galaxies of each of the K confusable pairs that are taken for
    the other one. NaN where a score has no meaning: a class does not occur or is not predicted; top-2 of hard
    assignments.
    """
    total, classes = weights.sum(axis=1), np.arange(len(graded.classes))
    truth, guess = (np.equal.outer(classes, given).astype(float) for given in (graded.labels, graded.predicted))
    true, taken, hits = (rows @ weights.T for rows in (truth, guess, truth * guess))  # each (C, B)
    with np.errstate(invalid="ignore"):
        recall, precision, f1 = hits / true, hits / taken, 2 * hits / (true + taken)
        confused = [
            (truth[a] * guess[b] + truth[b] * guess[a]) @ weights.T / (true[a] + true[b])
            for a, b in graded.confusable.values()
        ]
    ranks, top2 = graded.probabilities, np.full(len(weights), np.nan)
    if ranks is None:
        ranks = guess.T
    else:
        best = np.argsort(-ranks, axis=1, kind="stable")[:, :2]
        top2 = weights @ (best == graded.labels[:, None]).any(axis=1) / total
    return {
        "accuracy": hits.sum(axis=0) / total,
        "balanced_accuracy": np.nanmean(recall, axis=0),
        "macro_f1": np.nanmean(f1, axis=0),
        "roc_auc": weighted_roc_auc(graded.labels, ranks, weights),
        "top2_accuracy": top2,
        "recall": recall.T,
        "precision": precision.T,
        "confused": np.stack(confused, axis=1) if confused else np.empty((len(weights), 0)),
    }


def weighted_roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Macro one-versus-rest ROC AUC (B,) for weightings (B, n) of the rows; see :func:`metrics.roc_auc`.

    The share of pairs, one galaxy of the class and one of another, in which the first scores higher; ties count half.
    NaN where one class alone is drawn.
    """
    areas = []
    for label in np.unique(labels):
        order = np.argsort(scores[:, label], kind="stable")
        ranked, own = scores[order, label], labels[order] == label
        # How many others score lower than each of the class's galaxies, and how many at most as high.
        lower, upto = (np.searchsorted(ranked[~own], ranked[own], side) for side in ("left", "right"))
        others = np.pad(weights[:, order[~own]].cumsum(axis=1), ((0, 0), (1, 0)))
        inside, below = weights[:, order[own]], (others[:, lower] + others[:, upto]) / 2
        with np.errstate(invalid="ignore"):
            areas.append((inside * below).sum(axis=1) / (inside.sum(axis=1) * others[:, -1]))
    return pd.DataFrame(areas).mean().to_numpy()  # over the classes that have a curve


def galaxy_draws(groups: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0) -> list[np.ndarray]:
    """How often each row occurs when whole galaxies are drawn with replacement: for each run (draws, n) float32.

    Runs, each given by its rows' galaxy numbers (n,), share the draws: a galaxy occurs equally often in all of them.
    """
    rng, galaxies = np.random.default_rng(seed), np.unique(np.concatenate(groups))
    size = len(galaxies)
    drawn = np.empty((draws, size), np.float32)
    for draw in drawn:
        draw[:] = np.bincount(rng.integers(0, size, size), minlength=size)
    return [drawn[:, np.searchsorted(galaxies, group)] for group in groups]


def combine_seeds(points: np.ndarray, replicates: np.ndarray, galaxies: int) -> pd.DataFrame:
    """Mean and uncertainty of scores over seeds and galaxies; see the module's docstring.

    Args:
        points: (S, K) K scores for each seed.
        replicates: (S, B, K) the same on galaxies drawn anew; NaN, such as the recall of a class of which no galaxy was
            drawn, leaves that draw out.

    Returns:
        one row per score: ``mean``; ``sd`` between seeds, NaN for one seed; ``standard_error``, with one seed that of
        the galaxies alone; ``dof``, its degrees of freedom.
    """
    seeds = len(points)
    with np.errstate(invalid="ignore"):  # one galaxy tells no variance: NaN
        own = pd.DataFrame(replicates.mean(axis=0)).var(ddof=1).to_numpy() * galaxies / (galaxies - 1)
    between = left = np.zeros(points.shape[1])
    if seeds > 1:
        between = points.var(axis=0, ddof=1)
        # What the seeds' scores differ by although the seeds are equally good: they err on different galaxies.
        erring = (replicates - points[:, None]).var(axis=0, ddof=1)
        left = np.maximum(0, between - pd.DataFrame(erring).mean().fillna(0).to_numpy())
    variance = own + left / seeds
    uncertainty = np.where(left > 0, between / seeds, 0) ** 2 / max(1, seeds - 1) + own**2 / (galaxies - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        dof = np.where(uncertainty > 0, variance**2 / uncertainty, galaxies - 1)
    sd = np.sqrt(between) if seeds > 1 else np.full(points.shape[1], np.nan)
    return pd.DataFrame({"mean": points.mean(axis=0), "sd": sd, "standard_error": np.sqrt(variance), "dof": dof})


def estimate_mean(
    groups: Sequence[np.ndarray], values: Sequence[np.ndarray], draws: int = DRAWS, seed: int = 0
) -> dict:
    """Mean of a number that every row has, with Student's interval; for each seed the rows' galaxies and values, (n,).

    ``galaxies``, how many there are; the columns of :func:`combine_seeds`, ``low`` and ``high``.
    """
    points = np.array([[own.mean()] for own in values])
    weights = galaxy_draws(groups, draws, seed)
    replicates = [(drawn @ own / drawn.sum(axis=1))[:, None] for drawn, own in zip(weights, values, strict=True)]
    galaxies = len(np.unique(np.concatenate(groups)))
    found = combine_seeds(points, np.stack(replicates), galaxies).iloc[0]
    half = stdtrit(found["dof"], (1 + LEVEL) / 2) * found["standard_error"]
    return {"galaxies": galaxies, **found.to_dict(), "low": found["mean"] - half, "high": found["mean"] + half}


def describe_gap(values: np.ndarray, first: str, second: str, unit: str = "points", scale: float = 100) -> str:
    """In words: whether a first number exceeds a second, from their differences galaxy by galaxy, (n,).

    The 95% interval decides; NaN, where a galaxy lacks a number, is left out. first, second: what they are called;
    scale: how many of the unit are one.
    """
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return f"{first} and {second} cannot be compared: fewer than two galaxies have both numbers."
    found = estimate_mean([np.arange(len(values))], [values])
    mean, low, high = (scale * found[name] for name in ("mean", "low", "high"))
    interval = f"95% interval {low:+z.1f} to {high:+z.1f}, {len(values):,} galaxies"
    if low <= 0 <= high:
        return f"{first} and {second} are not told apart: {mean:+z.1f} {unit} ({interval})."
    size = f"{abs(mean):.1f}" if abs(mean) >= 0.05 else "less than 0.1"
    return f"{first} lies {size} {unit} {'above' if mean > 0 else 'below'} {second} ({interval})."


def estimate(runs: Sequence[Graded]) -> pd.DataFrame:
    """Every score of an approach, from its run for each seed: columns of :func:`combine_seeds`, ``low``, ``high``.

    Indexed by the :data:`SCORES`, ``recall`` and ``precision`` with a class's name, and ``confused`` with a pair's.
    """
    groups = [run.group for run in runs]
    weights = galaxy_draws(groups)
    points = np.stack([_flat(run, np.ones((1, len(run.row))))[0] for run in runs])
    replicates = np.stack([_flat(run, drawn) for run, drawn in zip(runs, weights, strict=True)])
    classes = [f"{score} {name}" for score in ("recall", "precision") for name in runs[0].classes]
    pairs = [f"confused {pair}" for pair in runs[0].confusable]
    table = combine_seeds(points, replicates, len(np.unique(np.concatenate(groups))))
    low, high = wilson(table["mean"], table["standard_error"], table["dof"], _galaxies_behind(runs))
    return table.assign(low=low, high=high).set_axis([*SCORES, *classes, *pairs])


def _flat(graded: Graded, weights: np.ndarray) -> np.ndarray:
    """(B, K): all scores side by side. In blocks, since the ROC curve of every draw is large."""
    blocks = [weighted_scores(graded, weights[start : start + 200]) for start in range(0, len(weights), 200)]
    return np.concatenate([np.column_stack(list(scores.values())) for scores in blocks])


def _galaxies_behind(runs: Sequence[Graded]) -> np.ndarray:
    """(K,) how many galaxies each score of :func:`_flat` is a share of, averaged over seeds."""
    count = len(runs[0].classes)
    true = np.mean([np.bincount(run.labels, minlength=count) for run in runs], axis=0)
    taken = np.mean([np.bincount(run.predicted[run.predicted >= 0], minlength=count) for run in runs], axis=0)
    pairs = [true[list(pair)].sum() for pair in runs[0].confusable.values()]
    return np.concatenate([np.full(len(SCORES), true.sum()), true, taken, pairs])


def wilson(
    mean: np.ndarray, standard_error: np.ndarray, dof: np.ndarray, galaxies: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Interval (low, high), each (K,), of shares whose variance is known; see the module's docstring.

    The number of galaxies, (K,), that they are shares of counts where the standard error is zero, so that the interval
    has a width where all galaxies, or none, were right.
    """
    mean, standard_error, dof = (np.asarray(values, float) for values in (mean, standard_error, dof))
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.where(standard_error > 0, mean * (1 - mean) / standard_error**2, galaxies)
        squared = stdtrit(dof, (1 + level) / 2) ** 2 / size
        middle = (mean + squared / 2) / (1 + squared)
        half = np.sqrt(squared * (mean * (1 - mean) + squared / 4)) / (1 + squared)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
