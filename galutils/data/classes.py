"""Names of classes: those of Galaxy10 DECaLS and Galaxy10 SDSS, and how names become columns and axes.

A file of galaxies says itself what its classes are called (:attr:`galutils.data.galaxies.Galaxies.classes`). Only
where it does not, and is one of the two published sets by its very layout, are their names taken.
"""

import re
from collections.abc import Sequence
from itertools import chain, count

import numpy as np

#: The ten classes of Galaxy10 DECaLS (Leung & Bovy, Zenodo record 10845026), which are the paper's.
GALAXY10 = (
    "Disturbed",
    "Merging",
    "Round smooth",
    "In-between round smooth",
    "Cigar-shaped smooth",
    "Barred spiral",
    "Unbarred tight spiral",
    "Unbarred loose spiral",
    "Edge-on without bulge",
    "Edge-on with bulge",
)
#: Rows of each class in the full ``Galaxy10_DECals.h5``, 17,736 in all; and rows of the version without duplicates.
GALAXY10_COUNTS = (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873)
_WITHOUT_DUPLICATES = 17_675

#: The ten others of Galaxy10 SDSS (astroNN), which has the same datasets, 21,785 images of 69 pixels.
GALAXY10_SDSS = (
    "Disk, face-on, no spiral",
    "Smooth, completely round",
    "Smooth, in-between round",
    "Smooth, cigar-shaped",
    "Disk, edge-on, rounded bulge",
    "Disk, edge-on, boxy bulge",
    "Disk, edge-on, no bulge",
    "Disk, face-on, tight spiral",
    "Disk, face-on, medium spiral",
    "Disk, face-on, loose spiral",
)
_SDSS_ROWS, _SDSS_SIZE, _SDSS_PIXEL = 21_785, 69, 0.396

#: What Galaxy10's classes have in common, as far as anybody can tell them apart.
COARSE = {
    "merger": GALAXY10[:2],
    "smooth": GALAXY10[2:5],
    "face-on disk": GALAXY10[5:8],
    "edge-on disk": GALAXY10[8:],
}

#: Pairs of classes that people confuse, too.
CONFUSABLE = (
    ("Disturbed", "Merging"),
    ("Unbarred tight spiral", "Unbarred loose spiral"),
    ("Round smooth", "In-between round smooth"),
)


def recognise(labels: np.ndarray, image_size: int, pixel_scale: float | None) -> tuple[str, ...] | None:
    """Class names of a published set whose file does not say them; None where the file is no such set.

    Args:
        labels: (N,) int. image_size: pixels. pixel_scale: arcsec per pixel, None where the file does not say it.
    """
    counts = np.bincount(labels, minlength=len(GALAXY10))
    if len(counts) > len(GALAXY10):
        return None
    if tuple(counts) == GALAXY10_COUNTS:
        return GALAXY10
    if image_size == 256 and len(labels) == _WITHOUT_DUPLICATES and np.all(counts <= GALAXY10_COUNTS):
        return GALAXY10
    sdss = len(labels) == _SDSS_ROWS or (pixel_scale is not None and abs(pixel_scale / _SDSS_PIXEL - 1) < 0.01)
    return GALAXY10_SDSS if image_size == _SDSS_SIZE and sdss else None


def numbered(count: int) -> tuple[str, ...]:
    """What classes are called that have no names."""
    return tuple(f"class {number}" for number in range(count))


def class_columns(classes: Sequence[str]) -> list[str]:
    """Columns of probabilities, such as ``p_barred_spiral``: names in lower case, words joined by underscores."""
    columns: list[str] = []
    for name in classes:
        column = "p_" + re.sub(r"\W+", "_", name.lower()).strip("_")
        alike = (f"{column}_{number}" for number in count(2))  # where names differ in nothing but signs
        columns.append(next(free for free in chain([column], alike) if free not in columns))
    return columns


def short_names(classes: Sequence[str]) -> list[str]:
    """Names short enough for an axis; cut where they still are not."""
    shorter = (("Unbarred ", ""), ("without", "w/o"), (" smooth", ""), ("-shaped", "")) if classes == GALAXY10 else ()
    names = []
    for name in classes:
        for long, short in shorter:
            name = name.replace(long, short)
        names.append(name if len(name) <= 28 else f"{name[:27].rstrip()}…")
    return names
