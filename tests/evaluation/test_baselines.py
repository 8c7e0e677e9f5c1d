import numpy as np
import pandas as pd
import pytest

from galutils.data.check import measure_once
from galutils.data.splits import Split, split_rows
from galutils.evaluation import baselines as base
from galutils.evaluation.bootstrap import estimate

CLASSES = ("round", "edge-on", "spiral")


def survey(count=300, told=True):
    """Three classes in the proportions 3:2:1; five numbers and the position tell them, or nothing does."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1, 2], np.array([3, 2, 1]) * count // 6))
    split = Split(np.where(np.arange(count) % 3, "train", "test").astype(object), np.arange(count))
    known = labels if told else rng.integers(0, 3, count)
    measured = pd.DataFrame(known[:, None] + rng.normal(0, 0.1, (count, 5)), columns=[*base.MEASURED])
    return labels, split, measured, known * 100.0 + rng.uniform(0, 20, count), rng.uniform(-5, 5, count)


def test_baselines_of_a_file_and_a_split_are_fitted_once(simulated, monkeypatch, tmp_path):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    split, other = split_rows(simulated), split_rows(simulated, seed=1)
    first = base.baselines_once(simulated, split)
    direct = base.baselines(
        simulated.labels, split, simulated.classes, measure_once(simulated), simulated.ra, simulated.dec
    )
    monkeypatch.setattr(base, "_forest", None)  # whatever fits again fails
    for found in (direct, base.baselines_once(simulated, split)):
        assert found.keys() == first.keys()
        for title, own in found.items():
            np.testing.assert_equal(vars(own), vars(first[title]))
    with pytest.raises(TypeError):
        base.baselines_once(simulated, other)


def test_the_largest_class_by_hand():
    split = Split(np.array(["train"] * 4 + ["test"] * 4, dtype=object), np.r_[0, 1, 2, 3, 4, 5, 6, 6])
    (found,) = base.baselines(np.array([1, 1, 2, 1, 0, 1, 2, 2]), split, CLASSES).values()
    assert found.predicted.tolist() == [1, 1, 1, 1]
    assert found.probabilities.tolist() == [[0, 0.75, 0.25]] * 4
    assert found.row.tolist() == [4, 5, 6, 7]
    assert found.group.tolist() == [4, 5, 6, 6]
    assert found.labels.tolist() == [0, 1, 2, 2]
    assert found.classes == CLASSES
    assert found.collapsed


def test_what_is_told_is_found_out_of_sample_and_noise_is_not():
    for told in (True, False):
        labels, split, measured, ra, dec = survey(told=told)
        found = base.baselines(labels, split, CLASSES, measured, ra, dec)
        assert list(found) == [base.LARGEST, base.POSITION, base.FIVE]
        for title in (base.POSITION, base.FIVE):
            assert (found[title].correct.mean() > 0.95) == told
            np.testing.assert_allclose(found[title].probabilities.sum(axis=1), 1)
            assert found[title].row.tolist() == split.test.tolist()
    assert found[base.FIVE].correct.mean() < 0.6


def test_missing_numbers_and_positions():
    labels, split, measured, ra, dec = survey()
    measured.iloc[::4, 1] = np.nan
    assert base.baselines(labels, split, CLASSES, measured)[base.FIVE].correct.mean() > 0.95
    assert base.POSITION not in base.baselines(labels, split, CLASSES, None, np.full(300, np.nan), dec)
    ra[::10] = np.nan
    assert base.baselines(labels, split, CLASSES, None, ra, dec)[base.POSITION].correct.mean() > 0.8


def test_positions_meet_where_right_ascension_begins_anew():
    """What was seen at 359 degrees holds at 1 degree, with other galaxies at 20 and at 340."""
    ra = np.tile(np.repeat([359.0, 1.0, 20.0, 340.0], 25), 2) + np.random.default_rng(0).normal(0, 0.3, 200)
    labels = np.tile(np.repeat([0, 0, 1, 1], 25), 2)
    part = np.where((ra % 360 < 10), "test", "train").astype(object)
    found = base.baselines(labels, Split(part, np.arange(200)), ("a", "b"), None, ra % 360, np.zeros(200))
    assert found[base.POSITION].correct.mean() > 0.9


def test_accuracy_has_the_interval_of_the_results():
    found = base.baselines(*survey(told=False)[:2], CLASSES, survey(told=False)[2])
    row = estimate([found[base.FIVE]]).loc["accuracy"]
    assert base.accuracy(found[base.FIVE]) == pytest.approx((row["mean"], row["low"], row["high"]))
    assert base.baseline_table(found).loc[base.FIVE].tolist() == pytest.approx([row["mean"], row["low"], row["high"]])
