"""How accuracy grows with the number of labels, and what labels are worth: ways that are trained on the same draws.

An interval holds for other galaxies, other draws of the labelled galaxies and other seeds at once. Its variance is that
of the galaxies, by the bootstrap, and what draws and seeds add to it, pooled over all ways, as single ways have few of
both; critical values are Student's, with Satterthwaite's degrees of freedom. Bands are simultaneous: galaxies, draws
and seeds are drawn anew at once, each by itself (the bootstrap of crossed factors; Owen 2007; of draws and seeds one
less, which leaves variances unbiased, Rao & Wu 1988), and the largest deviation of a replicate, over all that is drawn
together, decides (sup-t; Montiel Olea & Plagborg-Møller 2019). Between numbers of labels curves are straight in log n.

How often all bands hold in simulated experiments ``benchmarks/label_coverage.py`` counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.isotonic import isotonic_regression

from galutils.evaluation.bootstrap import DRAWS, LEVEL, galaxy_draws
from galutils.evaluation.significance import MARGIN, WORSE, verdict


@dataclass(frozen=True)
class Crossed:
    """Which test galaxies every network classified correctly: A arms, N numbers of labels, D draws and S seeds."""

    arms: tuple[str, ...]  # (A,) titles
    n: tuple[int, ...]  # (N,) labels, increasing
    correct: np.ndarray  # (A, N, D, S, G) bool
    labels: np.ndarray  # (G,) int classes
    group: np.ndarray  # (G,) int; rows with the same number show the same galaxy
    score: str = "accuracy"  # or macro_recall

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
    def on_galaxies(self) -> np.ndarray:
        """(A, N, D, S, B) the score of every network on galaxies drawn anew."""
        return self.scores(galaxy_draws([self.group], DRAWS)[0])

    @cached_property
    def replicates(self) -> np.ndarray:
        """(B, A, N) mean scores with galaxies, draws and seeds drawn anew."""
        rng, counts = np.random.default_rng(1), self.cells.shape[2:]
        return np.einsum("andsb,bd,bs->ban", self.on_galaxies, *(_shares(count, rng) for count in counts))

    def spread(self, axis: int, common: bool) -> tuple[np.ndarray, np.ndarray, int]:
        """Variance of a mean score due to draws (axis 2) or seeds (3), pooled over arms, of seeds also over numbers.

        (N,) all of it, zero where there is no more than networks differ by because each errs on galaxies of its own;
        (N,) what is beyond that; and degrees of freedom. With or without what is ``common`` to all arms: no difference
        between two has it.
        """
        rest, freedom, count = 5 - axis, len(self.arms) - (not common), self.cells.shape[axis]
        cells = self.cells[..., None]
        means = np.concatenate([cells, self.on_galaxies - cells], axis=-1).mean(axis=rest)
        means = means if common else means - means.mean(axis=0)
        found = means.var(axis=2, ddof=1).sum(axis=0) / freedom / count  # (N, 1 + B)
        if axis == 3:
            freedom, found = freedom * len(self.n), np.broadcast_to(found.mean(axis=0), found.shape)
        left = np.maximum(0, found[:, 0] - found[:, 1:].mean(axis=1))
        return np.where(left > 0, found[:, 0], 0), left, freedom * (count - 1)

    @cached_property
    def grid(self) -> np.ndarray:
        """(M,) int numbers of labels at which curves are looked at, those of ``n`` among them."""
        return np.unique(np.r_[self.n, np.geomspace(self.n[0], self.n[-1], 101).round().astype(int)])

    def between(self, values: Sequence[float], n: np.ndarray | None = None) -> np.ndarray:
        """(M,) what lies at numbers of labels ``n`` (M,), by default the grid, between the N values of ``n``.

        The ends of a band may be taken so, too: where it holds at both neighbours it holds for the line between them.
        """
        return np.interp(np.log(self.grid if n is None else n), np.log(self.n), values)

    def intervals(self, wanted: np.ndarray, simultaneous: bool = True) -> pd.DataFrame:
        """``value``, ``low`` and ``high`` of sums of scores, K of them, with weights ``wanted`` (K, A, N).

        Simultaneous for all of them, or each by itself.
        """
        galaxies, common = len(np.unique(self.group)), not np.allclose(wanted.sum(axis=1), 0)
        own = np.einsum("kan,anb->kb", wanted, self.on_galaxies.mean(axis=(2, 3)), optimize=True).var(axis=1, ddof=1)
        variance, uncertainty = own, own**2 / (galaxies - 1)
        for axis in (2, 3):
            *parts, freedom = self.spread(axis, common)
            # Numbers of labels share their galaxies, so that what draws and seeds do to one they may do to the next.
            every, left = (((np.abs(wanted) @ np.sqrt(part)) ** 2).sum(axis=1) for part in parts)
            variance, uncertainty = variance + left, uncertainty + every**2 / freedom
        with np.errstate(invalid="ignore", divide="ignore"):
            dof = np.where(variance > 0, variance**2 / uncertainty, 1)
        normal = stats.norm.ppf((1 + LEVEL) / 2)
        if simultaneous:
            drawn = np.einsum("kan,ban->bk", wanted, self.replicates, optimize=True)
            deviation = drawn.std(axis=0, ddof=1)
            sizes = np.abs(drawn - drawn.mean(axis=0)) / np.where(deviation > 0, deviation, np.inf)
            normal = max(normal, np.quantile(sizes.max(axis=1), LEVEL))
        half = -stats.t.ppf(stats.norm.sf(normal), dof) * np.sqrt(variance)
        value = np.einsum("kan,an->k", wanted, self.cells.mean(axis=(2, 3)))
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
    crossed: Crossed, contrasts: Sequence[tuple[str, str]], margin: float = MARGIN, n: Sequence[int] | None = None
) -> pd.DataFrame:
    """Second less first of every contrast at numbers ``n``, by default the whole grid; one band for all.

    ``first``, ``second``, ``n``, ``value``, ``low``, ``high``, and the ``verdict`` on the second.
    """
    n = crossed.grid if n is None else n
    signs = [[float(arm == second) - (arm == first) for arm in crossed.arms] for first, second in contrasts]
    wanted = np.einsum("ca,mn->cman", signs, np.eye(len(crossed.n)))
    found = crossed.intervals(wanted.reshape(-1, *wanted.shape[2:])).to_numpy().reshape(len(contrasts), -1, 3)
    networks, rows = crossed.cells[0, 0].size, []
    for (first, second), own in zip(contrasts, found, strict=True):
        for number, *ends in zip(n, *(crossed.between(end, n) for end in own.T), strict=True):
            rows.append((first, second, number, *ends, verdict(*ends[1:], networks, margin)))
    return pd.DataFrame(rows, columns=["first", "second", "n", "value", "low", "high", "verdict"])


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
    rows, grid, numbers = [], crossed.grid, range(len(crossed.n))
    for first, second in contrasts:
        one, other = crossed.arms.index(first), crossed.arms.index(second)
        grown = isotonic_regression(crossed.between(crossed.cells[one].mean(axis=(1, 2))))
        for place, n in enumerate(crossed.n):
            wanted = np.zeros((len(numbers), len(crossed.arms), len(numbers)))
            wanted[numbers, one, numbers] += 1
            wanted[:, other, place] -= 1
            found = crossed.intervals(wanted, simultaneous=False).apply(crossed.between, result_type="expand")
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
    return [*said, f"Equivalent means within {describe_points(margin)}; open, that neither is shown."]


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
        words = [f"{least:,}"] if least == most else words  # one number was measured
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
    """The arm with the highest score at ``n`` labels, and how the others differ from it.

    The first, with ``approach``, has an interval of :func:`curves`, which holds for all arms at once, so for the best
    of them. The second is of :func:`differences` with one band for all pairs. Controls are left out.
    """
    arms = [name for name in crossed.arms if name not in controls]
    every = curves(crossed).set_index("approach").loc[arms]
    at = [
        {"approach": name} | {end: crossed.between(every.loc[name, end], [n])[0] for end in ("value", "low", "high")}
        for name in arms
    ]
    best = max(at, key=lambda own: own["value"])
    table = differences(crossed, list(permutations(arms, 2)), n=[n])
    return pd.Series(best), table[table["first"] == best["approach"]].reset_index(drop=True)


def describe_best(best: pd.Series, others: pd.DataFrame) -> str:
    """What :func:`best_way` gives, in words."""
    beaten, open_ = (others.loc[(others["verdict"] == WORSE) == told, "second"].tolist() for told in (True, False))
    return (
        f"{best['approach']} is right most often of {len(others) + 1} ways, {best['value']:.1%} (95% interval, for all "
        f"ways at once, {max(0, best['low']):.1%} to {min(1, best['high']):.1%})."
        + (f" It is better than: {'; '.join(beaten)}." if beaten else "")
        + (f" Not told apart from it: {'; '.join(open_)}." if open_ else "")
    )


def describe_points(margin: float) -> str:
    """ "1 point", "0.5 points"."""
    return f"{100 * margin:g} point{'s' * (not np.isclose(margin, 0.01))}"


def _listed(items: Sequence) -> str:
    """ "40", "40 and 80", "40, 80 and 200"."""
    words = [item if isinstance(item, str) else f"{item:,}" for item in items]
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + words[-1:])
