"""Labels that may be wrong: what copies, votes and networks say of them.

Galaxies that occur several times with different labels are wrong at least once, whatever any network says. Where a
file keeps the volunteers' votes, they say how far one answer can agree with another. Confident learning (Northcutt et
al. 2021, the cleanlab package) looks for galaxies whose label a classifier contradicts more firmly than it contradicts
that label elsewhere.

What it finds are galaxies to look at, not a rate of wrong labels, nor a bound on it: networks that learnt from the same
labels miss the errors that these share, and galaxies that are hard for all are suspected with sound labels. The
probabilities are those of test galaxies, which no network was trained on.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from statsmodels.stats.proportion import proportion_confint

from galutils.data.galaxies import DataError
from galutils.data.splits import contradicting_groups
from galutils.evaluation.bootstrap import Graded, estimate_mean
from galutils.evaluation.confusion import answer_titles


def contradictions(labels: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """Galaxies, numbered by group (N,), whose rows have different labels: ``rows`` and ``labels``, a list each."""
    found = [(rows.tolist(), labels[rows].tolist()) for rows in contradicting_groups(labels, group)]
    return pd.DataFrame(found, columns=["rows", "labels"])


def describe_contradictions(labels: np.ndarray, group: np.ndarray) -> str:
    """In words: how many galaxies occur several times, how many contradict themselves, and what follows from it."""
    copies = int(np.sum(np.unique(group, return_counts=True)[1] > 1))
    if not copies:
        return "No galaxy occurs twice in this file, so copies say nothing about its labels."
    wrong = len(contradicting_groups(labels, group))
    text = f"{copies} galaxies occur more than once, {wrong} of them with labels that contradict each other."
    if copies == 1:
        text = f"1 galaxy occurs more than once, with labels that {'contradict each other' if wrong else 'agree'}."
    if copies < 10:
        return f"{text} That is too few for a rate."
    shares = (wrong / copies, *proportion_confint(wrong, copies, method="wilson"))
    # Two labels of one galaxy agree if both are right: (1 - e)^2 = 1 - d, if they err independently.
    rate, low, high = (1 - np.sqrt(1 - share) for share in shares)
    return (
        f"{text} If labels err independently, that is an error rate of {rate:.0%} (95% interval {low:.0%} "
        f"to {high:.0%}) among such galaxies. It is no estimate for the others: which galaxies were taken twice "
        "is no matter of chance."
    )


def out_of_sample(seeds: Mapping[int, Graded]) -> pd.DataFrame:
    """Mean probabilities over seeds of the galaxies that were tested on, with their ``label``; indexed by row."""
    tables = [pd.DataFrame(run.probabilities, index=run.row).assign(label=run.labels) for run in seeds.values()]
    return pd.concat(tables).groupby(level=0).mean().astype({"label": int})


def consensus(graded: Mapping[str, Mapping[int, Graded]]) -> pd.DataFrame:
    """Mean of the approaches' :func:`out_of_sample` on the galaxies that all were tested on.

    Raises:
        DataError: there is no approach, or they were tested on different galaxies.
    """
    tables = [out_of_sample(seeds) for seeds in graded.values()]
    if not tables:
        raise DataError("Suspects come from networks that tell classes apart, and there is none; train longer.")
    rows = sorted(set.intersection(*(set(table.index) for table in tables)))
    if not rows:
        raise DataError("The approaches have no test galaxies in common; give their notebooks the same split_seed.")
    return sum(table.loc[rows] for table in tables).div(len(tables)).astype({"label": int})


def find_suspects(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Galaxies that confident learning, on a :func:`consensus`, takes for mislabelled, the least credible label first.

    ``row``, ``label``, ``suggested`` (the likeliest class), ``confidence`` in it, ``quality``: the label's probability.
    """
    labels, values = probabilities["label"].to_numpy(), probabilities.drop(columns="label").to_numpy()
    values = values / values.sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "row": probabilities.index,
            "label": labels,
            "suggested": values.argmax(axis=1),
            "confidence": values.max(axis=1),
            "quality": get_label_quality_scores(labels, values),
        }
    )
    flagged = find_label_issues(labels, values, filter_by="both", n_jobs=1)
    return table[flagged].sort_values("quality", ignore_index=True)


def describe_suspects(suspects: int, galaxies: int, simulated: bool) -> str:
    """In words: how many of the galaxies searched are suspects, and what that means where labels are right."""
    found = f"{suspects:,} of {galaxies:,} test galaxies"
    if not simulated:
        share = f"{'is a suspect' if suspects == 1 else 'are suspects'} ({suspects / galaxies:.1%})"
        return f"{found} {share}: to be looked at, and no rate of wrong labels."
    low, high = proportion_confint(suspects, galaxies, method="wilson")
    return (
        "The labels of simulated galaxies are right by construction, so whatever the search suspects is a false "
        f"alarm: {found}, {suspects / galaxies:.1%} (95% interval {low:.1%} to {high:.1%})."
    )


def find_planted(probabilities: pd.DataFrame, share: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Replace a share of a :func:`consensus`'s labels by others, drawn, and look for them.

    Returns:
        (n,) bool, which labels were spoilt, and (n,) bool, which became suspects.
    """
    rng = np.random.default_rng(0)
    spoilt = np.zeros(len(probabilities), bool)
    spoilt[rng.permutation(len(spoilt))[: max(1, round(share * len(spoilt)))]] = True
    count = probabilities.shape[1] - 1
    changed = (probabilities["label"] + rng.integers(1, count, len(spoilt))) % count
    labels = np.where(spoilt, changed, probabilities["label"])
    return spoilt, probabilities.index.isin(find_suspects(probabilities.assign(label=labels))["row"])


def describe_planted(spoilt: np.ndarray, suspected: np.ndarray) -> str:
    """In words: what :func:`find_planted` says of the search."""
    found, rest = int(np.sum(spoilt & suspected)), int(np.sum(~spoilt & suspected))
    text = (
        f"Of labels spoilt on purpose, {spoilt.sum():,}, suspects are {found:,} ({found / max(1, spoilt.sum()):.0%}), "
        f"of the {np.sum(~spoilt):,} others {rest:,} ({rest / max(1, np.sum(~spoilt)):.0%})."
    )
    if not found + rest:
        return text
    return f"{text} Spoilt are {found / (found + rest):.0%} of the suspects and {np.mean(spoilt):.0%} of all labels."


def describe_votes(votes: np.ndarray | None) -> str:
    """In words: how far an answer can agree with a volunteer's, from shares of votes (N, C); None where there are none.

    Rows that do not sum to one, by more than rounding, are no votes on one question and left out.
    """
    if votes is None:
        return "This file holds no votes of volunteers."
    shares = np.asarray(votes, float)
    shares = shares[np.abs(shares.sum(axis=1) - 1) <= 0.02]  # NaN, where nobody voted, is not
    count = f"{len(shares):,} of {len(votes):,} galaxies have votes that sum to one"
    if len(shares) < 2:
        return f"{count}, too few to say how far any answer can agree with them."
    numbers = []
    for values in (shares.max(axis=1), (shares**2).sum(axis=1)):
        found = estimate_mean([np.arange(len(values))], [values])
        numbers.append(f"{found['mean']:.1%} (95% interval {found['low']:.1%} to {found['high']:.1%})")
    return (
        f"{count}. The answer that most gave agrees with one volunteer drawn at random in {numbers[0]}: a single fresh "
        f"vote is predicted no better by anyone. Two volunteers drawn at random agree in {numbers[1]}."
    )


def suspect_titles(suspects: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """ "label → suggested class (confidence)" for each row of :func:`find_suspects`; classes: their names."""
    return answer_titles(suspects.rename(columns={"label": "y_true", "suggested": "y_pred"}), classes)
