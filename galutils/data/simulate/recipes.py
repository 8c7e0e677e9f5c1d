"""What the ten classes of Galaxy10 are made of: one recipe each, which gives the galaxies of a cutout at random.

Which parts a class has follows from its name, how they are distributed from the literature; where no paper is named, a
range is assumed. Sizes, brightness and colours come from the version of the simulator, ``look``; see
:mod:`galutils.data.simulate.populations`. Inclinations are at random, cos i uniform, between bounds of the axis ratio.

Units as in :mod:`galutils.data.simulate.light`. Every recipe returns one or more galaxies, the first at the centre.
The order in which it draws its numbers is part of what a seed stands for.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from galutils.data.simulate.light import Galaxy, Rng, lognormal
from galutils.data.simulate.populations import Look

#: What cutouts may be without, to see what it teaches, and such galaxies in words. Without shapes each keeps radius,
#: brightness and colour, but has no structure.
PARTS = {
    "shapes": "as round disks",
    "arms": "without arms",
    "bars": "without bars",
    "seeing": "without seeing",
    "noise": "without noise",
    "neighbours": "without stars and neighbours",
}

#: Lower and upper end of a uniform distribution.
Range = tuple[float, float]
Looks = Callable[[Rng, str, float], Look]


def _inclined(rng: Rng, low: float, high: float, thickness: float = 0.2) -> float:
    """Axis ratio of a disk of this thickness seen at random, between bounds (Hubble 1926; 0.2: Holmberg 1958)."""
    low, high = (math.sqrt((q**2 - thickness**2) / (1 - thickness**2)) for q in (low, high))
    return math.sqrt(thickness**2 + (1 - thickness**2) * rng.uniform(low, high) ** 2)


def _smooth(rng: Rng, look: Looks, kind: str, axis_ratio: Range, index: Range, disks: float = 0.0) -> Galaxy:
    """One Sérsic body: an early type, or with the chance ``disks`` a disk too far away for its arms to be seen."""
    ratio, disk = rng.uniform(*axis_ratio), rng.random() < disks
    own = look(rng, "distant disk" if disk else kind, ratio)
    parts = {"gradient": rng.uniform(0, 0.3), "lopsided": rng.uniform(0, 0.1)} if disk else {}
    index = rng.uniform(0.7, 1.6) if disk else rng.uniform(*index)
    return Galaxy(*own, index, axis_ratio=ratio, angle=rng.uniform(0, np.pi), **parts)


def _spiral(rng: Rng, look: Looks, kind: str, inclined: Range = (0.4, 1), **parts) -> Galaxy:
    """A disk with a red bulge, seen from a random side that is not edge-on: arms show from an axis ratio of 0.4 on
    (Hart et al. 2016). ``parts`` are further attributes of the galaxy, or other values for its bulge's.

    Bulges have 0.22 +- 0.09 of the disk's scale length (MacArthur, Courteau & Holtzman 2003). The first Fourier
    order is 0.11 of the mean at two scale lengths in the median, twice that in a third (Zaritsky & Rix 1997): a shift
    of half as much.
    """
    ratio = _inclined(rng, *inclined)
    own = look(rng, kind, ratio)
    parts = {
        "bulge": lognormal(rng, 0.12, 0.5),
        "bulge_radius": np.clip(rng.normal(0.22, 0.09), 0.1, 0.5) / 1.68,
        "lopsided": min(lognormal(rng, 0.055, 0.7), 0.4),
        "patchy": rng.uniform(0.1, 0.6),
        "dust": rng.uniform(0, 1.5),
        "forks": 0.4,
        "index": rng.uniform(0.6, 1.1),
    } | parts
    return Galaxy(
        *own,
        axis_ratio=ratio,
        angle=rng.uniform(0, np.pi),
        bulge_colour=max(own.colour + rng.uniform(0.2, 0.45), rng.normal(0.85, 0.08)),
        gradient=rng.uniform(0.1, 0.4),
        **parts,
    )


def _debris(rng: Rng, galaxy: Galaxy) -> Galaxy:
    """Stars that an encounter has thrown to one side: a fan, wider, fainter and off the centre."""
    away, side = rng.uniform(0.4, 1.6) * galaxy.radius, rng.uniform(0, 2 * np.pi)
    fan = Galaxy(rng.uniform(0.7, 1.8) * galaxy.radius, galaxy.brightness + rng.uniform(1.7, 3.5), galaxy.colour, 0.5)
    fan.axis_ratio, fan.angle = rng.uniform(0.25, 0.8), rng.uniform(0, np.pi)
    fan.x, fan.y = galaxy.x + away * math.cos(side), galaxy.y + away * math.sin(side)
    return fan


def disturbed(rng: Rng, look: Looks) -> list[Galaxy]:
    """One galaxy after an encounter: lopsided, with tidal tails and fans and patchy star formation."""
    late = rng.random() < 0.75
    arms = {"arms": int(rng.integers(1, 3)), "pitch": rng.uniform(0.4, 0.9), "contrast": rng.uniform(0.3, 0.8)}
    if late:
        galaxy = _spiral(rng, look, "disturbed", (0.3, 0.95), knots=int(rng.integers(0, 12)), **arms)
    else:
        galaxy = _smooth(rng, look, "remnant", (0.4, 1), (1.5, 4))
    galaxy.lopsided = rng.uniform(0.15, 0.5)
    galaxy.tails = int(rng.integers(1, 4))
    return [galaxy, *(_debris(rng, galaxy) for _ in range(rng.integers(0, 3)))]


def merging(rng: Rng, look: Looks) -> list[Galaxy]:
    """Two overlapping galaxies, sometimes three; the mass ratio is at most 1 to 3, and a third of the pairs are
    ellipticals (Darg et al. 2010); a third of the others have tails.
    """
    dry = rng.random() < 0.35
    galaxies, debris = [], []
    for number in range(2 + (rng.random() < 0.15)):
        if dry:
            galaxy = _smooth(rng, look, "dry merger", (0.5, 1), (2, 4.5))
        elif rng.random() < 0.5:
            galaxy = _smooth(rng, look, "wet merger", (0.25, 1), (0.7, 2))
        else:
            arms = {"arms": 2, "pitch": rng.uniform(0.2, 0.6), "contrast": rng.uniform(0.2, 0.7)}
            galaxy = _spiral(rng, look, "wet merger", (0.25, 1), knots=int(rng.integers(0, 5)), **arms)
        if number:
            # Of one distance: the others are up to 1.2 mag fainter than the first, and as large as they are bright.
            first, fainter = galaxies[0], rng.uniform(0, 1.2)
            galaxy.radius, galaxy.brightness = first.radius * 10 ** (-0.1 * fainter), first.brightness + fainter / 2
            distance, azimuth = rng.uniform(0.6, 3) * first.radius + 0.8, rng.uniform(0, 2 * np.pi)
            galaxy.x, galaxy.y = distance * math.cos(azimuth), distance * math.sin(azimuth)
            galaxy.colour = first.colour + rng.normal(0, 0.08)
        if rng.random() < (0.15 if dry else 0.35):
            galaxy.lopsided, galaxy.tails = rng.uniform(0.1, 0.35), int(rng.integers(1, 3))
            debris.append(_debris(rng, galaxy))
        galaxies.append(galaxy)
    return galaxies + debris


def barred_spiral(rng: Rng, look: Looks) -> list[Galaxy]:
    """A bar with two arms, or a ring of tight ones, from its ends; inner rings in a third (Comerón et al. 2014).

    Around a bar the disk lacks light (Kim et al. 2016): its profile is flatter. Those that volunteers see
    are the strong ones (Masters et al. 2011), of a tenth of the light and more (Gadotti 2011); ellipticities are 0.4 to
    0.75 (Marinova & Jogee 2007), lengths of early types 1.3 scale lengths in the mean (Erwin 2005).
    """
    bar = {"bar": lognormal(rng, 0.28, 0.4), "bar_length": rng.uniform(0.5, 1.05), "bar_width": rng.uniform(0.25, 0.45)}
    arms = {"arms": 2, "pitch": np.radians(rng.uniform(8, 28)), "contrast": rng.uniform(0.25, 0.75)}
    parts = {"bulge": lognormal(rng, 0.06, 0.4), "knots": int(rng.integers(0, 5)), "index": rng.uniform(0.5, 0.9)}
    ring = 3.0 * (rng.random() < 0.35)
    return [_spiral(rng, look, "barred", (0.5, 1), ring=ring, **bar, **arms, **parts)]


def tight_spiral(rng: Rng, look: Looks) -> list[Galaxy]:
    """A disk whose arms are wound to 7 to 17 degrees, as in types Sa to Sb (Kennicutt 1981), often many and short."""
    arms = {"arms": int(rng.choice([2, 2, 3, 4, 5, 6])), "pitch": np.radians(rng.uniform(7, 17))}
    parts = {"bulge": lognormal(rng, 0.13, 0.5), "contrast": rng.uniform(0.05, 0.5), "knots": int(rng.integers(0, 6))}
    return [_spiral(rng, look, "tight", **arms, **parts)]


def loose_spiral(rng: Rng, look: Looks) -> list[Galaxy]:
    """A bluer disk with a small bulge and open arms, of 17 to 40 degrees, as in types Sbc to Sd (Kennicutt 1981)."""
    arms = {"arms": int(rng.choice([1, 2, 2, 2, 3, 4])), "pitch": np.radians(rng.uniform(17, 40))}
    parts = {"bulge": lognormal(rng, 0.07, 0.5), "contrast": rng.uniform(0.25, 0.8), "knots": int(rng.integers(0, 12))}
    return [_spiral(rng, look, "loose", **arms, **parts)]


def edge_on_bulgeless(rng: Rng, look: Looks) -> list[Galaxy]:
    """A long thin disk from the side, often blue, or not quite from the side, with patches.

    Scale lengths are 7.3 +- 2.2 exponential scale heights, half as many of a sech² (Kregel et al. 2002). Dust in
    lanes is that of the heavier half alone (Dalcanton, Yoachim & Bernstein 2004).
    """
    side = rng.random() < 0.6
    flat = 1.2 / np.clip(rng.normal(7.3, 2.2), 4, 13)  # over the half-light radius of 1.68 scale lengths: 2 / 1.68
    ratio = rng.uniform(0.14, 0.3)
    galaxy = Galaxy(*look(rng, "thin", flat if side else ratio), gradient=rng.uniform(0.1, 0.6))
    galaxy.angle, galaxy.lopsided = rng.uniform(0, np.pi), rng.uniform(0, 0.3)
    if side:
        galaxy.flat, galaxy.dust = flat, rng.uniform(0.3, 2) * (rng.random() < 0.5)
        galaxy.warp, galaxy.knots = rng.normal(0, 0.03), int(rng.integers(0, 8))
    else:
        galaxy.axis_ratio, galaxy.index, galaxy.knots = ratio, rng.uniform(0.5, 0.9), int(rng.integers(0, 12))
        galaxy.arms, galaxy.pitch, galaxy.contrast = 2, np.radians(rng.uniform(10, 35)), rng.uniform(0.1, 0.6)
        galaxy.patchy, galaxy.dust = rng.uniform(0.1, 0.4), rng.uniform(0, 1.5)
    return [galaxy]


def edge_on_bulge(rng: Rng, look: Looks) -> list[Galaxy]:
    """A red disk from the side around a bulge that stands out of its plane: 0.41 of the light in Sa (Simien &
    de Vaucouleurs 1986). Some are not quite from the side.
    """
    if rng.random() < 0.35:
        arms = {"arms": 2, "pitch": np.radians(rng.uniform(7, 20)), "contrast": rng.uniform(0.1, 0.5)}
        return [_spiral(rng, look, "bulged", (0.22, 0.35), bulge=lognormal(rng, 0.35, 0.4), **arms)]
    flat = 1.2 / np.clip(rng.normal(7.3, 2.2), 4, 11)
    galaxy = Galaxy(*look(rng, "bulged", flat), gradient=0.3, flat=flat, angle=rng.uniform(0, np.pi))
    galaxy.dust, galaxy.warp = rng.uniform(0.3, 2) * (rng.random() < 0.6), rng.normal(0, 0.02)
    galaxy.bulge, galaxy.bulge_radius = lognormal(rng, 0.7, 0.4), rng.uniform(0.2, 0.4)
    galaxy.bulge_colour = max(galaxy.colour + 0.2, rng.normal(1.0, 0.08))
    return [galaxy]


def smooth(rng: Rng, look: Looks, **kind) -> list[Galaxy]:
    """An elliptical or lenticular, or a far disk, as is assumed of two in five; spindles, flatter than ellipticals get
    (Padilla & Strauss 2008), mostly are.
    """
    return [_smooth(rng, look, **kind)]


#: In the order of ``galutils.data.classes.GALAXY10``.
RECIPES = (
    disturbed,
    merging,
    partial(smooth, kind="round", axis_ratio=(0.8, 1), index=(2, 4), disks=0.4),
    partial(smooth, kind="elongated", axis_ratio=(0.47, 0.78), index=(1, 3), disks=0.4),
    partial(smooth, kind="spindle", axis_ratio=(0.27, 0.47), index=(0.8, 2), disks=0.8),
    barred_spiral,
    tight_spiral,
    loose_spiral,
    edge_on_bulgeless,
    edge_on_bulge,
)
