"""What people have of their galaxies, read in blocks: folders of images, CSV, Parquet, FITS and HDF5.

A million rows need no more memory than a thousand.
Here is what a file holds; what its columns mean is settled in :mod:`galutils.data.catalogue.columns`.
"""

import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple
from zlib import error as DeflateError

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile, read_metadata

from galutils.data.classes import numbered
from galutils.data.galaxies import DAMAGE, DataError, open_galaxies
from galutils.errors import GalutilsError, first_line

#: Names of image files in a folder of a class, and what may be left off a name in a table.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".fits", ".fit", ".fts", ".fits.gz",
            ".fits.fz")  # fmt: skip
#: Types of Parquet's columns that hold image files.
_PICTURES = r"(large_)?binary$|struct<(.*, )?bytes: "
#: Subfolders that are no classes.
_PARTS = {"train", "test", "val", "valid", "validation"}

_GIVE = "give a folder with one subfolder for each class, or a table (CSV, Parquet, FITS, HDF5)"


class CatalogueError(GalutilsError):
    """A folder or table that cannot be used; one sentence that says why and what to do."""


@dataclass(frozen=True)
class Table:
    """Rows of a source, by its own names of columns."""

    path: Path
    columns: list[str]
    blocks: Callable[[list[str], int], Iterator[pd.DataFrame]]  # all rows of some columns, at most so many at a time
    embedded: tuple[str, ...] = ()  # columns of images themselves, not of names of files
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what it says that a column's numbers mean
    simulated: bool = False  # whether it says that its galaxies are
    sample: Callable[[list[str], int], Iterator[pd.DataFrame]] | None = None  # some rows from everywhere
    start: int = 0  # number of its first row
    told: str = ""  # what it is, where its columns need no words
    check: Callable[[list[str]], None] | None = None  # refuses columns that do not go with the first, of images


@contextmanager
def reading(path: Path, kind: str, damage: tuple[type[Exception], ...]) -> Iterator[None]:
    """What another library raises at damaged bytes becomes a sentence; only its calls stand in the block."""
    try:
        yield
    except damage as error:
        raise CatalogueError(f"{path}: cannot be read as {kind} ({first_line(error)}); get the file again.") from error


#: What libraries raise that fsspec reads addresses with, beside OSError.
_UNANSWERED = {"aiohttp": "ClientError", "httpx": "HTTPError", "httpx2": "HTTPError"}

#: What says that the content of an address is another, of what stores know of a file: S3 and web servers, Hugging Face.
_CONTENT = ("ETag", "etag", "blob_id")


def unanswered() -> tuple[type[Exception], ...]:
    """What is raised where an address does not answer, of the libraries that are loaded by then."""
    return tuple(getattr(sys.modules[name], told) for name, told in _UNANSWERED.items() if name in sys.modules)


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    try:
        with reading(path, "Parquet", (pa.ArrowException, OSError)):
            yield
    except unanswered() as error:
        raise CatalogueError(f"{path}: does not answer ({first_line(error)}); give the command again later.") from error


def as_file(path: Path) -> Path | IO[bytes]:
    """What pyarrow reads: it knows no addresses."""
    return path if isinstance(path, Path) else path.open("rb")


def parquet_files(path: Path) -> list[Path]:
    """Those of a folder, in order, or the one file."""
    # An address is not asked, since a server may send the whole file; it is one of a file if it has an ending.
    folder = path.is_dir() if isinstance(path, Path) else not path.suffix
    return sorted(path.glob("*.parquet")) if folder else [path]


def _open_folders(path: Path) -> Table:
    """One subfolder for each class, with image files anywhere in it."""
    folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if len(folders) < 2:
        raise CatalogueError(
            f"{path}: has {len(folders) or 'no'} subfolder{'s' * (len(folders) != 1)}; "
            "put the images of each class into a subfolder of its own, or give a table that names their classes."
        )
    if _PARTS.issuperset(map(str.lower, folders)):
        raise CatalogueError(
            f"{path}: has the subfolders {', '.join(folders)}, which are parts of a split, not classes; "
            "give one of them."
        )

    def find(folder: str) -> Iterator[str]:
        for home, inner, files in os.walk(path / folder):
            inner.sort()
            images = (file for file in sorted(files) if file.lower().endswith(ENDINGS) and file[0] != ".")
            yield from (os.path.relpath(os.path.join(home, file), path) for file in images)

    def blocks(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        for folder in folders:
            files = find(folder)
            while batch := list(islice(files, rows)):
                yield pd.DataFrame({"image": batch, "label": folder})[columns]

    return Table(path, ["image", "label"], blocks, told="each subfolder is a class")


def _open_text(path: Path) -> Table:
    """Commas, semicolons or tabs between cells that are all text, so that no name loses its zeros."""
    damage = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, DeflateError)
    guard = partial(reading, path, "a table of text", (*damage, gzip.BadGzipFile))
    with guard(), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        header = file.readline()
    separator = max(",;\t", key=lambda mark: header.count(mark.encode()))
    read = partial(pd.read_csv, path, sep=separator, dtype=str, encoding="utf-8-sig", index_col=False)

    def blocks(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        with guard(), read(chunksize=rows) as reader:
            for block in reader:
                yield block[columns]

    with guard():
        return Table(path, list(read(nrows=0)), blocks)


def open_parquet(path: Path, groups: list[int] | None = None, start: int = 0) -> Table:
    """One Parquet file or several of one kind; images may be inside.

    Of one file some row groups may be taken, the first of which begins at row ``start``.
    """
    files = parquet_files(path)

    @contextmanager
    def opened(file: Path) -> Iterator[ParquetFile]:
        # Otherwise whole columns are read ahead, and kept until the end.
        options = {"buffer_size": 1 << 20, "pre_buffer": False}
        with reading_parquet(file), ParquetFile(as_file(file), **options) as content:
            yield content

    def blocks(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        for file in files:
            with opened(file) as content:
                if not content.schema_arrow.equals(schema):
                    raise CatalogueError(f"{file}: has other columns than {files[0].name}; give one kind of files.")
                for batch in content.iter_batches(rows, groups, columns, use_threads=False):
                    yield batch.to_pandas()

    def sample(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        rng = np.random.default_rng(0)
        for file in rng.permutation(np.array(files, object))[:4]:
            with opened(file) as content:
                for group in rng.permutation(content.num_row_groups)[:4]:
                    yield next(content.iter_batches(rows // 8, [group], columns, use_threads=False)).to_pandas()

    with opened(files[0]) as content:
        schema = content.schema_arrow
    embedded = [name for name in schema.names if re.match(_PICTURES, str(schema.field(name).type))]
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        classes = {name: tuple(map(str, told["names"])) for name, told in features.items() if "names" in told}
    except (KeyError, TypeError, ValueError, AttributeError):  # the hub's own words, which other files need not have
        classes = {}
    return Table(path, schema.names, blocks, embedded, classes, sample=sample, start=start)


def read_columns(table: Table, columns: list[str]) -> pa.Table:
    """All rows of some columns, as text where the table has no types."""
    if table.sample:  # Parquet
        with reading_parquet(table.path):
            return pa.concat_tables([ParquetFile(file).read(columns) for file in parquet_files(table.path)])
    blocks = list(table.blocks(columns, 10_000))
    rows = pd.concat(blocks) if blocks else pd.DataFrame(columns=columns)
    text = {name: list(map(as_text, cells)) for name, cells in rows.items() if cells.dtype == object}  # bytes, of FITS
    return pa.Table.from_pandas(rows.assign(**text), preserve_index=False)


class Footer(NamedTuple):
    """What the end of a Parquet file says."""

    groups: list[int]  # rows of each row group
    size: int  # of the file, in bytes
    columns: list[str]
    digest: str  # of all that it says, such as where each column lies and how long it is; of an address, of ETag, too


def read_footer(path: Path) -> Footer:
    with reading_parquet(path), path.open("rb") as file:
        told, size = read_metadata(file), file.seek(0, 2)
        file.seek(-8, 2)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, 2)
        digest = hashlib.sha256(file.read())
        known = {} if isinstance(path, Path) else path.fs.info(path.path)
    digest.update("".join(known[name] for name in _CONTENT if known.get(name)).encode())
    groups = [told.row_group(number).num_rows for number in range(told.num_row_groups)]
    return Footer(groups, size, told.schema.to_arrow_schema().names, digest.hexdigest())


def _open_fits(path: Path) -> Table:
    """The first table of a FITS file."""
    from astropy.io import fits
    from astropy.table import Table as Rows

    guard = partial(reading, path, "FITS", (OSError, ValueError, TypeError, LookupError, fits.VerifyError))
    with guard(), fits.open(path) as file:
        tables = [number for number, hdu in enumerate(file) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
    if not tables:
        raise CatalogueError(f"{path}: holds no table; give a table that names images, or a folder of images.")
    with guard():
        content = Rows.read(path, hdu=tables[0], memmap=path.suffix != ".gz", unit_parse_strict="silent")

    def blocks(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        with guard():
            for start in range(0, len(content), rows):
                yield content[columns][start : start + rows].to_pandas()

    return Table(path, [name for name in content.colnames if content[name].ndim == 1], blocks)


def _open_hdf5(path: Path) -> Table:
    """The datasets at the root of an HDF5 file that have a row for each image."""
    guard = partial(reading, path, "HDF5", DAMAGE)
    with guard(), h5py.File(path, "r", locking=False) as file:
        found = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and item.ndim}
        kinds = {name: (item.shape, item.dtype) for name, item in found.items()}

    def blocks(columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        with guard(), h5py.File(path, "r", locking=False) as file:
            for start in range(0, len(file[columns[0]]), rows):
                yield pd.DataFrame({name: list(file[name][start : start + rows]) for name in columns})

    def check(columns: list[str]) -> None:
        shape, dtype = kinds[columns[0]]
        for name in columns[1:]:
            if kinds[name][0] != shape[:1]:
                raise CatalogueError(
                    f"{path}: '{name}' has shape {kinds[name][0]} but there are {shape[0]} images; "
                    "give one value for each image."
                )
        if len(shape) > 1 and (dtype != np.uint8 or len(shape) > 4):
            raise CatalogueError(
                f"{path}: '{columns[0]}' has shape {shape} and dtype {dtype}; "
                "store images (N, height, width, 3) as uint8."
            )

    embedded = tuple(name for name, (shape, _) in kinds.items() if len(shape) > 1)
    simulated, classes = False, {}
    with suppress(DataError):  # it is in the layout, or it is not
        galaxies = open_galaxies(path)
        simulated = galaxies.simulated
        classes = {"ans": galaxies.classes} if galaxies.classes != numbered(len(galaxies.classes)) else {}
    return Table(path, list(kinds), blocks, embedded, classes, simulated, check=check)


_OPENERS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), _open_text),
    **dict.fromkeys((".parquet", ".pq"), open_parquet),
    **dict.fromkeys((".fits", ".fit", ".fts"), _open_fits),
    **dict.fromkeys((".h5", ".hdf5"), _open_hdf5),
}


def open_table(path: Path) -> Table:
    if not isinstance(path, Path):
        return open_parquet(path)
    if not path.exists():
        raise CatalogueError(f"{path}: there is no such folder or file; {_GIVE}.")
    if path.is_dir():
        return (open_parquet if any(path.glob("*.parquet")) else _open_folders)(path)
    if path.stat().st_size == 0:
        raise CatalogueError(f"{path}: is empty; get it again.")
    kind = Path(path.name.lower().removesuffix(".gz")).suffix
    if kind not in _OPENERS:
        raise CatalogueError(f"{path}: is no table by its name; {_GIVE}.")
    return _OPENERS[kind](path)


def as_text(cell: object) -> str | None:
    """A cell as text without spaces around it, None if it is empty."""
    if cell is None or cell is pd.NA or cell != cell:  # NaN is not itself
        return None
    text = (cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)).strip()
    return text or None


def listed(names: Sequence[str]) -> str:
    """The first dozen names, for a sentence."""
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
