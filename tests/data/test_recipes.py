import numpy as np
import pytest

from galutils.data.classes import GALAXY10
from galutils.data.simulate.recipes import (
    RECIPES,
    barred_spiral,
    cigar_smooth,
    edge_on_bulge,
    edge_on_bulgeless,
    in_between_smooth,
    loose_spiral,
    merging,
    round_smooth,
    tight_spiral,
)


def draws(recipe, count=200):
    return [recipe(np.random.default_rng(seed)) for seed in range(count)]


def test_there_is_a_recipe_for_each_class():
    names = [recipe.__name__.split("_")[0] for recipe in RECIPES]
    expected = ["disturbed", "merging", "round", "in", "cigar", "barred", "tight", "loose", "edge", "edge"]
    assert names == expected
    assert len(RECIPES) == len(GALAXY10)


@pytest.mark.parametrize("recipe", RECIPES, ids=GALAXY10)
def test_galaxies_are_possible_and_the_first_is_at_the_centre(recipe):
    for galaxies in draws(recipe):
        assert galaxies[0].x == galaxies[0].y == 0
        for galaxy in galaxies:
            assert 0 < galaxy.axis_ratio <= 1
            assert galaxy.radius > 0
            assert galaxy.index >= 0.5  # below, the asymptotic b of the Sérsic profile fails
            assert 0 <= galaxy.lopsided < 1
            assert 0 <= galaxy.patchy < 1
            assert 0 <= galaxy.contrast <= 1


def test_pitch_separates_tight_from_loose():
    tight = [galaxy.pitch for (galaxy,) in draws(tight_spiral)]
    loose = [galaxy.pitch for (galaxy,) in draws(loose_spiral)]
    assert max(tight) < min(loose)


def test_only_mergers_have_more_than_one_galaxy():
    for recipe in RECIPES:
        numbers = {len(galaxies) for galaxies in draws(recipe)}
        assert numbers == ({2, 3} if recipe is merging else {1})


def test_axis_ratio_orders_the_smooth_classes():
    cigar, middle, rounded = (
        np.array([galaxy.axis_ratio for (galaxy,) in draws(recipe)])
        for recipe in (cigar_smooth, in_between_smooth, round_smooth)
    )
    assert cigar.max() <= middle.min()
    assert middle.max() <= rounded.min()


def test_the_parts_that_name_a_class_are_there():
    assert all(galaxy.bar > 0 and galaxy.arms for (galaxy,) in draws(barred_spiral))
    for recipe in (tight_spiral, loose_spiral):
        assert all(galaxy.bar == 0 and galaxy.arms for (galaxy,) in draws(recipe))
    assert all(galaxy.bulge > 0 and galaxy.flat for (galaxy,) in draws(edge_on_bulge))
    assert all(
        galaxy.bulge == 0 and (galaxy.flat or galaxy.axis_ratio <= 0.3) for (galaxy,) in draws(edge_on_bulgeless)
    )
