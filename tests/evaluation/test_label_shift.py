import numpy as np
import pytest

from galutils.evaluation.calibration import correct_label_shift


def posterior(values, proportions):
    """Exact probabilities of two round Gaussians at 0 and 2 with these proportions."""
    density = np.exp(-((values[:, None] - np.array([0, 2])) ** 2) / 2) * proportions
    return density / density.sum(axis=1, keepdims=True)


def test_other_proportions_are_found_and_probabilities_become_exact():
    rng, there = np.random.default_rng(0), np.array([0.9, 0.1])
    labels = rng.random(20_000) < there[1]
    values = rng.normal(2.0 * labels)
    found, corrected = correct_label_shift(posterior(values, np.array([0.3, 0.7])), np.array([0.3, 0.7]))
    assert found == pytest.approx(there, abs=0.01)
    np.testing.assert_allclose(corrected, posterior(values, there), atol=0.02)
    same, kept = correct_label_shift(posterior(values, there), there)
    assert same == pytest.approx(there, abs=0.01)
    np.testing.assert_allclose(kept, posterior(values, there), atol=0.02)


def test_a_class_that_was_not_trained_gets_no_galaxies():
    found, corrected = correct_label_shift(np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2]]), np.array([0.5, 0.5, 0]))
    assert found[2] == 0
    assert corrected[:, 2].tolist() == [0, 0]
    np.testing.assert_allclose(corrected.sum(axis=1), 1)
