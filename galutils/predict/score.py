"""How well a run does on labelled galaxies of another file: another survey, or other people's classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import find_galaxies
from galutils.errors import GalutilsError, first_line
from galutils.evaluation.bootstrap import Graded, estimate
from galutils.evaluation.confusion import confusion_of


class ScoreError(GalutilsError):
    """A file that cannot be scored; one sentence that says why and what to do."""


@dataclass(frozen=True)
class Matching:
    """Which classes of a file and of a run are the same; several of one may be one of the other."""

    names: tuple[str, ...]  # of what is told apart
    theirs: np.ndarray  # (classes of the file,) int: which of these, -1 where the run knows no such class
    ours: np.ndarray  # (classes of the run,) int

    def merge(self, probabilities: np.ndarray) -> np.ndarray:
        """(n, classes told apart) from those of the run's classes, (n, C)."""
        groups = range(len(self.names))
        return np.stack([probabilities[:, self.ours == number].sum(axis=1) for number in groups], axis=1)


def match_classes(theirs: Sequence[str], ours: Sequence[str], links: Sequence[tuple[str, str]] = ()) -> Matching:
    """Match classes by name, and by links (class of the file, class of the run). Case does not count.

    What is linked, directly or not, is one class: where the file tells less apart than the run, it has the file's
    name, else the run's.

    Raises:
        ScoreError: a link names a class that there is not, or nothing matches.
    """
    here = [{name.casefold(): number for number, name in enumerate(names)} for names in (theirs, ours)]
    for side, whose, names in ((0, "the file", theirs), (1, "the run", ours)):
        for name in (link[side] for link in links):
            if name.casefold() not in here[side]:
                raise ScoreError(f"'{name}' is no class of {whose}; it has {', '.join(names)}.")
    pairs = [(name, name) for name in here[0].keys() & here[1].keys()] + list(links)
    if not pairs:
        raise ScoreError(
            f"No class of the file ({', '.join(theirs)}) is one of the run ({', '.join(ours)}); "
            "say which are the same with --classes FILE, a line 'theirs,ours' for each."
        )
    first = [here[0][name.casefold()] for name, _ in pairs]
    second = [len(theirs) + here[1][name.casefold()] for _, name in pairs]
    count = len(theirs) + len(ours)
    _, group = connected_components(coo_array((np.ones(len(pairs)), (first, second)), (count, count)), directed=False)
    kept = pd.unique(group[len(theirs) :])
    place = {number: position for position, number in enumerate(kept)}
    names = []
    for number in kept:
        mine, other = (np.flatnonzero(part == number) for part in (group[len(theirs) :], group[: len(theirs)]))
        names.append(" or ".join(ours[i] for i in mine) if len(mine) == 1 or len(other) != 1 else theirs[other[0]])
    return Matching(
        tuple(names),
        np.array([place.get(number, -1) for number in group[: len(theirs)]]),
        np.array([place[number] for number in group[len(theirs) :]]),
    )


def read_links(path: str | Path) -> list[tuple[str, str]]:
    """Which class of a file is which of a run: a CSV of two columns, theirs and ours.

    Raises:
        ScoreError: it cannot be read, or has other than two columns.
    """
    try:
        table = pd.read_csv(path, header=None, dtype=str, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise ScoreError(
            f"{path}: cannot be read as CSV ({first_line(error)}); write a line 'theirs,ours' for each class."
        ) from None
    if table.shape[1] != 2 or table.isna().any(axis=None):
        raise ScoreError(f"{path}: does not have two entries in each line; write 'theirs,ours' for each class.")
    rows = [tuple(row) for row in table.to_numpy().tolist()]
    return rows[1:] if rows[0] == ("theirs", "ours") else rows


def grade_file(
    path: str | Path, table: pd.DataFrame, classes: Sequence[str], links=()
) -> tuple[Graded, list[str], Matching]:
    """Predictions of a labelled file held against its labels; what was left out, a sentence each; and the matching.

    Args:
        table: of :func:`galutils.predict.classify.classify` for this file alone, with all its rows.
        classes: those of the run. links: see :func:`match_classes`.

    Raises:
        DataError, ScoreError: the file has no labels, or its classes are others.
    """
    galaxies = open_galaxies(path)
    matching = match_classes(galaxies.classes, classes, links)
    rows = table["path"].str.extract(r"\[(\d+)\]$", expand=False).astype(int).to_numpy()
    labels = matching.theirs[galaxies.labels[rows]]
    merged = matching.merge(table.filter(regex="^p_").to_numpy())
    kept = labels >= 0
    left = np.bincount(galaxies.labels[rows][~kept], minlength=len(galaxies.classes))
    said = [
        f"{count:,} galaxies of '{galaxies.classes[i]}' were left out: the run knows no such class."
        for i, count in enumerate(left)
        if count
    ]
    graded = Graded(
        row=rows[kept],
        group=find_galaxies(galaxies)[rows[kept]],
        labels=labels[kept],
        predicted=merged[kept].argmax(axis=1),
        probabilities=merged[kept],
        classes=matching.names,
    )
    return graded, said, matching


def describe_score(graded: Graded, distance: pd.Series) -> str:
    """Accuracy and mean recall with 95% intervals over galaxies, how strange the file is, and what is taken for what.

    distance: of each row of the file, see :class:`galutils.predict.classify.Prediction`.

    Raises:
        ScoreError: there is no galaxy.
    """
    if not len(graded.labels):
        raise ScoreError(
            "No galaxy of the file is of a class that the run knows; say which are the same with --classes FILE, "
            "a line 'theirs,ours' for each."
        )
    with np.errstate(divide="ignore", invalid="ignore"):  # the interval of one galaxy
        table = estimate([graded])
    scores = [
        f"{name} {mean:.1%}" + (f" (95% interval {low:.1%} to {high:.1%})" if low == low else "")  # NaN for one galaxy
        for score, name in (("accuracy", "accuracy"), ("balanced_accuracy", "mean recall"))
        for mean, low, high in [table.loc[score, ["mean", "low", "high"]]]
    ]
    galaxies = "galaxy" if len(graded.labels) == 1 else "galaxies"
    largest = np.bincount(graded.labels).max() / len(graded.labels)
    shown = pd.DataFrame(confusion_of(graded), [f"{number} {name}" for number, name in enumerate(graded.classes)])
    own, strange = distance.iloc[graded.row], ""
    if own.notna().all():
        strange = f"{np.mean(own > 1):.0%} of them are unlike the training galaxies.\n"
    if graded.collapsed:
        strange += "Nearly all are given one class: this run has nothing to say about such images.\n"
    return (
        f"{len(graded.labels):,} {galaxies}: {', '.join(scores)}; the largest class alone would give {largest:.1%}.\n"
        f"{strange}"
        f"Rows are true classes, columns predicted ones:\n{shown.to_string()}"
    )
