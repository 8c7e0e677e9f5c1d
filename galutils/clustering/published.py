"""The confusion matrices that the paper prints of its fifth and sixth row, in its figures A.1 and A.2.

Whoever has the PDF writes the counts into a CSV file for each figure: a line for each true class in Galaxy10 DECaLS's
order, a whole number for each predicted class, without names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.clustering.null import score_tables, shuffle
from galutils.clustering.scores import match_table, score_table
from galutils.data.classes import GALAXY10, GALAXY10_COUNTS
from galutils.errors import GalutilsError


def read_matrix(path: str | Path) -> np.ndarray | None:
    """Counts (10, 10) of true by predicted class; None where there is no such file.

    Raises:
        GalutilsError: the file is not a table of ten by ten whole numbers.
    """
    if not Path(path).exists():
        return None
    size = len(GALAXY10)
    wanted = f"write {size} lines of {size} counts each, a line for each true class, without names"
    try:
        table = pd.read_csv(path, header=None, skip_blank_lines=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError):
        raise GalutilsError(f"{path}: is no table of numbers; {wanted}.") from None
    values = table.apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if values.shape != (size, size):
        raise GalutilsError(f"{path}: has {values.shape[0]} lines and {values.shape[1]} columns; {wanted}.")
    if not (np.isfinite(values).all() and (values >= 0).all() and (values == values.round()).all() and values.any()):
        raise GalutilsError(f"{path}: holds something else than counts (shares do not tell how many); {wanted}.")
    return values.astype(np.int64)


def describe_figures(paths: Sequence[str | Path]) -> list[str]:
    """What the paper's figures A.1 and A.2 say, or where their counts are to be written down. paths: of both files."""
    found = {f"Figure A.{i}": read_matrix(path) for i, path in enumerate(paths, start=1)}
    said = [sentence for name, own in found.items() if own is not None for sentence in describe_matrix(own, name)]
    missing = [name for name, own in found.items() if own is None]
    if missing:
        verb = "prints" if len(missing) == 1 else "print"
        said.append(
            f"{' and '.join(missing)} of the paper {verb} what would tell how many galaxies were scored and whether "
            "their assignment is the best; docs/assumptions.md says where their counts are read from."
        )
    return said


def describe_matrix(counts: np.ndarray, name: str, draws: int = 1000) -> list[str]:
    """What a printed matrix (C, C) of true by predicted class says, as sentences. name: of the figure."""
    table = np.vstack([counts.T, np.zeros((1, len(counts)), counts.dtype)])  # clusters by class, and no noise
    (accuracy, area), size = score_table(table, np.append(np.arange(len(counts)), -1)), int(counts.sum())
    best = score_table(table, match_table(table))[0]
    null = score_tables(shuffle(table, draws))
    totals = counts.sum(axis=1)
    recalls = ", ".join(f"{own:.0%}" for own in counts.diagonal()[totals > 0] / totals[totals > 0])
    whole = "the full set, class by class" if tuple(totals) == GALAXY10_COUNTS else "not the full set's class counts"
    matching = (
        "no other assignment of clusters to classes has more of them right"
        if best == accuracy
        else f"the best assignment of clusters to classes would get {best:.1%}"
    )
    reached = np.mean(null[:, 0] >= best)
    return [
        f"{name} counts {size:,} galaxies ({whole}), of which {accuracy:.1%} are right; {matching}.",
        f"{name}: the recalls of the classes are {recalls}; the ROC AUC of its hard assignments is {area:.3f}.",
        f"{name}: with permuted labels, the best assignment of such clusters gets {null[:, 0].mean():.1%} (ROC AUC "
        f"{null[:, 1].mean():.3f}) on average, and {reached:.1%} of {draws:,} permutations get {best:.1%} or more.",
    ]
