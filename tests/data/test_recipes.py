import numpy as np
import pytest

from galutils.data.classes import GALAXY10
from galutils.data.simulate.populations import KINDS, VERSIONS, find_version
from galutils.data.simulate.recipes import RECIPES

DISTURBED, MERGING, ROUND, MIDDLE, CIGAR, BARRED, TIGHT, LOOSE, THIN, BULGED = range(10)


def draws(label, version="U", count=200):
    return [RECIPES[label](np.random.default_rng(seed), VERSIONS[version].look) for seed in range(count)]


def values(label, name):
    return np.array([getattr(galaxies[0], name) for galaxies in draws(label)])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("label", range(10), ids=GALAXY10)
def test_galaxies_are_possible_and_the_first_is_at_the_centre(label, version):
    for galaxies in draws(label, version):
        assert galaxies[0].x == galaxies[0].y == 0
        for galaxy in galaxies:
            assert 0 < galaxy.axis_ratio <= 1
            assert galaxy.radius > 0
            assert galaxy.index >= 0.5  # below, the asymptotic b of the Sérsic profile fails
            assert 0 <= galaxy.lopsided < 1
            assert 0 <= galaxy.patchy < 1
            assert 0 <= galaxy.contrast <= 1


def test_pitch_separates_tight_from_loose():
    assert values(TIGHT, "pitch").max() < values(LOOSE, "pitch").min()


def test_only_encounters_have_more_than_one_body():
    for label in range(10):
        numbers = {len(galaxies) for galaxies in draws(label)}
        assert min(numbers) == (2 if label == MERGING else 1)
        assert (max(numbers) > 1) == (label in (DISTURBED, MERGING))


def test_axis_ratio_orders_the_smooth_classes():
    cigar, middle, rounded = (values(label, "axis_ratio") for label in (CIGAR, MIDDLE, ROUND))
    assert cigar.max() <= middle.min()
    assert middle.max() <= rounded.min()


def test_the_parts_that_name_a_class_are_there():
    assert (values(BARRED, "bar") > 0).all()
    assert all((values(label, "arms") > 0).all() for label in (BARRED, TIGHT, LOOSE))
    assert all((values(label, "bar") == 0).all() for label in (TIGHT, LOOSE))
    assert (values(BULGED, "bulge") > 0).all()
    assert (values(THIN, "bulge") == 0).all()
    for label, widest in {THIN: 0.3, BULGED: 0.35}.items():
        assert ((values(label, "flat") > 0) | (values(label, "axis_ratio") <= widest)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_published_galaxies_are_of_the_sample_of_galaxy_zoo(kind):
    rng = np.random.default_rng(0)
    looks = np.array([find_version("U").look(rng, kind, 0.5) for _ in range(300)])
    radius, brightness, colour = looks.T
    apparent = brightness - 2.5 * np.log10(2 * np.pi * radius**2 * 0.5)
    assert radius.min() > 1.5
    assert apparent.max() < 17.77
    # The counts of a sample limited in brightness rise as 10^(0.6 m), less where it is limited in redshift too.
    assert np.median(apparent) > 16
    assert 0.2 < np.median(colour) < 1.1
