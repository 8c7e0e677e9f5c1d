"""Which approaches really differ: pairs compared on the same galaxies.

Two tests, each blind to what the other sees: McNemar's exact one, which needs no large numbers, for the seeds that
were run; and the paired cluster bootstrap, which knows of duplicates and of other seeds. A difference is called real
where both are significant after Holm's (1979) correction for the number of pairs.
"""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from galutils.evaluation.bootstrap import DRAWS, Graded, estimate_mean

#: Probability of calling any difference real where there is none.
ALPHA = 0.05


def compare(approaches: Mapping[str, Mapping[int, Graded]]) -> pd.DataFrame:
    """Every pair of approaches, given for each title its run for each seed, that shares a seed and galaxies.

    ``first``, ``second``, the entries of :func:`compare_pair` and the columns of :func:`correct_for_pairs`.
    """
    rows = []
    for first, second in combinations(approaches, 2):
        found = compare_pair(approaches[first], approaches[second])
        if found is not None:
            rows.append({"first": first, "second": second, **found})
    names = ["first", "second", "galaxies", "seeds", "difference", "standard_error", "low", "high"]
    table = pd.DataFrame(rows, columns=[*names, "only_first", "only_second", "mcnemar", "bootstrap"])
    return correct_for_pairs(table)


def correct_for_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Add Holm's ``mcnemar_holm``, ``bootstrap_holm`` and ``real`` (bool) to :func:`compare_pair`'s, as one family."""
    for test in ("mcnemar", "bootstrap"):
        table = table.assign(**{f"{test}_holm": multipletests(table[test], method="holm")[1] if len(table) else []})
    return table.assign(real=(table["mcnemar_holm"] < ALPHA) & (table["bootstrap_holm"] < ALPHA))


def compare_pair(
    first: Mapping[int, Graded], second: Mapping[int, Graded], draws: int = DRAWS, seed: int = 0
) -> dict | None:
    """The difference of two approaches' accuracies, second minus first, on the galaxies that both were tested on.

    Of their runs by seed, only seeds that both have are compared, each with its like.

    Returns:
        ``galaxies`` and ``seeds`` that were compared; ``difference`` with ``standard_error``, ``low`` and ``high``;
        ``only_first`` and ``only_second``, the galaxies that one alone classifies correctly, mean over seeds; and the
        p-values ``mcnemar`` (for several seeds twice their median, which holds however they depend on each other;
        Meinshausen et al. 2009) and ``bootstrap``. None where no seed or no galaxy is shared.
    """
    shared = [align(first[key], second[key]) for key in sorted(first.keys() & second.keys())]
    shared = [(group, change) for group, change in shared if len(change)]
    if not shared:
        return None
    groups, changes = zip(*shared, strict=True)
    found = estimate_mean(groups, changes, draws, seed)
    error = found["standard_error"]
    # Where every draw agrees, a difference that is there is beyond doubt, and one that is not, is not.
    size = abs(found["mean"]) / error if error > 0 else (np.inf if found["mean"] else 0.0)
    single = np.array([discordant(group, change) for group, change in shared])
    exact = [mcnemar([[0, one], [other, 0]], exact=True).pvalue for one, other in single]
    only_first, only_second = single.mean(axis=0).tolist()
    return {
        "galaxies": found["galaxies"],
        "seeds": len(shared),
        "difference": found["mean"],
        **{name: found[name] for name in ("standard_error", "low", "high")},
        "only_first": only_first,
        "only_second": only_second,
        "mcnemar": float(exact[0] if len(exact) == 1 else min(1, 2 * np.median(exact))),
        "bootstrap": float(2 * stats.t.sf(size, found["dof"])),
    }


def align(first: Graded, second: Graded) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows that both were tested on, the galaxy number and +1, 0 or -1: who alone was right, second or first."""
    _, one, other = np.intersect1d(first.row, second.row, return_indices=True)
    return first.group[one], second.correct[other].astype(int) - first.correct[one].astype(int)


def discordant(group: np.ndarray, change: np.ndarray) -> tuple[int, int]:
    """Galaxies that only the first, and only the second, classifies correctly; of a galaxy's rows the first counts."""
    _, index = np.unique(group, return_index=True)
    return int(np.sum(change[index] < 0)), int(np.sum(change[index] > 0))
