"""Which rows are trained on and which are tested on.

Galaxy10 DECaLS holds blank images and galaxies that occur twice, some with contradicting labels. A split by rows
would put one copy into training and the other into the test. Here blank rows are dropped and all rows of one galaxy
stay on one side.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from galutils.data.galaxies import DataError, Galaxies
from galutils.errors import GalutilsError
from galutils.files import WriteError, atomic_path, code_digest, data_home
from galutils.progress import tracked

#: Two rows closer than this on the sky are one galaxy, in arcsec.
SAME_POSITION = 1.0
#: What a split leaves whole: galaxies, or cells of the sky, which are HEALPix's (Górski et al. 2005), 7.3 degrees wide.
WHOLE = ("galaxies", "sky")
NSIDE = 8


@dataclass(frozen=True)
class Split:
    """The part and the group of every row of a file.

    Parts, (N,) str, are "train", "test", "calibration" (training galaxies that were set aside), "blank" (dropped),
    "unused" (left out by a training fraction) and "too_few" (of a class with fewer than two galaxies). Rows with the
    same group, (N,) int64, show the same galaxy. ``by`` says what was left whole, one of :data:`WHOLE`.
    """

    part: np.ndarray
    group: np.ndarray
    by: str = WHOLE[0]

    #: Row numbers of three of the parts, increasing.
    train = cached_property(lambda self: np.flatnonzero(self.part == "train"))
    test = cached_property(lambda self: np.flatnonzero(self.part == "test"))
    calibration = cached_property(lambda self: np.flatnonzero(self.part == "calibration"))

    def write(self, path: str | Path) -> None:
        """Write ``row,part,group`` as CSV."""
        with atomic_path(path) as partial:
            pd.DataFrame({"part": self.part, "group": self.group}).rename_axis("row").to_csv(partial)


def read_split(path: str | Path) -> Split:
    """Read what :meth:`Split.write` wrote."""
    table = pd.read_csv(path)
    return Split(table["part"].to_numpy(dtype=object), table["group"].to_numpy(dtype=np.int64))


def scan_images(galaxies: Galaxies, block: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Read every image once, in blocks, to find the blank and the identical ones.

    Returns (N,) bool, true where all pixels of an image are equal, and (N,) str, equal where images are
    pixel-identical (BLAKE2b, 128 bits). Blank images, which show no galaxy, have a digest each.
    """
    count = len(galaxies)
    blank, digest = np.empty(count, bool), []
    for rows in tracked(np.split(np.arange(count), range(block, count, block)), count, "image", weight=len):
        flat = galaxies.read_images(rows).reshape(len(rows), -1)
        blank[rows] = (flat == flat[:, :1]).all(axis=1)
        digest += [hashlib.blake2b(row.tobytes(), digest_size=16).hexdigest() for row in flat]
    return blank, np.where(blank, [f"blank {row}" for row in range(count)], digest)


def scan_once(galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """:func:`scan_images`, kept for the next time."""

    def scan() -> dict[str, np.ndarray]:
        return dict(zip(("blank", "digest"), scan_images(galaxies), strict=True))

    kept = keep_arrays(galaxies, "scans", scan, "data/splits.py", "data/galaxies.py")
    return kept["blank"], kept["digest"]


def keep_arrays(
    galaxies: Galaxies, kind: str, compute: Callable[[], Mapping[str, np.ndarray]], *code: str, of: Split | None = None
) -> dict[str, np.ndarray]:
    """What was computed from a file, and perhaps a split, kept in the folder of data files, a folder for each kind.

    The key is of the content of both and of the code, see :func:`galutils.files.code_digest`.
    """
    divided = b"" if of is None else " ".join(of.part).encode() + of.group.tobytes()
    key = hashlib.sha256(f"{galaxies.sha256} {code_digest(*code)}".encode() + divided).hexdigest()
    path = data_home() / kind / f"{key[:20]}.npz"
    try:
        with np.load(path) as kept:
            return dict(kept.items())
    except (OSError, EOFError, ValueError, KeyError, BadZipFile):  # not there, or damaged
        found = compute()
    with suppress(WriteError), atomic_path(path) as partial:  # a folder that cannot be written to costs time alone
        np.savez(partial, **found)
    return found


def position_pairs(ra: np.ndarray | None, dec: np.ndarray | None) -> np.ndarray:
    """Pairs of rows within :data:`SAME_POSITION` on the sky: (n_pairs, 2) int64, the smaller row first.

    Positions are (N,) in degrees; rows where either is not finite are ignored, and None gives no pairs.
    """
    rows = [] if ra is None or dec is None else np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    from astropy.coordinates import Angle, SkyCoord

    sky = SkyCoord(ra[rows], dec[rows], unit="deg")
    first, second, _, _ = sky.search_around_sky(sky, Angle(SAME_POSITION, "arcsec"))
    keep = first < second
    return np.stack([rows[first[keep]], rows[second[keep]]], axis=1)


def group_rows(pairs: np.ndarray, digest: np.ndarray) -> np.ndarray:
    """Number the galaxies: rows linked by a pair or by an equal digest, directly or not, share a number.

    Takes what :func:`position_pairs` and :func:`scan_images` give; returns (N,) int64, by first appearance.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, first_row, representative = np.unique(digest, return_index=True, return_inverse=True)
    links = np.concatenate([pairs, np.stack([np.arange(len(digest)), first_row[representative]], axis=1)])
    graph = coo_array((np.ones(len(links), bool), links.T), shape=(len(digest), len(digest)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def find_galaxies(galaxies: Galaxies) -> np.ndarray:
    """Which rows of a file show the same galaxy: (N,) int64, see :func:`group_rows`."""
    return group_rows(position_pairs(galaxies.ra, galaxies.dec), scan_once(galaxies)[1])


def split_rows(
    galaxies: Galaxies,
    test_size: float = 0.2,
    seed: int = 0,
    train_fraction: float = 1.0,
    calibration_fraction: float = 0.0,
    fold: int = 0,
    split_by: str = WHOLE[0],
    scan=None,
) -> Split:
    """Split a file into training and test rows, stratified by class, whole galaxies at a time.

    Within a class the galaxies are shuffled by ``seed`` and the first ``test_size`` of them are tested on. A
    galaxy that occurs with several labels counts for the class of its first row. A class of fewer than two galaxies
    cannot be trained and tested: its rows are left out.

    Args:
        fold: which share of ``test_size`` is tested on, from 0; with one over a whole number all of them together test
            each galaxy once.
        split_by: one of :data:`WHOLE`. With "sky" a cell of the sky is on one side with all its galaxies, and classes
            have their shares as far as cells allow; ``test_size`` is rounded to one over a whole number.
        train_fraction: share of the training galaxies to keep, for learning curves; the test stays the same.
        calibration_fraction: share of those kept that is not trained on but set aside, to fit a temperature.
        scan: what :func:`scan_images` gives; by default :func:`scan_once`.
    """
    if not 0 < test_size < 1:
        raise GalutilsError(f"test_size is {test_size}; it must lie between 0 and 1.")
    if not 0 < train_fraction <= 1:
        raise GalutilsError(f"train_fraction is {train_fraction}; it must lie above 0 and at most be 1.")
    if not 0 <= calibration_fraction < 1:
        raise GalutilsError(f"calibration_fraction is {calibration_fraction}; it must be at least 0 and below 1.")
    if fold not in range(folds := int(1 / test_size + 1e-9)):
        raise GalutilsError(f"fold is {fold}; with a test_size of {test_size} it may be 0 to {folds - 1}.")
    if split_by not in WHOLE:
        raise GalutilsError(f"split_by is '{split_by}'; choose {' or '.join(WHOLE)}.")
    blank, digest = scan_once(galaxies) if scan is None else scan
    group = group_rows(position_pairs(galaxies.ra, galaxies.dec), digest)
    kept = np.flatnonzero(~blank)
    galaxy, first = np.unique(group[kept], return_index=True)
    galaxy_class = galaxies.labels[kept[first]]
    in_cells = galaxy[_rows_of_cells(galaxies, kept[first], test_size, seed, fold)] if split_by == "sky" else None

    rng = np.random.default_rng(seed)
    part_of_galaxy = np.full(len(group), "blank", dtype=object)
    large = 0
    for label in range(len(galaxies.classes)):
        members = rng.permutation(galaxy[galaxy_class == label])
        if len(members) < 2:
            part_of_galaxy[members] = "too_few"
            continue
        large += 1
        if in_cells is None:
            start, end = (max(i > 0, round(i * test_size * len(members))) for i in (fold, fold + 1))
            members, tested = np.roll(members, -start), min(end - start, len(members) - 1)
        else:
            own = np.isin(members, in_cells)
            members, tested = np.r_[members[own], members[~own]], own.sum()
        trained = max(1, round(train_fraction * (len(members) - tested)))
        aside = min(round(calibration_fraction * trained), trained - 1)
        divided = np.split(members, np.cumsum([tested, trained - aside, aside]))
        for part, these in zip(("test", "train", "calibration", "unused"), divided, strict=True):
            part_of_galaxy[these] = part
    if large < 2:
        raise DataError(
            f"{galaxies.path}: has {large} {'class' if large == 1 else 'classes'} of two or more usable galaxies; "
            "give at least two such classes, so that there is something to tell apart."
        )
    part = part_of_galaxy[group]
    part[blank] = "blank"
    return Split(part, group, split_by)


def draw_labels(split: Split, labels: np.ndarray, count: int, draw: int, balanced: bool = False) -> Split:
    """Leave ``count`` of the training rows to a split, the others "unused"; 0 leaves all.

    They are drawn by ``draw``, at least one of each class, then by the classes' shares or, ``balanced``, of each class
    as many as there are. Within a draw the rows of a smaller count are among those of a larger one.

    Args:
        labels: (N,) int classes of the file's rows.
    """
    rows, classes = split.train, np.unique(labels[split.train])
    if count and not len(classes) <= count <= len(rows):
        raise GalutilsError(
            f"train_labels is {count}; give {len(classes)}, one for each class, to {len(rows)}, all the training rows."
        )
    rows, place = np.random.default_rng(draw).permutation(rows), np.empty(len(rows))
    for label in classes:
        own = np.flatnonzero(labels[rows] == label)
        # Each class is spread evenly over the order, and has its first row at the beginning.
        place[own] = np.arange(len(own)) / (1 if balanced else len(own))
    part = split.part.copy()
    part[rows[np.argsort(place, kind="stable")[count or len(rows) :]]] = "unused"
    return Split(part, split.group, split.by)


def _rows_of_cells(galaxies: Galaxies, rows: np.ndarray, test_size: float, seed: int, fold: int) -> np.ndarray:
    """Places (n,) int in ``rows``, a galaxy each, of those that lie in the cells of the sky that a fold tests."""
    from astropy import units
    from astropy_healpix import lonlat_to_healpix
    from sklearn.model_selection import StratifiedGroupKFold

    if galaxies.ra is None or galaxies.dec is None or not np.isfinite(galaxies.ra + galaxies.dec)[rows].all():
        raise DataError(
            f"{galaxies.path}: does not say where each galaxy lies (ra, dec), so it cannot be split by the sky; "
            "leave split_by out."
        )
    cells = lonlat_to_healpix(galaxies.ra[rows] * units.deg, galaxies.dec[rows] * units.deg, NSIDE)
    folds = max(2, round(1 / test_size))
    if len(np.unique(cells)) < folds or np.bincount(galaxies.labels[rows]).max() < folds:
        raise DataError(f"{galaxies.path}: has too few cells of the sky for {folds} parts; leave split_by out.")
    dealt = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(rows, galaxies.labels[rows], cells)
    return list(dealt)[fold][1]


def contradicting_groups(labels: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
    """Rows of each galaxy that occurs with different labels; both (N,) int, see :func:`group_rows`."""
    order = np.argsort(groups, kind="stable")
    repeated = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return [rows for rows in repeated if len(set(labels[rows])) > 1]
