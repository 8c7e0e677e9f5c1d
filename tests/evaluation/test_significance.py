import numpy as np
import pandas as pd
import pytest
from scipy import stats

from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.significance import ALPHA, align, compare, compare_pair, correct_for_pairs, discordant


def run(correct, row=None, group=None):
    """A run whose galaxies are of class 0 and are right where ``correct``."""
    correct = np.asarray(correct, bool)
    row = np.arange(len(correct)) if row is None else np.asarray(row)
    group = row if group is None else np.asarray(group)
    return Graded(row, group, np.zeros(len(row), int), np.where(correct, 0, 1))


def test_only_galaxies_on_which_one_alone_is_right_count():
    first = run([1] * 6 + [0] * 1 + [1] * 10 + [0] * 3)
    second = run([0] * 6 + [1] * 1 + [1] * 10 + [0] * 3)
    found = compare_pair({0: first}, {0: second})
    assert (found["only_first"], found["only_second"], found["galaxies"]) == (6, 1, 20)
    assert found["difference"] == pytest.approx(-5 / 20)
    # Seven coins, at most one of them heads, or at most one tails: 2 * (1 + 7) / 2**7.
    assert found["mcnemar"] == pytest.approx(16 / 128)


def test_rows_are_matched_by_their_number_and_copies_count_once():
    first = run([1, 0, 1, 1], row=[7, 3, 5, 9], group=[1, 1, 2, 3])
    second = run([1, 1, 0], row=[3, 5, 7], group=[1, 2, 1])
    group, change = align(first, second)
    assert group.tolist() == [1, 2, 1]  # rows 3, 5 and 7
    assert change.tolist() == [1, 0, -1]
    assert discordant(group, change) == (0, 1)  # of the galaxy's two rows the first


def test_holm_by_hand():
    """Four p-values 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and never falling."""
    p = [0.01, 0.04, 0.03, 0.005]
    table = correct_for_pairs(pd.DataFrame({"mcnemar": p, "bootstrap": p}))
    assert table["mcnemar_holm"].tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert table["real"].tolist() == [True, False, False, True]


def test_what_was_not_tested_alike_is_not_compared():
    table = compare({"A": {0: run([1, 0])}, "B": {1: run([1, 1])}, "C": {0: run([1, 1], row=[5, 6])}})
    assert table.empty
    assert "real" in table


def test_several_seeds_are_compared_each_with_its_like():
    right = np.random.default_rng(0).random((4, 300)) < 0.6
    found = compare_pair({0: run(right[0]), 1: run(right[1]), 9: run(right[0])}, {1: run(right[2]), 0: run(right[3])})
    assert found["seeds"] == 2
    assert found["difference"] == pytest.approx(right[2:].mean() - right[:2].mean())


def studies(gap, seeds, count, seed_sd=0.05):
    """Comparisons of simulated pairs that share easy and hard galaxies; the second is better by about the gap."""
    rng = np.random.default_rng(1)
    middle = stats.norm.ppf(0.7) * np.sqrt(2 + seed_sd**2)
    better = stats.norm.ppf(0.7 + gap) * np.sqrt(2 + seed_sd**2)
    for study in range(count):
        ease = rng.normal(size=200)
        runs = [
            {seed: run(level + rng.normal(0, seed_sd) + ease + rng.normal(size=200) > 0) for seed in range(seeds)}
            for level in (middle, better)
        ]
        yield compare_pair(*runs, draws=150, seed=study)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_differences_cover_what_they_claim(seeds):
    """Claimed: 95%. The binomial standard error over 400 studies is 1.1%; two of them are allowed."""
    seed_sd = 0.0 if seeds == 1 else 0.05  # a single seed's interval is that of the trained networks
    covered = [found["low"] <= 0.1 <= found["high"] for found in studies(0.1, seeds, 400, seed_sd)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.022)


def test_a_difference_is_seldom_called_real_where_there_is_none_and_often_where_there_is():
    """At most 5% false alarms, plus twice the standard error over 200 studies, 1.5%."""

    def share(gap):
        rows = pd.DataFrame(studies(gap, 3, 200))
        return np.mean((rows["mcnemar"] < ALPHA) & (rows["bootstrap"] < ALPHA))  # one pair each: nothing to correct

    assert share(0.0) < 0.05 + 0.03
    assert share(0.2) > 0.9


def test_a_difference_in_every_draw_is_beyond_doubt():
    """A network that is always right against one that never is: no draw of galaxies changes that."""
    rows, labels = np.arange(50), np.arange(50) % 10
    right, wrong = (Graded(rows, rows, labels, (labels + shift) % 10) for shift in (0, 1))
    found = compare_pair({0: wrong}, {0: right})
    assert (found["difference"], found["standard_error"]) == (1.0, 0.0)
    assert found["bootstrap"] == 0.0
    assert found["mcnemar"] < 1e-10
    assert compare_pair({0: right}, {0: right})["bootstrap"] == 1.0
