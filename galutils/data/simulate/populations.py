"""How large, bright and red galaxies are, and how sharp and deep the sky: the two versions of the simulator.

``U``, untouched, follows published distributions and the survey's published seeing and depth; no image of ours had a
part in it. ``A``, adapted, has numbers set by hand so that the measurements of
:func:`galutils.data.check.measure_images` have about the class medians of 1,000 real images of Galaxy10 DECaLS. What
galaxies are made of (:mod:`galutils.data.simulate.recipes`) is the same in both. Units as in
:mod:`galutils.data.simulate.light`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from galutils.data.simulate.light import Rng, lognormal
from galutils.errors import GalutilsError


class Look(NamedTuple):
    """Half-light radius along the major axis, mean r mag per arcsec² within it, and g - r."""

    radius: float
    brightness: float
    colour: float


class Adapted(NamedTuple):
    """Medians and scatters of a kind of galaxy, set by hand; ``fainter`` mag per arcsec² per mag of bluer colour."""

    radius: float
    scatter: float
    brightness: float
    colour: float
    spread: float
    fainter: float = 0.0


class Published(NamedTuple):
    """Mean g - r of a morphological type, whether it follows the early types' sizes, its range of redshifts, which
    half-light radius (arcsec) it needs to be recognised, and how much fainter its disks are than others.
    """

    colour: float
    early: bool
    nearest: float
    farthest: float
    smallest: float = 1.5  # as of all of Galaxy Zoo DECaLS: half of the Petrosian radius of 3 arcsec (Walmsley et al.)
    fainter: float = 0.0


#: Kinds of galaxies. Colours of U are those of E 0.77, S0 0.68, Sab 0.66, Sbc 0.52 and Scd 0.48 (Fukugita, Shimasaku &
#: Ichikawa 1995). Its redshifts end at 0.15, as Galaxy Zoo DECaLS's (Walmsley et al. 2022), for arms at 0.085 (Hart et
#: al. 2016), for bars at 0.06 (Masters et al. 2011), for mergers at 0.1 (Darg et al. 2010). Bars are seen where they
#: are longer than twice the seeing (Erwin 2018), 2.4 arcsec or 0.77 half-light radii; arms are taken to need as much.
#: That there is no bulge is seen where one of 0.22 scale lengths would be wider than the seeing, from 4.6 arcsec on.
#: How tight arms are does not follow from the bulge (Masters et al. 2019), so the tight ones' colour is Sb's. Disks of
#: the latest types are a magnitude fainter (de Jong 1996).
KINDS = {
    "disturbed": (Adapted(3.3, 0.27, 21.7, 0.55, 0.13, 1.2), Published(0.52, False, 0.01, 0.1)),
    "remnant": (Adapted(2.3, 0.33, 20.6, 0.82, 0.14), Published(0.68, True, 0.01, 0.1)),
    "wet merger": (Adapted(2.8, 0.27, 21.2, 0.74, 0.13, 1.2), Published(0.52, False, 0.01, 0.1)),
    "dry merger": (Adapted(2.1, 0.33, 20.7, 0.92, 0.14), Published(0.77, True, 0.01, 0.1)),
    "round": (Adapted(2.1, 0.33, 20.65, 0.87, 0.14), Published(0.77, True, 0.01, 0.15)),
    "elongated": (Adapted(1.7, 0.33, 20.45, 0.75, 0.14), Published(0.68, True, 0.01, 0.15)),
    "spindle": (Adapted(3.0, 0.33, 20.4, 0.76, 0.14), Published(0.68, True, 0.01, 0.15)),
    "distant disk": (Adapted(2.3, 0.33, 20.7, 0.62, 0.14), Published(0.52, False, 0.085, 0.15)),
    "barred": (Adapted(5.0, 0.27, 21.75, 0.68, 0.13, 1.2), Published(0.6, False, 0.01, 0.06, 3.1)),
    "tight": (Adapted(4.9, 0.27, 21.6, 0.6, 0.13, 1.2), Published(0.59, False, 0.01, 0.085, 3.1)),
    "loose": (Adapted(3.8, 0.27, 21.75, 0.59, 0.13, 1.2), Published(0.5, False, 0.01, 0.085, 3.1)),
    "thin": (Adapted(7.2, 0.35, 21.4, 0.45, 0.14), Published(0.48, False, 0.01, 0.085, 4.6, 1.0)),
    "bulged": (Adapted(6.2, 0.33, 21.1, 0.8, 0.12), Published(0.67, False, 0.01, 0.085, 3.1)),
}


def _adapted(rng: Rng, kind: str, axis_ratio: float) -> Look:
    own = KINDS[kind][0]
    larger = rng.normal(0, own.scatter)
    colour = float(np.clip(rng.normal(own.colour + 0.2 * larger, own.spread), 0.2, 1.2))
    brightness = rng.normal(own.brightness + own.fainter * (0.56 - colour), 0.4)
    return Look(own.radius * math.exp(larger), brightness, colour)


def _published(rng: Rng, kind: str, axis_ratio: float) -> Look:
    """A galaxy of a sample with r < 17.77 (Strauss et al. 2002) that is large enough.

    Luminosities: Blanton et al. (2003), M* = -20.44 + 5 log h, slope -1.05; masses from colour: Bell et al. (2003);
    sizes from mass: Shen et al. (2003), their table 1, which are circular means; disks' are so of a mean axis ratio of
    0.6. H0 = 70 km/s/Mpc.
    """
    own = KINDS[kind][1]
    while True:
        # Dust dims an inclined disk by 0.96 mag in r and some 0.23 in g - r times log(a/b): Tully et al. (1998), for a
        # line width of 250 km/s.
        inclined = 0.0 if own.early else -math.log10(axis_ratio)
        # Seen out to a volume that grows as L^1.5, a Schechter function of slope -1.05 is a gamma distribution.
        magnitude = own.fainter - 20.44 + 5 * math.log10(0.7) - 2.5 * math.log10(rng.gamma(-1.05 + 2.5))
        farthest = 10 ** (0.2 * (17.77 - magnitude - 0.96 * inclined) - 5)  # Mpc
        distance = farthest * rng.random() ** (1 / 3)
        redshift = distance * 70 / 299_792
        if not own.nearest < redshift < own.farthest:
            continue
        colour = rng.normal(own.colour, 0.06 if own.early else 0.12)
        mass = 10 ** (-0.4 * (magnitude - 4.65) - 0.306 + 1.097 * colour - 0.15)  # the Sun has 4.65; Kroupa's IMF
        size = 2.88e-6 * mass**0.56 if own.early else 0.1 * mass**0.14 * (1 + mass / 3.98e10) ** 0.25  # kpc
        size = lognormal(rng, size, 0.34) / math.sqrt(axis_ratio if own.early else 0.6)
        radius = size * (1 + redshift) ** 2 / distance * 206.265
        if radius > own.smallest:
            apparent = magnitude + 0.96 * inclined + 5 * math.log10(distance) + 25
            brightness = apparent + 2.5 * math.log10(2 * math.pi * radius**2 * axis_ratio)
            # The red sequence has g - r = 0.95 at a redshift of 0.1 (Blanton et al. 2003), 0.18 more than at zero.
            return Look(radius, brightness, colour * (1 + 1.8 / 0.77 * redshift) + 0.23 * inclined)


class Version(NamedTuple):
    """A version: draws the look of a kind at an axis ratio; seeing (arcsec) and depth (5 sigma, mag) in g, r, z."""

    look: Callable[[Rng, str, float], Look]
    fwhm: tuple[float, float, float]
    depth: tuple[float, float, float]


#: Seeing and depth of U: medians of DECaLS's exposures (Dey et al. 2019), depth 23.95, 23.54, 22.50 for one, here for
#: three passes.
VERSIONS = {
    "A": Version(_adapted, (1.25, 1.25, 1.25), (24.95, 24.33, 23.71)),
    "U": Version(_published, (1.29, 1.18, 1.11), (24.55, 24.14, 23.10)),
}


def find_version(name: str) -> Version:
    """One of :data:`VERSIONS`."""
    if name not in VERSIONS:
        raise GalutilsError(f"version is {name!r}; choose {' or '.join(VERSIONS)}.")
    return VERSIONS[name]
