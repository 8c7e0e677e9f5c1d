"""The light of simulated galaxies: each is drawn in the bands g, r and z from the parts that it is made of.

Lengths are in arcsec, angles in radians, fluxes in nanomaggies (22.5 mag is one), surface brightnesses in
nanomaggies per arcsec² or mag per arcsec².
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, i0e, k1

from galutils.data.stretch import FIELD

Rng = np.random.Generator


def lognormal(rng: Rng, median: float, scatter: float) -> float:
    """A draw from the lognormal distribution with this median and this scatter of the natural logarithm."""
    return median * math.exp(rng.normal(0, scatter))


def sersic(radius: np.ndarray, half_light: float, index: float) -> np.ndarray:
    """Sérsic profile in units of the mean surface brightness within the half-light radius, at any shape of ``radius``.

    Uses the asymptotic b of Ciotti & Bertin (1999), good to 1e-3 for an index of 0.5 or more.
    """
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    # Mean within the half-light radius is I_e n exp(b) b^(-2n) Gamma(2n): Graham & Driver (2005), eq. 9.
    mean = index * math.exp(b) * b ** (-2 * index) * math.gamma(2 * index)
    return np.exp(-b * ((radius / half_light) ** (1 / index) - 1)) / mean


def band_fluxes(colour: float, magnitude: float = 22.5, redder: float = 0.0) -> np.ndarray:
    """Flux (3, 1, 1) in g, r, z of a source with this r magnitude and g - r.

    Along the sequence of galaxies r - z grows in step with g - r; ``redder`` adds to it.
    """
    red = 0.68 * colour + redder
    return (10 ** (0.4 * (22.5 - magnitude + np.array([-colour, 0.0, red])))).astype(np.float32)[:, None, None]


class Scene:
    """Surface brightness ``light`` (3, pixels, pixels) float32 in g, r, z of one cutout, to be drawn on.

    ``axis`` holds the offsets of rows and columns from the centre.
    """

    def __init__(self, pixels: int):
        self.pixel = FIELD / pixels
        self.axis = ((np.arange(pixels) - (pixels - 1) / 2) * self.pixel).astype(np.float32)
        self.light = np.zeros((3, pixels, pixels), dtype=np.float32)

    def stamp(self, x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from (x, y) and the light in the square of this half-width around it."""
        columns, rows = (slice(*np.searchsorted(self.axis, (c - radius, c + radius))) for c in (x, y))
        return self.axis[None, columns] - float(x), self.axis[rows, None] - float(y), self.light[:, rows, columns]


class Plane:
    """Coordinates in the plane of an inclined disk: along its major axis ``u``, and ``v``, deprojected."""

    def __init__(self, x: np.ndarray, y: np.ndarray, angle: float, axis_ratio: float = 1.0):
        # Python's floats leave float32 arrays float32; NumPy's would double the work.
        cos, sin = math.cos(angle), math.sin(angle)
        self.u = x * cos + y * sin
        self.v = (y * cos - x * sin) / float(axis_ratio)
        self.radius = np.hypot(self.u, self.v)

    @property
    def theta(self) -> np.ndarray:
        return np.arctan2(self.v, self.u)


def spiral_arms(radius: np.ndarray, theta: np.ndarray, count: int, pitch: float, sharpness: float) -> np.ndarray:
    """Logarithmic arms, theta = ln(radius) / tan(pitch); a von Mises profile across, so its azimuthal mean is 1."""
    phase = count * (theta - np.log(radius) / math.tan(pitch))
    return np.exp(sharpness * (np.cos(phase) - 1)) / float(i0e(sharpness))


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
    gradient: float = 0.0  # how much redder in g - r the body's centre is than its rim
    bulge: float = 0.0  # light of the bulge in units of the body's
    bulge_radius: float = 0.2  # in units of the body's
    bulge_colour: float = 0.9
    bar: float = 0.0  # light of the bar in units of the body's
    bar_length: float = 0.6  # half-length in units of the body's radius
    arms: int = 0
    pitch: float = 0.3
    contrast: float = 0.0  # fraction of the outer disk's light that is in the arms
    sharpness: float = 1.5  # of the arms: their width is about 1 / sqrt(sharpness)
    patchy: float = 0.0  # amplitude of the structure along and between the arms, below 1
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
        # Short pieces of arms, wound like the long ones, break them up as in flocculent spirals.
        wound = theta - np.log(radius / start + 0.05) / math.tan(galaxy.pitch)
        for order in rng.integers(3, 10, 3).tolist():
            along = rng.uniform(2, 6) * radius / scale
            arms *= 1 + galaxy.patchy * np.cos(order * wound + along + rng.uniform(0, 2 * np.pi))
        share = galaxy.contrast / (1 + (start / (radius + 0.1)) ** 4)
        # Arms are where stars form: bluer than the disk between them.
        _add_graded(galaxy, body * (1 - share), np.exp(-radius / scale), light)
        light += band_fluxes(galaxy.colour - 0.15) * (body * share * arms)
    elif galaxy.gradient:
        _add_graded(galaxy, body, np.exp(-radius / scale), light)
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


def _add_graded(galaxy: Galaxy, body: np.ndarray, inner: np.ndarray, light: np.ndarray) -> None:
    """Add the body, old and dusty where ``inner`` is 1 and of the galaxy's own colour where it is 0."""
    light += band_fluxes(galaxy.colour) * (body * (1 - inner))
    light += band_fluxes(galaxy.colour + galaxy.gradient) * (body * inner)


def _draw_edge_on(galaxy: Galaxy, plane: Plane, light: np.ndarray, unit: float) -> None:
    """Exponential disk of scale length h seen from the side, cut off near 4 h (van der Kruit & Searle 1981)."""
    along = np.abs(plane.u) / (0.6 * galaxy.radius) + 0.03
    height = plane.v / (galaxy.flat * galaxy.radius)
    # Disks end; without the cut and the rounding by height their tips are needles.
    edge = expit(5 * (3.6 - np.hypot(along, height)))
    disk = 2.0 * unit * along * k1(along) * (1 - np.tanh(height) ** 2) * edge  # sech²
    lane = galaxy.dust * np.exp(-((height - 0.25) ** 2) / 0.15 - along)
    depth = np.array([1.0, 0.7, 0.4], dtype=np.float32)[:, None, None]  # dust dims g more than z
    _add_graded(galaxy, disk * np.exp(-depth * lane), np.exp(-along), light)


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
