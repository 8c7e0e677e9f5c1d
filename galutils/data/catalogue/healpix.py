"""Where on the sky galaxies are, in pixels of HEALPix as HATS has them; the library is imported where it is used."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

#: The column that says where on the sky a row is, by the pixel of HEALPix of this order, nested; and the order of the
#: smallest pixels that a catalogue is divided into.
HEALPIX, HEALPIX_ORDER, FINEST = "_healpix_29", 29, 12


def place_of(pixel) -> str:
    """The file of a pixel's rows, relative to a catalogue."""
    from hats.io import pixel_catalog_file

    return str(pixel_catalog_file("/", pixel)).lstrip("/")


def divide(ra: np.ndarray, dec: np.ndarray, most: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name, file and rows of parts of at most so many galaxies, by place on the sky; and of those without a position.

    ra, dec: (N,) in degrees, NaN where unknown.
    """
    placed = np.isfinite(ra) & np.isfinite(dec)
    where, rest = np.flatnonzero(placed), np.flatnonzero(~placed)
    if len(where):
        for pixel, members in _by_pixel(ra[where], dec[where], most):
            yield f"{pixel.order}_{pixel.pixel}", place_of(pixel), np.sort(where[members])
    folder = "without_position" if len(where) else "dataset"
    for number, start in enumerate(range(0, len(rest), most)):
        yield f"part-{number:05}", f"{folder}/part-{number:05}.parquet", rest[start : start + most]


def _by_pixel(ra: np.ndarray, dec: np.ndarray, most: int) -> Iterator[tuple]:
    """What lies closer together than a pixel of order :data:`FINEST` stays together."""
    from hats.pixel_math import HealpixPixel, compute_spatial_index

    index = compute_spatial_index(ra, dec)
    order = np.argsort(index, kind="stable")
    waiting = [(0, number) for number in range(12)]
    while waiting:
        level, number = waiting.pop()
        shift = 2 * (HEALPIX_ORDER - level)
        start, end = np.searchsorted(index, (number << shift, (number + 1) << shift), sorter=order)
        if end - start > most and level < FINEST:
            waiting += [(level + 1, 4 * number + quarter) for quarter in range(4)]
        elif end > start:
            yield HealpixPixel(level, number), order[start:end]


def with_place(table: pa.Table, position: tuple[str, str]) -> pa.Table:
    """With :data:`HEALPIX` first, where all positions are known, and the unit of the columns of ra and dec."""
    told = [field.with_metadata({"unit": "deg"}) if field.name in position else field for field in table.schema]
    table, (ra, dec) = table.cast(pa.schema(told)), (table[axis].to_numpy() for axis in position)
    if not np.isfinite(ra + dec).all():
        return table
    from hats.pixel_math import compute_spatial_index

    return table.add_column(0, HEALPIX, pa.array(compute_spatial_index(ra, dec)))
