"""How accuracy grows with the number of labels, and what labels are worth: ways that are trained on the same draws.

Galaxies, draws of the labelled galaxies and initialisations are drawn anew at once, each by itself (the bootstrap of
crossed factors; Owen 2007), so that an interval holds for other galaxies, other draws and other seeds. Of few draws and
seeds one less is drawn, which leaves the variance unbiased (Rao & Wu 1988), and critical values are Student's, with
Satterthwaite's degrees of freedom. Bands are simultaneous: the largest deviation of a replicate, over all that is drawn
together, decides (sup-t; Montiel Olea & Plagborg-Møller 2019). Between numbers of labels curves are straight in log n.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.isotonic import isotonic_regression

from galutils.evaluation.bootstrap import DRAWS, LEVEL, galaxy_draws
from galutils.evaluation.significance import MARGIN, WORSE, verdict

#: Scores that curves are drawn of, in words.
CURVE_SCORES = {"accuracy": "Accuracy", "macro_recall": "Mean recall of the classes"}


@dataclass(frozen=True)
class Crossed:
    """Which test galaxies every network classified correctly: A arms, N numbers of labels, D draws and S seeds."""

    arms: tuple[str, ...]  # (A,) titles
    n: tuple[int, ...]  # (N,) labels, increasing
    correct: np.ndarray  # (A, N, D, S, G) bool
    labels: np.ndarray  # (G,) int classes
    group: np.ndarray  # (G,) int; rows with the same number show the same galaxy
    score: str = "accuracy"  # one of CURVE_SCORES

    def by_recall(self) -> "Crossed":
        """The same by the mean recall of the classes."""
        return replace(self, score="macro_recall")

    def scores(self, weights: np.ndarray) -> np.ndarray:
        """The score of every network, (A, N, D, S, B), for weightings (B, G) of the test galaxies."""
        classes = [self.labels == label for label in np.unique(self.labels)]
        parts = classes if self.score == "macro_recall" else [np.full(len(self.labels), True)]
        right = self.correct.astype(np.float32)
        with np.errstate(invalid="ignore"):
            shares = [right[..., own] @ weights[:, own].T / weights[:, own].sum(axis=1) for own in parts]
        return np.nanmean(shares, axis=0)  # over the classes that were drawn

    @cached_property
    def cells(self) -> np.ndarray:
        """(A, N, D, S) the score of every network."""
        return self.scores(np.ones((1, len(self.labels)), np.float32))[..., 0].astype(float)

    @cached_property
    def replicates(self) -> np.ndarray:
        """(B, A, N) mean scores with galaxies, draws and seeds drawn anew."""
        drawn = self.scores(galaxy_draws([self.group], DRAWS)[0])
        rng, (draws, seeds) = np.random.default_rng(1), self.cells.shape[2:]
        return np.einsum("andsb,bd,bs->ban", drawn, *(_shares(count, rng) for count in (draws, seeds)), optimize=True)

    @cached_property
    def grid(self) -> np.ndarray:
        """(M,) int numbers of labels at which curves are looked at, those of ``n`` among them."""
        return np.unique(np.r_[self.n, np.geomspace(self.n[0], self.n[-1], 101).round().astype(int)])

    def at(self, n: np.ndarray | float) -> np.ndarray:
        """(N, M) what each of the N numbers adds to a curve at numbers (M,), which lie between them."""
        return np.stack([np.interp(np.log(n), np.log(self.n), own) for own in np.eye(len(self.n))])

    def intervals(self, wanted: np.ndarray, simultaneous: bool = True) -> pd.DataFrame:
        """``value``, ``low`` and ``high`` of sums of scores, K of them, with weights ``wanted`` (K, A, N).

        Simultaneous for all of them, or each by itself.
        """
        draws, seeds = self.cells.shape[2:]
        cells = np.einsum("kan,ands->kds", wanted, self.cells, optimize=True)
        drawn = np.einsum("kan,ban->bk", wanted, self.replicates, optimize=True)
        by_draw, by_seed = (
            cells.mean(axis=axis).var(axis=1, ddof=1) / count for axis, count in ((2, draws), (1, seeds))
        )
        variance = np.maximum(drawn.var(axis=0, ddof=1), by_draw + by_seed)
        rest = variance - by_draw - by_seed
        uncertainty = by_draw**2 / (draws - 1) + by_seed**2 / (seeds - 1) + rest**2 / len(np.unique(self.group))
        with np.errstate(invalid="ignore", divide="ignore"):
            dof = np.where(variance > 0, variance**2 / uncertainty, 1)
            sizes = np.where(variance > 0, np.abs(drawn - drawn.mean(axis=0)) / np.sqrt(variance), 0)
        normal = stats.norm.ppf((1 + LEVEL) / 2)
        if simultaneous:
            normal = max(normal, np.quantile(sizes.max(axis=1), LEVEL))
        half = -stats.t.ppf(stats.norm.sf(normal), dof) * np.sqrt(variance)
        value = cells.mean(axis=(1, 2))
        return pd.DataFrame({"value": value, "low": value - half, "high": value + half})


def _shares(count: int, rng: np.random.Generator) -> np.ndarray:
    """(B, count) how much each of so many draws or seeds counts when they are drawn anew."""
    return rng.multinomial(count - 1, np.full(count, 1 / count), DRAWS) / (count - 1)


def curves(crossed: Crossed) -> pd.DataFrame:
    """``approach``, ``n``, ``value``, ``low`` and ``high`` of every arm at every number of labels, one band for all."""
    every = np.eye(len(crossed.arms) * len(crossed.n)).reshape(-1, len(crossed.arms), len(crossed.n))
    rows = pd.MultiIndex.from_product([crossed.arms, crossed.n], names=["approach", "n"]).to_frame(index=False)
    table = rows.join(crossed.intervals(every))
    return table.assign(low=table["low"].clip(0, 1), high=table["high"].clip(0, 1))


def differences(
    crossed: Crossed, contrasts: Sequence[tuple[str, str]], margin: float = MARGIN, n: np.ndarray | None = None
) -> pd.DataFrame:
    """Second less first of every contrast at the numbers ``n``, by default the whole grid; one band for all.

    ``first``, ``second``, ``n``, ``value``, ``low``, ``high``, and the ``verdict`` on the second.
    """
    n = crossed.grid if n is None else n
    at, place = crossed.at(n), crossed.arms.index
    wanted = np.zeros((len(contrasts), len(n), len(crossed.arms), len(crossed.n)))
    for k, (first, second) in enumerate(contrasts):
        wanted[k, :, place(second)] += at.T
        wanted[k, :, place(first)] -= at.T
    rows = [{"first": first, "second": second, "n": number} for first, second in contrasts for number in n]
    table = pd.DataFrame(rows).join(crossed.intervals(wanted.reshape(-1, *wanted.shape[2:])))
    networks = crossed.cells[0, 0].size
    return table.assign(verdict=[verdict(row.low, row.high, networks, margin) for row in table.itertuples()])


def crossings(table: pd.DataFrame) -> list[tuple[int, int]]:
    """Where the two curves of one contrast may meet: ranges of n at which zero lies in the band of :func:`differences`.

    None, one or several. One that begins or ends with the numbers that were measured is open there.
    """
    n, low, high = (table[name].to_numpy() for name in ("n", "low", "high"))
    inside = (low <= 0) & (high >= 0)
    # Between two neighbours on different sides of zero the curves meet, too.
    jumps = np.flatnonzero(~inside[1:] & ~inside[:-1] & ((low > 0)[1:] != (low > 0)[:-1]))
    edges = np.flatnonzero(np.diff(np.r_[False, inside, False]))
    pieces = [(int(n[start]), int(n[end - 1])) for start, end in edges.reshape(-1, 2)]
    return sorted([*pieces, *((int(n[place]), int(n[place + 1])) for place in jumps)])


def label_worth(crossed: Crossed, contrasts: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """How many labels the first of a contrast needs to be as good as the second with ``n``, divided by n: ``worth``.

    Each interval, ``low`` to ``high``, holds by itself: those numbers of labels at which the two are not told apart.
    Infinity and zero say that the numbers that were measured do not reach so far; ``least`` and ``most`` are these,
    divided by n.
    """
    rows, grid, at = [], crossed.grid, crossed.at(crossed.grid)
    for first, second in contrasts:
        one, other = crossed.arms.index(first), crossed.arms.index(second)
        grown = isotonic_regression(crossed.cells[one].mean(axis=(1, 2)) @ at)
        for place, n in enumerate(crossed.n):
            wanted = np.zeros((len(grid), len(crossed.arms), len(crossed.n)))
            wanted[:, one] += at.T
            wanted[:, other, place] -= 1
            found = crossed.intervals(wanted, simultaneous=False)
            below = np.logical_and.accumulate(found["high"] < 0).sum()  # so many, from the fewest on, are too few
            above = np.logical_and.accumulate(found["low"][::-1] > 0).sum()
            target = crossed.cells[other, place].mean()
            needed = np.searchsorted(grown, target - 1e-9)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "n": n,
                    "worth": np.inf if needed == len(grid) else 0.0 if target < grown[0] else grid[needed] / n,
                    "low": grid[below - 1] / n if below else 0.0,
                    "high": grid[len(grid) - above] / n if above else np.inf,
                    "least": grid[0] / n,
                    "most": grid[-1] / n,
                }
            )
    return pd.DataFrame(rows)


def describe_differences(table: pd.DataFrame, numbers: Sequence[int], margin: float) -> list[str]:
    """A sentence for each contrast of :func:`differences`, on the numbers of labels that were measured."""
    said = []
    for (first, second), own in table[table["n"].isin(numbers)].groupby(["first", "second"], sort=False):
        found = {name: list(group["n"]) for name, group in own.groupby("verdict", sort=False)}
        words = "; ".join(f"{name} with {_listed(n)} labels" for name, n in found.items())
        said.append(f"{second} against {first}: {words}.")
    return [*said, f"Equivalent means within {100 * margin:g} points; open, that neither is shown."]


def describe_crossings(table: pd.DataFrame) -> list[str]:
    """A sentence for each contrast of :func:`differences` on where the two curves may meet."""
    said = []
    for (first, second), own in table.groupby(["first", "second"], sort=False):
        least, most, pieces = own["n"].min(), own["n"].max(), crossings(own)
        if not pieces:
            side = "above" if own["low"].iloc[0] > 0 else "below"
            said.append(
                f"{second} lies {side} {first} from {least:,} to {most:,} labels: the curves do not cross there."
            )
            continue
        words = [
            f"{low:,}{' or fewer' if low == least else ''} to {high:,}{' or more' if high == most else ''}"
            for low, high in pieces
        ]
        said.append(f"{second} and {first} may be equal, and cross or not, with {_listed(words)} labels.")
    return said


def describe_worth(row: pd.Series) -> tuple[str, str]:
    """The worth and the interval of a row of :func:`label_worth` in words."""
    worth = f"{row['worth']:.1f}"
    if row["worth"] in (0, np.inf):
        worth = f"more than {row['most']:.1f}" if row["worth"] else f"less than {row['least']:.1f}"
    low = f"{row['low']:.1f}" if row["low"] else f"less than {row['least']:.1f}"
    high = f"{row['high']:.1f}" if np.isfinite(row["high"]) else f"more than {row['most']:.1f}"
    return worth, f"{low} to {high}"


def best_way(crossed: Crossed, n: int, controls: Sequence[str] = ()) -> tuple[pd.Series, pd.DataFrame]:
    """The arm with the highest score at ``n`` labels, and the others less it.

    The first, with ``approach``, has an interval that holds for all arms at once, so for the best of them. The second
    is of :func:`differences`, with one band for all pairs. Controls are left out.
    """
    arms = [name for name in crossed.arms if name not in controls]
    at = crossed.at(np.array([n]))[:, 0]
    wanted = np.stack([np.outer(np.array(crossed.arms) == name, at) for name in arms])
    found = crossed.intervals(wanted).assign(approach=arms)
    best = found.loc[found["value"].idxmax()]
    pairs = sorted(combinations(arms, 2), key=lambda pair: best["approach"] not in pair)
    pairs = [pair[::-1] if pair[1] == best["approach"] else pair for pair in pairs]
    table = differences(crossed, pairs, n=np.array([n]))
    return best, table[table["first"] == best["approach"]].reset_index(drop=True)


def describe_best(best: pd.Series, others: pd.DataFrame) -> str:
    """What :func:`best_way` gives, in words."""
    beaten, open_ = (others.loc[(others["verdict"] == WORSE) == told, "second"].tolist() for told in (True, False))
    return (
        f"{best['approach']} is right most often of {len(others) + 1} ways, {best['value']:.1%} (95% interval, for all "
        f"ways at once, {max(0, best['low']):.1%} to {min(1, best['high']):.1%})."
        + (f" It is better than: {'; '.join(beaten)}." if beaten else "")
        + (f" Not told apart from it: {'; '.join(open_)}." if open_ else "")
    )


def _listed(items: Sequence) -> str:
    """ "40", "40 and 80", "40, 80 and 200"."""
    words = [item if isinstance(item, str) else f"{item:,}" for item in items]
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
