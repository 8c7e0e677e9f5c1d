"""How many test galaxies it takes to tell two accuracies apart.

Two approaches tested on different galaxies are compared as two independent shares (Fleiss, Levin & Paik 2003,
section 4.2); on the same galaxies only those count on which one alone is right (McNemar; Connor 1987, with the
correction for the exact test's whole numbers). The level is that of the study's own rule, 5% for all pairs that it
compares together, shared equally among them. Both know the sampling of the test galaxies only: where seeds move an
accuracy by as much as approaches do, more galaxies do not help, more seeds do.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import norm

from galutils.data.classes import GALAXY10_COUNTS
from galutils.evaluation.significance import ALPHA

POWER = 0.8
#: Accuracies of the paper that lie close together, and how many pairs its four rows that learn from labels make.
PAPER_ACCURACIES, PAPER_PAIRS = (0.73, 0.74, 0.76), 6
#: Shares of the galaxies on which one of two classifiers alone is right; the paper does not say which holds.
DISAGREEMENTS = (0.10, 0.20, 0.30)


def needed_unpaired(first: float, second: float, alpha: float = ALPHA) -> int:
    """Test galaxies of each of two approaches, tested on different ones, to tell accuracies first and second apart."""
    pooled = (first + second) / 2
    null = norm.isf(alpha / 2) * np.sqrt(2 * pooled * (1 - pooled))
    other = norm.ppf(POWER) * np.sqrt(first * (1 - first) + second * (1 - second))
    return int(np.ceil(((null + other) / (first - second)) ** 2))


def needed_paired(first: float, second: float, disagreement: float, alpha: float = ALPHA) -> int:
    """The same for two approaches tested on the same galaxies, on a share of which one alone is right."""
    gap = abs(first - second)
    if disagreement < gap:
        raise ValueError(f"Approaches whose accuracies differ by {gap:.3f} disagree on at least that share.")
    null = norm.isf(alpha / 2) * np.sqrt(disagreement)
    size = ((null + norm.ppf(POWER) * np.sqrt(disagreement - gap**2)) / gap) ** 2
    return int(np.ceil(size / 4 * (1 + np.sqrt(1 + 2 / (size * gap))) ** 2))


def needed_table(accuracies: Sequence[float] = PAPER_ACCURACIES, pairs: int = PAPER_PAIRS) -> pd.DataFrame:
    """Test galaxies needed for each pair of accuracies: unpaired, and paired under each rate of disagreement.

    pairs: how many the study compares together; the level, ALPHA divided by them, is ``attrs["alpha"]`` of the table.
    """
    rows, alpha = {}, ALPHA / max(1, pairs)
    for first, second in combinations(accuracies, 2):
        rates = [rate for rate in DISAGREEMENTS if rate >= abs(first - second)]
        rows[f"{first:.0%} against {second:.0%}"] = {
            "different galaxies": needed_unpaired(first, second, alpha),
            **{f"the same, {rate:.0%} disagreement": needed_paired(first, second, rate, alpha) for rate in rates},
        }
    table = pd.DataFrame(rows).T
    table.attrs["alpha"] = alpha
    return table


def describe_power(table: pd.DataFrame, galaxies: int = sum(GALAXY10_COUNTS)) -> str:
    """In words: which pairs of a :func:`needed_table` the paper's test set, of unknown size, can have told apart."""
    usual = round(0.2 * galaxies)
    sentences = [
        f"Told apart four times out of five at p < {table.attrs['alpha']:.2g}, which is 5% shared among all "
        "comparisons, with one seed each; what other seeds would change comes on top."
    ]
    for pair, needed in table.iterrows():
        least, most = needed.min(), needed.max()
        if least > galaxies:
            said = f"all {galaxies:,} galaxies would not do, however the two were tested"
        elif most <= usual:
            said = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is enough, however the two were tested"
        elif least <= usual:
            fit = "; ".join(needed.index[needed <= usual])
            said = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is enough for some cases alone ({fit})"
        else:
            said = f"a fifth of the {galaxies:,} galaxies ({usual:,}) is too few in any of these cases"
        sentences.append(f"{pair}: {least:,.0f} to {most:,.0f} test galaxies; {said}.")
    return " ".join(sentences)
