"""How many test galaxies it takes to tell two accuracies apart.

Two approaches tested on different galaxies are compared as two independent shares (Fleiss, Levin & Paik 2003,
section 4.2); on the same galaxies only those count on which one alone is right (McNemar; Connor 1987). Both know the
sampling of the test galaxies only: where seeds move an accuracy by as much as approaches do, more galaxies do not
help, more seeds do.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import norm

from galutils.data.galaxy10 import CLASS_COUNTS

ALPHA, POWER = 0.05, 0.8
#: Accuracies of the paper that lie close together.
PAPER_ACCURACIES = (0.73, 0.74, 0.76)
#: Shares of the galaxies on which one of two classifiers alone is right; the paper does not say which holds.
DISAGREEMENTS = (0.05, 0.10, 0.20)
#: Galaxies in the full Galaxy10 DECaLS, of which the paper tested on an unknown part.
ALL_GALAXIES = sum(CLASS_COUNTS)


def needed_unpaired(first: float, second: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """Test galaxies of each of two approaches, tested on different ones, to tell accuracies first and second apart."""
    pooled = (first + second) / 2
    null = norm.isf(alpha / 2) * np.sqrt(2 * pooled * (1 - pooled))
    other = norm.ppf(power) * np.sqrt(first * (1 - first) + second * (1 - second))
    return int(np.ceil(((null + other) / (first - second)) ** 2))


def needed_paired(first: float, second: float, disagreement: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """The same for two approaches tested on the same galaxies.

    Args:
        disagreement: share of the galaxies on which one alone is right; at least abs(first - second).

    Raises:
        ValueError: it is smaller.
    """
    gap = abs(first - second)
    if disagreement < gap:
        raise ValueError(f"Approaches whose accuracies differ by {gap:.3f} disagree on at least that share.")
    null = norm.isf(alpha / 2) * np.sqrt(disagreement)
    return int(np.ceil(((null + norm.ppf(power) * np.sqrt(disagreement - gap**2)) / gap) ** 2))


def power_at(
    size: np.ndarray, first: float, second: float, disagreement: float | None = None, alpha: float = ALPHA
) -> np.ndarray:
    """Probability that a test set of that size tells the two apart; unpaired where disagreement is None."""
    gap = abs(first - second)
    if disagreement is None:
        pooled = (first + second) / 2
        null = np.sqrt(2 * pooled * (1 - pooled))
        other = np.sqrt(first * (1 - first) + second * (1 - second))
    else:
        null, other = np.sqrt(disagreement), np.sqrt(disagreement - gap**2)
    return norm.cdf((gap * np.sqrt(size) - norm.isf(alpha / 2) * null) / other)


def needed_table(
    accuracies: Sequence[float] = PAPER_ACCURACIES, disagreements: Sequence[float] = DISAGREEMENTS
) -> pd.DataFrame:
    """Test galaxies needed for each pair of accuracies: unpaired, and paired under each rate of disagreement."""
    rows = {}
    for first, second in combinations(accuracies, 2):
        rows[f"{first:.0%} against {second:.0%}"] = {
            "different galaxies": needed_unpaired(first, second),
            **{f"the same, {rate:.0%} disagreement": needed_paired(first, second, rate) for rate in disagreements},
        }
    return pd.DataFrame(rows).T


def describe_power(table: pd.DataFrame, galaxies: int = ALL_GALAXIES) -> str:
    """In words: which pairs the paper's test set can have told apart. table: from :func:`needed_table`."""
    sentences = []
    for pair, needed in table.iterrows():
        least, most = needed.min(), needed["different galaxies"]
        usual = round(0.2 * galaxies)
        if least > galaxies:
            verdict = f"all {galaxies:,} galaxies would not do"
        elif most <= usual:
            verdict = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is enough"
        elif least <= usual:
            verdict = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is enough only if the two err alike"
        else:
            verdict = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is too few in any case"
        sentences.append(f"{pair}: {least:,.0f} to {most:,.0f} test galaxies; {verdict}.")
    return " ".join(sentences)
