"""A survey in parts, as far as one process classifies at a time: HATS, Parquet, HDF5, folders of images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from galutils.data.catalogue.columns import Catalogue, open_catalogue
from galutils.data.catalogue.tables import listed, open_parquet, reading
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.errors import GalutilsError, first_line
from galutils.evaluation.calibration import SETS
from galutils.files import sha256
from galutils.predict.inputs import BLOCK, READERS, gather, list_entries, list_rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Galaxies in a part of a source that has none of its own, at most; and the order of the smallest pixels for them.
ROWS, FINEST = 10_000, 12

#: The column that says where on the sky a row is, by the pixel of HEALPix of this order, nested.
HEALPIX, HEALPIX_ORDER = "_healpix_29", 29

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
    size: int  # bytes to read
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
    for name in names or ("hats", "distributed"):
        if not find_spec(name):
            raise SurveyError(f"{name} is not installed; surveys need it: pip install 'galutils[survey]'.")


def open_source(path: Path, image_column: str | None = None, keep: tuple[str, ...] = ()) -> Source:
    """Find the parts of a HATS catalogue, Parquet files, HDF5 files in the study's layout, or a folder of images.

    HATS and Parquet have columns: of images (guessed if None) and others to ``keep``, by default :data:`IDS`.

    Raises:
        SurveyError, CatalogueError, DataError, PictureError: it is no such source, or damaged.
    """
    if any((path / name).is_file() for name in ("hats.properties", "properties", "collection.properties")):
        return _open_hats(path, image_column, keep)
    if (path / "partition_info.csv").is_file():
        raise SurveyError(f"{path}: is a HATS catalogue without hats.properties; get it again.")
    if tables := sorted(path.glob("*.parquet")) if path.is_dir() else [path] * (path.suffix == ".parquet"):
        return _open_parquet(path, tables, image_column, keep)
    files = gather([path])
    if any(isinstance(file, Catalogue) for file in files):
        raise SurveyError(f"{path}: is a table; write it as Parquet, or use galutils predict.")
    of_hdf5 = [file.suffix.lower() in (".h5", ".hdf5") for file in files]
    if any(of_hdf5) and not all(of_hdf5):
        raise SurveyError(f"{path}: holds HDF5 files and images; give folders of one kind.")
    return _open_hdf5(files) if all(of_hdf5) else _open_images(files, str(path))


def _open_hats(path: Path, image_column: str | None, keep: tuple[str, ...]) -> Source:
    import hats
    from pyarrow import ArrowException

    try:
        catalogue = hats.read_hats(path)
        catalogue = getattr(catalogue, "main_catalog", catalogue)
        info, known, home = catalogue.catalog_info, catalogue.schema.names, catalogue.catalog_base_dir
        pixels = catalogue.get_healpix_pixels()
    except (ArrowException, OSError, ValueError, LookupError, AttributeError) as error:
        raise SurveyError(f"{path}: cannot be read as a HATS catalogue ({first_line(error)}); get it again.") from error
    position = info.ra_column, info.dec_column
    if HEALPIX not in known or None in position:
        raise SurveyError(f"{path}: has no column {HEALPIX}, or no positions; make it anew with hats-import.")
    columns = list(dict.fromkeys([HEALPIX, *_kept(path, known, keep), *position]))
    parts, digest = [], hashlib.sha256()
    for pixel in pixels:
        file = Path(str(hats.io.pixel_catalog_file(home, pixel, npix_suffix=info.npix_suffix)))
        footers = [_read_footer(one) for one in _files(file)]
        digest.update(str([pixel, footers]).encode())
        rows, size = sum(sum(footer.groups) for footer in footers), sum(footer.size for footer in footers)
        opened = partial(_read_table, file, columns, image_column)
        parts.append(Part(f"{pixel.order}_{pixel.pixel}", _place(pixel), rows, size, opened))
    return Source(parts, digest.hexdigest(), position)


def _place(pixel) -> str:
    from hats.io import pixel_catalog_file

    return str(pixel_catalog_file("/", pixel)).lstrip("/")


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def _kept(path: Path, known: Sequence[str], keep: tuple[str, ...]) -> list[str]:
    """Columns to carry along, of those that there are."""
    if own := [name for name in keep if name in OWN or name.startswith("p_")]:
        raise SurveyError(f"{path}: its column '{own[0]}' cannot be kept, since one of that name is written.")
    if missing := [name for name in keep if name not in known]:
        raise SurveyError(f"{path}: has no column '{missing[0]}'; it has {listed(known)}.")
    return [*keep] or [name for name in IDS if name in known]


class Footer(NamedTuple):
    """What the end of a Parquet file says."""

    groups: list[int]  # rows of each row group
    size: int  # of the file, in bytes
    columns: list[str]
    digest: str  # of all that it says, such as where each column lies and how long it is


@contextmanager
def _parquet(path: Path) -> Iterator[None]:
    from pyarrow import ArrowException

    with reading(path, "Parquet", (ArrowException, OSError)):
        yield


def _read_footer(path: Path) -> Footer:
    from pyarrow.parquet import read_metadata

    with _parquet(path):
        told = read_metadata(path)
        with open(path, "rb") as file:
            file.seek(-8, 2)
            length = int.from_bytes(file.read(4), "little")
            file.seek(-8 - length, 2)
            digest = hashlib.sha256(file.read()).hexdigest()
    groups = [told.row_group(number).num_rows for number in range(told.num_row_groups)]
    return Footer(groups, path.stat().st_size, told.schema.to_arrow_schema().names, digest)


def _read_table(path: Path, columns: list[str], image_column: str | None) -> tuple[pa.Table, Iterator[dict]]:
    """Of a partition; its images are read in blocks, whatever its size."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with _parquet(path):
        carried = pa.concat_tables([ParquetFile(file).read(columns) for file in _files(path)])
    if not len(carried):
        return carried, iter(())
    return carried, list_entries(open_catalogue(path, None, image_column, labelled=False))


def _open_parquet(path: Path, files: list[Path], image_column: str | None, keep: tuple[str, ...]) -> Source:
    """Parts of one row group or more, in the order of the files; their places on the sky are all over it."""
    known, roles = _read_footer(files[0]).columns, open_catalogue(files[0], None, image_column, labelled=False).columns
    positions = [roles[axis] for axis in ("ra", "dec") if axis in roles]
    columns, parts, digest = list(dict.fromkeys([*_kept(path, known, keep), *positions])), [], hashlib.sha256()
    for file in files:
        footer = _read_footer(file)
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
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    with _parquet(path):
        carried = ParquetFile(path).read_row_groups(groups, columns)
    if "path" not in columns:
        names = [f"{path}[{row}]" for row in range(start, start + len(carried))]
        carried = carried.add_column(0, "path", pa.array(names, pa.string()))
    catalogue = open_catalogue(path, None, image_column, labelled=False)
    return carried, list_entries(replace(catalogue, table=open_parquet(path, groups, start)))


def _open_hdf5(paths: list[Path]) -> Source:
    """Parts by place on the sky where there are positions, and of galaxies without one."""
    opened, stamps = [open_galaxies(path, labelled=False) for path in paths], [_stamp(path) for path in paths]
    lengths = list(map(len, opened))
    file, row = np.repeat(np.arange(len(paths)), lengths), np.concatenate([np.arange(length) for length in lengths])
    ra, dec = (np.concatenate([_degrees(one, axis) for one in opened]) for axis in ("ra", "dec"))
    placed, size = np.isfinite(ra) & np.isfinite(dec), sum(stamp[1] for stamp in stamps) // len(row)
    parts, has_positions = [], bool(placed.any())

    def add(name: str, place: str, members: np.ndarray) -> None:
        rows = {(paths[i], stamps[i]): row[members[file[members] == i]] for i in np.unique(file[members])}
        parts.append(Part(name, place, len(members), size * len(members), partial(_read_rows, rows, has_positions)))

    if has_positions:
        where = np.flatnonzero(placed)
        for pixel, members in _by_pixel(ra[placed], dec[placed]):
            add(f"{pixel.order}_{pixel.pixel}", _place(pixel), np.sort(where[members]))
    rest, folder = np.flatnonzero(~placed), "without_position" if has_positions else "dataset"
    for number, start in enumerate(range(0, len(rest), ROWS)):
        add(f"part-{number:05}", f"{folder}/part-{number:05}.parquet", rest[start : start + ROWS])
    content = str([(path.name, one.sha256) for path, one in zip(paths, opened, strict=True)])
    return Source(parts, hashlib.sha256(content.encode()).hexdigest(), ("ra", "dec") if has_positions else None)


def _degrees(galaxies: Galaxies, axis: str) -> np.ndarray:
    return np.full(len(galaxies), np.nan) if (column := getattr(galaxies, axis)) is None else column


def _by_pixel(ra: np.ndarray, dec: np.ndarray) -> Iterator[tuple]:
    """Pixels of HEALPix with at most :data:`ROWS` of some positions (n,) in degrees, and the numbers of these.

    What lies closer together than a pixel of order :data:`FINEST` stays together.
    """
    from hats.pixel_math import HealpixPixel, compute_spatial_index

    index = compute_spatial_index(ra, dec)
    order = np.argsort(index, kind="stable")
    waiting = [(0, number) for number in range(12)]
    while waiting:
        level, number = waiting.pop()
        shift = 2 * (HEALPIX_ORDER - level)
        start, end = np.searchsorted(index, (number << shift, (number + 1) << shift), sorter=order)
        if end - start > ROWS and level < FINEST:
            waiting += [(level + 1, 4 * number + quarter) for quarter in range(4)]
        elif end > start:
            yield HealpixPixel(level, number), order[start:end]


@lru_cache(maxsize=8)
def _galaxies(path: Path, stamp: tuple):
    """A file is opened once by each process, as long as it is the same."""
    if _stamp(path) != stamp:
        raise SurveyError(f"{path}: has changed since this command began; give it again.")
    return open_galaxies(path, labelled=False)


def _read_rows(rows: dict[tuple, np.ndarray], placed: bool) -> tuple[pa.Table, Iterator[dict]]:
    """Of rows of files, with their positions where the source has ``placed`` galaxies."""
    import pyarrow as pa

    files = [(_galaxies(*file), own) for file, own in rows.items()]
    carried = {"path": [f"{galaxies.path}[{row}]" for galaxies, own in files for row in own]}
    if placed:
        carried |= {axis: np.concatenate([_degrees(one, axis)[own] for one, own in files]) for axis in ("ra", "dec")}
        if np.isfinite(carried["ra"] + carried["dec"]).all():
            from hats.pixel_math import compute_spatial_index

            carried = {HEALPIX: compute_spatial_index(carried["ra"], carried["dec"])} | carried
    blocks = ((file, own[start : start + BLOCK]) for file, own in files for start in range(0, len(own), BLOCK))
    entries = chain.from_iterable(list_rows(*block) for block in blocks)
    table = pa.table(carried)
    units = {"ra": {"unit": "deg"}, "dec": {"unit": "deg"}}
    schema = pa.schema([field.with_metadata(units.get(field.name)) for field in table.schema])
    return table.cast(schema), entries


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
    import pyarrow as pa

    return pa.table({"path": list(map(str, paths))}), chain.from_iterable(map(list_entries, paths))


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, bytes and time of change of a file, which is not read for that."""
    told = path.stat()
    return path.name, told.st_size, told.st_mtime_ns
