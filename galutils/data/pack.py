"""From a catalogue of galaxies and their pictures to one HDF5 file in the layout that everything here reads.

Labels are read first, and checked; then the pictures, a block at a time, by several threads. The file has its name
only when it is whole.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.labels import BLOCK, Labels, read_labels
from galutils.data.classes import numbered
from galutils.data.galaxies import CLASSES_ATTRIBUTE, SIMULATED_ATTRIBUTE, check_new, resize
from galutils.data.image_files import SMALLEST, Picture, PictureError, Reading, read_picture
from galutils.errors import GalutilsError
from galutils.files import atomic_path, need_room
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
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise PackError(f"{target}: is what is to be packed; give the file that is made another name.")
    check_new(target)
    if size is not None and size < SMALLEST:
        raise PackError(f"The size is {size} pixels; {SMALLEST} is the least.")
    if field is not None and not 0 < field < np.inf:
        raise PackError(f"The field is {field:g} arcsec; give one above 0.")
    catalogue = open_catalogue(source, images, image_column, label_column, votes)
    say(catalogue.describe())
    labels = read_labels(catalogue, classes, min_votes)
    for note in labels.notes:
        say(note)

    def read(source: object, name: str, scale: float | None) -> Picture:
        """A picture, which is taken to span the field where nobody says what it spans."""
        picture = read_picture(source, reading, field, name, scale)
        return replace(picture, pixel_scale=picture.pixel_scale or (field and field / len(picture.image)))

    def read_resized(*row: object) -> tuple[Picture, int] | PictureError:
        """A picture in its final size and its side before; or why there is none."""
        try:
            picture = read(*row)
        except PictureError as error:
            return error
        side = len(picture.image)
        scale = picture.pixel_scale and picture.pixel_scale * side / size
        return replace(picture, image=resize(picture.image[None], size)[0], pixel_scale=scale), side

    median = _median_side(_sample(catalogue, labels, say), read)
    size = size or median
    home = next(folder for folder in target.absolute().parents if folder.exists())
    need_room(home, int((labels.of_row >= 0).sum()) * size * size * 3, "choose a smaller --size")
    threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    with threads, atomic_path(target) as unfinished, h5py.File(unfinished, "w") as file:
        scales, sides, notes, unread = _write(file, catalogue, labels, partial(threads.map, read_resized))
    for line in _describe(size, scales, sides, notes):
        say(line)
    bad = target.with_suffix(".bad.csv")
    bad.unlink(missing_ok=True)  # of an earlier file of this name
    if unread:
        with atomic_path(bad) as unfinished:
            pd.DataFrame(unread, columns=["name", "reason"]).to_csv(unfinished, index=False)
        say(f"Left out: {len(unread):,} that could not be read, all named in {bad}:")
        for _, reason in unread[:_LISTED]:
            say(f"  {reason}")


def _sample(catalogue: Catalogue, labels: Labels, say: Callable[[str], None]) -> pd.DataFrame:
    """Some galaxies, drawn by seed; of image files it is looked whether they are all there."""
    roles = ["image", "pxscale"]
    if catalogue.embedded:
        return pd.concat(catalogue.blocks(roles, _SAMPLE, sample=True))
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


def _write(
    file: h5py.File, catalogue: Catalogue, labels: Labels, read_all: Callable
) -> tuple[np.ndarray, Counter, Counter, list[tuple[str, str]]]:
    """Put all pictures that can be read into an open file.

    Returns arcsec per pixel of each as it is packed, NaN where unknown; how many had which side in pixels, and on how
    many there is which note, numbers left out; and name and reason of those that cannot be read.
    """
    scales, sides, notes, unread = [], Counter(), Counter(), []
    columns = [name for name in ("ra", "dec", "redshift") if name in catalogue.columns]
    for block in _labelled(catalogue, labels, ["image", "votes", "pxscale", *columns], 256):
        found = list(read_all(block["image"], block["name"], block.get("pxscale", [None] * len(block))))
        good = np.array([not isinstance(picture, PictureError) for picture in found])
        unread += [(name, str(found[row])) for row, name in enumerate(block["name"]) if not good[row]]
        if not good.any():
            continue
        block, pictures = block[good], [found[row] for row in np.flatnonzero(good)]
        for picture, side in pictures:
            scales.append(picture.pixel_scale or np.nan)
            sides[side] += 1
            notes.update({re.sub(r"\d[\d.,e+-]*", "…", note) for note in picture.notes})
        _append(file, "images", np.stack([picture.image for picture, _ in pictures]))
        _append(file, "ans", labels.of_row[block.index].astype(np.uint8 if len(labels.classes) <= 256 else np.uint16))
        _append(file, "name", block["name"].to_numpy(object), h5py.string_dtype())
        for name in columns:
            _append(file, name, block[name].to_numpy())
        if catalogue.votes:
            _append(file, "votes", block[list(catalogue.votes)].to_numpy(np.float32))
    if not scales:
        raise PackError(f"None of {len(unread):,} pictures can be read; the first is {unread[0][1]}")
    if np.isfinite(scales).any():
        file["pxscale"] = scales
    if catalogue.table.simulated:
        file.attrs[SIMULATED_ATTRIBUTE] = True
    if labels.classes != numbered(len(labels.classes)):  # then they have no names
        file.attrs[CLASSES_ATTRIBUTE] = labels.classes
    return np.array(scales), sides, notes, unread


def _describe(size: int, scales: np.ndarray, sides: Counter, notes: Counter) -> Iterator[str]:
    """A line for each fact that the user of a packed file should know."""
    was = f"{min(sides)} to {max(sides)}" if len(sides) > 1 else min(sides)
    yield f"{len(scales):,} galaxies are packed with {size} pixels; as pictures they had {was}."
    known = scales[np.isfinite(scales)]
    if len(known) < len(scales):
        yield (
            f"The pixel scale of {len(scales) - len(known):,} images is not known; "
            "give --pixel-scale or --field if you know it."
        )
    if len(known) and np.ptp(known) > 0.01 * np.median(known):
        low, high = known.min(), known.max()
        yield (
            f"The images span different fields, {low * size:.3g} to {high * size:.3g} arcsec "
            f"(pixels of {low:.3g} to {high:.3g}); --field makes them one."
        )
    yield from (f"Of {count:,} images: {note}." for note, count in notes.most_common(_LISTED))


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
