"""Which approaches really differ: pairs compared on the same galaxies, all of a study's pairs as one family.

Two approaches are compared seed by seed, galaxy by galaxy. The variance of their difference has two parts: galaxies
that every seed of one approach finds harder than those of the other, and what their seeds differ by, which holds the
luck of single galaxies. The first has as many degrees of freedom as there are galaxies, the second one less than
seeds; critical values are the means of both of Student's, weighted by the parts (Cochran & Cox 1957), which keeps
the level for any ratio of the two. With one seed only the first part is known: the comparison is then one of two
trained networks.

With many pairs some differ by chance. The smallest p-value of the whole family, drawn from the joint distribution of
all pairs under no difference, is what each is held against (Westfall & Young 1993, single step), at a level that
simulated studies have calibrated. Intervals are simultaneous: in 95 of 100 studies all of them hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from galutils.evaluation.bootstrap import Graded

#: Probability of calling any difference real where there is none.
ALPHA = 0.05
#: Differences of accuracy within this are no difference that matters.
MARGIN = 0.01

#: A family's draws take variances for known that few seeds estimate, and call up to 8% of families of equal approaches
#: different at a level of 5%: p-values are divided by this, so that ``benchmarks/type_one_error.py`` finds ALPHA.
CALIBRATION = 0.7

#: Draws of the whole family under no difference; p-values that critical values are tabulated for.
_DRAWS = 4000
_LEVELS = np.geomspace(1, 1e-12, 2400)

#: Verdicts on the second of a pair: at another level of accuracy, at the same within the margin, or neither is shown.
BETTER, WORSE, EQUIVALENT, OPEN, TOO_FEW = "better", "worse", "equivalent", "open", "too few seeds"
DECIDED = (BETTER, WORSE)


@dataclass(frozen=True)
class _Pair:
    """The difference of two approaches by seed, and what each galaxy adds to it."""

    first: str
    second: str
    differences: np.ndarray  # (S,)
    influence: np.ndarray  # (S, G) of every galaxy of the family; rows sum to zero
    galaxies: int
    single: np.ndarray  # (S, 2) galaxies on which the first, and the second, alone is right

    @property
    def seeds(self) -> int:
        return len(self.differences)

    @property
    def shared(self) -> np.ndarray:
        """(G,) what a galaxy adds to the mean difference."""
        return self.influence.mean(axis=0)

    def parts(self) -> tuple[float, float]:
        """Variance of the mean difference due to galaxies, and due to seeds and to the luck of single galaxies."""
        unbiased = self.galaxies / max(1, self.galaxies - 1)
        # At least that of two galaxies on which one alone is right: that none was seen does not say that there is none.
        whole = max((self.shared**2).sum() * unbiased, 2 / self.galaxies**2)
        if self.seeds == 1:
            return whole, 0.0
        luck = self.influence.var(axis=0, ddof=1).sum() * unbiased
        return max(0.0, whole - luck / self.seeds), self.differences.var(ddof=1) / self.seeds


def compare(
    approaches: Mapping[str, Mapping[int, Graded]],
    contrasts: Sequence[tuple[str, str]] | None = None,
    margin: float = MARGIN,
) -> pd.DataFrame:
    """Pairs of approaches, given for each title its run for each seed, as one family.

    Args:
        contrasts: the pairs; all if None. One that shares no seed or no galaxy is left out.
        margin: differences within it do not matter.

    Returns:
        one row per pair: ``first``, ``second``; ``galaxies`` and ``seeds`` that were compared; ``difference``, second
        less first, with ``standard_error`` and the simultaneous interval ``low``, ``high``; ``p`` within the family;
        ``only_first`` and ``only_second``, galaxies that one alone classifies correctly, mean over seeds; ``mcnemar``,
        the exact test's own p-value where there is one seed; the ``verdict`` on the second; and what it says in full,
        ``told``: of one seed's networks alone, and that equivalence cannot be shown where intervals are too wide.
    """
    names = list(combinations(approaches, 2)) if contrasts is None else contrasts
    known = np.unique(np.concatenate([run.group for seeds in approaches.values() for run in seeds.values()] or [[]]))
    pairs = [_pair(first, second, approaches, known) for first, second in names]
    pairs = [pair for pair in pairs if pair is not None]
    columns = ["first", "second", "galaxies", "seeds", "difference", "standard_error", "low", "high", "p"]
    columns += ["only_first", "only_second", "mcnemar", "verdict", "told"]
    if not pairs:
        return pd.DataFrame(columns=columns)
    table = _tabulate(pairs)
    alone = _p_values(table["difference"], table["by_galaxies"], table["by_seeds"], table["seeds"], table["galaxies"])
    table["p"], level = alone, ALPHA
    if len(pairs) > 1:
        smallest = _smallest_p_values(pairs, table)
        table["p"] = [min(1.0, float(np.mean(smallest <= p)) / CALIBRATION) for p in alone]
        level = np.quantile(smallest, ALPHA * CALIBRATION)
    half = _critical(level, table) * table["standard_error"]
    # Shares differ by no more than one, which two seeds that disagree would exceed by far.
    table["low"], table["high"] = (table["difference"] - half).clip(-1, 1), (table["difference"] + half).clip(-1, 1)
    table["verdict"] = [verdict(row.low, row.high, row.seeds, margin) for row in table.itertuples()]
    # Of few galaxies the exact test says less than the interval, which takes them for many.
    table.loc[table["verdict"].isin(DECIDED) & (table["mcnemar"] >= level), "verdict"] = OPEN
    table["told"] = [_tell(row.verdict, row.seeds, row.high - row.low, margin) for row in table.itertuples()]
    return table[columns]


def verdict(low: float, high: float, seeds: int, margin: float = MARGIN) -> str:
    """What an interval (low, high) of a difference says; two seeds say too little of seeds to say anything."""
    if seeds == 2:
        return TOO_FEW
    if low > 0 or high < 0:
        return BETTER if low > 0 else WORSE
    return EQUIVALENT if -margin < low and high < margin else OPEN


def _tell(verdict: str, seeds: int, width: float, margin: float) -> str:
    if verdict == OPEN and width > 2 * margin:
        return f"{OPEN}, and equivalence cannot be shown here"
    return f"{verdict}, of these trained networks" if seeds == 1 and verdict != OPEN else verdict


def _pair(first: str, second: str, approaches: Mapping[str, Mapping[int, Graded]], known: np.ndarray) -> _Pair | None:
    one, other = approaches[first], approaches[second]
    found = [align(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    found = [(group, change) for group, change in found if len(change)]
    if not found:
        return None
    influence = [
        np.bincount(np.searchsorted(known, group), (change - change.mean()) / len(change), minlength=len(known))
        for group, change in found
    ]
    return _Pair(
        first,
        second,
        np.array([change.mean() for _, change in found]),
        np.stack(influence),
        len(np.unique(np.concatenate([group for group, _ in found]))),
        np.array([discordant(group, change) for group, change in found]),
    )


def _tabulate(pairs: Sequence[_Pair]) -> pd.DataFrame:
    from statsmodels.stats.contingency_tables import mcnemar

    rows = []
    for pair in pairs:
        by_galaxies, by_seeds = pair.parts()
        only_first, only_second = pair.single.mean(axis=0).tolist()
        exact = np.nan
        if pair.seeds == 1:
            exact = float(mcnemar([[0, pair.single[0, 0]], [pair.single[0, 1], 0]], exact=True).pvalue)
        rows.append(
            {
                "first": pair.first,
                "second": pair.second,
                "galaxies": pair.galaxies,
                "seeds": pair.seeds,
                "difference": pair.differences.mean(),
                "standard_error": np.sqrt(by_galaxies + by_seeds),
                "by_galaxies": by_galaxies,
                "by_seeds": by_seeds,
                "only_first": only_first,
                "only_second": only_second,
                "mcnemar": exact,
            }
        )
    return pd.DataFrame(rows)


@cache
def _quantiles(dof: int) -> np.ndarray:
    """Student's critical values, two-sided, at each of the tabulated levels."""
    return stdtrit(dof, 1 - _LEVELS / 2)


def _p_values(difference, by_galaxies, by_seeds, seeds, galaxies) -> np.ndarray:
    """Two-sided p-values of differences, all (..., C), from the two parts of their variances."""
    difference, by_galaxies, by_seeds = (np.asarray(part, float) for part in (difference, by_galaxies, by_seeds))
    variance = by_galaxies + by_seeds
    weight = np.divide(by_seeds, variance, out=np.zeros(variance.shape), where=variance > 0)
    size = np.divide(np.abs(difference), np.sqrt(variance), out=np.zeros(variance.shape), where=variance > 0)
    # Where nothing varies, a difference that is there is beyond doubt, and one that is not, is not.
    size = np.where(variance > 0, size, np.where(difference != 0, np.inf, 0))
    found = np.empty(size.shape)
    for c, (count, number) in enumerate(zip(seeds, galaxies, strict=True)):
        of_seeds, of_galaxies = _quantiles(max(1, count - 1)), _quantiles(max(1, number - 1))
        own, share = size[..., c], weight[..., c]
        low, high = np.zeros(own.shape, int), np.full(own.shape, len(_LEVELS) - 1)
        while np.any(low < high):  # the last level whose critical value is reached
            middle = (low + high + 1) // 2
            reached = own >= share * of_seeds[middle] + (1 - share) * of_galaxies[middle]
            low, high = np.where(reached, middle, low), np.where(reached, high, middle - 1)
        found[..., c] = _LEVELS[low]
    return found


def _critical(level: float, table: pd.DataFrame) -> np.ndarray:
    """(C,) critical values of the pairs' differences over their standard errors."""
    variance = (table["by_galaxies"] + table["by_seeds"]).to_numpy()
    weight = np.divide(table["by_seeds"], variance, out=np.zeros(len(table)), where=variance > 0)
    of_seeds, of_galaxies = (
        stdtrit(np.maximum(1, table[name].to_numpy() - 1), 1 - level / 2) for name in ("seeds", "galaxies")
    )
    return weight * of_seeds + (1 - weight) * of_galaxies


def _smallest_p_values(pairs: Sequence[_Pair], table: pd.DataFrame) -> np.ndarray:
    """(draws,) smallest p-values of the family where no approach differs: galaxies and seeds are drawn anew.

    Pairs depend on each other by the galaxies, and by the seeds of an approach that both have.
    """
    rng = np.random.default_rng(0)
    titles = list(dict.fromkeys(title for pair in pairs for title in (pair.first, pair.second)))
    signs = np.array([[float(title == pair.second) - (title == pair.first) for title in titles] for pair in pairs])
    shared = np.stack([pair.shared for pair in pairs])
    scale = np.sqrt((shared**2).sum(axis=1))
    correlation = shared @ shared.T / np.maximum(np.outer(scale, scale), 1e-300)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    by_galaxies = np.sqrt(table["by_galaxies"].to_numpy())
    drawn = rng.standard_normal((_DRAWS, len(pairs))) @ root.T * by_galaxies
    # A pair's variance over seeds, halved, is what either approach gives it; one that several pairs have, their mean.
    spread = table["by_seeds"].to_numpy() * table["seeds"].to_numpy() / 2
    of_title = np.array([spread[signs[:, t] != 0].mean() for t in range(len(titles))])
    most = int(table["seeds"].max())
    seeds = rng.standard_normal((_DRAWS, most, len(titles))) * np.sqrt(of_title)
    changes = seeds @ signs.T  # (draws, seeds, pairs)
    by_seeds = np.zeros((_DRAWS, len(pairs)))
    for c, pair in enumerate(pairs):
        if pair.seeds > 1:
            own = changes[:, : pair.seeds, c]
            drawn[:, c] += own.mean(axis=1)
            by_seeds[:, c] = own.var(axis=1, ddof=1) / pair.seeds
    known = np.broadcast_to(table["by_galaxies"].to_numpy(), by_seeds.shape)
    return _p_values(drawn, known, by_seeds, table["seeds"], table["galaxies"]).min(axis=1)


def align(first: Graded, second: Graded) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows that both were tested on, the galaxy number and +1, 0 or -1: who alone was right, second or first."""
    _, one, other = np.intersect1d(first.row, second.row, return_indices=True)
    return first.group[one], second.correct[other].astype(int) - first.correct[one].astype(int)


def discordant(group: np.ndarray, change: np.ndarray) -> tuple[int, int]:
    """Galaxies that only the first, and only the second, classifies correctly; of a galaxy's rows the first counts."""
    _, index = np.unique(group, return_index=True)
    return int(np.sum(change[index] < 0)), int(np.sum(change[index] > 0))
