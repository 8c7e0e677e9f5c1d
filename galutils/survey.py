"""What a file of galaxies holds, read through block by block: the report of ``galutils check``."""

from pathlib import Path

import numpy as np

from galutils.fetch import GALAXY10, GALAXY10_NO_DUPLICATES, matches
from galutils.galaxy10 import CLASS_NAMES, open_galaxies
from galutils.splits import group_rows, position_pairs, scan_images


def contradicting_groups(labels: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """Rows of each galaxy that occurs more than once with different labels.

    Args:
        labels: (N,) int. groups: (N,) int, see :func:`galutils.splits.group_rows`.
    """
    order = np.argsort(groups, kind="stable")
    repeated = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [rows for rows in repeated if len(set(labels[rows])) > 1]


def survey_file(path: str | Path) -> str:
    """Read a file in Galaxy10's layout through, in bounded memory, and say what it is, one fact a line.

    Raises:
        galutils.galaxy10.DataError: it is not such a file, or its images are damaged.
    """
    galaxies = open_galaxies(path)
    blank, digest = scan_images(galaxies)
    pairs = position_pairs(galaxies.ra, galaxies.dec)
    groups = group_rows(pairs, digest)
    repeated = int(np.sum(np.bincount(groups) > 1))
    contradicting = contradicting_groups(galaxies.labels, groups)
    known = [file.name for file in (GALAXY10, GALAXY10_NO_DUPLICATES) if matches(file, path)]
    counts = np.bincount(galaxies.labels, minlength=len(CLASS_NAMES))
    lines = [
        f"{path}: {len(galaxies):,} {'simulated ' if galaxies.simulated else ''}galaxies, "
        f"{galaxies.image_size} pixels wide",
        *(f"  {label} {name}: {count:,}" for label, (name, count) in enumerate(zip(CLASS_NAMES, counts, strict=True))),
        f"Blank images: {blank.sum()}{_rows(np.flatnonzero(blank))}",
        f"Pairs of rows at the same position: {len(pairs) if galaxies.ra is not None else 'no positions in this file'}",
        f"Galaxies with several rows: {repeated}, with contradicting labels: {len(contradicting)}",
        *(f"  rows {', '.join(map(str, rows))}: {_labels(galaxies.labels[rows])}" for rows in contradicting[:10]),
        f"Missing redshifts: {_missing(galaxies.redshift)}",
        f"Checksum: {'that of the published ' + known[0] if known else 'not that of a published file'}",
    ]
    return "\n".join(lines)


def _rows(rows: np.ndarray, most: int = 10) -> str:
    if not len(rows):
        return ""
    return f" (rows {', '.join(map(str, rows[:most]))}{', ...' if len(rows) > most else ''})"


def _labels(labels: np.ndarray) -> str:
    return ", ".join(CLASS_NAMES[label] for label in labels)


def _missing(redshift: np.ndarray | None) -> str:
    return "no redshifts in this file" if redshift is None else str(int(np.isnan(redshift).sum()))
