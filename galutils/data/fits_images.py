"""FITS images of single galaxies: which planes they hold, in which units, how large and which way up.

The Legacy Surveys' cutouts hold nanomaggies per native pixel (0.262 arcsec) at every pixel scale, since the survey
resamples by interpolation; they are known by what its viewer writes into the header. Other files are taken to conserve
flux: their nanomaggies are per pixel of their own.
"""

import io
import re
import warnings
from typing import NamedTuple

import numpy as np
from astropy import units
from astropy.io import fits
from astropy.wcs import WCS

from galutils.data.image_files import MOST_PIXELS, PictureError, Reading, settle_scale
from galutils.data.stretch import BAND_SCALES, NATIVE_PIXEL, combine
from galutils.errors import first_line

# Once and for all: warnings.catch_warnings would not be safe where several threads read.
warnings.filterwarnings("ignore", module=r"astropy\.")

#: What the viewer writes into the header of its cutouts, and how it weighs bands; see galutils.data.stretch.
_VIEWER = ("BANDS", "BAND0", "IMAGEW")
_WEIGHTS = dict(zip("grz", BAND_SCALES.tolist(), strict=True)) | {"i": 3.0}

#: What images that only accompany that of a galaxy call themselves: variances, weights, masks, models.
_COMPANION = re.compile(
    r"((inv|i)?var(iance)?|inverse|err(or)?|rms|sigma|unc\w*|wht|weight|mask\w*|dq|flag|quality|(psf|gal)?depth|psf\w*|"
    r"con|ctx|context|n?exp|exposure|chi2|model|resid\w*|bkg|background|sky|segm?\w*)s?( |$)"
)

_NANOMAGGY = 3.631e-6  # in Jy

#: Flux in nanomaggies below which a value, such as -99 or -9999, stands for "no data".
_NO_FLUX = -90.0


class _Plane(NamedTuple):
    band: str  # "" where it is not stated
    pixels: np.ndarray  # (H, W)
    headers: tuple[fits.Header, ...]  # its own, and the file's first

    def stated(self, key: str) -> str:
        return _stated(self.headers, key)

    @property
    def is_native(self) -> bool:
        return any(self.stated(key) for key in _VIEWER)


def read_fits(files: dict[str, bytes], reading: Reading, label) -> tuple[np.ndarray, float | None, tuple[str, ...]]:
    """A cutout as the Legacy Surveys' viewer would show it, (H, W, 3) uint8; arcsec per pixel, if stated; and notes.

    g, r and z become blue, green and red, or three others that ``reading`` names. ``files`` are a whole cutout under
    the name "", or a file for each band. PictureError: it cannot be used.
    """
    planes = [plane for band, content in files.items() for plane in _read_planes(content, band, label)]
    bands, places = _choose([plane.band for plane in planes], reading, label)
    planes = [planes[place] for place in places]
    if len({plane.pixels.shape for plane in planes}) > 1:
        raise PictureError(f"{label}: has bands of different sizes; cut them out alike.")
    headers = {id(header := plane.headers[0]): header for plane in planes}
    (stated, matrix), *others = (_geometry(header) for header in headers.values())
    if any(stated and other and abs(other / stated - 1) > 0.01 for other, _ in others):
        raise PictureError(f"{label}: has bands of different pixel scales; cut them out alike.")
    scale, _ = settle_scale(stated, planes[0].pixels.shape, reading)
    converted = [_native_flux(plane, scale, label) for plane in planes]
    flux = np.stack([values for values, _ in converted])
    if not np.isfinite(flux).any():
        raise PictureError(f"{label}: has no finite pixel; the survey may not have seen this place.")
    notes = (*_assumptions(planes[0], converted[0][1], bands, reading), *_gaps(bands, flux))
    weights = [_WEIGHTS.get(band, scale) for band, scale in zip(bands, BAND_SCALES, strict=True)]
    light = np.nan_to_num(flux) * np.array(weights, np.float32)[:, None, None]
    return _upright(np.rint(combine(light)).astype(np.uint8), matrix), stated, notes


def split_bands(text: str) -> list[str]:
    """Names of bands, in lower case, from "grz", "g,r,z", "F814W" or "F435W F606W F814W"."""
    names = re.findall(r"[^,;\s]+", text.lower())
    return names if len(names) > 1 or re.search(r"\d", text) else list("".join(names))


def _read_planes(content: bytes, band: str, label) -> list[_Plane]:
    """The planes of a file: of its first cube, or all its images. band: of a file that holds one."""
    images = _read_images(content, label)
    for pixels, headers in images:
        if len(pixels) > 1:
            names = _stated_bands(headers, len(pixels), label)
            return [_Plane(name, plane, headers) for name, plane in zip(names, pixels, strict=True)]
    if band:
        (pixels, headers), *_ = images
        return [_Plane(band, pixels[0], headers)]
    names = [_stated_bands(headers[:1], 1, label)[0] for _, headers in images]
    if not any(names):  # only the file's first header may say it
        names = _stated_bands(images[0][1], len(images), label)
    return [_Plane(name, pixels[0], headers) for name, (pixels, headers) in zip(names, images, strict=True)]


def _read_images(content: bytes, label) -> list[tuple[np.ndarray, tuple[fits.Header, ...]]]:
    """Pixels (n, H, W) and headers of all images of a file that do not accompany another."""
    found = []
    try:
        with fits.open(io.BytesIO(content), memmap=False) as file:
            for hdu in file:
                named = (str(hdu.header.get(key, "")).lower() for key in ("EXTNAME", "IMAGETYP", "EXTTYPE"))
                companion = any(_COMPANION.match(name.replace("_", " ")) for name in named)
                if not hdu.is_image or len(hdu.shape) < 2 or companion:
                    continue
                if np.prod(hdu.shape) > 4 * MOST_PIXELS:
                    raise PictureError(f"{label}: has pixels {hdu.shape}; cut the galaxy out first.")
                if np.prod(hdu.shape[:-3]) > 1:
                    raise PictureError(f"{label}: has shape {hdu.shape}; give one plane for each band.")
                planes = np.asarray(hdu.data).reshape(-1, *hdu.shape[-2:])
                found.append((planes, (hdu.header, file[0].header)))
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # of astropy alone, whose decompressor raises a class that it does not export
        raise PictureError(f"{label}: cannot be read as FITS ({first_line(error)}); get it again.") from error
    if not found:
        raise PictureError(f"{label}: holds no image; give a cutout with the bands g, r and z.")
    return found


def _stated(headers: tuple[fits.Header, ...], key: str) -> str:
    return next((str(header[key]).strip() for header in headers if key in header), "")


def _stated_bands(headers: tuple[fits.Header, ...], count: int, label) -> list[str]:
    """Names of ``count`` planes by BANDS, BAND0 and on, or FILTER1 and on; "" each where nothing is stated."""
    if text := _stated(headers, "BANDS"):
        names = split_bands(text) if count > 1 else [_band(text)]
        if len(names) != count:
            raise PictureError(f"{label}: has {count} planes but the bands '{text}'; mend BANDS in its header.")
        return names
    if count == 1:
        keys = ("BAND", "FILTER", "BAND0", "FILTER1", "FILTER2", "EXTNAME")
        names = (_band(text, key == "EXTNAME") for key in keys if (text := _stated(headers, key)))
        return [next((name for name in names if name and not name.startswith("clear")), "")]
    for key in ("BAND", "FILTER"):
        for first in (0, 1):
            names = [_band(_stated(headers, f"{key}{number}")) for number in range(first, first + count)]
            if all(names):
                return names
    return [""] * count


def _band(text: str, letter_only: bool = False) -> str:
    """A band's usual name: "r" of "r DECam SDSS c0002 6415.0", "HSC-R" or "sdss_r", else the words without spaces."""
    words = re.findall("[a-z0-9]+", text.lower())
    letters = [word for word in words if word in tuple("ugrizyjhk")]
    return letters[0] if letters else "" if letter_only else "".join(words)


def _choose(names: list[str], reading: Reading, label) -> tuple[list[str], list[int]]:
    """Bands to be shown as blue, green and red, and where they are among the planes of these names."""
    count, wanted = len(names), split_bands(reading.bands) if reading.bands else []
    if all(names):
        if missing := [band for band in wanted if band not in names]:
            raise PictureError(f"{label}: holds the bands {', '.join(names)}, not {', '.join(missing)}; name others.")
        shown = wanted or names
    elif wanted and len(wanted) != count:
        raise PictureError(f"{label}: has {count} planes, but {len(wanted)} bands are named; name each plane in order.")
    elif wanted or count in (1, 3):
        names = shown = wanted or (list("grz") if count == 3 else ["unnamed"])
    else:
        raise PictureError(f"{label}: has {count} planes and does not say of which bands; name them, such as griz.")
    if set("grz") <= set(shown):
        shown = list("grz")
    elif len(shown) == 1 and reading.grey:
        shown = shown * 3
    elif len(shown) == 1:
        raise PictureError(
            f"{label}: holds one band, {shown[0]}; give g, r and z (three files at once as 'image-{{band}}.fits'), "
            "or ask for grey."
        )
    elif len(shown) != 3 or not wanted:
        raise PictureError(
            f"{label}: holds the bands {', '.join(shown)}; give g, r and z, or name three bands, "
            "which are shown as blue, green and red."
        )
    return shown, [names.index(band) for band in shown]


def _geometry(header: fits.Header) -> tuple[float | None, np.ndarray | None]:
    """Arcsec per pixel, and arcsec to the east and to the north (rows) along x and y (columns); None if not stated.

    From the linear part of the world coordinates alone: distortions, which need tables, do not matter here.
    """
    keys = r"(CTYPE|CUNIT|CDELT|CROTA|CRVAL|CRPIX)[12]|(CD|PC)[12]_[12]"
    try:
        linear = fits.Header([(key, header[key]) for key in header if re.fullmatch(keys, key)])
        if not any(key.startswith(("CD", "PC")) for key in linear):
            return None, None
        for key in ("CTYPE1", "CTYPE2"):
            if (kind := str(linear.get(key, ""))[:4]) in ("RA--", "DEC-", "GLON", "GLAT"):
                linear[key] = f"{kind}-TAN"
        world = WCS(linear, naxis=2)
        if world.has_celestial:
            matrix = world.celestial.pixel_scale_matrix * 3600
            north = matrix if world.celestial.wcs.lngtyp == "RA" else None
        else:
            unit = units.Unit(str(linear["CUNIT1"]))
            matrix, north = world.pixel_scale_matrix * unit.to(units.arcsec), None
    except (ValueError, TypeError, KeyError, fits.VerifyError):
        return None, None
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    return (scale, north) if scale > 0 else (None, None)


def _native_flux(plane: _Plane, scale: float | None, label) -> tuple[np.ndarray, bool]:
    """Nanomaggies that a native pixel of the survey would hold, (H, W) float32, and whether a scale was lacking for it.

    They are NaN where there are no data.
    """
    text = plane.stated("BUNIT")
    if not text and plane.pixels.dtype.kind != "f":
        raise PictureError(
            f"{label}: holds {plane.pixels.dtype.newbyteorder('=')} without a unit, counts or a picture; "
            "give flux in nanomaggies, or a picture as PNG."
        )
    factor, is_brightness = _nanomaggies(text, label) if text else (1.0, False)
    flux = plane.pixels.astype(np.float32) * np.float32(factor)
    flux[~(np.isfinite(flux) & (flux > _NO_FLUX))] = np.nan
    if is_brightness or plane.is_native:
        return flux, False
    return flux * ((NATIVE_PIXEL / scale) ** 2 if scale else 1), not scale


def _nanomaggies(text: str, label) -> tuple[float, bool]:
    """What one unit is in nanomaggies, per pixel, or if it is one of surface brightness, per native pixel; which."""
    usual = re.sub(r"\bn(ano)? ?m(aggies|aggy|gy)\b", f"{_NANOMAGGY} Jy", text.replace(" per ", "/"), flags=re.I)
    usual = re.sub(r"\bm(aggies|aggy|gy)\b", f"{_NANOMAGGY * 1e9} Jy", usual, flags=re.I)
    try:
        unit = units.Unit(usual)
    except (ValueError, TypeError):
        unit = units.dimensionless_unscaled
    for area, is_brightness in ((1, False), (units.pix, False), (NATIVE_PIXEL**2 * units.arcsec**2, True)):
        value = 1 * unit * area
        if value.unit.is_equivalent(units.Jy):
            return float(value.to_value(units.Jy)) / _NANOMAGGY, is_brightness
    raise PictureError(
        f"{label}: is in '{text}', which is no calibrated flux; convert it to nanomaggies (of a magnitude zero point "
        "ZP: times 10^(0.4 (22.5 - ZP)))."
    )


def _assumptions(plane: _Plane, lacks_scale: bool, bands: list[str], reading: Reading) -> tuple[str, ...]:
    """What is taken to be so, and which bands are shown where they are others than the training's."""
    unstated = {
        "bands": not (plane.band or reading.bands or reading.grey),
        "units": not (plane.is_native or plane.stated("BUNIT")),
        "pixel scale": lacks_scale,
    }
    silent = ", ".join(what for what, holds in unstated.items() if holds)
    notes = (f"FITS header without {silent}: taken as the Legacy Surveys'",) if silent else ()
    return notes if bands == list("grz") or len(set(bands)) == 1 else (*notes, f"other bands: {', '.join(bands)}")


def _gaps(bands: list[str], flux: np.ndarray) -> tuple[str, ...]:
    """Bands, and pixels, that hold no data."""
    empty = [not (np.isfinite(values) & (values != values.flat[0])).any() for values in flux]
    if any(empty) and not all(empty):
        return (f"no data in {', '.join(band for band, without in zip(bands, empty, strict=True) if without)}",)
    missing = 1 - np.isfinite(flux).all(axis=0).mean()
    return (f"{missing:.1%} of the pixels without data",) if missing > 0 else ()


def _upright(image: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Turn and mirror an image, whose first row is the lowest, by quarters: north up and east left where known."""
    image = image[::-1]
    if matrix is None:
        return image
    if np.linalg.det(matrix) > 0:  # east would be on the right
        image, matrix = image[:, ::-1], matrix * (-1, 1)
    right, up = np.linalg.solve(matrix, (0, 1))  # where north is
    return np.rot90(image, round(np.degrees(np.arctan2(right, up)) / 90))
