"""What is taken for what, and galaxies that are telling."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from galutils.evaluation.bootstrap import Graded


def confusion_of(graded: Graded) -> np.ndarray:
    """(C, C) int64, true by predicted class."""
    return confusion_matrix(graded.labels, graded.predicted, labels=np.arange(len(graded.classes)))


def answer_titles(rows: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """ "true → predicted (confidence)" for each row of :func:`telling_galaxies`, or "true (confidence)" if it is right.

    classes: their names.
    """
    return [
        f"{classes[row.y_true]}"
        + f"\n→ {classes[row.y_pred]}" * (row.y_true != row.y_pred)
        + f" ({row.confidence:.0%})"
        for row in rows.itertuples()
    ]


def most_confused(counts: np.ndarray, top: int = 3, normalise: bool = True) -> list[tuple[int, int, float]]:
    """The most frequent confusions, if there are any, as (true class, predicted class, share of the true class).

    counts: (C, C) int, or with ``normalise`` False the shares themselves.
    """
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True)) if normalise else counts.copy()
    np.fill_diagonal(share, 0)
    order = np.argsort(share, axis=None)[::-1][: min(top, np.count_nonzero(share))]
    return [(int(i), int(j), float(share[i, j])) for i, j in zip(*np.unravel_index(order, share.shape), strict=True)]


def describe_confusions(counts: np.ndarray, classes: Sequence[str], top: int = 3) -> list[str]:
    """In words: the most frequent confusions of a matrix of counts (C, C), with the galaxies that they are."""
    return [
        f"{share:.0%} of {classes[true]} ({counts[true, predicted]:,} of {counts[true].sum():,}) "
        f"taken for {classes[predicted]}"
        for true, predicted, share in most_confused(counts, top)
    ]


def confusion_rows(confusions: Mapping[str, np.ndarray], classes: Sequence[str], top: int = 3) -> pd.DataFrame:
    """The most frequent confusions of each approach: ``approach``, ``true``, ``predicted``, ``share``, ``galaxies``.

    And ``of``, the galaxies of the true class; one row with the title alone where nothing is confused. confusions:
    counts (C, C) of each, by its title.
    """
    rows = []
    for title, counts in confusions.items():
        found = most_confused(counts, top)
        rows += [{"approach": title}] * (not found) + [
            {
                "approach": title,
                "true": classes[true],
                "predicted": classes[predicted],
                "share": share,
                "galaxies": counts[true, predicted],
                "of": counts[true].sum(),
            }
            for true, predicted, share in found
        ]
    columns = ["approach", "true", "predicted", "share", "galaxies", "of"]
    return pd.DataFrame(rows, columns=columns).astype({"galaxies": "Int64", "of": "Int64"})


def describe_shared(confusions: Mapping[str, np.ndarray], classes: Sequence[str], top: int = 5) -> list[str]:
    """In words: the confusions that all of several classifiers share, by the share of the one that makes least of it.

    confusions: counts (C, C) of each, by its title.
    """
    if len(confusions) < 2:
        return ["Fewer than two classifiers tell classes apart here, so there is nothing that they share."]
    shares = np.stack([counts / np.maximum(1, counts.sum(axis=1, keepdims=True)) for counts in confusions.values()])
    found = most_confused(shares.min(axis=0), top, normalise=False)
    if not found:
        return [f"There is no confusion that all {len(confusions)} classifiers share."]
    return [
        f"{classes[true]} taken for {classes[predicted]}: from {least:.0%} to {shares[:, true, predicted].max():.0%} "
        f"of the class by each of {len(confusions)} classifiers"
        for true, predicted, least in found
    ]


def telling_galaxies(predictions: pd.DataFrame, count: int = 5) -> dict[str, pd.DataFrame]:
    """Test rows, ``count`` at most of each kind, that are right or wrong with the highest probability, or undecided.

    Undecided are those whose two highest probabilities differ least. Each table has the columns of predictions, see
    :attr:`galutils.study.runs.Run.predictions`, and ``confidence``, the probability of the predicted class.
    """
    ordered = np.sort(predictions.filter(regex="^p_").to_numpy(), axis=1)
    table = predictions.assign(confidence=ordered[:, -1], lead=ordered[:, -1] - ordered[:, -2])
    right = table["y_true"] == table["y_pred"]
    kinds = {
        "right": table[right].nlargest(count, "confidence"),
        "wrong": table[~right].nlargest(count, "confidence"),
        "undecided": table.nsmallest(count, "lead"),
    }
    return {kind: own.drop(columns="lead") for kind, own in kinds.items()}
