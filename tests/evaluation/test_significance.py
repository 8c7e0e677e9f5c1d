import numpy as np
import pytest
from scipy import stats
from type_one_error import count_called, draw_study

from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.significance import CALIBRATION, _p_values, align, compare, discordant, verdict


def run(correct, row=None, group=None):
    """A run whose galaxies are of class 0 and are right where ``correct``."""
    correct = np.asarray(correct, bool)
    row = np.arange(len(correct)) if row is None else np.asarray(row)
    group = row if group is None else np.asarray(group)
    return Graded(row, group, np.zeros(len(row), int), np.where(correct, 0, 1))


def pair(first, second):
    """The comparison of two approaches alone."""
    (row,) = compare({"A": first, "B": second}).itertuples()
    return row


def test_only_galaxies_on_which_one_alone_is_right_count():
    first = run([1] * 6 + [0] * 1 + [1] * 10 + [0] * 3)
    second = run([0] * 6 + [1] * 1 + [1] * 10 + [0] * 3)
    found = pair({0: first}, {0: second})
    assert (found.only_first, found.only_second, found.galaxies, found.seeds) == (6, 1, 20, 1)
    assert found.difference == pytest.approx(-5 / 20)
    # Seven coins, at most one of them heads, or at most one tails: 2 * (1 + 7) / 2**7.
    assert found.mcnemar == pytest.approx(16 / 128)
    # One seed: Student's paired test over the galaxies, but for the steps of p-values.
    change = second.correct.astype(int) - first.correct
    exact = stats.ttest_1samp(change, 0)
    assert found.standard_error == pytest.approx(stats.sem(change))
    assert found.p == pytest.approx(exact.pvalue, rel=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(exact.confidence_interval()))


def test_rows_are_matched_by_their_number_and_copies_count_once():
    first = run([1, 0, 1, 1], row=[7, 3, 5, 9], group=[1, 1, 2, 3])
    second = run([1, 1, 0], row=[3, 5, 7], group=[1, 2, 1])
    group, change = align(first, second)
    assert group.tolist() == [1, 2, 1]  # rows 3, 5 and 7
    assert change.tolist() == [1, 0, -1]
    assert discordant(group, change) == (0, 1)  # of the galaxy's two rows the first


def test_copies_of_galaxies_add_nothing():
    rng = np.random.default_rng(0)
    first, second = (rng.random((3, 100)) < share for share in (0.6, 0.75))
    single = pair(*({s: run(own[s]) for s in range(3)} for own in (first, second)))
    twice = np.repeat(np.arange(100), 2)
    double = pair(*({s: run(own[s][twice], group=twice) for s in range(3)} for own in (first, second)))
    assert double.standard_error == pytest.approx(single.standard_error)
    assert (double.galaxies, double.p) == (100, single.p)


def test_what_was_not_tested_alike_is_not_compared():
    table = compare({"A": {0: run([1, 0])}, "B": {1: run([1, 1])}, "C": {0: run([1, 1], row=[5, 6])}})
    assert table.empty
    assert "verdict" in table
    assert compare({}).empty


def test_several_seeds_are_compared_each_with_its_like_and_only_the_pairs_asked_for():
    right = np.random.default_rng(0).random((4, 300)) < 0.6
    first = {0: run(right[0]), 1: run(right[1]), 9: run(right[0])}
    found = pair(first, {1: run(right[2]), 0: run(right[3])})
    assert (found.seeds, found.verdict) == (2, "too few seeds")
    assert found.difference == pytest.approx(right[2:].mean() - right[:2].mean())
    assert np.isnan(found.mcnemar)
    three = compare({"A": first, "B": first, "C": first}, [("C", "A")])
    assert three[["first", "second"]].to_numpy().tolist() == [["C", "A"]]


def test_p_values_are_between_those_of_seeds_and_of_galaxies():
    """Cochran and Cox: at the ends Student's own; each critical value in between a weighted mean."""
    difference = np.array([[0.1]])
    for by_galaxies, by_seeds, dof in ((0.002, 0.0, 199), (0.0, 0.002, 2)):
        found = _p_values(difference, [[by_galaxies]], [[by_seeds]], [3], [200])[0, 0]
        assert found == pytest.approx(2 * stats.t.sf(0.1 / np.sqrt(0.002), dof), rel=0.02)
    middle = _p_values(difference, [[0.001]], [[0.001]], [3], [200])[0, 0]
    critical = (stats.t.ppf(1 - middle / 2, 2) + stats.t.ppf(1 - middle / 2, 199)) / 2
    assert critical == pytest.approx(0.1 / np.sqrt(0.002), rel=0.02)


@pytest.mark.parametrize(
    ("low", "high", "seeds", "said"),
    [
        (0.001, 0.02, 3, "better"),
        (-0.02, -0.001, 1, "worse"),
        (-0.009, 0.009, 3, "equivalent"),
        (-0.011, 0.009, 3, "open"),
        (0.001, 0.009, 3, "better"),
        (0.1, 0.2, 2, "too few seeds"),
    ],
)
def test_verdicts(low, high, seeds, said):
    assert verdict(low, high, seeds) == said


def test_what_a_verdict_is_about_is_told():
    ease = np.random.default_rng(0).random(400)
    told = {}
    for seeds in (1, 3):
        runs = {name: {s: run(ease < share) for s in range(seeds)} for name, share in (("A", 0.5), ("B", 0.8))}
        told[seeds] = compare(runs)["told"].tolist()
    assert told == {1: ["better, of these trained networks"], 3: ["better"]}
    luck = {"A": {s: run(np.random.default_rng(s).random(50) < 0.5) for s in range(3)}}
    luck["B"] = {s: run(np.random.default_rng(9 + s).random(50) < 0.5) for s in range(3)}
    assert compare(luck)["told"].tolist() == ["open, and equivalence cannot be shown here"]


def test_a_family_pays_for_pairs_that_differ_and_not_for_the_same_one_twice():
    rng = np.random.default_rng(0)
    ease = rng.random(400)
    right = {
        name: run(ease + rng.normal(0, 0.2, 400) < share) for name, share in zip("ABC", (0.5, 0.54, 0.5), strict=True)
    }
    p = pair({0: right["A"]}, {0: right["B"]}).p
    twice = compare({"A": {0: right["A"]}, "B": {0: right["B"]}, "B again": {0: right["B"]}})
    assert (CALIBRATION * twice["p"]).tolist()[:2] == pytest.approx([p, p], abs=0.008)
    others = compare({name: {0: own} for name, own in right.items()})
    assert 1.3 * p < CALIBRATION * others["p"].iloc[0] < 3 * p


@pytest.mark.parametrize(("approaches", "seeds", "seed_sd"), [(2, 1, 0.0), (2, 3, 0.04), (4, 3, 0.02)])
def test_equal_approaches_are_seldom_called_different(approaches, seeds, seed_sd):
    """5% at most, and two and a half standard errors over 150 studies; ``type_one_error`` measures more."""
    called = count_called(200, approaches, seeds, seed_sd, 150)
    assert called / 150 <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 150)
    assert called == sum(count_called(200, approaches, seeds, seed_sd, 50, start) for start in (0, 50, 100))


def test_a_large_difference_is_seen():
    right = draw_study(np.random.default_rng(0), 1, 3, 400, 0.02)["approach 0"]
    less = {s: run(own.correct & (np.random.default_rng(s).random(400) < 0.75)) for s, own in right.items()}
    assert pair(less, right).verdict == "better"
    assert pair(right, less).verdict == "worse"


def test_what_no_galaxy_shows_is_known_no_better_than_galaxies_are_many():
    """A network that is always right against one that never is, and two that are always right: no draw of these
    galaxies changes that, but others might be two on which one alone is right.
    """
    right, wrong = run(np.ones(50)), run(np.zeros(50))
    found = pair({0: wrong}, {0: right})
    assert (found.difference, found.verdict) == (1.0, "better")
    assert found.standard_error == pytest.approx(2**0.5 / 50)
    assert found.p < 1e-3
    assert found.mcnemar < 1e-10
    for seeds in (1, 3):
        for count, said in ((1, "open"), (5, "open"), (50, "open"), (3500, "equivalent")):
            same = {seed: run(np.ones(count)) for seed in range(seeds)}
            assert pair(same, same).verdict == said


def test_one_seed_on_few_galaxies_decides_nothing_that_the_exact_test_does_not():
    for count, said in ((1, "open"), (5, "open"), (6, "better")):  # two-sided p: 1, 1/16, 1/32
        found = pair({0: run(np.zeros(count))}, {0: run(np.ones(count))})
        assert found.mcnemar == pytest.approx(2 / 2**count)
        assert found.verdict == said


def test_no_interval_of_a_difference_of_shares_leaves_what_shares_can_differ_by():
    """Two seeds that disagree: alone, their critical value is 12.7 standard errors."""
    rng = np.random.default_rng(0)
    first, second = (
        {seed: run(rng.random(60) < share) for seed, share in enumerate(shares)} for shares in ((0.9, 0.2), (0.3, 0.8))
    )
    (found,) = compare({"a": first, "b": second}).itertuples()
    assert (found.low, found.high, found.verdict) == (-1, 1, "too few seeds")
