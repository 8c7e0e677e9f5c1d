import numpy as np
import pytest
from fakes import blobs, refusal

from galutils.clustering import diagnostics, methods
from galutils.clustering.diagnostics import (
    assess_clusters,
    compare_clusterers,
    compare_probes,
    compare_seeds,
    drift,
    evaluation_faults,
    fold_interval,
    soft_gain,
)
from galutils.clustering.methods import METHODS, Clustering, counts_of, kmeans, reduce_dimensions, score_clustering
from galutils.clustering.null import null_accuracies
from galutils.clustering.readings import assess_components
from galutils.clustering.scores import count_pairs, match_table, score_table

RNG = np.random.default_rng(0)


def test_evaluation_faults_by_hand():
    """Clusters are the classes under a cycle of length three, so that its inverse is another permutation."""
    labels = np.repeat(np.arange(10), 20)
    cycle = np.array([1, 2, 0, *range(3, 10)])
    table = count_pairs(labels, cycle[labels], 10)
    faults = evaluation_faults(np.repeat(table[None], 400, axis=0)).set_index("fault")
    accuracy, area = faults["accuracy"], faults["roc_auc_hard"]
    assert accuracy["none"] == area["none"] == 1
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
    assert area["labels shuffled after matching"] == pytest.approx(0.5, abs=0.005)
    assert area["labels shuffled before matching"] > 0.51
    told = refusal(evaluation_faults, np.zeros((1, 3, 3), int))
    assert told == "There are 2 clusters; the inverse assignment needs 3."


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
def test_clusterers_are_compared_on_the_same_features():
    features, labels = blobs(per_class=12)
    table = compare_clusterers(features, labels)
    assert table["method"].tolist() == [*METHODS, "kmeans", "kmeans"]
    more = table["clusters"] > 10
    assert table["clusters"].tolist()[-2:] == [20, 50]
    assert table["matching"].tolist() == np.where(more, "many-to-one", "one-to-one").tolist()
    assert (table["accuracy"][table["method"] != "hdbscan"] > 0.999).all()
    assert table["chance"][more].min() > table["chance"].iloc[0] > 0.1
    for row in table.itertuples():
        assert score_table(row.counts, match_table(row.counts, row.matching == "many-to-one"))[0] == row.accuracy
        assert row.noise == row.counts[-1].sum() / 120


def test_probes_find_what_is_there_and_no_more_on_the_same_folds():
    features, labels = blobs(per_class=12)
    rare = np.append(labels, [10] * 4)  # in fewer rows than there are folds
    cases = {"twice": features, "itself": features, "noise": RNG.normal(size=features.shape)}
    cases = {name: np.append(own, np.ones((4, 12)), axis=0) for name, own in cases.items()}
    found = compare_probes(cases, rare, np.arange(124))
    assert found.index.tolist() == [(kind, fold) for kind in ("knn", "linear") for fold in range(5)]
    assert found["twice"].tolist() == found["itself"].tolist()
    assert found["twice"].min() > 0.95 > 0.4 > found["noise"].max()
    told = refusal(compare_probes, {"any": features[:12]}, np.arange(12) % 3, np.arange(12))
    assert told == "Fewer than two classes have 5 rows or more; a probe has nothing to tell apart."


def test_of_many_rows_slow_methods_see_a_sample_and_kmeans_has_one_start(monkeypatch):
    features, labels = blobs(per_class=12)
    monkeypatch.setattr(diagnostics, "SAMPLE", 60)
    monkeypatch.setattr(methods, "MANY", 100)
    table = compare_clusterers(features, labels).set_index("method")
    assert table.index.tolist() == [
        "kmeans", "gmm", "spherical", "ward", "spectral on 60 galaxies", "hdbscan on 60 galaxies", "kmeans", "kmeans",
    ]  # fmt: skip
    seen = [own.sum() for own in table["counts"]]
    assert seen == [120] * 4 + [60] * 2 + [120] * 2
    for row in table.itertuples():
        assert score_table(row.counts, match_table(row.counts, row.matching == "many-to-one"))[0] == row.accuracy
    table, _ = methods.kmeans_over_seeds(reduce_dimensions(features), labels, n_init=1)
    one = table.loc[table["reported"], "accuracy"].item()
    assert assess_clusters(features, labels)["accuracy"] == one
    assert [methods.usual_starts(rows) for rows in (100, 101)] == [10, 1]


def test_probes_see_a_sample_of_many_rows(monkeypatch):
    features, labels = blobs(per_class=12)
    monkeypatch.setattr(diagnostics, "SAMPLE", 80)
    monkeypatch.setattr(methods, "MANY", 100)
    rows = diagnostics.sample_rows(120)
    assert (len(rows), len(set(rows)), rows.tolist()) == (80, 80, sorted(rows))
    found = compare_probes({"any": features}, labels, np.arange(120))
    monkeypatch.setattr(methods, "MANY", 120)
    assert diagnostics.sample_rows(120).tolist() == list(range(120))
    assert found.equals(compare_probes({"any": features[rows]}, labels[rows], rows))


def test_probes_keep_groups_on_one_side():
    """Rows of one galaxy carry the same numbers and the same label, which is random: only a leak can find it."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 12)
    features, labels = rng.normal(size=(40, 5))[groups], rng.integers(0, 4, 40)[groups]
    leaking, apart = (compare_probes({"any": features}, labels, own)["any"]["knn"] for own in (np.arange(480), groups))
    assert leaking.min() > 0.9 > 0.5 > apart.mean()


def test_interval_over_folds_by_hand():
    # Nadeau & Bengio: the variance of five folds' mean is s^2 (1/5 + 1/4), with t(4) = 2.776.
    mean, low, high = fold_interval(np.array([1.0, 2, 3, 4, 5]))
    half = 2.7764 * np.sqrt(2.5 * (1 / 5 + 1 / 4))
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-3)
    assert fold_interval(np.full(5, 0.2)) == pytest.approx((0.2, 0.2, 0.2))


def test_an_assessment_has_the_scores_of_its_counts():
    features, labels = blobs(per_class=12, spread=0.4)
    row = assess_clusters(features, labels, seeds=range(2))
    assert (row["accuracy"], row["roc_auc_hard"]) == pytest.approx(
        score_table(row["counts"], match_table(row["counts"]))
    )
    reached = [score_clustering(kmeans(reduce_dimensions(features), 10, seed), labels)["accuracy"] for seed in range(2)]
    assert row["accuracy_std"] == pytest.approx(np.std(reached))
    assert row["components"] <= 12


def test_seeds_are_ranked_by_what_they_are_called():
    features, labels = RNG.normal(size=(150, 5)), np.arange(150) % 10
    table, best = compare_seeds(features, labels)
    own = table["accuracy"]
    for n_init, word in ((10, "ten starts"), (1, "one start")):
        found = [kmeans(features, 10, seed, n_init) for seed in range(10)]
        accuracy = [score_table(table, match_table(table))[0] for table in (counts_of(one, labels) for one in found)]
        assert own[f"{word}, worst seed"] == min(accuracy)
        assert own[f"{word}, median seed"] == sorted(accuracy)[5]
        assert own[f"{word}, lowest inertia"] == accuracy[np.argmin([one.inertia for one in found])]
        assert n_init == 1 or best.inertia == min(one.inertia for one in found)


def test_what_soft_assignments_gain_is_paired():
    features, labels = blobs(per_class=30, spread=0.6)
    found, groups = kmeans(features), np.arange(len(labels))
    gain = soft_gain(found, labels, groups)
    assert gain["gain"] == gain["soft"] - gain["hard"] > gain["low"] > 0
    hard = soft_gain(Clustering(found.clusters), labels, groups)
    assert [hard[name] for name in ("gain", "low", "high")] == [0, 0, 0]
    assert hard["hard"] == gain["hard"]


def cka(first, second):
    return drift(first, second)["cka"]


def test_cka_is_one_for_rotated_embeddings_and_zero_for_unrelated_ones():
    x = RNG.normal(size=(60, 8))
    rotation = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    assert cka(x, 3 * x @ rotation + 5) == pytest.approx(1)
    assert cka(x, x * [1, 1, 1, 1, 0, 0, 0, 0]) < 0.95
    assert cka(np.array([[1.0], [-1], [0], [0]]), np.array([[0.0], [0], [1], [-1]])) == pytest.approx(0)


def test_angles_of_shared_and_orthogonal_scores():
    basis = np.linalg.qr(np.column_stack([np.ones(30), RNG.normal(size=(30, 6))]))[0][:, 1:]  # centred columns
    for other, median, largest in (
        (basis[:, :3] @ np.diag([3, 2, 1]), 0, 0),
        (basis[:, 3:], 90, 90),
        (basis[:, [0, 1, 3]], 0, 90),
    ):
        found = drift(basis[:, :3], other)
        assert (found["median_angle"], found["largest_angle"]) == pytest.approx((median, largest), abs=1e-3)
    # Of more than ten components the leading ones count.
    many = RNG.normal(size=(60, 12)) * [*[9] * 10, 0.1, 0.1]
    assert drift(many, many * [*[1] * 10, -1, 5])["largest_angle"] < 1


def test_components_are_assessed_few_and_many():
    table = assess_components(*blobs(per_class=2), 0.95)
    names = ["components not centred", "first 2 components", "first 5 components", "first 10 components"]
    assert table.index.tolist() == names
    assert table["components"].tolist()[1:] == [2, 5, 10]
