"""What the ten classes of Galaxy10 are made of: one recipe each, which gives the galaxies of a cutout at random.

Which parts a class has follows from its name. How large, bright, red and varied they are was set by hand, so
that the measurements of :func:`galutils.data.check.measure_images` have about the class medians that 1,000 real
images of Galaxy10 DECaLS have; no network saw these images.

Units as in :mod:`galutils.data.simulate.light`. Every recipe returns one or more galaxies, the first at the centre.
The order in which it draws its numbers is part of what a seed stands for.
"""

import math

import numpy as np

from galutils.data.simulate.light import Galaxy, Rng, lognormal

#: Lower and upper end of a uniform distribution.
Range = tuple[float, float]


def _smooth(rng: Rng, radius: float, colour: float, axis_ratio: Range, index: Range) -> Galaxy:
    """An elliptical or a featureless disk: one Sérsic body, redder when larger or more concentrated than its class."""
    middle, index = np.mean(index), rng.uniform(*index)
    larger = rng.normal(0, 0.33)
    colour = rng.normal(colour + 0.1 * (index - middle) + 0.2 * larger, 0.14)
    brightness, colour = rng.normal(20.2 + 0.15 * index, 0.4), np.clip(colour, 0.25, 1.1)
    galaxy = Galaxy(radius * math.exp(larger), brightness, colour, index)
    galaxy.axis_ratio, galaxy.angle = rng.uniform(*axis_ratio), rng.uniform(0, np.pi)
    return galaxy


def _spiral(rng: Rng, radius: float, brightness: float, colour: float, inclined: Range = (0.45, 1), **parts) -> Galaxy:
    """A disk with a red bulge, seen from a random side that is not edge-on, in the range ``inclined`` of axis ratios.

    The brightness is that of a disk of g - r = 0.56, the colour that of the rim. ``parts`` are further attributes of
    the galaxy, or other values for its bulge's.
    """
    colour = np.clip(rng.normal(colour, 0.13), 0.2, 0.9)
    parts = {"bulge": lognormal(rng, 0.12, 0.5), "bulge_radius": rng.uniform(0.15, 0.3)} | parts
    return Galaxy(
        radius=lognormal(rng, radius, 0.27),
        brightness=rng.normal(brightness + 1.2 * (0.56 - colour), 0.4),  # bluer disks are fainter per area
        colour=colour,
        bulge_colour=max(colour + rng.uniform(0.25, 0.5), rng.normal(0.85, 0.08)),
        axis_ratio=rng.uniform(*inclined),
        angle=rng.uniform(0, np.pi),
        index=rng.uniform(0.6, 1.1),
        gradient=rng.uniform(0.1, 0.4),
        patchy=rng.uniform(0.05, 0.35),
        **parts,
    )


def disturbed(rng: Rng) -> list[Galaxy]:
    """One galaxy after an encounter: lopsided, with tidal tails and patchy star formation."""
    late = rng.random() < 0.65
    galaxy = _spiral(rng, 3.3, 21.7, 0.55) if late else _smooth(rng, 2.3, 0.82, (0.4, 1), (1.5, 4))
    galaxy.axis_ratio, galaxy.lopsided = rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.3)
    galaxy.tails, galaxy.tail_light = rng.integers(1, 4), rng.normal(23.5, 0.6)
    if late:
        galaxy.knots = rng.integers(0, 12)
        galaxy.arms, galaxy.pitch, galaxy.contrast = (
            int(rng.integers(1, 3)),
            rng.uniform(0.4, 0.9),
            rng.uniform(0.2, 0.7),
        )
    return [galaxy]


def merging(rng: Rng) -> list[Galaxy]:
    """Two overlapping galaxies, sometimes three; ellipticals in most cases, else disks with tails."""
    dry = rng.random() < 0.6
    galaxies = []
    for number in range(2 + (rng.random() < 0.2)):
        galaxy = _smooth(rng, 1.7, 0.92, (0.5, 1), (2.5, 4.5)) if dry else _spiral(rng, 2.4, 21.3, 0.74)
        if number:
            distance, azimuth = rng.uniform(2.5, 7.5), rng.uniform(0, 2 * np.pi)
            galaxy.x, galaxy.y = distance * np.cos(azimuth), distance * np.sin(azimuth)
            galaxy.colour = galaxies[0].colour + rng.normal(0, 0.08)
            galaxy.brightness += rng.exponential(0.4)
        if not dry:
            galaxy.lopsided, galaxy.tails = rng.uniform(0.05, 0.25), rng.integers(0, 3)
        galaxies.append(galaxy)
    return galaxies


def round_smooth(rng: Rng) -> list[Galaxy]:
    """An elliptical seen round."""
    return [_smooth(rng, 2.1, 0.87, (0.8, 1), (2, 4))]


def in_between_smooth(rng: Rng) -> list[Galaxy]:
    """An elliptical or lenticular of middling axis ratio."""
    return [_smooth(rng, 1.7, 0.72, (0.47, 0.75), (1, 2.3))]


def cigar_smooth(rng: Rng) -> list[Galaxy]:
    """A smooth, thick spindle."""
    return [_smooth(rng, 3.0, 0.74, (0.28, 0.47), (0.8, 2))]


def barred_spiral(rng: Rng) -> list[Galaxy]:
    """A bar with two arms, or a ring of tight ones, from its ends."""
    bar = dict(bar=lognormal(rng, 0.22, 0.35), bar_length=rng.uniform(0.5, 0.9), bulge=lognormal(rng, 0.06, 0.4))
    arms = dict(arms=2, pitch=np.radians(rng.uniform(8, 30)), contrast=rng.uniform(0.2, 0.7), knots=rng.integers(0, 5))
    return [_spiral(rng, 5.0, 21.75, 0.68, (0.6, 1), **bar, **arms)]


def tight_spiral(rng: Rng) -> list[Galaxy]:
    """A large disk with a bright bulge, its arms wound to a pitch of 8 to 17 degrees."""
    bulge, arms = lognormal(rng, 0.13, 0.4), int(rng.integers(2, 5))
    pitch, contrast = np.radians(rng.uniform(8, 17)), rng.uniform(0.1, 0.5)
    return [_spiral(rng, 4.9, 21.6, 0.6, bulge=bulge, arms=arms, pitch=pitch, contrast=contrast)]


def loose_spiral(rng: Rng) -> list[Galaxy]:
    """A bluer disk with a small bulge and open arms, of pitch 20 to 40 degrees."""
    bulge, arms = lognormal(rng, 0.07, 0.5), int(rng.choice([1, 2, 2, 2, 3]))
    pitch, contrast = np.radians(rng.uniform(20, 40)), rng.uniform(0.25, 0.75)
    patches = dict(knots=rng.integers(0, 9), lopsided=rng.uniform(0, 0.12))
    return [_spiral(rng, 3.8, 21.75, 0.59, bulge=bulge, arms=arms, pitch=pitch, contrast=contrast, **patches)]


def edge_on_bulgeless(rng: Rng) -> list[Galaxy]:
    """A long thin disk from the side, often blue, with patches and a dust lane, or not quite from the side."""
    galaxy = Galaxy(lognormal(rng, 7.2, 0.35), rng.normal(21.4, 0.5), colour=rng.uniform(0.2, 0.7))
    galaxy.gradient, galaxy.angle = rng.uniform(0.1, 0.6), rng.uniform(0, np.pi)
    if rng.random() < 0.5:
        galaxy.flat, galaxy.dust = rng.uniform(0.12, 0.3), rng.uniform(0, 1.2)
    else:
        galaxy.axis_ratio, galaxy.index = rng.uniform(0.14, 0.3), rng.uniform(0.5, 0.9)
        galaxy.knots, galaxy.lopsided = rng.integers(0, 8), rng.uniform(0, 0.1)
    return [galaxy]


def edge_on_bulge(rng: Rng) -> list[Galaxy]:
    """A red disk from the side around a bulge that stands out of its plane."""
    radius, brightness = lognormal(rng, 6.2, 0.33), rng.normal(21.1, 0.4)
    galaxy = Galaxy(radius, brightness, colour=np.clip(rng.normal(0.8, 0.12), 0.5, 1.2), gradient=0.3)
    galaxy.angle, galaxy.flat, galaxy.dust = rng.uniform(0, np.pi), rng.uniform(0.1, 0.25), rng.uniform(0, 1.2)
    galaxy.bulge, galaxy.bulge_radius = lognormal(rng, 0.7, 0.4), rng.uniform(0.2, 0.4)
    galaxy.bulge_colour = rng.normal(1.05, 0.08)
    return [galaxy]


#: In the order of ``galutils.data.classes.GALAXY10``.
RECIPES = (
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
