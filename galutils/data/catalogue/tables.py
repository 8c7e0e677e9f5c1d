"""What people have of their galaxies, read in blocks: folders of images, CSV, Parquet, FITS and HDF5.

A million rows need no more memory than a thousand.
Here is what a file holds; what its columns mean is settled in :mod:`galutils.data.catalogue.columns`.
"""

import gzip
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from zlib import error as DeflateError

import h5py
import numpy as np
import pandas as pd

from galutils.data.classes import numbered
from galutils.data.galaxies import DataError, open_galaxies
from galutils.errors import GalutilsError, first_line

#: Names of image files in a folder of a class, and what may be left off a name in a table.
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".fits", ".fit", ".fts", ".fits.gz",
            ".fits.fz")  # fmt: skip
_PARTS = {"train", "test", "val", "valid", "validation"}

_GIVE = "give a folder with one subfolder for each class, or a table (CSV, Parquet, FITS, HDF5)"


class CatalogueError(GalutilsError):
    """A folder or table that cannot be used; one sentence that says why and what to do."""


@contextmanager
def _reading(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """What another library raises at damaged bytes becomes a sentence; only its calls stand in the block."""
    try:
        yield
    except damage as error:
        raise CatalogueError(f"{path}: cannot be read as {kind} ({first_line(error)}); get the file again.") from error


def _stepwise(reader: Iterator, guard) -> Iterator:
    """Pass on what a reader gives; only its own steps, not what is done with them, are guarded."""
    while True:
        with guard():
            item = next(reader, None)
        if item is None:
            return
        yield item


class Table(ABC):
    """Rows of a source: ``columns`` it has, and ``blocks`` of some of them as data frames."""

    path: Path
    columns: list[str]
    simulated = False  # whether the source says that its galaxies are

    @abstractmethod
    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        """All rows, at most so many at a time."""

    def check(self, columns: list[str]) -> None:  # noqa: B027, most sources have nothing to refuse
        """Refuse columns, of which the first is the image, that do not go together."""

    def sample(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        """About so many rows, without reading them all."""
        return islice(self.blocks(columns, rows), 1)

    def holds_images(self, column: str) -> bool:
        """Whether a column holds the images themselves, not names of files."""
        return False

    def names(self, column: str) -> tuple[str, ...]:
        """What the source itself says that the numbers of a column mean."""
        return ()


class Folders(Table):
    """One subfolder for each class, with image files anywhere in it."""

    def __init__(self, path: Path):
        self.path, self.columns = path, ["image", "label"]
        self.folders = sorted(entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if len(self.folders) < 2:
            raise CatalogueError(
                f"{path}: has {len(self.folders) or 'no'} subfolder{'s' * (len(self.folders) != 1)}; "
                "put the images of each class into a subfolder of its own, or give a table that names their classes."
            )
        if _PARTS.issuperset(map(str.lower, self.folders)):
            raise CatalogueError(
                f"{path}: has the subfolders {', '.join(self.folders)}, which are parts of a split, not classes; "
                "give one of them."
            )

    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        for folder in self.folders:
            files = self._files(folder)
            while batch := list(islice(files, rows)):
                yield pd.DataFrame({"image": batch, "label": folder})[columns]

    def _files(self, folder: str) -> Iterator[str]:
        for home, inner, files in os.walk(self.path / folder):
            inner.sort()
            for file in sorted(files):
                if file.lower().endswith(ENDINGS) and file[0] != ".":
                    yield os.path.relpath(os.path.join(home, file), self.path)


class _Csv(Table):
    """Text with commas, semicolons or tabs; every cell is text, so that no name loses its zeros."""

    def __init__(self, path: Path):
        self.path = path
        with self._guard(), (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            header = file.readline()
        self.separator = max(",;\t", key=lambda mark: header.count(mark.encode()))
        with self._guard():
            self.columns = list(self._read(nrows=0))

    def _guard(self):
        damage = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, DeflateError)
        return _reading(self.path, "a table of text", *damage, gzip.BadGzipFile)

    def _read(self, **options):
        return pd.read_csv(self.path, sep=self.separator, dtype=str, encoding="utf-8-sig", index_col=False, **options)

    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        with self._guard():
            reader = self._read(chunksize=rows)
        for block in _stepwise(reader, self._guard):
            yield block[columns]


class _Parquet(Table):
    """One Parquet file or several of one kind, read in batches; images may be inside."""

    def __init__(self, path: Path):
        self.path = path
        self.files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        for file in self.files:
            with self._open(file) as opened:
                schema = opened.schema_arrow
            if file == self.files[0]:
                self.schema, self.columns = schema, schema.names
            elif not schema.equals(self.schema):
                raise CatalogueError(f"{file}: has other columns than {self.files[0].name}; give one kind of files.")

    def _guard(self, file: Path):
        import pyarrow

        return _reading(file, "Parquet", pyarrow.ArrowException, OSError)

    def _open(self, file: Path):
        from pyarrow.parquet import ParquetFile

        with self._guard(file):
            # Otherwise whole columns are read ahead, and kept until the end.
            return ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)

    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        for file in self.files:
            with self._open(file) as opened:
                batches = opened.iter_batches(rows, columns=columns, use_threads=False)
                for batch in _stepwise(batches, lambda file=file: self._guard(file)):
                    yield batch.to_pandas()

    def sample(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        rng = np.random.default_rng(0)
        for file in rng.permutation(np.array(self.files, dtype=object))[:4]:
            with self._open(file) as opened, self._guard(file):
                for group in rng.permutation(opened.num_row_groups)[:4]:
                    batches = opened.iter_batches(rows // 8, row_groups=[group], columns=columns, use_threads=False)
                    yield next(batches).to_pandas()

    def holds_images(self, column: str) -> bool:
        from pyarrow import types

        kind = self.schema.field(column).type
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0
        return types.is_binary(kind) or types.is_large_binary(kind)

    def names(self, column: str) -> tuple[str, ...]:
        try:
            told = json.loads((self.schema.metadata or {})[b"huggingface"])["info"]["features"][column]["names"]
        except (KeyError, TypeError, ValueError):  # the hub's own words, which other files need not have
            return ()
        return tuple(map(str, told))


class _Fits(Table):
    """The first table of a FITS file."""

    def __init__(self, path: Path):
        from astropy.io import fits

        self.path = path
        with self._guard(), fits.open(path) as file:
            tables = [number for number, hdu in enumerate(file) if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise CatalogueError(f"{path}: holds no table; give a table that names images, or a folder of images.")
        from astropy.table import Table

        with self._guard():
            self.table = Table.read(path, hdu=tables[0], memmap=path.suffix != ".gz", unit_parse_strict="silent")
        self.columns = [name for name in self.table.colnames if self.table[name].ndim == 1]

    def _guard(self):
        from astropy.io.fits import VerifyError

        return _reading(self.path, "FITS", OSError, ValueError, TypeError, KeyError, IndexError, VerifyError)

    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        for start in range(0, len(self.table), rows):
            with self._guard():
                block = self.table[columns][start : start + rows].to_pandas()
            yield block


class _Hdf5(Table):
    """The datasets at the root of an HDF5 file that have a row for each image."""

    def __init__(self, path: Path):
        self.path = path
        with self._open() as file, self._guard():
            datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and item.ndim}
            self.shapes = {name: item.shape for name, item in datasets.items()}
            self.kinds = {name: item.dtype for name, item in datasets.items()}
        self.columns, self.classes = list(self.shapes), ()
        with suppress(DataError):  # it is in the layout, or it is not
            galaxies = open_galaxies(path)
            self.simulated = galaxies.simulated
            self.classes = galaxies.classes if galaxies.classes != numbered(len(galaxies.classes)) else ()

    def _guard(self):
        return _reading(self.path, "HDF5", OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError)

    def _open(self) -> h5py.File:
        with self._guard():
            return h5py.File(self.path, "r", locking=False)

    def blocks(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        with self._open() as file:
            for start in range(0, self.shapes[columns[0]][0], rows):
                with self._guard():
                    block = {name: list(file[name][start : start + rows]) for name in columns}
                yield pd.DataFrame(block)

    def check(self, columns: list[str]) -> None:
        count = self.shapes[columns[0]][0]
        for name in columns[1:]:
            if self.shapes[name] != (count,):
                raise CatalogueError(
                    f"{self.path}: '{name}' has shape {self.shapes[name]} but there are {count} images; "
                    "give one value for each image."
                )

    def holds_images(self, column: str) -> bool:
        if len(self.shapes[column]) == 1:
            return False
        if self.kinds[column] != np.uint8 or len(self.shapes[column]) not in (3, 4):
            raise CatalogueError(
                f"{self.path}: '{column}' has shape {self.shapes[column]} and dtype {self.kinds[column]}; "
                "store images (N, height, width, 3) as uint8."
            )
        return True

    def names(self, column: str) -> tuple[str, ...]:
        return self.classes if column == "ans" else ()


_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), _Csv),
    **dict.fromkeys((".parquet", ".pq"), _Parquet),
    **dict.fromkeys((".fits", ".fit", ".fts"), _Fits),
    **dict.fromkeys((".h5", ".hdf5"), _Hdf5),
}


def open_table(path: Path) -> Table:
    if not path.exists():
        raise CatalogueError(f"{path}: there is no such folder or file; {_GIVE}.")
    if path.is_dir():
        return _Parquet(path) if any(path.glob("*.parquet")) else Folders(path)
    if path.stat().st_size == 0:
        raise CatalogueError(f"{path}: is empty; get it again.")
    kind = _KINDS.get(Path(path.name.lower().removesuffix(".gz")).suffix)
    if kind is None:
        raise CatalogueError(f"{path}: is no table by its name; {_GIVE}.")
    return kind(path)


def as_text(cell: object) -> str | None:
    """A cell as text without spaces around it, None if it is empty."""
    if cell is None or cell is pd.NA or cell != cell:  # NaN is not itself
        return None
    text = (cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)).strip()
    return text or None


def listed(names: Sequence[str]) -> str:
    """The first dozen names, for a sentence."""
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
