from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from fakes import refusal

from galutils.evaluation import label_noise
from galutils.evaluation.bootstrap import Graded


def networks(spoilt_share, count=1000, own_noise=0.0, seed=0):
    """Three networks that see the true classes well, and labels of which a share is spoilt; (graded, spoilt rows)."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % 10
    spoilt = rng.random(count) < spoilt_share
    labels = np.where(spoilt, (true + rng.integers(1, 10, count)) % 10, true)
    graded = {}
    for title in "ABC":
        seen = np.where(rng.random(count) < own_noise, rng.integers(0, 10, count), true)
        probabilities = rng.dirichlet(np.ones(10), count) + 4 * np.eye(10)[seen]
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        rows = np.arange(count)
        graded[title] = {0: Graded(rows, rows, labels, probabilities.argmax(axis=1), probabilities)}
    return graded, np.flatnonzero(spoilt)


def test_contradicting_copies_by_hand():
    labels, group = np.array([7, 3, 8, 3, 1]), np.array([4, 5, 4, 5, 6])
    table = label_noise.contradictions(labels, group)
    assert table["rows"].tolist() == [[0, 2]]
    assert table["labels"].tolist() == [[7, 8]]
    often = "galaxies occur more than once, {} of them with labels that contradict each other."
    assert label_noise.describe_contradictions(labels, group) == (f"2 {often.format(1)} That is too few for a rate.")
    many = np.tile([0, 1, 2, 2], 10), np.repeat(np.arange(20), 2)
    assert label_noise.describe_contradictions(*many) == (  # 1 - sqrt(1 - 1/2)
        f"20 {often.format(10)} If labels err independently, that is an error rate of 29% (95% interval 16% to 45%) "
        "among such galaxies. It is no estimate for the others: which galaxies were taken twice is no matter of chance."
    )
    assert label_noise.describe_contradictions(labels, np.arange(5)) == (
        "No galaxy occurs twice in this file, so copies say nothing about its labels."
    )


def test_spoilt_labels_are_found_and_sound_ones_left_alone():
    graded, spoilt = networks(0.05)
    suspects = label_noise.find_suspects(label_noise.consensus(graded))
    found = np.isin(spoilt, suspects["row"]).mean()
    assert found > 0.9
    assert np.isin(suspects["row"], spoilt).mean() > 0.9
    assert suspects["quality"].is_monotonic_increasing
    assert (suspects["label"] != suspects["suggested"]).all()
    clean, _ = networks(0.0)
    assert len(label_noise.find_suspects(label_noise.consensus(clean))) == 0


def test_planted_labels_measure_the_search():
    spoilt, suspected = label_noise.find_planted(label_noise.consensus(networks(0.0)[0]))
    assert spoilt.sum() == 50
    assert suspected[spoilt].mean() > 0.9
    assert suspected[~spoilt].mean() < 0.02
    rng = np.random.default_rng(0)
    blind = pd.DataFrame(rng.dirichlet(np.ones(10), 1000)).assign(label=np.arange(1000) % 10)
    spoilt, suspected = label_noise.find_planted(blind)
    # A classifier that knows nothing finds nothing.
    assert suspected[spoilt].mean() == pytest.approx(suspected[~spoilt].mean(), abs=0.2)


def test_seeds_are_averaged_over_the_galaxies_they_tested():
    first, second = np.eye(10)[[1, 2]], np.eye(10)[[3, 4]]
    seeds = {
        0: Graded(np.array([5, 6]), np.array([5, 6]), np.array([1, 2]), np.array([1, 2]), first),
        1: Graded(np.array([6, 7]), np.array([6, 7]), np.array([2, 4]), np.array([3, 4]), second),
    }
    table = label_noise.out_of_sample(seeds)
    assert table.index.tolist() == [5, 6, 7]
    assert table.loc[6, [2, 3]].tolist() == [0.5, 0.5]
    assert table["label"].tolist() == [1, 2, 4]


def test_no_approach_and_no_common_galaxies_are_one_sentence():
    graded, _ = networks(0.0)
    assert refusal(label_noise.consensus, {}) == (
        "Suspects come from networks that tell classes apart, and there is none; train longer."
    )
    apart = replace(graded["B"][0], row=graded["B"][0].row + 5000)
    assert refusal(label_noise.consensus, {"A": graded["A"], "B": {0: apart}}) == (
        "The approaches have no test galaxies in common; give their notebooks the same split_seed."
    )
