"""From a catalogue of galaxies and their pictures to one HDF5 file in the layout that everything here reads.

Labels are read first, and checked; then the pictures, a block at a time, by several threads. The file has its name
only when it is whole.
"""

import dataclasses
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.labels import BLOCK, Labels, read_labels
from galutils.data.classes import numbered
from galutils.data.galaxies import CLASSES_ATTRIBUTE, SIMULATED_ATTRIBUTE, resize
from galutils.data.image_files import SMALLEST, Picture, PictureError, Reading, as_picture, read_picture
from galutils.errors import GalutilsError
from galutils.files import atomic_path
from galutils.progress import tracked

#: Pictures that are looked at to settle the size; the largest size that is chosen by that; names that are listed.
_SAMPLE, _LARGEST, _LISTED = 200, 256, 10


class PackError(GalutilsError):
    """Galaxies that cannot be packed; one sentence that says why and what to do."""


def pack(
    source: str | Path,
    target: str | Path,
    *,
    images: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    votes: Sequence[str] = (),
    classes: Sequence[str] = (),
    min_votes: float | None = None,
    size: int | None = None,
    field: float | None = None,
    reading: Reading | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Write the galaxies of a folder or table to ``target``, in Galaxy10's layout with class names.

    Beside ``images``, ``ans`` and the attribute ``classes`` there are ``name`` (N,) text, where each image came from;
    ``votes`` (N, C) float32, if votes are the labels; ``ra``, ``dec``, ``redshift`` as far as the source has them; and
    ``pxscale``, arcsec per pixel of the images as they are stored, NaN where nobody says it.

    Args:
        images, image_column, label_column, votes: see :func:`galutils.data.catalogue.columns.open_catalogue`.
        classes, min_votes: see :func:`galutils.data.catalogue.labels.read_labels`.
        size: height and width of the images in pixels; if None the median of the pictures, at most 256.
        field: arcsec that every image spans: pictures of known scale are cropped or padded to it, others taken to
            span it.
        reading: what is known of the pictures beside; a scale that the table gives for a row comes before it.
        say: is given what was found, a line at a time.

    Pictures that cannot be read are left out and named, all of them in ``<target>.bad.csv``. Whatever else is wrong is
    a GalutilsError, and no file.
    """
    target = Path(target)
    if target.suffix.lower() not in (".h5", ".hdf5") or target.is_dir():
        raise PackError(f"{target}: is no name for an HDF5 file; end it in .h5.")
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise PackError(f"{target}: is what is to be packed; give the file that is made another name.")
    if size is not None and size < SMALLEST:
        raise PackError(f"The size is {size} pixels; {SMALLEST} is the least.")
    if field is not None and not 0 < field < np.inf:
        raise PackError(f"The field is {field:g} arcsec; give one above 0.")
    catalogue = open_catalogue(source, images, image_column, label_column, votes)
    say(catalogue.describe())
    labels = read_labels(catalogue, classes, min_votes)
    for note in labels.notes:
        say(note)
    read = partial(_read, reading=reading or Reading(), field=field)
    median = _median_side(_sample(catalogue, labels, say), read)
    size = size or median
    _need_room(target, int((labels.of_row >= 0).sum()) * size * size * 3)
    threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    with threads, atomic_path(target) as unfinished, h5py.File(unfinished, "w") as file:
        packed = _write(file, catalogue, labels, partial(_read_resized, read, size), threads.map)
    for line in packed.describe(size):
        say(line)
    bad = target.with_suffix(".bad.csv")
    bad.unlink(missing_ok=True)  # of an earlier file of this name
    if packed.unread:
        with atomic_path(bad) as unfinished:
            pd.DataFrame(packed.unread, columns=["name", "reason"]).to_csv(unfinished, index=False)
        say(f"Left out: {len(packed.unread):,} that could not be read, all named in {bad}:")
        for _, reason in packed.unread[:_LISTED]:
            say(f"  {reason}")


def _read(source: object, name: str, scale: float | None, reading: Reading, field: float | None) -> Picture:
    """One picture of a catalogue, which is taken to span the field where nobody says what it spans."""
    picture = read_entry(source, name, scale, reading, field)
    return replace(picture, pixel_scale=picture.pixel_scale or (field and field / len(picture.image)))


def read_entry(source: object, name: str, scale: float | None, reading: Reading, field: float | None) -> Picture:
    """One picture of a catalogue, see :meth:`galutils.data.catalogue.columns.Catalogue.blocks`, and its ``scale``."""
    if source is None:
        raise PictureError(f"{name}: names no image.")
    stated = scale is not None and np.isfinite(scale)
    if isinstance(source, np.ndarray):
        return as_picture(_colours(source, name), scale if stated else None, reading, field, name)
    reading = replace(reading, pixel_scale=scale) if stated else reading
    return read_picture(source, reading, field, name if isinstance(source, bytes) else None)


def _colours(pixels: np.ndarray, name: str) -> np.ndarray:
    """Pixels (H, W, 3) of those that lie in a table: channels may come first, and grey may have none."""
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] != 3 or min(pixels.shape[:2]) < SMALLEST:
        raise PictureError(f"{name}: has shape {pixels.shape}, not (height, width, 3) of {SMALLEST} pixels or more.")
    return pixels


def _read_resized(
    read: Callable, size: int, *row: object
) -> tuple[np.ndarray, float, int, tuple[str, ...]] | PictureError:
    """An image (size, size, 3) uint8, its arcsec per pixel or NaN, its side before, and notes; or why there is none."""
    try:
        picture = read(*row)
    except PictureError as error:
        return error
    side = len(picture.image)
    scale = np.nan if picture.pixel_scale is None else picture.pixel_scale * side / size
    return resize(picture.image[None], size)[0], scale, side, picture.notes


def _sample(catalogue: Catalogue, labels: Labels, say: Callable[[str], None]) -> pd.DataFrame:
    """Some galaxies, drawn by seed; of image files it is looked whether they are all there."""
    roles = ["image", "pxscale"]
    if catalogue.embedded:
        return catalogue.sample(roles, _SAMPLE)
    rng, samples, missing = np.random.default_rng(0), [], []
    for block in _labelled(catalogue, labels, roles, BLOCK):
        there = np.array([path is not None and ("{band}" in path.name or path.is_file()) for path in block["image"]])
        missing.append(block[~there]["name"])
        samples.append(block[there].assign(order=rng.random(there.sum())))
        samples = [pd.concat(samples).nsmallest(_SAMPLE, "order")]
    missing = pd.concat(missing)
    if samples[0].empty:
        raise PackError(
            f"{catalogue.table.path}: none of its {len(missing):,} image files is in {catalogue.images}, "
            f"such as {missing.iloc[0]}; say with --images where they are."
        )
    if len(missing):
        say(f"{len(missing):,} image files are not there, such as {missing.iloc[0]}; the others are packed.")
    return samples[0]


def _labelled(catalogue: Catalogue, labels: Labels, roles: Sequence[str], rows: int) -> Iterator[pd.DataFrame]:
    """Blocks of a catalogue without rows that have no class, under a bar."""
    blocks = tracked(catalogue.blocks(roles, rows), len(labels.of_row), "galaxy", weight=len)
    kept = (block[labels.of_row[block.index] >= 0] for block in blocks)
    return (block for block in kept if len(block))


def _median_side(sample: pd.DataFrame, read: Callable) -> int:
    """Of the pictures that can be read; the first reason if none can."""
    sides, reasons = [], []
    for row in sample.itertuples():
        try:
            sides.append(len(read(row.image, row.name, getattr(row, "pxscale", None)).image))
        except PictureError as error:
            reasons.append(str(error))
    if not sides:
        raise PackError(f"None of {len(sample)} pictures can be read; the first is {reasons[0]}")
    return min(_LARGEST, int(np.median(sides)))


def _need_room(target: Path, needed: int) -> None:
    home = next(folder for folder in target.absolute().parents if folder.exists())
    if (free := shutil.disk_usage(home).free) < needed:
        raise PackError(
            f"{home}: has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed; "
            "make room, or choose a smaller --size."
        )


@dataclass
class _Packed:
    """What became of the pictures."""

    sides: Counter = dataclasses.field(default_factory=Counter)  # of how many pictures, in pixels
    notes: Counter = dataclasses.field(default_factory=Counter)  # on how many, their numbers left out
    scales: list[float] = dataclasses.field(default_factory=list)  # arcsec per pixel as packed, NaN where unknown
    unread: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # names, and reasons

    def describe(self, size: int) -> Iterator[str]:
        """A line for each fact that its user should know."""
        sides = f"{min(self.sides)} to {max(self.sides)}" if len(self.sides) > 1 else min(self.sides)
        yield f"{len(self.scales):,} galaxies are packed with {size} pixels; as pictures they had {sides}."
        fields = np.array(self.scales) * size
        known = fields[np.isfinite(fields)]
        if len(known) < len(fields):
            yield (
                f"The pixel scale of {len(fields) - len(known):,} images is not known; "
                "give --pixel-scale or --field if you know it."
            )
        if len(known) and np.ptp(known) > 0.01 * np.median(known):
            yield (
                f"The images span different fields, {known.min():.3g} to {known.max():.3g} arcsec "
                f"(pixels of {known.min() / size:.3g} to {known.max() / size:.3g}); --field makes them one."
            )
        yield from (f"Of {count:,} it is said: {note}." for note, count in self.notes.most_common(_LISTED))


def _write(file: h5py.File, catalogue: Catalogue, labels: Labels, read: Callable, pool_map: Callable) -> _Packed:
    """Put all pictures that can be read into an open file."""
    packed = _Packed()
    columns = [name for name in ("ra", "dec", "redshift") if name in catalogue.columns]
    for block in _labelled(catalogue, labels, ["image", "votes", "pxscale", *columns], 256):
        found = list(pool_map(read, block["image"], block["name"], block.get("pxscale", [None] * len(block))))
        good = np.array([not isinstance(picture, PictureError) for picture in found])
        packed.unread += [(name, str(found[row])) for row, name in enumerate(block["name"]) if not good[row]]
        if not good.any():
            continue
        block = block[good]
        pixels, scales, sides, notes = zip(*(found[row] for row in np.flatnonzero(good)), strict=True)
        packed.scales += scales
        packed.sides.update(sides)
        for remarks in notes:
            packed.notes.update({re.sub(r"\d[\d.,e+-]*", "…", remark) for remark in remarks})
        _append(file, "images", np.stack(pixels))
        _append(file, "ans", labels.of_row[block.index].astype(np.uint8 if len(labels.classes) <= 256 else np.uint16))
        _append(file, "name", block["name"].to_numpy(object), h5py.string_dtype())
        for name in columns:
            _append(file, name, block[name].to_numpy(np.float64))
        if catalogue.votes:
            _append(file, "votes", block[list(catalogue.votes)].to_numpy(np.float32))
    if not packed.scales:
        raise PackError(f"None of {len(packed.unread):,} pictures can be read; the first is {packed.unread[0][1]}")
    if np.isfinite(packed.scales).any():
        file["pxscale"] = np.array(packed.scales)
    if catalogue.table.simulated:
        file.attrs[SIMULATED_ATTRIBUTE] = True
    if labels.classes != numbered(len(labels.classes)):  # then they have no names
        file.attrs[CLASSES_ATTRIBUTE] = labels.classes
    return packed


def _append(file: h5py.File, name: str, values: np.ndarray, dtype: np.dtype | None = None) -> None:
    """Add rows to a dataset, which is made if it is not there."""
    if name not in file:
        shape = values.shape[1:]
        # Small enough that one row can be read without many others, large enough that their index stays small.
        rows = max(1, 65_536 // (values.dtype.itemsize * int(np.prod(shape))))
        file.create_dataset(name, (0, *shape), dtype or values.dtype, maxshape=(None, *shape), chunks=(rows, *shape))
    dataset = file[name]
    dataset.resize(len(dataset) + len(values), axis=0)
    dataset[-len(values) :] = values
