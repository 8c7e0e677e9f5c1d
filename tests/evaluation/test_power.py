import numpy as np
import pytest
from scipy import stats

from galutils.evaluation import power


def test_unpaired_sample_size_by_hand():
    # 0.25 against 0.40: (1.960 * sqrt(2 * 0.325 * 0.675) + 0.8416 * sqrt(0.1875 + 0.24))^2 / 0.15^2 = 151.9
    assert power.needed_unpaired(0.25, 0.40) == 152
    assert power.needed_unpaired(0.40, 0.25) == 152


def test_paired_sample_size_by_hand():
    # 0.74 against 0.76, disagreement 0.1: (1.960 * sqrt(0.1) + 0.8416 * sqrt(0.1 - 0.0004))^2 / 0.02^2 = 1959.9
    assert power.needed_paired(0.74, 0.76, 0.1) == 1960
    with pytest.raises(ValueError, match="disagree on at least that share"):
        power.needed_paired(0.6, 0.8, 0.1)


def test_the_size_has_the_power_it_promises_in_simulated_studies():
    """80%; the binomial standard error over 4,000 studies is 0.6%, and two of them and the continuity are allowed."""
    rng, gap, disagreement = np.random.default_rng(0), 0.03, 0.15
    size = power.needed_paired(0.73, 0.76, disagreement)
    shares = [(disagreement - gap) / 2, (disagreement + gap) / 2, 1 - disagreement]
    one, other, _ = rng.multinomial(size, shares, size=4000).T
    significant = np.abs(other - one) / np.sqrt(one + other) > stats.norm.isf(0.025)
    assert significant.mean() == pytest.approx(0.8, abs=0.02)


def test_the_words_follow_the_sizes():
    text = power.describe_power(power.needed_table((0.74, 0.75, 0.78)))
    first, second, third = text.split(". ")
    assert "too few in any case" in first
    assert "(3,547) is enough" in second
    assert "enough only" not in second + third
    assert "would not do" in power.describe_power(power.needed_table((0.5, 0.505)), galaxies=1000)
    assert "only if the two err alike" in power.describe_power(power.needed_table((0.74, 0.76)))
