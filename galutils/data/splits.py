"""Which rows are trained on and which are tested on.

Galaxy10 DECaLS holds blank images and galaxies that occur twice, some with contradicting labels. A
random split that ignores this puts one copy into training and the other into the test. Here blank rows
are dropped and all rows of one galaxy stay on one side.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from galutils.data.galaxies import DataError, Galaxies
from galutils.data.galaxy10 import CLASS_NAMES
from galutils.errors import GalutilsError
from galutils.files import atomic_path
from galutils.progress import tracked

#: Two rows closer than this on the sky are one galaxy, in arcsec.
SAME_POSITION = 1.0


@dataclass(frozen=True)
class Split:
    """The part and the group of every row of a file.

    Attributes:
        part: (N,) str, "train", "test", "calibration" (training galaxies that were set aside), "blank"
            (dropped), or "unused" (left out by a training fraction).
        group: (N,) int64; rows with the same number show the same galaxy.
    """

    part: np.ndarray
    group: np.ndarray

    @cached_property
    def train(self) -> np.ndarray:
        """Row numbers of the training part, increasing."""
        return np.flatnonzero(self.part == "train")

    @cached_property
    def test(self) -> np.ndarray:
        """Row numbers of the test part, increasing."""
        return np.flatnonzero(self.part == "test")

    @cached_property
    def calibration(self) -> np.ndarray:
        """Row numbers of the training galaxies that were set aside, increasing."""
        return np.flatnonzero(self.part == "calibration")

    def write(self, path: str | Path) -> None:
        """Write ``row,part,group`` as CSV."""
        with atomic_path(path) as partial:
            table = pd.DataFrame({"row": np.arange(len(self.part)), "part": self.part, "group": self.group})
            table.to_csv(partial, index=False)


def read_split(path: str | Path) -> Split:
    """Read what :meth:`Split.write` wrote."""
    table = pd.read_csv(path)
    return Split(table["part"].to_numpy(dtype=object), table["group"].to_numpy(dtype=np.int64))


def scan_images(galaxies: Galaxies, block: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Read every image once, in blocks, to find the blank and the identical ones.

    Returns:
        blank: (N,) bool, true where all pixels of an image are equal.
        digest: (N,) str, equal where images are pixel-identical (BLAKE2b, 128 bits). Blank images, which show
            no galaxy, have one each.
    """
    blank, digest = [], []
    blocks = [np.arange(start, min(start + block, len(galaxies))) for start in range(0, len(galaxies), block)]
    for rows in tracked(blocks, len(galaxies), "image", weight=len):
        images = galaxies.read_images(rows)
        flat = images.reshape(len(images), -1)
        blank.append((flat == flat[:, :1]).all(axis=1))
        digest += [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in flat]
    blank = np.concatenate(blank)
    return blank, np.where(blank, [f"blank {row}" for row in range(len(blank))], digest)


def position_pairs(ra: np.ndarray | None, dec: np.ndarray | None) -> np.ndarray:
    """Pairs of rows within :data:`SAME_POSITION` on the sky.

    Args:
        ra, dec: (N,) degrees; rows where either is not finite are ignored. None gives no pairs.

    Returns:
        (n_pairs, 2) int64, the smaller row first.

    Raises:
        DataError: a declination lies outside -90 to 90 degrees.
    """
    if ra is None or dec is None:
        return np.empty((0, 2), np.int64)
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    if np.abs(dec[rows]).max() > 90:
        raise DataError("'dec' goes beyond 90 degrees; give declinations in degrees, from -90 to 90.")
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    sky = SkyCoord(ra[rows] * u.deg, dec[rows] * u.deg)
    first, second, _, _ = sky.search_around_sky(sky, SAME_POSITION * u.arcsec)
    keep = first < second
    return np.stack([rows[first[keep]], rows[second[keep]]], axis=1)


def group_rows(pairs: np.ndarray, digest: np.ndarray) -> np.ndarray:
    """Number the galaxies: rows linked by a pair or by an equal digest, directly or not, share a number.

    Args:
        pairs: (n_pairs, 2) int64 row numbers.
        digest: (N,) str, see :func:`scan_images`.

    Returns:
        (N,) int64, numbered by first appearance.
    """
    _, representative = np.unique(digest, return_inverse=True)
    first_row = np.full(representative.max() + 1, len(digest))
    np.minimum.at(first_row, representative, np.arange(len(digest)))
    links = np.concatenate([pairs, np.stack([np.arange(len(digest)), first_row[representative]], axis=1)])
    graph = coo_array((np.ones(len(links), bool), links.T), shape=(len(digest), len(digest)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def split_rows(
    galaxies: Galaxies,
    test_size: float = 0.2,
    seed: int = 0,
    train_fraction: float = 1.0,
    calibration_fraction: float = 0.0,
    scan=None,
) -> Split:
    """Split a file into training and test rows, stratified by class, whole galaxies at a time.

    Within a class the galaxies are shuffled and the first ``test_size`` of them are tested on. A galaxy
    that occurs with several labels counts for the class of its first row.

    Args:
        galaxies: the opened file.
        test_size: share of galaxies to test on, between 0 and 1.
        seed: same seed, same split.
        train_fraction: share of the training galaxies to keep, for learning curves; the test stays the same.
        calibration_fraction: share of those kept that is not trained on but set aside, to fit a temperature.
        scan: result of :func:`scan_images`, if it is at hand.

    Raises:
        DataError: a class has fewer than two galaxies, so that it cannot be on both sides.
        GalutilsError: a share lies outside its range.
    """
    if not 0 < test_size < 1:
        raise GalutilsError(f"test_size is {test_size}; it must lie between 0 and 1.")
    if not 0 < train_fraction <= 1:
        raise GalutilsError(f"train_fraction is {train_fraction}; it must lie above 0 and at most be 1.")
    if not 0 <= calibration_fraction < 1:
        raise GalutilsError(f"calibration_fraction is {calibration_fraction}; it must be at least 0 and below 1.")
    blank, digest = scan_images(galaxies) if scan is None else scan
    # A blank image equals every other blank image; that does not make their rows one galaxy.
    digest = np.where(blank, [f"blank {row}" for row in range(len(digest))], digest)
    group = group_rows(position_pairs(galaxies.ra, galaxies.dec), digest)
    kept = np.flatnonzero(~blank)
    galaxy, first = np.unique(group[kept], return_index=True)
    galaxy_class = galaxies.labels[kept[first]]

    rng = np.random.default_rng(seed)
    part_of_galaxy = np.full(len(group), "blank", dtype=object)
    for label, name in enumerate(CLASS_NAMES):
        members = rng.permutation(galaxy[galaxy_class == label])
        if len(members) < 2:
            raise DataError(
                f"{galaxies.path}: class {label} ({name}) has {len(members)} usable galaxies; "
                "give at least 2 of each class, so that it can be trained and tested."
            )
        tested = min(max(1, round(test_size * len(members))), len(members) - 1)
        trained = max(1, round(train_fraction * (len(members) - tested)))
        aside = min(round(calibration_fraction * trained), trained - 1)
        part_of_galaxy[members[:tested]] = "test"
        part_of_galaxy[members[tested : tested + trained - aside]] = "train"
        part_of_galaxy[members[tested + trained - aside : tested + trained]] = "calibration"
        part_of_galaxy[members[tested + trained :]] = "unused"
    part = part_of_galaxy[group]
    part[blank] = "blank"
    return Split(part, group)


def contradicting_groups(labels: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """Rows of each galaxy that occurs more than once with different labels.

    Args:
        labels: (N,) int. groups: (N,) int, see :func:`galutils.data.splits.group_rows`.
    """
    order = np.argsort(groups, kind="stable")
    repeated = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [rows for rows in repeated if len(set(labels[rows])) > 1]
