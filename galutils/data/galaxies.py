"""Galaxies in Galaxy10's HDF5 layout, and how images are read from it.

The layout (Leung & Bovy, Zenodo record 10845026) is the only one that the study knows; whatever else people have is
brought into it. Its datasets are ``images`` (N, size, size, 3) uint8, the cutouts in g, r and z shown as RGB, and
``ans`` (N,) integer, the class from 0. Optional, (N,) float, are ``ra`` and ``dec`` in degrees, ``redshift``, NaN
where unknown, and ``pxscale`` in arcsec per pixel, and ``votes`` (N, C) float, the share of volunteers' votes that each
class got. What the classes are called says the root attribute ``classes``, a list of text.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from galutils.data.classes import GALAXY10, numbered, recognise
from galutils.data.stretch import FIELD
from galutils.errors import GalutilsError, first_line
from galutils.files import check_target, sha256

#: Attribute of the file that marks simulated galaxies, so that no number from them passes for a real one.
SIMULATED_ATTRIBUTE = "simulated"

#: Attribute that names the classes, and how many there may be: more are no classes but something else.
CLASSES_ATTRIBUTE, MOST_CLASSES = "classes", 1000

#: Least and greatest value of what is an angle, in degrees.
DEGREES = {"ra": (0, 360), "dec": (-90, 90)}

_GET_IT = "galutils pack makes such a file, and Galaxy10_DECals.h5 from https://zenodo.org/records/10845026 is one"

#: What h5py raises for damaged bytes, depending on where they are.
DAMAGE = (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError)


class DataError(GalutilsError):
    """A data file that cannot be used; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Galaxies:
    """A checked file of galaxies: labels and coordinates in memory, images left on disk.

    The columns are (N,) float64 in the units of the layout, or None where the file has none.
    """

    path: Path
    labels: np.ndarray  # (N,) int64, classes from 0; -1 where the file has none
    image_size: int  # height and width of the images in pixels
    simulated: bool  # whether the file says that its galaxies are
    classes: tuple[str, ...]  # what the classes are called, also those of which there is no galaxy
    ra: np.ndarray | None = None
    dec: np.ndarray | None = None
    redshift: np.ndarray | None = None
    pxscale: np.ndarray | None = None
    votes: np.ndarray | None = None  # (N, C) float32 shares of votes, NaN where there were none

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def field(self) -> float | None:
        """Arcsec that an image spans; None where the file does not say, or its images differ by more than 1%."""
        scales = np.empty(0) if self.pxscale is None else self.pxscale[np.isfinite(self.pxscale)]
        if len(scales) and np.ptp(scales) <= 0.01 * np.median(scales):
            return float(np.median(scales)) * self.image_size
        return FIELD if self.classes == GALAXY10 and self.image_size == 256 and not len(scales) else None

    @cached_property
    def sha256(self) -> str:
        """Checksum of the file: 64 hexadecimal digits."""
        return sha256(self.path)

    def sample_per_class(self, count: int, seed: int = 0) -> np.ndarray:
        """Up to ``count`` row numbers of each class that occurs, drawn by seed: (n,) int64, ordered by class."""
        shuffled = np.random.default_rng(seed).permutation(len(self))
        return np.concatenate([shuffled[self.labels[shuffled] == label][:count] for label in np.unique(self.labels)])

    def read_images(self, rows: Sequence[int] | np.ndarray, size: int | None = None, crop: float = 1.0) -> np.ndarray:
        """Images of some rows, in the order given and as often: (n, size, size, 3) uint8; the file's size if None.

        Only a share ``crop`` of each side around the centre is kept before resizing: galaxies are centred and most of
        a frame is sky. Smaller sizes average over the pixels that fall together, so faint structure is not lost.
        """
        rows = np.asarray(rows, dtype=np.int64)
        size = size or self.image_size
        out = np.empty((len(rows), size, size, 3), dtype=np.uint8)
        # HDF5 wants increasing row numbers; blocks bound the memory for the images at their full size.
        order = np.argsort(rows, kind="stable")
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                for start in range(0, len(order), 256):
                    block = order[start : start + 256]
                    unique, inverse = np.unique(rows[block], return_inverse=True)
                    out[block] = prepare(_read_rows(file["images"], unique), size, crop)[inverse]
        except DAMAGE as error:
            raise DataError(f"{self.path}: 'images' is damaged ({first_line(error)}); get the file again.") from error
        return out


def _read_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows (increasing, unique) of a dataset: as one slice where they are dense, else one by one."""
    first, last = rows[0], rows[-1] + 1
    if last - first <= 2 * len(rows):
        return dataset[first:last][rows - first]
    return np.stack([dataset[row] for row in rows])


def prepare(images: np.ndarray, size: int, crop: float = 1.0) -> np.ndarray:
    """Keep the central ``crop`` of each side of square images (n, s, s, 3) uint8, then :func:`resize`.

    Training and prediction both pass here, so that they cannot differ.
    """
    side = images.shape[1]
    edge = margin(side, crop)
    return resize(images[:, edge : side - edge, edge : side - edge], size)


def margin(side: int, crop: float) -> int:
    """Pixels cut from each edge so that ``crop`` of a side is kept around the centre, at least a pixel or two."""
    return min(round(side * (1 - crop) / 2), (side - 1) // 2)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize square images (n, s, s, 3) uint8 to (n, size, size, 3) uint8, antialiased bilinear."""
    if len(images) == 0 or images.shape[1] == size:
        return images.reshape(len(images), size, size, 3)
    import torch

    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    pixels = torch.nn.functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
    return pixels.permute(0, 2, 3, 1).numpy()


def open_galaxies(path: str | Path, labelled: bool = True) -> Galaxies:
    """Open a file in Galaxy10's layout and check it; unless it must be ``labelled``, missing labels are -1.

    A file that is missing, not HDF5, truncated or not in the layout is a DataError.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise DataError(f"there is no such file; {_GET_IT}.")
        if path.is_dir():
            raise DataError("is a folder, not an HDF5 file; name the file inside it.")
        if not h5py.is_hdf5(path):
            raise DataError(f"is not an HDF5 file; {_GET_IT}.")
        with h5py.File(path, "r", locking=False) as file:
            return _read_checked(file, path, labelled)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except DAMAGE as error:
        if number := getattr(error, "errno", None):  # the system's, not the file's
            raise DataError(f"{path}: cannot be read here ({os.strerror(number)}); the file may be sound.") from error
        reason = f"cannot be read as HDF5, perhaps cut short ({first_line(error)}); get it again."
        raise DataError(f"{path}: {reason}") from error


def _read_checked(file: h5py.File, path: Path, labelled: bool) -> Galaxies:
    """The galaxies of a file in the layout; a DataError that does not name the file says what is not in it."""
    labelled |= "ans" in file
    for name in ("images", "ans") if labelled else ("images",):
        if not isinstance(file.get(name), h5py.Dataset):
            raise DataError(f"has no dataset '{name}'; {_GET_IT}.")
    images = file["images"]
    ans = file["ans"] if labelled else np.full(images.shape[:1], -1)
    if images.dtype != np.uint8:
        raise DataError(f"'images' has dtype {images.dtype}, not uint8; store grey levels from 0 to 255 as uint8.")
    if images.ndim != 4 or images.shape[3] != 3 or images.shape[1] != images.shape[2] or images.shape[1] < 8:
        raise DataError(
            f"'images' has shape {images.shape}, not (N, size, size, 3) with a size of 8 or more; "
            "store square RGB images with the channels last."
        )
    if not np.issubdtype(ans.dtype, np.integer):
        raise DataError(f"'ans' has dtype {ans.dtype}, not an integer; store the classes as uint8.")
    if ans.shape != images.shape[:1]:
        raise DataError(
            f"'ans' has shape {ans.shape} but there are {len(images)} images; store one label for each image."
        )
    if len(ans) == 0:
        raise DataError(f"'images' has no rows; {_GET_IT}.")
    labels = ans[:].astype(np.int64)
    columns = {}
    for name in [name for name in ("ra", "dec", "redshift", "pxscale") if name in file]:
        values = _read_numbers(file[name], ans.shape)
        if values is None:
            raise DataError(f"'{name}' is not a column of {len(ans)} numbers; give one for each image or leave it out.")
        low, high = DEGREES.get(name, (-np.inf, np.inf))
        if np.any((values < low) | (values > high)):  # NaN is neither
            raise DataError(
                f"'{name}' goes from {np.nanmin(values):g} to {np.nanmax(values):g}; "
                f"give degrees from {low} to {high}, or NaN where they are unknown."
            )
        columns[name] = values
    classes = _named_classes(file)
    if labelled:
        most = len(classes) or MOST_CLASSES
        if labels.min() < 0 or labels.max() >= most:
            named = f"though '{CLASSES_ATTRIBUTE}' names {len(classes)} classes" if classes else f"not 0 to {most - 1}"
            raise DataError(
                f"'ans' has labels from {labels.min()} to {labels.max()}, {named}; number the classes from 0."
            )
        scales = columns.get("pxscale", np.full(1, np.nan))
        scale = float(np.median(scales[np.isfinite(scales)])) if np.isfinite(scales).any() else None
        classes = classes or recognise(labels, images.shape[1], scale) or numbered(int(labels.max()) + 1)
    if "votes" in file and classes:
        votes = _read_numbers(file["votes"], (len(labels), len(classes)))
        if votes is None or np.any((votes < 0) | (votes > 1 + 1e-6)):
            raise DataError(
                f"'votes' is not a table of {len(labels)} rows and {len(classes)} shares from 0 to 1; "
                "give one for each image and class, or leave it out."
            )
        columns["votes"] = votes.astype(np.float32)
    simulated = bool(file.attrs.get(SIMULATED_ATTRIBUTE, False))
    return Galaxies(path, labels, images.shape[1], simulated, classes, **columns)


def _read_numbers(column: h5py.Dataset, shape: tuple[int, ...]) -> np.ndarray | None:
    """Float64 of this shape; None where there is something else."""
    numeric = isinstance(column, h5py.Dataset) and np.issubdtype(column.dtype, np.number)
    return column[:].astype(np.float64) if numeric and column.shape == shape else None


def _named_classes(file: h5py.File) -> tuple[str, ...]:
    """What the attribute of a file says, nothing where there is none."""
    if CLASSES_ATTRIBUTE not in file.attrs:
        return ()
    given = np.atleast_1d(file.attrs[CLASSES_ATTRIBUTE]).tolist()
    names = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in given)
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names) or not all(map(str.strip, names)):
        raise DataError(
            f"the attribute '{CLASSES_ATTRIBUTE}' is no list of 2 to {MOST_CLASSES} different names; "
            "give one for each class, in the order of their numbers, or leave it out."
        )
    return names


def check_new(path: str | Path) -> None:
    """Refuse to write galaxies where something else than a file that this package wrote would be lost."""
    check_target(path, ".h5", ".hdf5")
    if not Path(path).exists():
        return
    ours = False
    if h5py.is_hdf5(path):
        with h5py.File(path, "r", locking=False) as file:
            ours = CLASSES_ATTRIBUTE in file.attrs
    if not ours:
        raise DataError(f"{path}: is there, and galutils did not write it; choose another name, or delete it.")
