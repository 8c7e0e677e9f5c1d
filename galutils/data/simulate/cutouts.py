"""Simulated galaxies in Galaxy10's layout: camera, sky and file.

Stars, neighbours, seeing and sky noise are added here to the galaxies of a class, and the bands are combined as the
cutouts of the DESI Legacy Imaging Surveys are. The file is marked as simulated: it shows that the pipeline works, it
is no evidence about galaxies. Units as in :mod:`galutils.data.simulate.light`.
"""

from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter

from galutils.data.classes import GALAXY10, GALAXY10_COUNTS
from galutils.data.galaxies import CLASSES_ATTRIBUTE, SIMULATED_ATTRIBUTE, check_new, resize
from galutils.data.simulate.light import Galaxy, Plane, Rng, Scene, band_fluxes, draw, lognormal, sersic
from galutils.data.simulate.populations import find_version
from galutils.data.simulate.recipes import PARTS, RECIPES
from galutils.data.stretch import BAND_SCALES, FIELD, NATIVE_PIXEL, combine
from galutils.errors import GalutilsError
from galutils.files import atomic_path, writing
from galutils.progress import tracked


class Setup(NamedTuple):
    """What galaxies are simulated with.

    ``version`` is one of :data:`galutils.data.simulate.populations.VERSIONS`, ``crop`` the central share of each side
    of a cutout that is drawn, at ``size`` pixels. ``without``: one of :data:`PARTS`, or nothing.
    """

    size: int = 64
    seed: int = 0
    version: str = "A"
    crop: float = 1.0
    without: str = ""


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
        axis_ratio, angle, index = rng.uniform(0.3, 1), rng.uniform(0, np.pi), rng.uniform(0.8, 2)
        fluxes = band_fluxes(rng.normal(0.85, 0.35), magnitude, rng.normal(0.1, 0.15))
        if light.size:
            profile = sersic(Plane(x, y, angle, axis_ratio).radius, radius, index)
            light += fluxes / (2 * np.pi * radius**2 * axis_ratio) * profile


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


def _cutout(label: int, setup: Setup, rng: Rng) -> tuple[np.ndarray, float]:
    """One image (size, size, 3) uint8 of a class, and the half-light radius of its galaxy in arcsec."""
    # Small images are drawn finer and scaled down after the stretch, as real cutouts are when they are read.
    oversampling = max(1 + (setup.size < 200 * setup.crop), -(-round(128 * setup.crop) // setup.size))
    scene, version = Scene(setup.size * oversampling, setup.crop), find_version(setup.version)
    galaxies, without = RECIPES[label](rng, version.look), setup.without
    if without == "shapes":
        galaxies = [Galaxy(galaxies[0].radius, galaxies[0].brightness, galaxies[0].colour)]
    lacking = {"arms": {"arms": 0}, "bars": {"bar": 0.0}}.get(without, {})
    # Each with numbers of its own: what lies outside a crop draws none.
    for galaxy, own in zip(galaxies, rng.spawn(len(galaxies)), strict=True):
        draw(replace(galaxy, **lacking), scene, own)
    if without != "neighbours":
        add_neighbours(scene, rng)
    seeing = np.clip(lognormal(rng, 1, 0.12), 0.75, 1.4)
    for band, fwhm in zip(scene.light, version.fwhm, strict=True) if without != "seeing" else ():
        gaussian_filter(band, seeing * fwhm / 2.355 / scene.pixel, output=band, mode="nearest", truncate=3)
    if without != "neighbours":
        add_stars(scene, seeing * version.fwhm[1], rng)

    # The noise is white per native pixel, then smoothed a little by the survey's resampling; drawn last, so
    # that a galaxy looks the same at any size.
    shallower = lognormal(rng, 1, 0.28) * NATIVE_PIXEL / scene.pixel
    noise = rng.standard_normal(scene.light.shape, dtype=np.float32)
    for band, fwhm, depth, scale in zip(noise, version.fwhm, version.depth, BAND_SCALES, strict=True):
        gaussian_filter(band, 0.5 * NATIVE_PIXEL / scene.pixel, output=band, truncate=3)
        # The flux of a point source at the depth is 5 times the noise of the 4 pi sigma² that it covers.
        covered = 4 * np.pi * (fwhm / 2.355 / NATIVE_PIXEL) ** 2
        band *= shallower * float(scale) * 10 ** (0.4 * (22.5 - depth)) / 5 / covered**0.5
    light = scene.light * (BAND_SCALES[:, None, None] * NATIVE_PIXEL**2)
    image = combine(light if without == "noise" else light + noise)
    return resize(np.rint(image).astype(np.uint8)[None], setup.size)[0], galaxies[0].radius


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


def _rows(count: int, proportions: str, setup: Setup) -> tuple[np.ndarray, np.ndarray]:
    """Check the arguments; class of each row, and its number within the class: (count,) uint8 and int64."""
    find_version(setup.version)
    if setup.size < 8:
        raise GalutilsError(f"size is {setup.size}; images need 8 pixels or more.")
    if setup.seed < 0:
        raise GalutilsError(f"seed is {setup.seed}; choose zero or a positive number.")
    if not 0.1 <= setup.crop <= 1:
        raise GalutilsError(f"crop is {setup.crop}; choose a share from 0.1 to 1.")
    if setup.without not in ("", *PARTS):
        raise GalutilsError(f"without is {setup.without!r}; choose one of {', '.join(PARTS)}, or leave it empty.")
    counts = class_counts(count, proportions)
    return np.repeat(np.arange(len(GALAXY10), dtype=np.uint8), counts), np.concatenate([np.arange(n) for n in counts])


def _simulate_rows(ans: np.ndarray, within: np.ndarray, setup: Setup) -> Simulated:
    images = np.empty((len(ans), setup.size, setup.size, 3), dtype=np.uint8)
    ra, dec, redshift, pxscale = np.full((4, len(ans)), FIELD * setup.crop / setup.size)
    for row, (label, number) in enumerate(zip(ans, within, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(setup.seed, spawn_key=(int(label), int(number))))
        ra[row], dec[row] = _position(rng)
        catalogue, sky = rng.spawn(2)
        images[row], radius = _cutout(label, setup, sky)
        redshift[row] = _redshift(radius, catalogue)
    return Simulated(images, ans, ra, dec, redshift, pxscale)


def simulate(count: int, size: int = 64, seed: int = 0, proportions: str = "balanced", **setup) -> Simulated:
    """Simulate galaxies, sorted by class as in Galaxy10.

    Galaxy k of a class depends on the seed, the class, k and the version alone: a smaller set holds the first galaxies
    of each class of a larger one, and another size (in pixels) or crop shows the same galaxies under other noise.
    Proportions of the classes are "balanced", or those of the full data set, "galaxy10". ``setup``: see :class:`Setup`.
    """
    setup = Setup(size, seed, **setup)
    return _simulate_rows(*_rows(count, proportions, setup), setup)


def write_simulated(
    path: str | Path,
    count: int,
    size: int = 64,
    seed: int = 0,
    proportions: str = "balanced",
    block: int = 64,
    processes: int = 1,
    **setup,
) -> None:
    """Write what :func:`simulate` gives to an HDF5 file in Galaxy10's layout, marked as simulated.

    ``block`` images are made at a time, by several ``processes`` if asked for; the file does not depend on either.
    """
    if block < 1:
        raise GalutilsError(f"block is {block}; simulate one image or more at a time.")
    check_new(path)
    with writing(path):  # before anything is simulated
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=Path(path).parent).close()
    setup = Setup(size, seed, **setup)
    ans, within = _rows(count, proportions, setup)
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file.attrs[SIMULATED_ATTRIBUTE] = True
        file.attrs[CLASSES_ATTRIBUTE] = GALAXY10
        file.create_dataset("images", (count, size, size, 3), dtype=np.uint8)
        file.create_dataset("ans", data=ans)
        for name in ("ra", "dec", "redshift", "pxscale"):
            file.create_dataset(name, (count,), dtype=np.float64)
        blocks = np.split(np.arange(count), range(block, count, block))
        given = [ans[rows] for rows in blocks], [within[rows] for rows in blocks], repeat(setup)
        with ProcessPoolExecutor(processes, get_context("spawn")) if processes > 1 else nullcontext() as pool:
            made = pool.map(_simulate_rows, *given) if pool else map(_simulate_rows, *given)
            for rows in tracked(blocks, count, "galaxy", weight=len):
                for name, column in next(made)._asdict().items():
                    file[name][rows[0] : rows[-1] + 1] = column
