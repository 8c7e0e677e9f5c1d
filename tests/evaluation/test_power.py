import numpy as np
import pytest
from scipy import stats

from galutils.evaluation import power


def test_unpaired_sample_size_by_hand():
    # 0.25 against 0.40: (1.960 * sqrt(2 * 0.325 * 0.675) + 0.8416 * sqrt(0.1875 + 0.24))^2 / 0.15^2 = 151.9
    assert power.needed_unpaired(0.25, 0.40) == 152
    assert power.needed_unpaired(0.40, 0.25) == 152


def test_paired_sample_size_by_hand():
    # 0.74 against 0.76, disagreement 0.1: (1.960 * sqrt(0.1) + 0.8416 * sqrt(0.1 - 0.0004))^2 / 0.02^2 = 1959.9, and
    # for the exact test 1959.9 / 4 * (1 + sqrt(1 + 2 / (1959.9 * 0.02)))^2 = 2009.5.
    assert power.needed_paired(0.74, 0.76, 0.1) == 2010
    with pytest.raises(ValueError, match=r"^Approaches .* differ by 0\.200 disagree on at least that share\.$"):
        power.needed_paired(0.6, 0.8, 0.1)


@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_the_size_has_the_power_it_promises_in_simulated_studies(alpha):
    """80% by McNemar's exact test; the standard error over 2,000 studies is 0.9%."""
    rng, gap, disagreement = np.random.default_rng(0), 0.03, 0.15
    size = power.needed_paired(0.73, 0.76, disagreement, alpha)
    shares = [(disagreement - gap) / 2, (disagreement + gap) / 2, 1 - disagreement]
    one, other, _ = rng.multinomial(size, shares, size=2000).T
    p = np.minimum(1, 2 * stats.binom.cdf(np.minimum(one, other), one + other, 0.5))
    assert np.mean(p < alpha) == pytest.approx(0.8, abs=0.025)


def test_the_level_is_shared_among_the_pairs():
    alone, ten = (power.needed_table((0.73, 0.76), pairs).loc["73% against 76%"] for pairs in (1, 10))
    assert alone["different galaxies"] == power.needed_unpaired(0.73, 0.76)
    assert ten["the same, 20% disagreement"] == power.needed_paired(0.73, 0.76, 0.2, 0.005)
    assert (ten > alone).all()
