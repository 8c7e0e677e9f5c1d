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
    """Surface brightness ``light`` (3, pixels, pixels) float32 in g, r, z of the central share ``crop`` of a cutout.

    ``axis`` holds the offsets of rows and columns from the centre.
    """

    def __init__(self, pixels: int, crop: float = 1.0):
        self.pixel = FIELD * crop / pixels
        self.axis = ((np.arange(pixels) - (pixels - 1) / 2) * self.pixel).astype(np.float32)
        self.light = np.zeros((3, pixels, pixels), dtype=np.float32)

    def stamp(self, x: float, y: float, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets from (x, y) and the light in the square of this half-width around it."""
        first, count = float(self.axis[0]), len(self.axis)
        columns, rows = (
            slice(*(min(max(math.ceil((end - first) / self.pixel), 0), count) for end in (c - radius, c + radius)))
            for c in (x, y)
        )
        return self.axis[None, columns] - float(x), self.axis[rows, None] - float(y), self.light[:, rows, columns]


class Plane:
    """Coordinates in the plane of an inclined disk: along its major axis ``u``, and ``v``, deprojected."""

    def __init__(self, x: np.ndarray, y: np.ndarray, angle: float, axis_ratio: float = 1.0):
        # Python's floats leave float32 arrays float32; NumPy's would double the work.
        self.cos, self.sin, self.axis_ratio = math.cos(angle), math.sin(angle), float(axis_ratio)
        self.u = x * self.cos + y * self.sin
        self.v = (y * self.cos - x * self.sin) / self.axis_ratio
        self.radius = np.sqrt(self.u * self.u + self.v * self.v)

    @property
    def theta(self) -> np.ndarray:
        return np.arctan2(self.v, self.u)

    def project(self, u: float, v: float) -> tuple[float, float]:
        """Where (u, v) lies in the coordinates (x, y) that the plane was made of."""
        return u * self.cos - v * self.axis_ratio * self.sin, u * self.sin + v * self.axis_ratio * self.cos


def arm(wound: np.ndarray, sharpness: float) -> np.ndarray:
    """Light across an arm whose crest is where the angle ``wound`` is 0: von Mises' profile, with a mean of 1."""
    return np.exp(sharpness * (np.cos(wound) - 1)) / float(i0e(sharpness))


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
    bar_width: float = 0.32  # in units of its length
    arms: int = 0
    pitch: float = 0.3
    contrast: float = 0.0  # fraction of the outer disk's light that is in the arms
    sharpness: float = 1.5  # of two arms and their width of about 1 / sqrt(2 sharpness) of their distance
    ring: float = 0.0  # of the arms' light, around the place where they begin
    forks: float = 0.0  # chance of an arm to part into two
    patchy: float = 0.0  # amplitude of the structure along and between the arms, below 1
    knots: int = 0  # star-forming regions
    lopsided: float = 0.0  # relative shift of the isophotes (m = 1)
    tails: int = 0
    tail_light: float = 1.9  # how much fainter than the body a tail starts
    dust: float = 0.0  # optical depth in g of the lanes along the arms, or of an edge-on disk's
    flat: float = 0.0  # thickness over radius of an edge-on disk; 0 if it is not edge-on
    warp: float = 0.0  # height over radius to which an edge-on disk is bent at two radii


#: How dust dims g, r and z for an optical depth of 1 in g.
_EXTINCTION = np.array([1.0, 0.7, 0.4], dtype=np.float32)[:, None, None]


def draw(galaxy: Galaxy, scene: Scene, rng: Rng) -> None:
    """Add a galaxy's light to the scene."""
    x, y, light = scene.stamp(galaxy.x, galaxy.y, 12 * galaxy.radius)
    if not light.size:
        return
    unit = 10 ** (0.4 * (22.5 - galaxy.brightness))
    if galaxy.flat:
        plane = Plane(x, y, galaxy.angle)
        _draw_edge_on(galaxy, plane, light, unit)
        _draw_knots(galaxy, scene, plane, lambda u, v: (u, galaxy.flat * v), unit, rng)
    else:
        plane = Plane(x, y, galaxy.angle, galaxy.axis_ratio)
        inner = _draw_disk(galaxy, plane, light, unit, rng)
        _draw_knots(galaxy, scene, plane, inner.project, unit, rng)
    if galaxy.bulge:
        axis_ratio = galaxy.flat or galaxy.axis_ratio
        rounder = max(axis_ratio, 0.3) ** 0.5  # a bulge is thicker than its disk
        peak = galaxy.bulge * unit / galaxy.bulge_radius**2 * axis_ratio / rounder
        radius = Plane(x, y, galaxy.angle, rounder).radius
        light += band_fluxes(galaxy.bulge_colour) * (peak * sersic(radius, galaxy.bulge_radius * galaxy.radius, 2.0))
    for _ in range(galaxy.tails):
        _draw_tail(galaxy, x, y, light, rng)


def _draw_disk(galaxy: Galaxy, plane: Plane, light: np.ndarray, unit: float, rng: Rng) -> Plane:
    """Body, arms and bar; returns the plane turned so that the bar lies along its first axis."""
    radius, scale = plane.radius, galaxy.radius
    if galaxy.lopsided:
        radius = radius * (1 + galaxy.lopsided * np.cos(plane.theta - rng.uniform(0, 2 * np.pi)))
    body = unit * sersic(radius, scale, galaxy.index)
    # Bar and arms start at any angle to the line of nodes and turn either way.
    inner = Plane(plane.u, plane.v, rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0]))
    if galaxy.arms:
        reach = radius / _start(galaxy)
        arms, lanes = _wind_arms(galaxy, reach, inner.theta, rng)
        share = galaxy.contrast / (1 + 1 / (reach + 0.02) ** 4)
        if galaxy.dust:
            body = body * np.exp(-_EXTINCTION * (galaxy.dust * share * lanes))
        # Arms are where stars form: bluer than the disk between them.
        _add_graded(galaxy, body * (1 - share), np.exp(-radius / scale), light)
        light += band_fluxes(galaxy.colour - 0.15) * (body * (share * arms))
    elif galaxy.gradient:
        _add_graded(galaxy, body, np.exp(-radius / scale), light)
    else:
        light += band_fluxes(galaxy.colour) * body
    if galaxy.bar:
        length, width = galaxy.bar_length, galaxy.bar_width * galaxy.bar_length
        inside = 1 - (inner.u / (length * scale)) ** 2 - (inner.v / (width * scale)) ** 2
        # Ferrers bar of second order, whose light is pi / 3 times length, width and peak.
        peak = 6 * galaxy.bar * unit / (length * width)
        light += band_fluxes(galaxy.bulge_colour) * (peak * np.clip(inside, 0, None) ** 2)
    return inner


def _start(galaxy: Galaxy) -> float:
    """Radius at which arms begin: that of the bar's ends."""
    return galaxy.radius * (galaxy.bar_length if galaxy.bar else 0.4)


def _wind_arms(galaxy: Galaxy, reach: np.ndarray, theta: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Light of the arms, 1 in the mean, and of the dust lanes on their inner sides, at ``reach``, the radius in units
    of where they begin. Every arm has its own pitch, brightness and end, and may part into two.
    """
    out, warped, sharpness = np.log(reach + 0.05), theta, galaxy.sharpness * galaxy.arms**2
    # Real arms meander and are unequal; without that they are too crisp.
    for order in (1, 2, 3):
        warped = warped + rng.normal(0, 0.2 / order) * np.sin(order * theta + rng.uniform(0, 2 * np.pi))
    arms, lanes = galaxy.ring * np.exp(-(((reach - 1) / 0.15) ** 2)), 0.0
    for number in range(galaxy.arms):
        pitch = galaxy.pitch * lognormal(rng, 1, 0.15)
        wound = warped - out / math.tan(pitch) - (2 * math.pi * number / galaxy.arms + rng.normal(0, 0.15))
        own = arm(wound, sharpness)
        if rng.random() < galaxy.forks:
            apart = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.2) / math.tan(galaxy.pitch)
            branch = wound + float(apart) * np.clip(out - math.log(rng.uniform(1, 3)), 0, None)
            own = np.maximum(own, 0.8 * arm(branch, sharpness))
        weight = lognormal(rng, 1, 0.3) / galaxy.arms
        arms = arms + own * (weight / (1 + (reach / rng.uniform(3, 9)) ** 4))
        if galaxy.dust:
            lanes = lanes + np.exp(3 * sharpness * (np.cos(wound - 0.7 / math.sqrt(sharpness)) - 1))
    if galaxy.patchy:
        # Short pieces of arms, wound like the long ones, break them up as in flocculent spirals, and clump.
        wound, texture = warped - out / math.tan(galaxy.pitch), 0.0
        for order in rng.integers(3, 12, 4).tolist():
            along = rng.uniform(1, 4) * reach
            texture = texture + np.cos(order * wound + along + rng.uniform(0, 2 * np.pi))
        arms *= np.exp(galaxy.patchy * texture - galaxy.patchy**2)
    return arms, lanes


def _draw_knots(galaxy: Galaxy, scene: Scene, plane: Plane, place, unit: float, rng: Rng) -> None:
    """Star-forming regions, along the arms where there are some; ``place`` brings them into the galaxy's plane."""
    for _ in range(galaxy.knots):
        distance, azimuth = galaxy.radius * rng.gamma(2.5, 0.4), rng.uniform(0, 2 * np.pi)
        if galaxy.arms:
            crest = math.log(distance / _start(galaxy) + 0.05) / math.tan(galaxy.pitch)
            azimuth = crest + 2 * math.pi * rng.integers(galaxy.arms) / galaxy.arms + rng.normal(0, 0.3)
        x, y = plane.project(*place(distance * math.cos(azimuth), distance * math.sin(azimuth)))
        peak = unit * rng.exponential(0.7) * math.exp(-distance / galaxy.radius)
        size = rng.uniform(0.04, 0.12) * galaxy.radius
        x, y, light = scene.stamp(galaxy.x + x, galaxy.y + y, 3 * size)
        light += band_fluxes(0.1) * (peak * np.exp(-(x * x + y * y) / size**2))


def _add_graded(galaxy: Galaxy, body: np.ndarray, inner: np.ndarray, light: np.ndarray) -> None:
    """Add the body, old and dusty where ``inner`` is 1 and of the galaxy's own colour where it is 0."""
    light += band_fluxes(galaxy.colour) * (body * (1 - inner))
    light += band_fluxes(galaxy.colour + galaxy.gradient) * (body * inner)


def _draw_edge_on(galaxy: Galaxy, plane: Plane, light: np.ndarray, unit: float) -> None:
    """Exponential disk of scale length h seen from the side, cut off near 3.6 h (Kregel et al. 2002), perhaps bent."""
    along = np.abs(plane.u) / (0.6 * galaxy.radius) + 0.03
    bent = galaxy.warp * plane.u * np.abs(plane.u) / (4 * galaxy.radius)
    height = (plane.v - bent) / (galaxy.flat * galaxy.radius)
    # Disks end; without the cut and the rounding by height their tips are needles.
    edge = expit(5 * (3.6 - np.hypot(along, height)))
    # A shift of the isophotes, as in other disks.
    edge = edge * (1 + galaxy.lopsided * np.tanh(plane.u / galaxy.radius))
    disk = 2.0 * unit * along * k1(along) * (1 - np.tanh(height) ** 2) * edge  # sech²
    # Dust lies flatter and reaches 1.4 times as far (Xilouris et al. 1999); seen slightly from above, off the plane.
    lane = galaxy.dust * np.exp(-((height - 0.25) ** 2) / 0.15 - along / 1.4)
    _add_graded(galaxy, disk * np.exp(-_EXTINCTION * lane), np.exp(-along), light)


def _draw_tail(galaxy: Galaxy, x: np.ndarray, y: np.ndarray, light: np.ndarray, rng: Rng) -> None:
    """A tidal tail: one open arm that widens and fades outwards."""
    plane = Plane(x, y, rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1))
    start, length = rng.uniform(0.8, 1.4) * galaxy.radius, rng.uniform(0.8, 2.5) * galaxy.radius
    width = rng.uniform(0.15, 0.4) * galaxy.radius
    pitch = rng.uniform(0.4, 1.1)
    radius = plane.radius + 1e-3
    away = np.remainder(plane.theta - np.log(radius / start) / math.tan(pitch) + math.pi, 2 * math.pi) - math.pi
    across = away * radius * math.sin(pitch) / (width * (0.5 + 0.5 * radius / start))
    along = np.exp(-np.clip(radius - start, 0, None) / length) / (1 + np.exp((start - radius) / (0.15 * start)))
    peak = 10 ** (0.4 * (22.5 - galaxy.brightness - galaxy.tail_light + rng.normal(0, 0.5)))
    light += band_fluxes(galaxy.colour) * (peak * along * np.exp(-(across**2) / 2))
