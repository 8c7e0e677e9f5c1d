import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.metrics import brier_score_loss

from galutils.evaluation import calibration
from galutils.evaluation.bootstrap import Graded
from galutils.report import tables


def two_classes(confidence, right):
    """Probabilities of two classes, class 0 always predicted, with labels."""
    confidence = np.asarray(confidence, float)
    return np.where(right, 0, 1), np.stack([confidence, 1 - confidence], axis=1)


def draw(count=4000, sharpness=1.0, seed=0):
    """Probabilities of ten classes, and labels drawn from them; then the logits are multiplied."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 10))
    honest = special.softmax(logits, axis=1)
    labels = (honest.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=9)
    return labels, special.softmax(sharpness * logits, axis=1)


def test_calibration_error_and_bins_by_hand():
    # Two bins of 15: around 0.7 three of four are right, around 0.9 one of two.
    labels, probabilities = two_classes([0.70, 0.70, 0.72, 0.72, 0.9, 0.9], [1, 1, 1, 0, 1, 0])
    expected = (4 * abs(0.75 - 0.71) + 2 * abs(0.5 - 0.9)) / 6
    assert calibration.calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-6)
    bins = calibration.reliability(labels, probabilities)
    assert bins["confidence"].tolist() == pytest.approx([0.71, 0.9])
    assert bins["accuracy"].tolist() == pytest.approx([0.75, 0.5])
    assert bins["count"].tolist() == [4, 2]


def test_brier_score_by_hand_and_by_scikit_learn():
    labels, probabilities = two_classes([0.8, 0.6], [True, False])
    assert calibration.squared_errors(labels, probabilities) == pytest.approx([2 * 0.2**2, 2 * 0.6**2])
    # scikit-learn's score of two classes counts one of the two terms.
    half = brier_score_loss(labels, probabilities[:, 1], pos_label=1)
    assert calibration.squared_errors(labels, probabilities).mean() == pytest.approx(2 * half)


def run_of(labels, probabilities, group=None):
    rows = np.arange(len(labels))
    return Graded(rows, rows if group is None else group, labels, probabilities.argmax(axis=1), probabilities)


def test_p_is_a_p_and_finds_what_is_not_calibrated():
    """Of calibrated runs one in twenty has p < 0.05, also where a galaxy has four rows; a boastful one is found."""
    drawn = [calibration.calibration_test(run_of(*draw(150, seed=seed)), 100) for seed in range(200)]
    errors, chance, p = np.array(drawn).T
    assert errors.mean() == pytest.approx(chance.mean(), rel=0.03)
    assert 0.01 <= np.mean(p < 0.05) <= 0.10
    group = np.repeat(np.arange(50), 4)
    copied = []
    for seed in range(100):
        labels, probabilities = draw(50, seed=seed)
        copied.append(calibration.calibration_test(run_of(labels[group], probabilities[group], group), 100)[2])
    assert np.mean(np.array(copied) < 0.05) <= 0.12
    labels, boasting = draw(400, sharpness=4)
    error, chance, p = calibration.calibration_test(run_of(labels, boasting))
    assert (error, p) == (calibration.calibration_error(labels, boasting), 1 / 1001)
    assert error > 5 * chance


def test_collapsed_runs_have_no_calibration():
    labels, probabilities = draw(100)
    constant = np.tile(np.bincount(labels, minlength=10) / 100, (100, 1))
    runs = {"A": {0: run_of(labels, probabilities), 1: run_of(labels, constant)}, "B": {0: run_of(labels, constant)}}
    table = calibration.calibration_table(runs)
    assert table.index.tolist() == ["A"]
    assert table.loc["A", "confidence"] == probabilities.max(axis=1).mean()
    assert calibration.describe_calibration(calibration.calibration_table({"B": runs["B"]})) == []


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_temperature_is_found_and_mends(sharpness):
    fitted = calibration.fit_temperature(*draw(sharpness=sharpness))
    assert fitted == pytest.approx(sharpness, rel=0.05)
    labels, probabilities = draw(sharpness=sharpness, seed=1)
    mended = calibration.scale(probabilities, fitted)
    np.testing.assert_array_equal(mended.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(mended.sum(axis=1), 1)
    assert calibration.calibration_error(labels, mended) < 0.025
    if sharpness == 3:
        assert calibration.calibration_error(labels, probabilities) > 0.15


def test_probabilities_of_zero_do_no_harm():
    labels, probabilities = np.array([1, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert np.isfinite(calibration.fit_temperature(labels, probabilities))
    assert np.isfinite(calibration.scale(probabilities, 2.0)).all()


@pytest.mark.parametrize(("count", "sharpness"), [(8, 1), (9, 1), (30, 1), (100, 4)])
def test_conformal_sets_hold_the_true_class_as_often_as_order_alone_says(count, sharpness):
    """With a chance of ceil(0.9 (n + 1)) / (n + 1), however sure of itself the network is; of 8 galaxies, always."""
    found = []
    for seed in range(400):
        labels, probabilities = draw(count + 50, sharpness, seed)
        threshold = calibration.fit_threshold(labels[:count], probabilities[:count])
        sets = calibration.conformal_sets(probabilities[count:], threshold, range(10))
        assert [one[0] for one in sets] == probabilities[count:].argmax(axis=1).tolist()
        found.append(np.mean([label in one for label, one in zip(labels[count:], sets, strict=True)]))
    expected = np.ceil(9 * (count + 1) / 10) / (count + 1)
    assert np.mean(found) == pytest.approx(expected, abs=1e-12 + 4 * np.std(found) / 20)
    assert count > 8 or all(len(one) == 10 for one in sets)


def test_accuracy_by_coverage_by_hand():
    curve = calibration.accuracy_by_coverage(*two_classes([0.6, 0.9, 0.8, 0.7], [0, 1, 1, 0]))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["accuracy"].tolist() == pytest.approx([1, 1, 2 / 3, 1 / 2])


def test_table_gives_brier_with_an_interval_that_holds_it():
    labels, probabilities = draw(300, sharpness=2)
    run = Graded(np.arange(300), np.arange(300), labels, probabilities.argmax(axis=1), probabilities)
    row = calibration.calibration_table({"A": {0: run}}).loc["A"]
    errors = calibration.squared_errors(labels, probabilities)
    assert row["brier"] == pytest.approx(errors.mean())
    assert row["brier_high"] - row["brier_low"] == pytest.approx(2 * 1.968 * errors.std() / 300**0.5, rel=0.1)
    assert row["gap"] == pytest.approx(row["confidence"] - row["accuracy"])


def test_temperatures_stand_before_and_after_scaling_side_by_side():
    row = {"approach": "A", "seed": 0, "set_aside": 161, "temperature": 1.199}
    table = pd.DataFrame([row | {"ece": 0.0854, "brier": 0.6671, "ece_scaled": 0.08, "brier_scaled": 0.6}])
    shown = tables.in_columns(table, tables.TEMPERATURES)
    assert shown.iloc[0].tolist() == ["A", "0", "161", "1.20", "8.5%", "8.0%", "0.667", "0.600"]
    assert tables.in_columns(pd.DataFrame(), tables.TEMPERATURES).empty  # a profile that sets no galaxies aside
