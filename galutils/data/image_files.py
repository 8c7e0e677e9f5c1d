"""Image files of single galaxies: the one door by which pictures of other people come in.

A picture says what it shows, or its reader does (:class:`Reading`): FITS files by their header, others not at all.
Files are known by their content, never by their name.
"""

import bz2
import gzip
import io
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from galutils.errors import GalutilsError, first_line

#: Smallest picture, as in Galaxy10's layout, and how many pixels or bytes it may have before it is refused.
SMALLEST, MOST_PIXELS, MOST_BYTES = 8, 100_000_000, 2_000_000_000

#: Arcsec per pixel that an image of a galaxy can have, from space telescopes to all-sky surveys.
PLAUSIBLE_SCALES = 0.01, 10.0

# Once and for all: warnings.catch_warnings would not be safe where several threads read.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureError(GalutilsError):
    """An image file that cannot be used; one sentence that says why and what to do."""


@dataclass(frozen=True)
class Reading:
    """How pictures are to be read where they do not say so themselves."""

    pixel_scale: float | None = None  # arcsec per pixel as they are stored
    field: float | None = None  # arcsec that the shorter side spans, where there is no pixel scale either
    bands: str | None = None  # of the planes of FITS, "grz" or "F435W,F606W,F814W"; of others than g, r and z: the
    # three that are to be shown as blue, green and red
    grey: bool = False  # show a single band in grey instead of refusing it

    def __post_init__(self) -> None:
        for name in ("pixel_scale", "field"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise PictureError(f"{name} is {value}; give arcsec above 0.")


@dataclass(frozen=True)
class Picture:
    """A picture, and what it is."""

    image: np.ndarray  # (side, side, 3) uint8, red, green and blue; north up to within 45 degrees where that is known
    pixel_scale: float | None  # arcsec per pixel of the image; None where nobody says it
    notes: tuple[str, ...] = ()  # short phrases: what its user should know


def read_picture(
    source: str | Path | bytes | np.ndarray | None,
    reading: Reading | None = None,
    field: float | None = None,
    name: str = "the image",
    scale: float | None = None,
) -> Picture:
    """The central square of an image file, of the bytes of one, or of pixels.

    FITS cutouts hold flux in g, r and z and are stretched as the Legacy Surveys' viewer does it
    (:func:`galutils.data.fits_images.read_fits`). Where each band has a file of its own, one source names them all:
    ``image-{band}.fits``.

    Args:
        source: a path, bytes, or pixels (H, W, 3), (3, H, W), (H, W, 1) or (H, W) uint8; None is refused.
        reading: what is known of it beside.
        field: arcsec that the result spans: it is cut, or filled up with sky, to that where its pixel scale is known.
        name: what errors call it where it has no path.
        scale: arcsec per pixel, NaN where unknown, that a table says; comes before what ``reading`` does.

    Raises:
        PictureError: it cannot be used.
    """
    reading, label = reading or Reading(), source if isinstance(source, str | Path) else name
    scale = scale if scale and 0 < scale < np.inf else None
    if source is None:
        raise PictureError(f"{label}: names no image.")
    if isinstance(source, np.ndarray):
        image, notes = _colours(source, label), ()
    else:
        reading = replace(reading, pixel_scale=scale) if scale else reading
        files = _load_all(source, reading, label)
        if next(iter(files.values())).startswith(b"SIMPLE"):
            from galutils.data.fits_images import read_fits

            image, scale, notes = read_fits(files, reading, label)
        else:
            (image, notes), scale = _read_common(files[""], label), None
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST:
        raise PictureError(f"{label}: is {width} by {height} pixels; {SMALLEST} by {SMALLEST} is the least.")
    scale, told = settle_scale(scale, image.shape, reading)
    image, filled = _frame(image, scale, field, label)
    return Picture(image, scale, (*notes, *told, *filled, *describe_frame(image)))


def settle_scale(
    stated: float | None, shape: tuple[int, ...], reading: Reading
) -> tuple[float | None, tuple[str, ...]]:
    """Arcsec per pixel of a picture of shape (H, W, ...): what it states, else what its reader does; and notes."""
    given = reading.pixel_scale or (reading.field and reading.field / min(shape[:2]))
    if stated is None:
        return given, ()
    if not PLAUSIBLE_SCALES[0] <= stated <= PLAUSIBLE_SCALES[1]:
        return given, (f"implausible pixel scale of {stated:.3g} arcsec not used",)
    if given and abs(stated / given - 1) > 0.03:
        return stated, (f"its own pixel scale is {stated:.3g} arcsec, not {given:.3g}",)
    return stated, ()


def _frame(image: np.ndarray, scale: float | None, field: float | None, label) -> tuple[np.ndarray, tuple[str, ...]]:
    """The central square of an image (H, W, 3) uint8; and notes.

    Where both are known, its ``scale`` in arcsec per pixel and the ``field`` in arcsec, it spans that field to within
    a percent. What lies beyond the image is filled with the median of its edge, in each colour.
    """
    short = side = min(image.shape[:2])
    if scale and field and abs(field / (scale * short) - 1) > 0.01:
        side = round(field / scale)
        if side < SMALLEST:
            raise PictureError(
                f"{label}: has {side} pixels across the {field:.3g} arcsec that are wanted; {SMALLEST} is the least."
            )
        if side**2 > MOST_PIXELS:
            raise PictureError(f"{label}: {field:.3g} arcsec would be {side} of its pixels; give a smaller field.")
    height, width = (min(side, length) for length in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    cut = image[top : top + height, left : left + width].copy()
    if side <= short:
        return cut, ()
    edge = np.concatenate([cut[0], cut[-1], cut[:, 0], cut[:, -1]])
    filled = np.empty((side, side, 3), np.uint8)
    filled[:] = np.median(edge, axis=0)
    top, left = (side - height) // 2, (side - width) // 2
    filled[top : top + height, left : left + width] = cut
    return filled, (f"shows {scale * short:.3g} of {field:.3g} arcsec",)


def describe_frame(image: np.ndarray) -> tuple[str, ...]:
    """What is odd about an image (side, side, 3) uint8: "blank", "empty sky", "grey"; mostly nothing.

    Blank are frames of one colour, which training drops. Sky is empty if nowhere in its central half, averaged over
    cells of a sixteenth of the side, anything stands out of the cells around, and out of the noise of a pixel.
    """
    # Of most images the first row decides.
    if all((rows == image[0, 0]).all() for rows in (image[0], image)):
        return ("blank",)
    grey = ("grey",) if all((rows == rows[..., :1]).all() for rows in (image[0], image)) else ()
    step = max(1, len(image) // 64)  # some 64 by 64 of the pixels are enough
    light = image[::step, ::step] @ np.ones(3, np.float32)
    size = max(1, len(light) // 16)
    count = len(light) // size
    cells = light[: size * count, : size * count].reshape(count, size, count, size).mean(axis=(1, 3))
    sky = _median(cells)
    excess = cells[count // 4 : count - count // 4, count // 4 : count - count // 4].max() - sky
    noise = 1.4826 * _median(np.abs(cells - sky))
    if excess >= 5 * noise:
        return grey
    # Of a pixel, by its neighbour: a galaxy that fills the frame is smooth, and stands out of that.
    grain = 1.4826 * _median(np.abs(np.diff(light))) / np.sqrt(2)
    return ("empty sky", *grey) if excess < grain else grey


def _median(values: np.ndarray) -> float:
    """NumPy's own takes several times as long for so few numbers, while all other threads wait."""
    ordered = np.sort(values, axis=None)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def is_hdf5(path: str | Path) -> bool:
    """Whether a file holds HDF5, or is called so: then what is wrong with it is told as of an HDF5 file."""
    path = Path(path)
    return path.is_file() and (h5py.is_hdf5(path) or path.suffix.lower() in (".h5", ".hdf5"))


def _load_all(source: str | Path | bytes, reading: Reading, label) -> dict[str, bytes]:
    """The bytes of a file under the name "", or of one for each band under the band's."""
    if isinstance(source, bytes) or "{band}" not in str(source):
        return {"": _load(source, label)}
    from galutils.data.fits_images import split_bands

    paths = {band: str(source).replace("{band}", band) for band in split_bands(reading.bands or "grz")}
    files = {band: _load(path, path) for band, path in paths.items()}
    for band, content in files.items():
        if not content.startswith(b"SIMPLE"):
            raise PictureError(f"{paths[band]}: is not FITS; only FITS files can hold a band each.")
    return files


def _load(source: str | Path | bytes, label) -> bytes:
    """The bytes of a file, unpacked if it is FITS that was packed whole."""
    if not isinstance(source, bytes):
        path = Path(source)
        try:
            if not path.exists():
                raise PictureError(f"{label}: there is no such file; give JPEG, PNG or FITS images, or an HDF5 file.")
            if path.is_dir():
                raise PictureError(f"{label}: is a folder; name an image inside it.")
            if path.stat().st_size > MOST_BYTES:
                raise PictureError(f"{label}: has {path.stat().st_size:,} bytes; cut the galaxy out first.")
            source = path.read_bytes()
        except OSError as error:
            raise PictureError(f"{label}: cannot be read here ({error.strerror}); the file may be sound.") from error
    if not source:
        raise PictureError(f"{label}: is empty; get it again.")
    for magic, packing in ((b"\x1f\x8b", gzip), (b"BZh", bz2)):
        if source.startswith(magic):
            try:
                with packing.open(io.BytesIO(source)) as file:
                    source = file.read(MOST_BYTES + 1)  # to its end, where the checksum is
            except (OSError, EOFError, zlib.error) as error:
                raise PictureError(f"{label}: is packed and damaged ({first_line(error)}); get it again.") from error
            if len(source) > MOST_BYTES:
                raise PictureError(f"{label}: has more than {MOST_BYTES:,} bytes; cut the galaxy out first.")
            break
    return source


def _read_common(content: bytes, label) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pixels (H, W, 3) uint8 of whatever Pillow reads, turned as they are meant to be seen; and notes."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise PictureError(f"{label}: has {image.width} by {image.height} pixels; cut the galaxy out first.")
            frames = getattr(image, "n_frames", 1)
            notes = (f"the first of {frames} pages",) if frames > 1 else ()
            ImageOps.exif_transpose(image, in_place=True)
            return (_read_deep if image.mode.startswith("I") else _read_colours)(image, label), notes
    except PictureError:
        raise
    except UnidentifiedImageError:
        raise PictureError(f"{label}: is not an image that can be read; give JPEG, PNG, FITS or HDF5.") from None
    except Image.DecompressionBombError:  # from far more pixels on
        raise PictureError(f"{label}: has far more than {MOST_PIXELS:,} pixels; cut the galaxy out first.") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise PictureError(f"{label}: is a damaged image ({first_line(error)}); get it again.") from error


def _read_colours(image: Image.Image, label) -> np.ndarray:
    if image.mode not in ("RGB", "RGBA", "L", "LA", "P", "CMYK", "YCbCr", "1"):
        raise PictureError(f"{label}: has pixels of kind {image.mode}; save it with 8 or 16 bits, or as FITS.")
    if image.mode in ("RGBA", "LA", "P"):  # what is transparent is sky
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("RGB"))


def _colours(pixels: np.ndarray, label) -> np.ndarray:
    """Pixels (H, W, 3) of those that lie in a table: channels may come first, and grey may have none."""
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = np.moveaxis(pixels, 0, 2)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        pixels = np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)
    if pixels.shape[2] != 3:
        raise PictureError(f"{label}: has shape {pixels.shape}, not (height, width, 3).")
    return pixels


def _read_deep(image: Image.Image, label) -> np.ndarray:
    """Grey of 16 bits, of which white is 65535."""
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise PictureError(f"{label}: has grey levels beyond 0 to 65535; save it with 8 or 16 bits, or as FITS.")
    return np.repeat(np.rint(pixels / 257).astype(np.uint8)[..., None], 3, axis=2)
