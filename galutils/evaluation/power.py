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

from galutils.data.classes import GALAXY10_COUNTS

ALPHA, POWER = 0.05, 0.8
#: Accuracies of the paper that lie close together.
PAPER_ACCURACIES = (0.73, 0.74, 0.76)
#: Shares of the galaxies on which one of two classifiers alone is right; the paper does not say which holds.
DISAGREEMENTS = (0.05, 0.10, 0.20)


def needed_unpaired(first: float, second: float) -> int:
    """Test galaxies of each of two approaches, tested on different ones, to tell accuracies first and second apart."""
    pooled = (first + second) / 2
    null = norm.isf(ALPHA / 2) * np.sqrt(2 * pooled * (1 - pooled))
    other = norm.ppf(POWER) * np.sqrt(first * (1 - first) + second * (1 - second))
    return int(np.ceil(((null + other) / (first - second)) ** 2))


def needed_paired(first: float, second: float, disagreement: float) -> int:
    """The same for two approaches tested on the same galaxies, on a share of which one alone is right."""
    gap = abs(first - second)
    if disagreement < gap:
        raise ValueError(f"Approaches whose accuracies differ by {gap:.3f} disagree on at least that share.")
    null = norm.isf(ALPHA / 2) * np.sqrt(disagreement)
    return int(np.ceil(((null + norm.ppf(POWER) * np.sqrt(disagreement - gap**2)) / gap) ** 2))


def needed_table(accuracies: Sequence[float] = PAPER_ACCURACIES) -> pd.DataFrame:
    """Test galaxies needed for each pair of accuracies: unpaired, and paired under each rate of disagreement."""
    rows = {}
    for first, second in combinations(accuracies, 2):
        rows[f"{first:.0%} against {second:.0%}"] = {
            "different galaxies": needed_unpaired(first, second),
            **{f"the same, {rate:.0%} disagreement": needed_paired(first, second, rate) for rate in DISAGREEMENTS},
        }
    return pd.DataFrame(rows).T


def describe_power(table: pd.DataFrame, galaxies: int = sum(GALAXY10_COUNTS)) -> str:
    """In words: which pairs of a :func:`needed_table` the paper's test set, of unknown size, can have told apart."""
    usual = round(0.2 * galaxies)
    fifth = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is"
    sentences = []
    for pair, needed in table.iterrows():
        least, most = needed.min(), needed["different galaxies"]
        if least > galaxies:
            said = f"all {galaxies:,} galaxies would not do"
        elif most <= usual:
            said = f"{fifth} enough"
        elif least <= usual:
            said = f"{fifth} enough only if the two err alike"
        else:
            said = f"{fifth} too few in any case"
        sentences.append(f"{pair}: {least:,.0f} to {most:,.0f} test galaxies; {said}.")
    return " ".join(sentences)
