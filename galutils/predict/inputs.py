"""What a run is to look at, from files to catalogues, read and prepared in blocks beside the network."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.tables import ENDINGS
from galutils.data.galaxies import DataError, Galaxies, open_galaxies
from galutils.data.image_files import PictureError, Reading, is_hdf5, read_picture
from galutils.files import WriteError
from galutils.study.runs import Run

if TYPE_CHECKING:
    import torch

#: Files that a folder is searched for; a file that is named may be called anything.
SUFFIXES = (*ENDINGS, ".jp2", ".avif", ".fits.bz2", ".h5", ".hdf5")

#: Tables that name images, or hold them; so do FITS tables.
TABLES = (".csv", ".csv.gz", ".tsv", ".parquet", ".pq")

#: Images in a block, images that a thread reads at a time (one by one, threads would mostly wait for each other), and
#: how many threads read ahead.
BLOCK, CHUNK, READERS = 64, 16, min(4, os.cpu_count() or 1)

#: What is read of a catalogue.
ROLES = ("image", "pxscale", "ra", "dec")


class Block(NamedTuple):
    """Some galaxies as the network takes them, and what could not be read on the way to them.

    The table's columns are ``path``, what a galaxy is called, ``notes`` of its picture, a tuple, ``ra`` and ``dec`` in
    degrees, NaN where unknown, and ``scaled``, whether its pixel scale is known; its index is the place in the block.
    """

    table: pd.DataFrame
    inputs: list[torch.Tensor]  # (1, 3, size, size) each
    failures: dict[int, str]  # a sentence each, by the place in the block


def training_field(run: Run) -> float | None:
    """Arcsec that the images span which a run was trained on; None where nobody knows."""
    return run.metrics["data"].get("field")


def gather(inputs: list[str | Path], image_column: str | None = None) -> list[Path | Catalogue]:
    """The files that are meant by some names: of files, of folders, patterns such as ``*.jpg``, or ``@list.txt``.

    Folders are searched for images and HDF5 files at any depth. A list has a name on each line, relative to its own
    folder or to the current one. A table (CSV, Parquet, FITS) is a catalogue, with a column of images that is guessed
    if None. Names of which none is anything, or an empty folder, are a PictureError; a table without images is a
    CatalogueError.
    """
    found, missing = [], []
    for given in map(str, inputs):
        path = Path(given)
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.name.lower().endswith(SUFFIXES) and one.is_file())
            inside = [one for one in inside if not one.name.startswith(".")]
            if not inside:
                raise PictureError(f"{path}: is a folder without images; name one that holds some, at any depth.")
            found += inside
        elif path.exists() or "{band}" in given:
            found.append(open_catalogue(path, None, image_column, labelled=False) if _is_table(path) else path)
        elif given.startswith("@"):
            found += _read_list(Path(given[1:]))
        elif matches := sorted(glob.glob(given, recursive=True)):
            found += map(Path, matches)
        else:
            missing.append(given)
            found.append(path)  # among others it costs only itself, when it is read
    if missing and len(missing) == len(found):
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        such = "is no such file" if len(missing) == 1 else "are no such files"
        raise PictureError(f"{named}: there {such}; give JPEG, PNG or FITS images, or an HDF5 file.")
    return found


def check_unread(target: str | Path, inputs: list[str | Path], image_column: str | None = None) -> None:
    """Refuse to write over one of the files of :func:`gather`; to be asked before anything is computed."""
    read = [one.table.path if isinstance(one, Catalogue) else one for one in gather(inputs, image_column)]
    if Path(target).exists() and any(path.exists() and path.samefile(target) for path in map(Path, read)):
        raise WriteError(f"{target}: is one of the files to read; choose another name for what is written.")


def _is_table(path: Path) -> bool:
    """Whether a file is a table, by its name, or FITS that holds one and no image."""
    if path.name.lower().endswith(TABLES):
        return True
    if not path.name.lower().endswith((".fits", ".fit", ".fts")) or not path.is_file():
        return False
    with open(path, "rb") as file:
        start = file.read(6 * 2880)  # an image, or else the extension, starts in the first blocks
    return start.startswith(b"SIMPLE") and b"XTENSION= 'BINTABLE'" in start and b"ZIMAGE  " not in start


def _read_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise PictureError(
            f"@{path}: there is no such list; give a file with the name of an image on each line."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise PictureError(f"@{path}: is no list of names; write the name of an image on each line.") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise PictureError(f"@{path}: is empty; write the name of an image on each line.")
    return [beside if (beside := path.parent / name).exists() else Path(name) for name in names]


def read_blocks(
    inputs: list[Path | Catalogue], prepare: Callable[[np.ndarray], torch.Tensor], reading: Reading, span: float | None
) -> tuple[int | None, Iterator[Block]]:
    """How many galaxies there are in what :func:`gather` gave (None: a catalogue tells only at its end), and these.

    A row of an HDF5 file in Galaxy10's layout is called ``file.h5[row]``; labels are not needed.
    """
    opened = [_open_rows(given) if isinstance(given, Path) and is_hdf5(given) else given for given in inputs]
    blocks = prepare_blocks(chain.from_iterable(map(list_entries, opened)), prepare, reading, span)
    if any(isinstance(given, Catalogue) for given in opened):
        return None, blocks
    return sum(len(given) if isinstance(given, Galaxies) else 1 for given in opened), blocks


def prepare_blocks(
    entries: Iterable[dict | DataError],
    prepare: Callable[[np.ndarray], torch.Tensor],
    reading: Reading,
    span: float | None,
) -> Iterator[Block]:
    """What :func:`list_entries` gives in blocks of :data:`BLOCK`, in its order, read ahead by threads.

    ``prepare`` makes a network's input of square images (n, s, s, 3) uint8, which span ``span`` arcsec where their
    pixel scale is known.
    """

    def read(entry: dict | DataError) -> tuple | str:
        if isinstance(entry, DataError):
            return str(entry)
        try:
            picture = read_picture(entry["image"], reading, span, entry["name"], entry.get("pxscale"))
        except PictureError as error:
            return str(error)
        place = entry.get("ra", np.nan), entry.get("dec", np.nan)
        # The picture may be far larger than the network's input, and is not kept.
        return entry["name"], picture.notes, *place, picture.pixel_scale is not None, prepare(picture.image[None])

    def pictures() -> Iterator[tuple | str]:
        coming, ahead = iter(entries), deque()
        with ThreadPoolExecutor(READERS) as pool:
            while some := list(islice(coming, CHUNK)):
                ahead.append(pool.submit(lambda some: list(map(read, some)), some))
                if len(ahead) > 2 * READERS:
                    yield from ahead.popleft().result()
            yield from chain.from_iterable(one.result() for one in ahead)

    found = pictures()
    while block := list(islice(found, BLOCK)):
        seen = {place: one for place, one in enumerate(block) if isinstance(one, tuple)}
        columns = ["path", "notes", "ra", "dec", "scaled"]
        table = pd.DataFrame([one[:-1] for one in seen.values()], list(seen), columns)
        failures = {place: one for place, one in enumerate(block) if isinstance(one, str)}
        yield Block(table, [one[-1] for one in seen.values()], failures)


def _open_rows(path: Path) -> Galaxies | DataError:
    try:
        return open_galaxies(path, labelled=False)
    except DataError as error:
        return error


def list_entries(given: Path | Catalogue | Galaxies | DataError) -> Iterator[dict | DataError]:
    """``image`` and ``name`` of each galaxy, and what else is known of it; or why it cannot be had."""
    if isinstance(given, Catalogue):
        for block in given.blocks(ROLES):
            yield from block.to_dict("records")
    elif isinstance(given, Galaxies):
        for rows in np.split(np.arange(len(given)), range(BLOCK, len(given), BLOCK)):
            try:
                yield from list_rows(given, rows)
            except DataError as error:
                yield error
    else:
        yield given if isinstance(given, DataError) else {"image": given, "name": str(given)}


def list_rows(galaxies: Galaxies, rows: np.ndarray) -> Iterator[dict]:
    """The same of some rows (n,) of a file, read at once. DataError: its images are damaged."""
    known = {name: column for name in ROLES[1:] if (column := getattr(galaxies, name)) is not None}
    for row, image in zip(rows, galaxies.read_images(rows), strict=True):
        told = {name: column[row] for name, column in known.items()}
        yield {"image": image, "name": f"{galaxies.path}[{row}]"} | told
