import numpy as np
import pytest
from fakes import blobs, refusal

from galutils.clustering.diagnostics import (
    assess_clusters,
    compare_clusterers,
    compare_probes,
    compare_seeds,
    drift,
    evaluation_faults,
    fold_interval,
    linear_cka,
    probe,
    soft_gain,
    subspace_angles,
)
from galutils.clustering.methods import Clustering, kmeans
from galutils.clustering.null import null_accuracies
from galutils.clustering.scores import count_pairs, match_table, score_table

RNG = np.random.default_rng(0)


def test_null_distribution_of_matched_accuracy():
    labels = np.repeat(np.arange(10), 100)
    null = null_accuracies(labels, np.random.default_rng(1).permutation(labels), 200)
    assert null.shape == (200,)
    # The known value of ten balanced classes in ten equal clusters of a thousand rows: 14.3%, deviation 0.5.
    assert null.mean() == pytest.approx(0.143, abs=0.002)
    assert null.std() == pytest.approx(0.005, abs=0.0015)
    assert np.array_equal(null, null_accuracies(labels, np.random.default_rng(1).permutation(labels), 200))
    assert not np.array_equal(null, null_accuracies(labels, labels, 200, seed=1))
    assert np.mean(null_accuracies(labels, labels, 50, many_to_one=True)) > null.mean()


def test_null_of_one_cluster_is_the_largest_class():
    labels = np.array([0] * 7 + [1] * 3)
    assert null_accuracies(labels, np.zeros(10, int), 20).tolist() == [0.7] * 20


def test_evaluation_faults_by_hand():
    """Clusters are the classes under a cycle of length three, so that its inverse is another permutation."""
    labels = np.repeat(np.arange(10), 20)
    cycle = np.array([1, 2, 0, *range(3, 10)])
    table = count_pairs(labels, cycle[labels], 10)
    faults = evaluation_faults(np.repeat(table[None], 400, axis=0)).set_index("fault")
    accuracy = faults["accuracy"]
    assert accuracy["none"] == 1
    assert accuracy["assignment applied in the inverse direction"] == 0.7
    # Of ten numbers, one is right on average, whichever the numbering; with permuted labels a tenth of all rows.
    numbered = faults.loc["cluster numbers taken for classes, any numbering"]
    assert numbered["accuracy"] == pytest.approx(0.1, abs=0.02)
    assert numbered["accuracy_low"] == 0
    assert 0.2 <= numbered["accuracy_high"] <= 0.4
    assert accuracy["labels shuffled before matching"] == pytest.approx(
        null_accuracies(labels, cycle[labels], 400).mean(), abs=0.003
    )
    assert accuracy["labels shuffled after matching"] == pytest.approx(0.1, abs=0.005)
    assert faults["roc_auc_hard"]["none"] == 1
    assert faults["roc_auc_hard"]["labels shuffled after matching"] == pytest.approx(0.5, abs=0.005)
    assert faults["roc_auc_hard"]["labels shuffled before matching"] > 0.51


def test_evaluation_faults_want_one_cluster_per_class():
    told = refusal(evaluation_faults, np.zeros((1, 3, 3), int))
    assert told == "There are 2 clusters; the inverse assignment needs 3."


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_probes_find_what_is_there_and_no_more(kind):
    features, labels = blobs(per_class=20)
    found = probe(features, labels, kind)
    assert found.shape == (5,)
    assert found.mean() > 0.99
    noise = np.random.default_rng(0).normal(size=(200, 4))
    assert probe(noise, labels, kind).mean() < 0.25


def test_probes_keep_groups_on_one_side():
    """Twins carry the same number and the same label, which is otherwise random: only a leak can find it."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 2)
    features, labels = rng.normal(size=(100, 20))[groups], rng.integers(0, 4, 100)[groups]
    assert probe(features, labels, "knn", neighbors=1).mean() > 0.6
    assert probe(features, labels, "knn", neighbors=1, groups=groups).mean() < 0.45


def test_probe_arguments_are_checked():
    features, labels = blobs(per_class=3)
    assert refusal(probe, features, labels, "svm", folds=2) == "kind is 'svm'; choose linear or knn."
    assert refusal(probe, features, labels) == (
        "Fewer than two classes have 5 rows or more; a probe has nothing to tell apart."
    )


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
def test_clusterers_are_compared_on_the_same_features():
    features, labels = blobs(per_class=12)
    table = compare_clusterers(features, labels, ("kmeans", "ward"), over_clustering=(2,))
    assert table["method"].tolist() == ["kmeans", "ward", "kmeans"]
    assert table["clusters"].tolist() == [10, 10, 20]
    assert table["matching"].tolist() == ["one-to-one", "one-to-one", "many-to-one"]
    assert (table["accuracy"] > 0.999).all()
    assert table["chance"].iloc[2] > table["chance"].iloc[0] > 0.1
    assert (table["noise"] == 0).all()


def test_probes_are_compared_on_the_same_folds():
    features, labels = blobs(per_class=12)
    found = compare_probes({"twice": features, "itself": features, "noise": RNG.normal(size=features.shape)}, labels,
                           np.arange(len(labels)))  # fmt: skip
    assert found.index.tolist() == [(kind, fold) for kind in ("knn", "linear") for fold in range(5)]
    assert found["twice"].tolist() == found["itself"].tolist()
    assert found.loc["linear", "twice"].min() > 0.95 > 0.4 > found.loc["linear", "noise"].max()


def test_interval_over_folds_by_hand():
    # Nadeau & Bengio: the variance of five folds' mean is s^2 (1/5 + 1/4), with t(4) = 2.776.
    mean, low, high = fold_interval(np.array([1.0, 2, 3, 4, 5]))
    half = 2.7764 * np.sqrt(2.5 * (1 / 5 + 1 / 4))
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-3)
    assert fold_interval(np.full(5, 0.2)) == pytest.approx((0.2, 0.2, 0.2))


def test_an_assessment_has_the_scores_of_its_counts():
    features, labels = blobs(per_class=12, spread=0.4)
    row = assess_clusters(features, labels, seeds=range(2))
    accuracy, area = score_table(row["counts"], match_table(row["counts"]))
    assert (row["accuracy"], row["roc_auc_hard"]) == pytest.approx((accuracy, area))
    assert row["components"] <= 12
    assert row["accuracy_std"] >= 0


def test_seeds_are_ranked_by_what_they_are_called():
    features, labels = RNG.normal(size=(150, 5)), np.arange(150) % 10
    table = compare_seeds(features, labels, seeds=range(5))
    for n_init, word in ((10, "ten starts"), (1, "one start")):
        found = [kmeans(features, 10, seed, n_init) for seed in range(5)]
        accuracy = [
            score_table(table, match_table(table))[0]
            for table in (count_pairs(labels, own.clusters, 10, 10) for own in found)
        ]
        own = table["accuracy"]
        assert own[f"{word}, worst seed"] == pytest.approx(min(accuracy))
        assert own[f"{word}, median seed"] == pytest.approx(np.median(accuracy))
        assert own[f"{word}, lowest inertia"] == pytest.approx(accuracy[np.argmin([own.inertia for own in found])])


def test_what_soft_assignments_gain_is_paired():
    features, labels = blobs(per_class=30, spread=0.6)
    found, groups = kmeans(features), np.arange(len(labels))
    gain = soft_gain(found, labels, groups)
    assert gain["gain"] == gain["soft"] - gain["hard"] > gain["low"] > 0
    hard = soft_gain(Clustering(found.clusters), labels, groups)
    assert [hard[name] for name in ("gain", "low", "high")] == [0, 0, 0]
    assert hard["hard"] == gain["hard"]


def test_cka_is_one_for_rotated_embeddings_and_zero_for_unrelated_ones():
    x = RNG.normal(size=(60, 8))
    rotation = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    assert linear_cka(x, 3 * x @ rotation + 5) == pytest.approx(1)
    assert linear_cka(x, x * [1, 1, 1, 1, 0, 0, 0, 0]) < 0.95
    assert linear_cka(np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])) == pytest.approx(0)


def test_subspace_angles_of_shared_and_orthogonal_scores():
    basis = np.linalg.qr(np.column_stack([np.ones(30), RNG.normal(size=(30, 6))]))[0][:, 1:]  # centred columns
    assert subspace_angles(basis[:, :3], basis[:, :3] @ np.diag([3, 2, 1]), 3) == pytest.approx(np.zeros(3), abs=1e-3)
    assert subspace_angles(basis[:, :3], basis[:, 3:], 3) == pytest.approx(np.full(3, 90), abs=1e-3)
    shared = subspace_angles(basis[:, :2], basis[:, 1:3], 2)
    assert shared == pytest.approx([0, 90], abs=1e-3)
    x, rotation = RNG.normal(size=(60, 8)) * 0.5 ** np.arange(8), np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    assert subspace_angles(x, x @ rotation, 3) == pytest.approx(np.zeros(3), abs=0.05), "a rotation was seen"


def test_drift_is_cka_and_angles_in_one_row():
    first, second = RNG.normal(size=(2, 60, 20))
    angles, cka = subspace_angles(first, second), linear_cka(first, second)
    assert drift(first, second) == {"cka": cka, "median_angle": np.median(angles), "largest_angle": angles[-1]}
