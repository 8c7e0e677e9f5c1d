"""Image files of single galaxies: JPEG, PNG and the like, and FITS cutouts of the Legacy Surveys.

A picture is taken to show what Galaxy10's images show: one galaxy in the middle of about 67 arcsec of sky.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, UnidentifiedImageError

from galutils.data.galaxies import open_galaxies
from galutils.data.stretch import BAND_SCALES, NATIVE_PIXEL, combine
from galutils.errors import GalutilsError, first_line

#: Smallest picture, as in Galaxy10's layout, and how many pixels a file may have before it is refused unread.
SMALLEST, MOST_PIXELS = 8, 100_000_000


class PictureError(GalutilsError):
    """An image file that cannot be used; one sentence that says why and what to do."""


def read_picture(path: str | Path) -> np.ndarray:
    """The central square of an image file, (side, side, 3) uint8, red, green and blue.

    FITS cutouts hold g, r and z in nanomaggies per pixel, as the Legacy Surveys give them out; they are stretched
    as the survey's viewer does it (:func:`galutils.data.stretch.combine`), with north up.
    """
    path = Path(path)
    if not path.exists():
        raise PictureError(f"{path}: there is no such file; give JPEG, PNG or FITS images, or an HDF5 file.")
    if path.is_dir():
        raise PictureError(f"{path}: is a folder; name the images inside it, for example {path}/*.jpg.")
    if path.stat().st_size == 0:
        raise PictureError(f"{path}: is empty; get it again.")
    is_fits = path.name.lower().endswith((".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"))
    image = _read_fits(path) if is_fits else _read_common(path)
    height, width = image.shape[:2]
    side = min(height, width)
    if side < SMALLEST:
        raise PictureError(f"{path}: is {width} by {height} pixels; {SMALLEST} by {SMALLEST} is the least.")
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side].copy()


def read_pictures(paths: list[Path]) -> Iterator[tuple[list[str], np.ndarray]]:
    """All galaxies of some files, in blocks of one size and at most 64: their names and (n, side, side, 3) uint8.

    A row of an HDF5 file in Galaxy10's layout is called ``file.h5[row]``; labels are not needed. A file that
    cannot be used is a PictureError, or a :class:`galutils.data.galaxies.DataError` if it is HDF5.
    """
    for path in paths:
        if is_hdf5(path):
            galaxies = open_galaxies(path, labelled=False)
            for rows in np.split(np.arange(len(galaxies)), range(64, len(galaxies), 64)):
                yield [f"{path}[{row}]" for row in rows], galaxies.read_images(rows)
        else:
            yield [str(path)], read_picture(path)[None]


def count_pictures(paths: list[Path]) -> int:
    """How many galaxies :func:`read_pictures` will give."""
    return sum(len(open_galaxies(path, labelled=False)) if is_hdf5(path) else 1 for path in paths)


def is_hdf5(path: str | Path) -> bool:
    """Whether a file holds HDF5, or is called so: then what is wrong with it is told as of an HDF5 file."""
    path = Path(path)
    return path.is_file() and (h5py.is_hdf5(path) or path.suffix.lower() in (".h5", ".hdf5"))


def _read_common(path: Path) -> np.ndarray:
    """Pixels (H, W, 3) uint8 of whatever Pillow reads."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PictureError(f"{path}: has {image.width} by {image.height} pixels; cut the galaxy out first.")
            if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr", "1"):
                raise PictureError(f"{path}: has pixels of kind {image.mode}; save it with 8 bits for each colour.")
            if image.mode in ("RGBA", "LA", "P"):  # what is transparent is sky
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
            return np.asarray(image.convert("RGB"))
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{path}: is not an image that can be read; give JPEG, PNG, FITS or HDF5.") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path}: is a damaged image ({error}); get it again.") from error


def _read_fits(path: Path) -> np.ndarray:
    """A cutout of three bands as the survey's viewer would show it, (H, W, 3) uint8."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    try:
        with warnings.catch_warnings(action="ignore", category=AstropyWarning), fits.open(path, memmap=False) as file:
            found = next((hdu for hdu in file if hdu.is_image and hdu.data is not None), None)
            if found is None:
                raise PictureError(f"{path}: holds no image; give a cutout with the bands g, r and z.")
            flux, header = np.asarray(found.data, dtype=np.float32), found.header
            pixel = _pixel_scale(header)
    except PictureError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, fits.VerifyError) as error:
        raise PictureError(f"{path}: cannot be read as FITS ({first_line(error)}); get it again.") from error
    bands = str(header.get("BANDS", "grz"))
    if flux.ndim != 3 or len(flux) != len(bands) or not set("grz") <= set(bands):
        raise PictureError(f"{path}: has shape {flux.shape} and bands '{bands}'; give a cutout with g, r and z.")
    flux = flux[[bands.index(band) for band in "grz"]]
    if not np.isfinite(flux).any():
        raise PictureError(f"{path}: has no finite pixel; the survey may not have seen this place.")
    # From nanomaggies per pixel to what a native pixel would hold, where the viewer's factors apply.
    native = np.nan_to_num(flux, nan=0.0, posinf=0.0, neginf=0.0) * (NATIVE_PIXEL / pixel) ** 2
    image = combine(native * BAND_SCALES[:, None, None])
    return np.rint(image).astype(np.uint8)[::-1]  # the first row of a FITS image is its southern edge


def _pixel_scale(header) -> float:
    """Arcsec per pixel; the survey's own where the header does not say."""
    from astropy.wcs import WCS, utils

    stated = "CD1_1" in header or "CDELT1" in header
    scale = float(utils.proj_plane_pixel_scales(WCS(header, naxis=2))[0]) * 3600 if stated else 0.0
    return scale if scale > 0 else NATIVE_PIXEL
