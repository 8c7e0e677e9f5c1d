"""Simulated galaxies in Galaxy10's layout: camera, sky and file.

Stars, neighbours, seeing and sky noise are added here to the galaxies of a class, and the bands are combined as the
cutouts of the DESI Legacy Imaging Surveys are. The file is marked as simulated: it shows that the pipeline works, it
is no evidence about galaxies. Units as in :mod:`galutils.data.simulate.light`.
"""

from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter

from galutils.data.classes import GALAXY10, GALAXY10_COUNTS
from galutils.data.galaxies import CLASSES_ATTRIBUTE, SIMULATED_ATTRIBUTE, resize
from galutils.data.simulate.light import Plane, Rng, Scene, band_fluxes, draw, lognormal, sersic
from galutils.data.simulate.recipes import RECIPES
from galutils.data.stretch import BAND_SCALES, FIELD, NATIVE_PIXEL, combine
from galutils.errors import GalutilsError
from galutils.files import atomic_path
from galutils.progress import tracked


class Simulated(NamedTuple):
    """Galaxies sorted by class: the datasets of Galaxy10's layout, with ``ans`` in uint8."""

    images: np.ndarray
    ans: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    redshift: np.ndarray  # NaN for about one row in 200
    pxscale: np.ndarray


def _counts(rng: Rng, expected: float, bright: float, faint: float, slope: float) -> np.ndarray:
    """Magnitudes of a Poisson number of sources whose counts rise as 10^(slope m)."""
    chance = rng.uniform(size=rng.poisson(expected))
    return bright + np.log10(1 + chance * (10 ** (slope * (faint - bright)) - 1)) / slope


def add_neighbours(scene: Scene, rng: Rng) -> None:
    """Galaxies of the field around, mostly faint, small and redder for their distance."""
    for magnitude in _counts(rng, lognormal(rng, 12, 0.5), 16.5, 23.5, 0.35):
        radius = lognormal(rng, 0.55 * 10 ** (0.12 * (22 - magnitude)), 0.3)
        x0, y0 = rng.uniform(-FIELD / 2, FIELD / 2, 2)
        x, y, light = scene.stamp(x0, y0, 8 * radius)
        axis_ratio = rng.uniform(0.3, 1)
        plane = Plane(x, y, rng.uniform(0, np.pi), axis_ratio)
        fluxes = band_fluxes(rng.normal(0.85, 0.35), magnitude, rng.normal(0.1, 0.15))
        light += fluxes / (2 * np.pi * radius**2 * axis_ratio) * sersic(plane.radius, radius, rng.uniform(0.8, 2))


def add_stars(scene: Scene, fwhm: float, rng: Rng) -> None:
    """Foreground stars: Moffat profiles, whose wings show around the bright ones (Moffat 1969)."""
    beta = 3.0
    width = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    for magnitude in _counts(rng, lognormal(rng, 4.5, 0.5), 13.5, 22.8, 0.2):
        # Two groups: stars near the main-sequence turn-off, and red dwarfs.
        dwarf = rng.random() < 0.55
        colour, redder = (rng.normal(1.5, 0.1), rng.uniform(-0.1, 1.1)) if dwarf else (rng.normal(0.5, 0.2), -0.1)
        fluxes = band_fluxes(colour, magnitude + 1.5 * dwarf, redder)
        peak = fluxes * ((beta - 1) / (np.pi * width**2))
        x0, y0 = rng.uniform(-FIELD / 2, FIELD / 2, 2)
        reach = width * (peak.max() / 1e-2) ** (0.5 / beta) + scene.pixel
        x, y, light = scene.stamp(x0, y0, reach)
        light += peak * (1 + (x**2 + y**2) / width**2) ** -beta


def _cutout(label: int, size: int, rng: Rng) -> tuple[np.ndarray, float]:
    """One image (size, size, 3) uint8 of a class, and the half-light radius of its galaxy in arcsec."""
    # Small images are drawn finer and scaled down after the stretch, as real cutouts are when they are read.
    oversampling = max(1 + (size < 200), -(-128 // size))
    scene = Scene(size * oversampling)
    galaxies = RECIPES[label](rng)
    for galaxy in galaxies:
        draw(galaxy, scene, rng)
    add_neighbours(scene, rng)
    fwhm = np.clip(lognormal(rng, 1.25, 0.12), 0.9, 1.8)
    for band in scene.light:
        gaussian_filter(band, fwhm / 2.355 / scene.pixel, output=band, mode="nearest", truncate=3)
    add_stars(scene, fwhm, rng)

    # The noise is white per native pixel, then smoothed a little by the survey's resampling; drawn last, so
    # that a galaxy looks the same at any size.
    depth = lognormal(rng, 0.0175, 0.28) * NATIVE_PIXEL / scene.pixel
    noise = rng.standard_normal(scene.light.shape, dtype=np.float32)
    for band, grain in enumerate((1.0, 1.0, 1.15)):
        gaussian_filter(noise[band], 0.5 * NATIVE_PIXEL / scene.pixel, output=noise[band], truncate=3)
        noise[band] *= depth * grain
    image = combine(scene.light * (BAND_SCALES[:, None, None] * NATIVE_PIXEL**2) + noise)
    return resize(np.rint(image).astype(np.uint8)[None], size)[0], galaxies[0].radius


def _position(rng: Rng) -> tuple[float, float]:
    """A direction (ra, dec in degrees) in a footprint like that of DECaLS: a northern and a southern cap."""
    north = rng.random() < 0.8
    ra = rng.uniform(110, 260) if north else rng.uniform(-60, 60) % 360
    low, high = np.sin(np.radians((-8, 65) if north else (-18, 33)))
    return ra, np.degrees(np.arcsin(rng.uniform(low, high)))


def _redshift(radius: float, rng: Rng) -> float:
    """Redshift at which this many arcsec are a galaxy's size of about 5 kpc; NaN now and then, as in Galaxy10."""
    if rng.random() < 0.005:
        return np.nan
    kpc_per_arcsec = lognormal(rng, 5, 0.3) / radius
    return float(np.clip(kpc_per_arcsec / 20.8, 0.003, 0.4))  # Hubble's law: c / (70 km/s/Mpc), over 206265


def class_counts(count: int, proportions: str = "balanced") -> np.ndarray:
    """How many of ``count`` galaxies are in each class: (10,) int64. Proportions are "balanced" or "galaxy10"."""
    if proportions not in ("balanced", "galaxy10"):
        raise GalutilsError(f"proportions is {proportions!r}; choose balanced or galaxy10.")
    if count < 1:
        raise GalutilsError(f"count is {count}; simulate one galaxy or more.")
    weights = np.ones(len(GALAXY10)) if proportions == "balanced" else np.array(GALAXY10_COUNTS, dtype=float)
    wanted = count * weights / weights.sum()
    counts = wanted.astype(np.int64)
    # The classes that rounding down robbed most get what is left.
    counts[np.argsort(counts - wanted, kind="stable")[: count - counts.sum()]] += 1
    return counts


def _rows(count: int, size: int, seed: int, proportions: str) -> tuple[np.ndarray, np.ndarray]:
    """Check the arguments; class of each row, and its number within the class: (count,) uint8 and int64."""
    if size < 8:
        raise GalutilsError(f"size is {size}; images need 8 pixels or more.")
    if seed < 0:
        raise GalutilsError(f"seed is {seed}; choose zero or a positive number.")
    counts = class_counts(count, proportions)
    return np.repeat(np.arange(len(GALAXY10), dtype=np.uint8), counts), np.concatenate([np.arange(n) for n in counts])


def _simulate_rows(ans: np.ndarray, within: np.ndarray, size: int, seed: int) -> Simulated:
    images = np.empty((len(ans), size, size, 3), dtype=np.uint8)
    ra, dec, redshift, pxscale = np.full((4, len(ans)), FIELD / size)
    for row, (label, number) in enumerate(zip(ans, within, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(label), int(number))))
        ra[row], dec[row] = _position(rng)
        catalogue, sky = rng.spawn(2)
        images[row], radius = _cutout(label, size, sky)
        redshift[row] = _redshift(radius, catalogue)
    return Simulated(images, ans, ra, dec, redshift, pxscale)


def simulate(count: int, size: int = 64, seed: int = 0, proportions: str = "balanced") -> Simulated:
    """Simulate galaxies, sorted by class as in Galaxy10.

    Galaxy k of a class depends on the seed, the class and k alone: a smaller set holds the first galaxies of
    each class of a larger one, and another size (in pixels; the field of view stays 67 arcsec) shows the same
    galaxies under other noise. Proportions of the classes are "balanced", or those of the full data set, "galaxy10".
    """
    return _simulate_rows(*_rows(count, size, seed, proportions), size, seed)


def write_simulated(
    path: str | Path, count: int, size: int = 64, seed: int = 0, proportions: str = "balanced", block: int = 64
) -> None:
    """Write what :func:`simulate` gives to an HDF5 file in Galaxy10's layout, marked as simulated.

    Only ``block`` images are in memory at a time; the file does not depend on it.
    """
    if block < 1:
        raise GalutilsError(f"block is {block}; simulate one image or more at a time.")
    ans, within = _rows(count, size, seed, proportions)
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file.attrs[SIMULATED_ATTRIBUTE] = True
        file.attrs[CLASSES_ATTRIBUTE] = GALAXY10
        file.create_dataset("images", (count, size, size, 3), dtype=np.uint8)
        file.create_dataset("ans", data=ans)
        for name in ("ra", "dec", "redshift", "pxscale"):
            file.create_dataset(name, (count,), dtype=np.float64)
        for rows in tracked(np.split(np.arange(count), range(block, count, block)), count, "galaxy", weight=len):
            for name, column in _simulate_rows(ans[rows], within[rows], size, seed)._asdict().items():
                file[name][rows[0] : rows[-1] + 1] = column
