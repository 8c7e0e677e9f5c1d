"""What a run is to look at, from files to catalogues, read and prepared in blocks beside the network."""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.tables import ENDINGS
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.image_files import Picture, PictureError, Reading, as_picture, is_hdf5, read_picture
from galutils.data.pack import read_entry
from galutils.errors import GalutilsError
from galutils.study.runs import Run

#: Files that a folder is searched for; a file that is named may be called anything.
SUFFIXES = (*ENDINGS, ".jp2", ".avif", ".fits.bz2", ".h5", ".hdf5")

#: Tables that name images, or hold them; so do FITS tables.
TABLES = (".csv", ".csv.gz", ".tsv", ".parquet", ".pq")

#: Images in a block, and threads that read blocks ahead.
BLOCK, READERS = 64, min(4, os.cpu_count() or 1)

#: What is read of a catalogue.
ROLES = ("image", "pxscale", "ra", "dec")


@dataclass
class Block:
    """Some galaxies as the network takes them, and what could not be read on the way to them."""

    names: list[str] = field(default_factory=list)
    notes: list[tuple[str, ...]] = field(default_factory=list)  # of each galaxy's picture
    inputs: list[torch.Tensor] = field(default_factory=list)  # (1, 3, size, size) each
    places: list[tuple[float, float]] = field(default_factory=list)  # ra and dec in degrees, NaN where unknown
    unknown: int = 0  # how many have no pixel scale
    failures: list[str] = field(default_factory=list)  # a sentence each

    def add(
        self,
        name: str,
        picture: Picture,
        prepare: Callable[[np.ndarray], torch.Tensor],
        ra: float = np.nan,
        dec: float = np.nan,
    ) -> None:
        """Keep what is needed of a picture, which may be far larger than the network's input."""
        self.names.append(name)
        self.notes.append(picture.notes)
        self.inputs.append(prepare(picture.image[None]))
        self.places.append((ra, dec))
        self.unknown += picture.pixel_scale is None


def training_field(run: Run) -> float | None:
    """Arcsec that the images span which a run was trained on; None where nobody knows."""
    return run.metrics["data"].get("field")


def gather(inputs: list[str | Path], image_column: str | None = None) -> list[Path | Catalogue]:
    """The files that are meant by some names: of files, of folders, patterns such as ``*.jpg``, or ``@list.txt``.

    Folders are searched for images and HDF5 files at any depth. A list has a name on each line, relative to its own
    folder or to the current one. A table (CSV, Parquet, FITS) is a catalogue, with a column of images that is guessed
    if None. A name on its own that is nothing, or an empty folder, is a PictureError; a table without images is a
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
    if missing:
        named = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        such = "is no such file" if len(missing) == 1 else "are no such files"
        raise PictureError(f"{named}: there {such}; give JPEG, PNG or FITS images, or an HDF5 file.")
    return found


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

    They come in blocks, read ahead by threads.

    A row of an HDF5 file in Galaxy10's layout is called ``file.h5[row]``; labels are not needed. ``prepare`` makes a
    network's input of square images (n, s, s, 3) uint8, which span ``span`` arcsec where their pixel scale is known.
    """
    jobs, count, block = [], 0, Block()
    for path in inputs:
        if isinstance(path, Catalogue):
            jobs.append(path)
            continue
        if not is_hdf5(path):
            if not jobs or not isinstance(jobs[-1], list) or len(jobs[-1]) == BLOCK:
                jobs.append([])
            jobs[-1].append(path)
            count += 1
            continue
        try:
            galaxies = open_galaxies(path, labelled=False)
        except GalutilsError as error:
            block.failures.append(str(error))
            continue
        count += len(galaxies)
        jobs += [(galaxies, rows) for rows in np.split(np.arange(len(galaxies)), range(BLOCK, len(galaxies), BLOCK))]

    def read(job: list[Path] | pd.DataFrame | tuple[Galaxies, np.ndarray]) -> Block:
        block = Block()
        if isinstance(job, pd.DataFrame):
            for entry in job.to_dict("records"):
                try:
                    picture = read_entry(entry["image"], entry["name"], entry.get("pxscale"), reading, span)
                    block.add(entry["name"], picture, prepare, *(entry.get(name, np.nan) for name in ("ra", "dec")))
                except PictureError as error:
                    block.failures.append(str(error))
            return block
        if isinstance(job, list):
            for path in job:
                try:
                    block.add(str(path), read_picture(path, reading, span), prepare)
                except PictureError as error:
                    block.failures.append(str(error))
            return block
        galaxies, rows = job
        try:
            for row, image in zip(rows, galaxies.read_images(rows), strict=True):
                scale = np.nan if galaxies.pxscale is None else galaxies.pxscale[row]
                name = f"{galaxies.path}[{row}]"
                picture = as_picture(image, float(scale) if scale > 0 else None, reading, span, name)
                place = (np.nan if column is None else column[row] for column in (galaxies.ra, galaxies.dec))
                block.add(name, picture, prepare, *place)
        except GalutilsError as error:
            block.failures.append(str(error))
        return block

    def blocks() -> Iterator[Block]:
        yield block
        with ThreadPoolExecutor(READERS) as pool:
            ahead = deque()
            for job in jobs:
                for part in (
                    job.blocks(["image", "pxscale", "ra", "dec"], BLOCK) if isinstance(job, Catalogue) else [job]
                ):
                    ahead.append(pool.submit(read, part))
                    if len(ahead) > READERS:
                        yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    return None if any(isinstance(job, Catalogue) for job in jobs) else count, blocks()
