"""Simulated galaxies in Galaxy10's layout: one recipe for each of the ten classes.

A galaxy is drawn as surface brightness in the bands g, r and z from the parts that its class is made of:
Sérsic bodies, bars, logarithmic spiral arms, edge-on disks with dust lanes, tidal tails. Stars, neighbours,
seeing and sky noise are added, and the bands are combined as the cutouts of the DESI Legacy Imaging Surveys
are. The file is marked as simulated: it shows that the pipeline works, it is no evidence about galaxies.

Lengths are in arcsec, angles in radians, fluxes in nanomaggies (22.5 mag is one), surface brightnesses in
nanomaggies per arcsec² or mag per arcsec².
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from astropy.visualization import LuptonAsinhStretch
from scipy.ndimage import gaussian_filter
from scipy.special import gamma, i0e, k1

from galutils.files import atomic_path
from galutils.galaxy10 import CLASS_COUNTS, NUM_CLASSES, SIMULATED_ATTRIBUTE

#: Native pixel of the survey and width of a cutout, which is the same at any image size.
NATIVE_PIXEL = 0.262
FIELD = 256 * NATIVE_PIXEL

#: Factors that the Legacy Surveys' viewer gives g, r and z before they become blue, green and red, and the
#: pedestal that it adds; both per native pixel. Its curve, asinh(Q x) / sqrt(Q) with Q = 20, makes an empty
#: pixel grey level 32.4. LuptonAsinhStretch is the same curve with other names for the constants.
BAND_SCALES = np.array([6.0, 3.4, 2.2], dtype=np.float32)
PEDESTAL = 0.03
STRETCH = LuptonAsinhStretch(stretch=0.23115, Q=4.623)

Rng = np.random.Generator


class Simulated(NamedTuple):
    """Galaxies sorted by class, with the columns of Galaxy10.

    Attributes:
        images: (N, size, size, 3) uint8.
        ans: (N,) uint8, classes 0 to 9.
        ra, dec: (N,) float64 in degrees.
        redshift: (N,) float64, NaN for about one row in 200.
        pxscale: (N,) float64 in arcsec per pixel.
    """

    images: np.ndarray
    ans: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    redshift: np.ndarray
    pxscale: np.ndarray


# --- Light profiles ------------------------------------------------------------------------------------


def sersic(radius: np.ndarray, half_light: float, index: float) -> np.ndarray:
    """Sérsic profile in units of the mean surface brightness within the half-light radius.

    Uses the asymptotic b of Ciotti & Bertin (1999), good to 1e-3 for an index of 0.5 or more.
    """
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    # Mean within the half-light radius is I_e n exp(b) b^(-2n) Gamma(2n): Graham & Driver (2005), eq. 9.
    mean = index * np.exp(b) * b ** (-2 * index) * gamma(2 * index)
    return np.exp(-b * ((radius / half_light) ** (1 / index) - 1)) / mean


def band_fluxes(colour: float, magnitude: float = 22.5, redder: float = 0.0) -> np.ndarray:
    """Flux (3, 1, 1) in g, r, z of a source with this r magnitude and g - r.

    Along the sequence of galaxies r - z grows in step with g - r; ``redder`` adds to it.
    """
    red = 0.68 * colour + redder
    return (10 ** (0.4 * (22.5 - magnitude + np.array([-colour, 0.0, red])))).astype(np.float32)[:, None, None]


class Scene:
    """Surface brightness of one cutout, to be drawn on.

    Attributes:
        light: (3, pixels, pixels) float32 in g, r, z.
        x, y: offsets of the pixels from the centre, (1, pixels) and (pixels, 1).
    """

    def __init__(self, pixels: int):
        self.pixel = FIELD / pixels
        self.axis = ((np.arange(pixels) - (pixels - 1) / 2) * self.pixel).astype(np.float32)
        self.x, self.y = self.axis[None, :], self.axis[:, None]
        self.light = np.zeros((3, pixels, pixels), dtype=np.float32)

    def stamp(self, x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from (x, y) and the light in the square of this half-width around it."""
        columns, rows = (slice(*np.searchsorted(self.axis, (c - radius, c + radius))) for c in (x, y))
        return self.axis[None, columns] - x, self.axis[rows, None] - y, self.light[:, rows, columns]


class Plane:
    """Coordinates in the plane of an inclined disk: along its major axis ``u``, and ``v``, deprojected."""

    def __init__(self, x: np.ndarray, y: np.ndarray, angle: float, axis_ratio: float = 1.0):
        self.u = x * np.cos(angle) + y * np.sin(angle)
        self.v = (y * np.cos(angle) - x * np.sin(angle)) / axis_ratio
        self.radius = np.hypot(self.u, self.v)

    @property
    def theta(self) -> np.ndarray:
        return np.arctan2(self.v, self.u)


def spiral_arms(radius: np.ndarray, theta: np.ndarray, count: int, pitch: float, sharpness: float) -> np.ndarray:
    """Logarithmic arms, theta = ln(radius) / tan(pitch); a von Mises profile across, so its azimuthal mean is 1."""
    phase = count * (theta - np.log(radius) / np.tan(pitch))
    return np.exp(sharpness * (np.cos(phase) - 1)) / i0e(sharpness)


# --- Galaxies ------------------------------------------------------------------------------------------


@dataclass
class Galaxy:
    """What a galaxy is made of; the defaults are a smooth exponential disk seen face-on."""

    radius: float  # half-light radius of the body along the major axis
    brightness: float  # r mag per arcsec², mean of the body within that radius
    colour: float  # g - r of the body
    index: float = 1.0  # Sérsic index of the body
    axis_ratio: float = 1.0
    angle: float = 0.0  # position angle of the major axis
    x: float = 0.0
    y: float = 0.0
    bulge: float = 0.0  # light of the bulge in units of the body's
    bulge_radius: float = 0.2  # in units of the body's
    bulge_colour: float = 0.9
    bar: float = 0.0  # light of the bar in units of the body's
    bar_length: float = 0.6  # half-length in units of the body's radius
    arms: int = 0
    pitch: float = 0.3
    contrast: float = 0.0  # fraction of the outer disk's light that is in the arms
    sharpness: float = 1.5  # of the arms: their width is about 1 / sqrt(sharpness)
    knots: int = 0  # star-forming regions
    lopsided: float = 0.0  # relative shift of the isophotes (m = 1)
    tails: int = 0
    tail_light: float = 23.5  # r mag per arcsec² where a tail starts
    dust: float = 0.0  # optical depth of the lane in g, edge-on only
    flat: float = 0.0  # thickness over radius of an edge-on disk; 0 if it is not edge-on


def draw(galaxy: Galaxy, scene: Scene, rng: Rng) -> None:
    """Add a galaxy's light to the scene."""
    x, y, light = scene.stamp(galaxy.x, galaxy.y, 12 * galaxy.radius)
    unit = 10 ** (0.4 * (22.5 - galaxy.brightness))
    if galaxy.flat:
        _draw_edge_on(galaxy, Plane(x, y, galaxy.angle), light, unit)
    else:
        _draw_disk(galaxy, Plane(x, y, galaxy.angle, galaxy.axis_ratio), light, unit, rng)
    if galaxy.bulge:
        axis_ratio = galaxy.flat or galaxy.axis_ratio
        rounder = max(axis_ratio, 0.3) ** 0.5  # a bulge is thicker than its disk
        peak = galaxy.bulge * unit / galaxy.bulge_radius**2 * axis_ratio / rounder
        radius = Plane(x, y, galaxy.angle, rounder).radius
        light += band_fluxes(galaxy.bulge_colour) * (peak * sersic(radius, galaxy.bulge_radius * galaxy.radius, 2.0))
    for _ in range(galaxy.tails):
        _draw_tail(galaxy, x, y, light, rng)


def _draw_disk(galaxy: Galaxy, plane: Plane, light: np.ndarray, unit: float, rng: Rng) -> None:
    radius, scale = plane.radius, galaxy.radius
    if galaxy.lopsided:
        radius = radius * (1 + galaxy.lopsided * np.cos(plane.theta - rng.uniform(0, 2 * np.pi)))
    body = unit * sersic(radius, scale, galaxy.index)
    # Bar and arms start at any angle to the line of nodes and turn either way.
    inner = Plane(plane.u, plane.v, rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0]))
    if galaxy.arms:
        start = scale * (galaxy.bar_length if galaxy.bar else 0.4)
        theta = inner.theta
        # Real arms meander and are unequal; without that they are too crisp.
        for order in (1, 2, 3):
            theta = theta + rng.normal(0, 0.2 / order) * np.sin(order * inner.theta + rng.uniform(0, 2 * np.pi))
        arms = spiral_arms(radius / start + 0.05, theta, galaxy.arms, galaxy.pitch, galaxy.sharpness)
        arms *= 1 + 0.25 * np.cos(inner.theta - rng.uniform(0, 2 * np.pi))
        share = galaxy.contrast / (1 + (start / (radius + 0.1)) ** 4)
        # Arms are where stars form: bluer than the disk between them.
        light += band_fluxes(galaxy.colour + 0.1) * (body * (1 - share))
        light += band_fluxes(galaxy.colour - 0.15) * (body * share * arms)
    else:
        light += band_fluxes(galaxy.colour) * body
    if galaxy.bar:
        length, width = galaxy.bar_length, 0.32 * galaxy.bar_length
        inside = 1 - (inner.u / (length * scale)) ** 2 - (inner.v / (width * scale)) ** 2
        # Ferrers bar of second order, whose light is pi / 3 times length, width and peak.
        peak = 6 * galaxy.bar * unit / (length * width)
        light += band_fluxes(galaxy.bulge_colour) * (peak * np.clip(inside, 0, None) ** 2)
    for _ in range(galaxy.knots):
        distance, azimuth = scale * rng.gamma(2.5, 0.4), rng.uniform(0, 2 * np.pi)
        offset = np.hypot(plane.u - distance * np.cos(azimuth), plane.v - distance * np.sin(azimuth))
        peak = unit * rng.exponential(0.7) * np.exp(-distance / scale)
        light += band_fluxes(0.1) * (peak * np.exp(-((offset / (rng.uniform(0.05, 0.15) * scale)) ** 2)))


def _draw_edge_on(galaxy: Galaxy, plane: Plane, light: np.ndarray, unit: float) -> None:
    """Exponential disk of scale length h seen from the side (van der Kruit & Searle 1981)."""
    along = np.abs(plane.u) / (0.6 * galaxy.radius) + 0.03
    height = plane.v / (galaxy.flat * galaxy.radius)
    disk = 2.0 * unit * along * k1(along) / np.cosh(height) ** 2
    lane = galaxy.dust * np.exp(-((height - 0.25) ** 2) / 0.15 - along)
    for band, depth in enumerate((1.0, 0.7, 0.4)):  # dust dims g more than z
        light[band] += band_fluxes(galaxy.colour)[band] * disk * np.exp(-depth * lane)


def _draw_tail(galaxy: Galaxy, x: np.ndarray, y: np.ndarray, light: np.ndarray, rng: Rng) -> None:
    """A tidal tail: one open arm that widens and fades outwards."""
    plane = Plane(x, y, rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1))
    start, length = rng.uniform(0.8, 1.4) * galaxy.radius, rng.uniform(0.8, 2.5) * galaxy.radius
    width = rng.uniform(0.15, 0.4) * galaxy.radius
    pitch = rng.uniform(0.4, 1.1)
    radius = plane.radius + 1e-3
    away = np.angle(np.exp(1j * (plane.theta - np.log(radius / start) / np.tan(pitch)))).astype(np.float32)
    across = away * radius * np.sin(pitch) / (width * (0.5 + 0.5 * radius / start))
    along = np.exp(-np.clip(radius - start, 0, None) / length) / (1 + np.exp((start - radius) / (0.15 * start)))
    peak = 10 ** (0.4 * (22.5 - galaxy.tail_light + rng.normal(0, 0.4)))
    light += band_fluxes(galaxy.colour) * (peak * along * np.exp(-(across**2) / 2))


# --- The ten classes -----------------------------------------------------------------------------------


def _lognormal(rng: Rng, median: float, scatter: float) -> float:
    return median * np.exp(rng.normal(0, scatter))


def _smooth(rng: Rng, radius: float, axis_ratio: tuple[float, float], index: tuple[float, float]) -> Galaxy:
    """An elliptical or a featureless disk: one Sérsic body, red when concentrated."""
    index = rng.uniform(*index)
    return Galaxy(
        radius=_lognormal(rng, radius, 0.4),
        brightness=rng.normal(20.4 + 0.15 * index, 0.45),
        colour=np.clip(rng.normal(0.55 + 0.1 * index, 0.17), 0.25, 1.1),
        index=index,
        axis_ratio=rng.uniform(*axis_ratio),
        angle=rng.uniform(0, np.pi),
    )


def _spiral(rng: Rng, radius: float, brightness: float, colour: float, inclined=(0.45, 1.0), **parts) -> Galaxy:
    """A disk with a red bulge, seen from a random side that is not edge-on; ``parts`` are added."""
    colour = np.clip(rng.normal(colour, 0.13), 0.2, 0.9)
    parts = {"bulge": _lognormal(rng, 0.12, 0.5), "bulge_radius": rng.uniform(0.15, 0.3)} | parts
    return Galaxy(
        radius=_lognormal(rng, radius, 0.3),
        brightness=rng.normal(brightness, 0.5),
        colour=colour,
        bulge_colour=colour + rng.uniform(0.25, 0.5),
        axis_ratio=rng.uniform(*inclined),
        angle=rng.uniform(0, np.pi),
        index=rng.uniform(0.6, 1.1),
        **parts,
    )


def disturbed(rng: Rng) -> list[Galaxy]:
    """One galaxy after an encounter: lopsided, with tidal tails and patchy star formation."""
    late = rng.random() < 0.65
    galaxy = _spiral(rng, 3.3, 21.7, 0.55) if late else _smooth(rng, 2.3, (0.4, 1), (1.5, 4))
    galaxy.axis_ratio = rng.uniform(0.3, 0.9)
    galaxy.lopsided = rng.uniform(0.1, 0.35)
    galaxy.tails = rng.integers(1, 4)
    galaxy.tail_light = rng.normal(23.1, 0.6)
    if late:
        galaxy.knots = rng.integers(0, 12)
        galaxy.arms, galaxy.pitch, galaxy.contrast = rng.integers(1, 3), rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.7)
    return [galaxy]


def merging(rng: Rng) -> list[Galaxy]:
    """Two overlapping galaxies, sometimes three; ellipticals in most cases, else disks with tails."""
    dry = rng.random() < 0.6
    galaxies = []
    for number in range(2 + (rng.random() < 0.2)):
        galaxy = _smooth(rng, 1.7, (0.5, 1), (2, 4)) if dry else _spiral(rng, 2.2, 21.2, 0.6)
        if number:
            distance, azimuth = rng.uniform(2.5, 7.5), rng.uniform(0, 2 * np.pi)
            galaxy.x, galaxy.y = distance * np.cos(azimuth), distance * np.sin(azimuth)
            galaxy.colour = galaxies[0].colour + rng.normal(0, 0.08)
        if not dry:
            galaxy.lopsided = rng.uniform(0.05, 0.25)
            galaxy.tails = rng.integers(0, 3)
        galaxies.append(galaxy)
    return galaxies


def round_smooth(rng: Rng) -> list[Galaxy]:
    """An elliptical seen round."""
    return [_smooth(rng, 1.9, (0.85, 1), (2, 4.5))]


def in_between_smooth(rng: Rng) -> list[Galaxy]:
    """An elliptical or lenticular of middling axis ratio."""
    return [_smooth(rng, 1.9, (0.45, 0.75), (1, 2.5))]


def cigar_smooth(rng: Rng) -> list[Galaxy]:
    """A smooth, thick spindle."""
    return [_smooth(rng, 3.0, (0.25, 0.42), (0.8, 1.8))]


def barred_spiral(rng: Rng) -> list[Galaxy]:
    """A bar with two arms, or a ring of tight ones, from its ends."""
    return [
        _spiral(
            rng,
            5.0,
            21.7,
            0.62,
            inclined=(0.6, 1.0),
            bar=_lognormal(rng, 0.22, 0.35),
            bar_length=rng.uniform(0.5, 0.9),
            bulge=_lognormal(rng, 0.06, 0.4),
            arms=2,
            pitch=np.radians(rng.uniform(8, 30)),
            contrast=rng.uniform(0.2, 0.7),
            knots=rng.integers(0, 5),
        )
    ]


def tight_spiral(rng: Rng) -> list[Galaxy]:
    """A large disk with a bright bulge, its arms wound to a pitch of 5 to 14 degrees."""
    return [
        _spiral(
            rng,
            4.9,
            21.5,
            0.56,
            bulge=_lognormal(rng, 0.13, 0.4),
            arms=rng.integers(2, 5),
            pitch=np.radians(rng.uniform(5, 14)),
            contrast=rng.uniform(0.1, 0.5),
        )
    ]


def loose_spiral(rng: Rng) -> list[Galaxy]:
    """A bluer disk with a small bulge and open arms, of pitch 18 to 40 degrees."""
    return [
        _spiral(
            rng,
            3.7,
            21.7,
            0.56,
            bulge=_lognormal(rng, 0.07, 0.5),
            arms=rng.choice([1, 2, 2, 2, 3]),
            pitch=np.radians(rng.uniform(18, 40)),
            contrast=rng.uniform(0.3, 0.8),
            knots=rng.integers(0, 9),
            lopsided=rng.uniform(0, 0.12),
        )
    ]


def edge_on_bulgeless(rng: Rng) -> list[Galaxy]:
    """A long thin disk from the side, often blue, with patches and a dust lane."""
    return [
        Galaxy(
            radius=_lognormal(rng, 5.8, 0.4),
            brightness=rng.normal(20.9, 0.5),
            colour=rng.uniform(0.3, 0.95),
            angle=rng.uniform(0, np.pi),
            flat=rng.uniform(0.1, 0.28),
            dust=rng.uniform(0, 1.2),
        )
    ]


def edge_on_bulge(rng: Rng) -> list[Galaxy]:
    """A red disk from the side around a bulge that stands out of its plane."""
    return [
        Galaxy(
            radius=_lognormal(rng, 3.6, 0.4),
            brightness=rng.normal(20.6, 0.4),
            colour=np.clip(rng.normal(0.88, 0.12), 0.5, 1.2),
            angle=rng.uniform(0, np.pi),
            flat=rng.uniform(0.12, 0.26),
            dust=rng.uniform(0, 1.2),
            bulge=_lognormal(rng, 0.7, 0.4),
            bulge_radius=rng.uniform(0.25, 0.5),
            bulge_colour=rng.normal(1.0, 0.08),
        )
    ]


#: In the order of ``galaxy10.CLASS_NAMES``; each gives the galaxies of a cutout, the first at its centre.
RECIPES: tuple[Callable[[Rng], list[Galaxy]], ...] = (
    disturbed,
    merging,
    round_smooth,
    in_between_smooth,
    cigar_smooth,
    barred_spiral,
    tight_spiral,
    loose_spiral,
    edge_on_bulgeless,
    edge_on_bulge,
)


# --- Cutouts -------------------------------------------------------------------------------------------


def _counts(rng: Rng, expected: float, bright: float, faint: float, slope: float) -> np.ndarray:
    """Magnitudes of a Poisson number of sources whose counts rise as 10^(slope m)."""
    chance = rng.uniform(size=rng.poisson(expected))
    return bright + np.log10(1 + chance * (10 ** (slope * (faint - bright)) - 1)) / slope


def add_neighbours(scene: Scene, rng: Rng) -> None:
    """Galaxies of the field around, mostly faint, small and redder for their distance."""
    for magnitude in _counts(rng, _lognormal(rng, 14, 0.5), 16.5, 23.5, 0.35):
        radius = _lognormal(rng, 0.55 * 10 ** (0.12 * (22 - magnitude)), 0.3)
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
    for magnitude in _counts(rng, _lognormal(rng, 6, 0.5), 13.5, 22.8, 0.2):
        # Two groups: stars near the main-sequence turn-off, and red dwarfs.
        dwarf = rng.random() < 0.55
        colour, redder = (rng.normal(1.5, 0.1), rng.uniform(-0.1, 1.1)) if dwarf else (rng.normal(0.5, 0.2), -0.1)
        fluxes = band_fluxes(colour, magnitude + 1.5 * dwarf, redder)
        peak = fluxes * ((beta - 1) / (np.pi * width**2))
        x0, y0 = rng.uniform(-FIELD / 2, FIELD / 2, 2)
        reach = width * (peak.max() / 1e-2) ** (0.5 / beta) + scene.pixel
        x, y, light = scene.stamp(x0, y0, reach)
        light += peak * (1 + (x**2 + y**2) / width**2) ** -beta


def combine(light: np.ndarray) -> np.ndarray:
    """Bands (3, H, W), g, r, z in units of the viewer, to grey levels (H, W, 3) in red, green, blue.

    Colour is kept up to where a channel saturates, so bright cores turn white as in the survey's cutouts.
    """
    light = light + PEDESTAL
    mean = np.clip(light, 0, None).mean(axis=0) + 1e-6
    return np.moveaxis(np.clip(255 * light * (STRETCH(mean) / mean), 0, 255)[::-1], 0, -1)


def _cutout(label: int, size: int, rng: Rng) -> tuple[np.ndarray, float]:
    """One image (size, size, 3) uint8 of a class, and the half-light radius of its galaxy in arcsec."""
    # Small images are drawn finer and averaged after the stretch, as scaling down a full-size cutout does.
    oversampling = max(1, -(-128 // size))
    scene = Scene(size * oversampling)
    galaxies = RECIPES[label](rng)
    for galaxy in galaxies:
        draw(galaxy, scene, rng)
    add_neighbours(scene, rng)
    fwhm = np.clip(_lognormal(rng, 1.25, 0.12), 0.9, 1.8)
    for band in scene.light:
        gaussian_filter(band, fwhm / 2.355 / scene.pixel, output=band, mode="nearest", truncate=3)
    add_stars(scene, fwhm, rng)

    # The noise is white per native pixel, then smoothed a little by the survey's resampling; drawn last, so
    # that a galaxy looks the same at any size.
    depth = _lognormal(rng, 0.0128, 0.2) * NATIVE_PIXEL / scene.pixel
    noise = rng.standard_normal(scene.light.shape, dtype=np.float32)
    for band, grain in enumerate((1.0, 1.0, 1.15)):
        gaussian_filter(noise[band], 0.5 * NATIVE_PIXEL / scene.pixel, output=noise[band], truncate=3)
        noise[band] *= depth * grain
    image = combine(scene.light * (BAND_SCALES[:, None, None] * NATIVE_PIXEL**2) + noise)
    image = image.reshape(size, oversampling, size, oversampling, 3).mean(axis=(1, 3))
    return np.rint(image).astype(np.uint8), galaxies[0].radius


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
    kpc_per_arcsec = _lognormal(rng, 5, 0.3) / radius
    return float(np.clip(kpc_per_arcsec / 20.8, 0.003, 0.4))  # Hubble's law: c / (70 km/s/Mpc), over 206265


def class_counts(count: int, proportions: str = "balanced") -> np.ndarray:
    """How many of ``count`` galaxies are in each class: (10,) int64.

    Raises:
        ValueError: for proportions other than "balanced" and "galaxy10", or fewer than one galaxy.
    """
    if proportions not in ("balanced", "galaxy10"):
        raise ValueError(f"proportions is {proportions!r}; choose 'balanced' or 'galaxy10'.")
    if count < 1:
        raise ValueError(f"count is {count}; simulate one galaxy or more.")
    weights = np.ones(NUM_CLASSES) if proportions == "balanced" else np.array(CLASS_COUNTS, dtype=float)
    wanted = count * weights / weights.sum()
    counts = wanted.astype(np.int64)
    # The classes that rounding down robbed most get what is left.
    counts[np.argsort(counts - wanted, kind="stable")[: count - counts.sum()]] += 1
    return counts


def _simulate_rows(ans: np.ndarray, within: np.ndarray, size: int, seed: int) -> Simulated:
    n = len(ans)
    images = np.empty((n, size, size, 3), dtype=np.uint8)
    ra, dec, redshift = np.empty((3, n))
    for row, (label, number) in enumerate(zip(ans, within, strict=True)):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(label), int(number))))
        ra[row], dec[row] = _position(rng)
        catalogue, sky = rng.spawn(2)
        images[row], radius = _cutout(label, size, sky)
        redshift[row] = _redshift(radius, catalogue)
    return Simulated(images, ans, ra, dec, redshift, np.full(n, FIELD / size))


def _rows(count: int, size: int, proportions: str) -> tuple[np.ndarray, np.ndarray]:
    """Class of each row, and its number within the class; the two and the seed determine the galaxy."""
    if size < 8:
        raise ValueError(f"size is {size}; images need 8 pixels or more.")
    counts = class_counts(count, proportions)
    return np.repeat(np.arange(NUM_CLASSES, dtype=np.uint8), counts), np.concatenate([np.arange(n) for n in counts])


def simulate(count: int, size: int = 64, seed: int = 0, proportions: str = "balanced") -> Simulated:
    """Simulate galaxies, sorted by class as in Galaxy10.

    Galaxy k of a class depends on the seed, the class and k alone: a smaller set holds the first galaxies of
    each class of a larger one, and another size shows the same galaxies under other noise.

    Args:
        count: number of galaxies.
        size: height and width of the images in pixels; the field of view stays 67 arcsec.
        proportions: "balanced", or "galaxy10" for the class proportions of the full data set.
    """
    return _simulate_rows(*_rows(count, size, proportions), size, seed)


def write_simulated(
    path: str | Path, count: int, size: int = 64, seed: int = 0, proportions: str = "balanced", block: int = 256
) -> None:
    """Write what :func:`simulate` gives to an HDF5 file in Galaxy10's layout, marked as simulated.

    Only ``block`` images are in memory at a time; the file does not depend on it.
    """
    ans, within = _rows(count, size, proportions)
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file.attrs[SIMULATED_ATTRIBUTE] = True
        file.create_dataset("images", (count, size, size, 3), dtype=np.uint8)
        file.create_dataset("ans", data=ans)
        for name in ("ra", "dec", "redshift", "pxscale"):
            file.create_dataset(name, (count,), dtype=np.float64)
        for start in range(0, count, block):
            rows = slice(start, start + block)
            for name, column in _simulate_rows(ans[rows], within[rows], size, seed)._asdict().items():
                file[name][rows] = column
