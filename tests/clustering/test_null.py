import numpy as np
import pandas as pd
import pytest

from galutils.clustering.null import (
    PAPER_BOX,
    chance_plane,
    inside_box,
    is_paper,
    null_accuracies,
    project,
    score_tables,
    shuffle,
    within_chance,
)
from galutils.clustering.scores import count_pairs
from galutils.data.classes import GALAXY10, GALAXY10_COUNTS

#: Shares of clusters as k-means finds them, from large to small.
SHARES = np.array([22, 19, 15, 12, 9, 8, 6, 5, 3, 1]) / 100


def test_shuffled_tables_are_those_of_permuted_labels():
    labels, clusters = np.repeat(np.arange(3), (5, 30, 65)), np.tile([0, 1, 1, 2, -1], 20)
    table = count_pairs(labels, clusters, 3)
    tables, rng = shuffle(table, 2000), np.random.default_rng(0)
    assert (tables.sum(1) == table.sum(0)).all()
    assert (tables.sum(2) == table.sum(1)).all()
    permuted = [count_pairs(rng.permutation(labels), clusters, 3) for _ in range(2000)]
    for moment in (np.mean, np.std):
        assert moment(tables, axis=0) == pytest.approx(moment(permuted, axis=0), abs=0.25)
    null = null_accuracies(labels, clusters, 2000)
    assert null.mean() == pytest.approx(score_tables(permuted)[:, 0].mean(), abs=0.004)
    assert score_tables(permuted, many_to_one=True)[:, 0].mean() == pytest.approx(
        null_accuracies(labels, clusters, 2000, many_to_one=True).mean(), abs=0.004
    )


def test_permuted_labels_of_ten_balanced_classes_in_ten_equal_clusters():
    """The known value for a thousand rows: 14.3%, deviation 0.5."""
    labels = np.repeat(np.arange(10), 100)
    null, again, other = (null_accuracies(labels, labels, 200, seed) for seed in (0, 0, 1))
    assert (null.mean(), null.std()) == (pytest.approx(0.143, abs=0.002), pytest.approx(0.005, abs=0.0015))
    assert np.array_equal(null, again)
    assert not np.array_equal(null, other)


# Meaningless clusters as another simulation, of single rows, found them: accuracy and ROC AUC by number of galaxies.
KNOWN = {500: (0.163, 0.537), 800: (0.148, 0.528), 1774: (0.132, 0.519), 3547: (0.122, 0.513), 17736: (0.110, 0.506)}


def test_the_plane_of_chance_is_what_was_simulated_before():
    plane = chance_plane({"equal": np.full(10, 0.1)}, [*KNOWN])
    assert plane[["accuracy", "roc_auc_hard"]].to_numpy() == pytest.approx(np.array([*KNOWN.values()]), abs=0.0015)
    for name in ("accuracy", "roc_auc_hard"):
        assert (plane[f"{name}_low"] < plane[name]).all()
        assert (plane[name] < plane[f"{name}_high"]).all()


def test_one_cluster_gets_the_largest_class():
    row = chance_plane({"one": np.array([1.0])}, [17736]).iloc[0]
    largest = max(GALAXY10_COUNTS) / sum(GALAXY10_COUNTS)
    assert [row["accuracy_low"], row["accuracy"], row["accuracy_high"]] == pytest.approx([largest] * 3)
    assert row["roc_auc_hard"] == 0.5


def test_chance_of_few_galaxies_is_the_papers_pair_and_of_all_is_not():
    plane = chance_plane({"uneven": SHARES}, [300, 700, 17736])
    assert within_chance(plane).tolist() == [False, True, False]


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.6])
def test_what_a_thousand_galaxies_show_is_taken_to_the_full_set(strength):
    """Against the truth: the very clustering on the full set, which the thousand do not know."""
    rng, errors, naive = np.random.default_rng(1), [], []
    for _ in range(6):
        own = rng.dirichlet(np.full(10, 2.0), 10).T
        mixed = strength * own + (1 - strength) * own.mean(axis=1, keepdims=True)
        truth, small = (
            np.stack([np.append(rng.multinomial(n, mixed[:, c]), 0) for c, n in enumerate(counts)], axis=-1)
            for counts in (GALAXY10_COUNTS, [100] * 10)
        )
        (expected,), (plain,) = score_tables([truth]), score_tables([small])
        errors.append(score_tables(project(small, draws=30)).mean(axis=0) - expected)
        naive.append(plain - expected)
    bias, plain_bias = np.mean(errors, axis=0), np.mean(naive, axis=0)
    assert np.abs(bias[0]) < 0.02
    assert np.abs(bias[1]) < 0.012
    assert np.abs(bias).sum() < np.abs(plain_bias).sum()


def test_projected_tables_have_the_full_sets_classes():
    labels = np.repeat(np.arange(10), 20)
    tables = project(count_pairs(labels, labels, 10), draws=3)
    assert (tables.sum(1) == GALAXY10_COUNTS).all()
    assert score_tables(tables).tolist() == [[1, 1]] * 3


def test_the_papers_numbers_are_about_its_classes_where_all_occur():
    labels = np.arange(20) % 10
    assert is_paper(GALAXY10, labels)
    assert not is_paper(GALAXY10, labels[labels < 9])
    assert not is_paper(GALAXY10[::-1], labels)


def test_the_papers_box_is_its_rounding():
    assert {"accuracy": pytest.approx((0.155, 0.165)), "roc_auc_hard": pytest.approx((0.5205, 0.5225))} == PAPER_BOX
    scores = pd.DataFrame({"accuracy": [0.16, 0.16, 0.17], "roc_auc_hard": [0.522, 0.53, 0.522]})
    assert inside_box(scores).tolist() == [True, False, False]
