"""A survey in parts, as far as one process classifies at a time: HATS, tables, HDF5, folders of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.healpix import HEALPIX, divide, place_of, with_place
from galutils.data.catalogue.tables import (
    Table,
    as_file,
    listed,
    open_parquet,
    parquet_files,
    read_columns,
    read_footer,
    reading_parquet,
    unanswered,
)
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.errors import GalutilsError, first_line
from galutils.evaluation.calibration import SETS
from galutils.files import sha256
from galutils.predict.inputs import BLOCK, READERS, ROLES, gather, list_entries, list_rows

if TYPE_CHECKING:
    from upath import UPath

#: Galaxies in a part of a source that has none of its own, at most.
ROWS = 10_000

#: Files whose ends are read at a time, which may be far away.
CALLS = 32

#: Columns that are carried along where a catalogue has them.
IDS = ("object_id", "source_id", "objid", "id_str", "id", "name")

#: Columns that are written, beside those of probabilities.
OWN = ("class", SETS, "unlikeness", "features", "bad_image", "note")


class SurveyError(GalutilsError):
    """A survey that cannot be classified so; one sentence that says why and what to do."""


class Part(NamedTuple):
    """Some galaxies of a source, small enough to be done again."""

    name: str
    place: str  # the file of its rows, relative to the catalogue that is written
    rows: int
    size: int  # bytes to read; 0 where nobody has looked
    open: Callable[[], tuple[pa.Table, Iterator[dict]]]  # columns to carry along, and a dict for each image
    # Where the source's stamp is not of the content: another one if that may have changed, and a checksum of it.
    stamp: str = ""
    digest: Callable[[], str] | None = None


class Source(NamedTuple):
    """All galaxies to classify."""

    parts: list[Part]
    stamp: str  # another one if its content is another
    position: tuple[str, str] | None  # names of its columns of ra and dec, in degrees; None where it has none


def needs_extra(*names: str) -> None:
    """A SurveyError where the libraries for surveys are not installed."""
    for name in names:
        if not find_spec(name):
            raise SurveyError(f"{name} is not installed; surveys need it: pip install 'galutils[survey]'.")


def open_source(path: str | Path, image_column: str | None = None, keep: tuple[str, ...] = ()) -> Source:
    """Find the parts of a HATS catalogue, tables, HDF5 files in the study's layout, or a folder of images.

    HATS may be at an address of fsspec, as ``hf://datasets/...``. It and tables have columns: of images (guessed if
    None) and others to ``keep``, by default :data:`IDS`. Parquet may hold the images; other tables name files, as
    :func:`galutils.data.catalogue.columns.open_catalogue` finds them.

    Raises:
        SurveyError, CatalogueError, DataError, PictureError: it is no such source, or damaged.
    """
    if "://" in str(path):
        return _open_hats(_locate(str(path)), image_column, keep)
    path = Path(path).resolve()
    if any((path / name).is_file() for name in ("hats.properties", "properties", "collection.properties")):
        return _open_hats(path, image_column, keep)
    if (path / "partition_info.csv").is_file():
        raise SurveyError(f"{path}: is a HATS catalogue without hats.properties; get it again.")
    if tables := sorted(path.glob("*.parquet")) if path.is_dir() else [path] * (path.suffix == ".parquet"):
        return _open_parquet(path, tables, image_column, keep)
    files = gather([path], image_column)
    if isinstance(files[0], Catalogue):
        return _open_named(files[0], [path], keep)
    of_hdf5 = [file.suffix.lower() in (".h5", ".hdf5") for file in files]
    if any(of_hdf5) and not all(of_hdf5):
        raise SurveyError(f"{path}: holds HDF5 files and images; give folders of one kind.")
    if keep:
        raise SurveyError(f"{path}: is no table, so there are no columns to keep; leave --keep out.")
    return _open_hdf5(files) if all(of_hdf5) else _open_images(files, str(path))


def _locate(address: str) -> UPath:
    from fsspec.core import url_to_fs
    from hats.io.file_io import get_upath

    try:
        url_to_fs(address)
    except (ImportError, ValueError) as error:
        told = first_line(error).rstrip(".")
        raise SurveyError(f"{address}: cannot be opened ({told}); mend that, or copy the catalogue here.") from error
    return get_upath(address)


def _open_hats(path: Path | UPath, image_column: str | None, keep: tuple[str, ...]) -> Source:
    import hats

    try:
        catalogue = hats.read_hats(path)
        catalogue = getattr(catalogue, "main_catalog", catalogue)
        info, known, home = catalogue.catalog_info, catalogue.schema.names, catalogue.catalog_base_dir
        pixels = catalogue.get_healpix_pixels()
    except (pa.ArrowException, OSError, *unanswered(), ValueError, LookupError, AttributeError) as error:
        mend = "get it again" if isinstance(path, Path) else "look whether it is there"
        raise SurveyError(f"{path}: cannot be read as a HATS catalogue ({first_line(error)}); {mend}.") from error
    position = info.ra_column, info.dec_column
    if HEALPIX not in known or None in position:
        raise SurveyError(f"{path}: has no column {HEALPIX}, or no positions; make it anew with hats-import.")
    columns = list(dict.fromkeys([HEALPIX, *_kept(path, known, keep), *position]))
    files = [hats.io.pixel_catalog_file(home, pixel, npix_suffix=info.npix_suffix) for pixel in pixels]
    if isinstance(path, Path):
        files = [Path(str(file)) for file in files]
    parts, digest = [], hashlib.sha256()
    with ThreadPoolExecutor(CALLS) as pool:
        ends = list(pool.map(lambda file: [read_footer(one) for one in parquet_files(file)], files))
    for pixel, file, footers in zip(pixels, files, ends, strict=True):
        digest.update(str([pixel, footers]).encode())
        rows, size = sum(sum(footer.groups) for footer in footers), sum(footer.size for footer in footers)
        opened = partial(_read_table, file, columns, image_column)
        parts.append(Part(f"{pixel.order}_{pixel.pixel}", place_of(pixel), rows, size, opened))
    return Source(parts, digest.hexdigest(), position)


def _kept(path: Path, known: Sequence[str], keep: tuple[str, ...]) -> list[str]:
    """Columns to carry along, of those that there are."""
    if own := [name for name in keep if name in OWN or name.startswith("p_")]:
        raise SurveyError(f"{path}: its column '{own[0]}' cannot be kept, since one of that name is written.")
    if missing := [name for name in keep if name not in known]:
        raise SurveyError(f"{path}: has no column '{missing[0]}'; it has {listed(known)}.")
    return [*keep] or [name for name in IDS if name in known]


def _read_table(path: Path, columns: list[str], image_column: str | None) -> tuple[pa.Table, Iterator[dict]]:
    """Of a partition; its images are read in blocks, whatever its size."""
    with reading_parquet(path):
        carried = pa.concat_tables([ParquetFile(as_file(file)).read(columns) for file in parquet_files(path)])
    if not len(carried):
        return carried, iter(())
    return carried, list_entries(open_catalogue(path, None, image_column, labelled=False))


def _open_parquet(path: Path, files: list[Path], image_column: str | None, keep: tuple[str, ...]) -> Source:
    """Parts of one row group or more, in the order of the files; their places on the sky are all over it."""
    catalogue, known = open_catalogue(files[0], None, image_column, labelled=False), read_footer(files[0]).columns
    if not catalogue.embedded:
        return _open_named(replace(catalogue, table=open_parquet(path)), files, keep)
    positions = [catalogue.columns[axis] for axis in ("ra", "dec") if axis in catalogue.columns]
    columns, parts, digest = list(dict.fromkeys([*_kept(path, known, keep), *positions])), [], hashlib.sha256()
    for file in files:
        footer = read_footer(file)
        if footer.columns != known:
            raise SurveyError(f"{file}: has other columns than {files[0].name}; give one kind of files.")
        digest.update(str([file.name, footer]).encode())
        for numbers, start, count in _batches(footer.groups):
            name, opened = f"part-{len(parts):05}", partial(_read_groups, file, numbers, start, columns, image_column)
            size = footer.size * count // (sum(footer.groups) or 1)
            parts.append(Part(name, f"dataset/{name}.parquet", count, size, opened))
    return Source(parts, digest.hexdigest(), None)


def _batches(groups: list[int]) -> Iterator[tuple[list[int], int, int]]:
    """Numbers of row groups, in turn as many as have :data:`ROWS` rows or one, with their first row and how many."""
    numbers, start, count = [], 0, 0
    for number, rows in enumerate(groups):
        if numbers and count + rows > ROWS:
            yield numbers, start, count
            numbers, start, count = [], start + count, 0
        numbers, count = [*numbers, number], count + rows
    if numbers:
        yield numbers, start, count


def _read_groups(
    path: Path, groups: list[int], start: int, columns: list[str], image_column: str | None
) -> tuple[pa.Table, Iterator[dict]]:
    """Of some row groups of a file, the first of which begins at row ``start``."""
    with reading_parquet(path):
        carried = ParquetFile(path).read_row_groups(groups, columns)
    if "path" not in columns:
        names = [f"{path}[{row}]" for row in range(start, start + len(carried))]
        carried = carried.add_column(0, "path", pa.array(names, pa.string()))
    catalogue = open_catalogue(path, None, image_column, labelled=False)
    return carried, list_entries(replace(catalogue, table=open_parquet(path, groups, start)))


def _open_named(catalogue: Catalogue, files: list[Path], keep: tuple[str, ...]) -> Source:
    """Of a table that names image files: it is read whole, and no file is looked for before its part begins."""
    kept = [name for name in _kept(catalogue.table.path, catalogue.table.columns, keep) if name != HEALPIX]
    content = str([(file.name, sha256(file)) for file in files])
    cells = read_columns(catalogue.table, list(dict.fromkeys([catalogue.columns["image"], *kept])))
    roles = [role for role in ROLES[1:] if role in catalogue.columns]
    told = pd.concat(catalogue.blocks(roles, ROWS)) if roles and len(cells) else pd.DataFrame(index=range(len(cells)))
    ra, dec = (told[axis] if {"ra", "dec"}.issubset(told) else pd.Series(np.nan, told.index) for axis in ("ra", "dec"))
    # What the columns mean is sent along with each part, without the table, which may be in memory.
    parts, meaning = [], replace(catalogue, table=Table(catalogue.table.path, [], lambda columns, rows: iter(())))
    for name, place, rows in divide(ra.to_numpy(), dec.to_numpy(), ROWS):
        opened = partial(_read_named, meaning, kept, cells.take(rows), told.iloc[rows])
        parts.append(Part(name, place, len(rows), 0, opened))
    position = (catalogue.columns["ra"], catalogue.columns["dec"]) if np.isfinite(ra + dec).any() else None
    return Source(parts, hashlib.sha256(content.encode()).hexdigest(), position)


def _read_named(
    catalogue: Catalogue, kept: list[str], cells: pa.Table, told: pd.DataFrame
) -> tuple[pa.Table, Iterator[dict]]:
    """Of some rows of a table: cells of images and what is kept, and numbers that are told, by their rows in it."""
    found = map(catalogue.locate, told.index, cells[catalogue.columns["image"]].to_pylist())
    images, names = zip(*found, strict=True)
    carried = cells.select(kept)
    if "path" not in kept:
        paths = [str(image or f"{catalogue.table.path}[{row}]") for row, image in zip(told.index, images, strict=True)]
        carried = carried.add_column(0, "path", pa.array(paths))
    axes = {axis: catalogue.columns[axis] for axis in ("ra", "dec") if axis in told}
    for axis, name in axes.items():  # as numbers, which in a table of text they are not
        carried = carried.drop_columns({name}.intersection(kept)).append_column(name, pa.array(told[axis]))
    entries = ({"image": image, "name": name} for image, name in zip(images, names, strict=True))
    entries = (entry | known for entry, known in zip(entries, told.filter(["pxscale"]).to_dict("records"), strict=True))
    return with_place(carried, tuple(axes.values())) if len(axes) == 2 else carried, entries


def _open_hdf5(paths: list[Path]) -> Source:
    opened, stamps = [open_galaxies(path, labelled=False) for path in paths], [_stamp(path) for path in paths]
    lengths = list(map(len, opened))
    file, row = np.repeat(np.arange(len(paths)), lengths), np.concatenate([np.arange(length) for length in lengths])
    ra, dec = (np.concatenate([_degrees(one, axis) for one in opened]) for axis in ("ra", "dec"))
    size, parts = sum(stamp[1] for stamp in stamps) // len(row), []
    position = ("ra", "dec") if np.isfinite(ra + dec).any() else None
    for name, place, members in divide(ra, dec, ROWS):
        rows = {(paths[i], stamps[i]): row[members[file[members] == i]] for i in np.unique(file[members])}
        parts.append(Part(name, place, len(members), size * len(members), partial(_read_rows, rows, position)))
    content = str([(path.name, one.sha256) for path, one in zip(paths, opened, strict=True)])
    return Source(parts, hashlib.sha256(content.encode()).hexdigest(), position)


def _degrees(galaxies: Galaxies, axis: str) -> np.ndarray:
    return np.full(len(galaxies), np.nan) if (column := getattr(galaxies, axis)) is None else column


@lru_cache(maxsize=8)
def _galaxies(path: Path, stamp: tuple):
    """A file is opened once by each process, as long as it is the same."""
    if _stamp(path) != stamp:
        raise SurveyError(f"{path}: has changed since this command began; give it again.")
    return open_galaxies(path, labelled=False)


def _read_rows(rows: dict[tuple, np.ndarray], position: tuple[str, str] | None) -> tuple[pa.Table, Iterator[dict]]:
    """Of rows of files, with their positions where any galaxy of the source has one."""
    files = [(_galaxies(*file), own) for file, own in rows.items()]
    carried = {"path": [f"{galaxies.path}[{row}]" for galaxies, own in files for row in own]}
    for axis in position or ():
        carried[axis] = np.concatenate([_degrees(one, axis)[own] for one, own in files])
    blocks = ((file, own[start : start + BLOCK]) for file, own in files for start in range(0, len(own), BLOCK))
    table, entries = pa.table(carried), chain.from_iterable(list_rows(*block) for block in blocks)
    return with_place(table, position) if position else table, entries


def _open_images(paths: list[Path], home: str) -> Source:
    """Known by names and sizes; whether the content of a part is the same is asked where times of change differ."""
    stamps, parts, digest = [_stamp(path) for path in paths], [], hashlib.sha256()
    for number, start in enumerate(range(0, len(paths), ROWS)):
        own, told = paths[start : start + ROWS], stamps[start : start + ROWS]
        names = [str(path).removeprefix(home) for path in own]
        sizes, times = ([stamp[place] for stamp in told] for place in (1, 2))
        digest.update(str([names, sizes]).encode())
        stamp = hashlib.sha256(str(times).encode()).hexdigest()
        name, read = f"part-{number:05}", (partial(_read_images, own), stamp, partial(_digest_images, own))
        parts.append(Part(name, f"dataset/{name}.parquet", len(own), sum(sizes), *read))
    return Source(parts, digest.hexdigest(), None)


def _digest_images(paths: list[Path]) -> str:
    def digest(path: Path) -> str:
        try:
            return sha256(path)
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as pool:
        return hashlib.sha256("".join(pool.map(digest, paths)).encode()).hexdigest()


def _read_images(paths: list[Path]) -> tuple[pa.Table, Iterator[dict]]:
    return pa.table({"path": list(map(str, paths))}), chain.from_iterable(map(list_entries, paths))


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, bytes and time of change of a file, which is not read for that."""
    told = path.stat()
    return path.name, told.st_size, told.st_mtime_ns
