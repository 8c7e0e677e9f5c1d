"""Labels that may be wrong, and how much of a network's error they could explain.

Two sources. Galaxies that occur several times with different labels are wrong at least once, whatever any network
says. Confident learning (Northcutt et al. 2021, the cleanlab package) looks for galaxies whose label a classifier
contradicts more firmly than it contradicts that label elsewhere.

The second must not judge itself. The probabilities are those of test galaxies, which no network was trained on; and
the suspects against which an approach's errors are held come from the other approaches alone. What remains shared
are the training labels and that all are convolutional networks: a galaxy that all of them misread for a good
reason of theirs counts as a suspect. So the share explained is an upper bound.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from statsmodels.stats.proportion import proportion_confint

from galutils.data.splits import contradicting_groups
from galutils.errors import GalutilsError
from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.confusion import mistake_titles


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
    times = "galaxy occurs" if copies == 1 else "galaxies occur"
    text = f"{copies} {times} more than once, {wrong} of them with labels that contradict each other."
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


def consensus(graded: Mapping[str, Mapping[int, Graded]], without: str | None = None) -> pd.DataFrame:
    """Mean of the approaches' :func:`out_of_sample`, but for one's, on the galaxies that all were tested on.

    Raises:
        GalutilsError: no approach is left, or they were tested on different galaxies.
    """
    tables = [out_of_sample(seeds) for title, seeds in graded.items() if title != without]
    if not tables:
        raise GalutilsError("Suspects come from other approaches, and there is one alone; run another of 02 to 05.")
    rows = sorted(set.intersection(*(set(table.index) for table in tables)))
    if not rows:
        raise GalutilsError("The approaches have no test galaxies in common; give their notebooks the same split_seed.")
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


def explain_errors(graded: Mapping[str, Mapping[int, Graded]]) -> pd.DataFrame:
    """How much of the error of each approach lies on galaxies that the other approaches suspect.

    Indexed by approach, means over seeds: ``error``; ``explained``, share of the errors that lie on suspects, with
    ``low`` and ``high`` (Wilson, over galaxies); ``among_right``, share of suspects among the galaxies that it
    classifies correctly; ``agreed``, share of the explained errors that give the class that the others suggest; and
    ``error_without``, that on all but the suspects.
    """
    rows = {}
    for title, seeds in graded.items():
        others = consensus(graded, without=title)
        suggested = find_suspects(others).set_index("row")["suggested"]
        found = []
        for run in seeds.values():
            kept = np.isin(run.row, others.index)
            wrong, doubted = ~run.correct[kept], np.isin(run.row[kept], suggested.index)
            agreed = wrong & (run.predicted[kept] == suggested.reindex(run.row[kept]).to_numpy())
            cases = np.stack([wrong, doubted, wrong & doubted, agreed, wrong & ~doubted])
            found.append([len(wrong), *cases.sum(axis=1)])
        count, wrong, doubted, explained, agreed, left = np.mean(found, axis=0)
        low, high = proportion_confint(explained, wrong, method="wilson") if wrong else (np.nan, np.nan)
        rows[title] = {
            "error": wrong / count,
            "explained": explained / wrong if wrong else np.nan,
            "low": low,
            "high": high,
            "among_right": (doubted - explained) / max(1, count - wrong),
            "agreed": agreed / explained if explained else np.nan,
            "error_without": left / max(1, count - doubted),
        }
    return pd.DataFrame(rows).T


def find_planted(probabilities: pd.DataFrame, share: float = 0.05) -> tuple[float, float]:
    """What the search is worth: replace a share of a :func:`consensus`'s labels by others, drawn, and look for them.

    Returns:
        (share of the spoilt labels that become suspects, share of the others that do).
    """
    rng = np.random.default_rng(0)
    spoilt = np.zeros(len(probabilities), bool)
    spoilt[rng.permutation(len(spoilt))[: max(1, round(share * len(spoilt)))]] = True
    count = probabilities.shape[1] - 1
    changed = (probabilities["label"] + rng.integers(1, count, len(spoilt))) % count
    labels = np.where(spoilt, changed, probabilities["label"])
    suspected = probabilities.index.isin(find_suspects(probabilities.assign(label=labels))["row"])
    return float(suspected[spoilt].mean()), float(suspected[~spoilt].mean())


def suspect_titles(suspects: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """ "label → suggested class (confidence)" for each row of :func:`find_suspects`; classes: their names."""
    return mistake_titles(suspects.rename(columns={"label": "y_true", "suggested": "y_pred"}), classes)
