import numpy as np
import pytest
from fakes import blobs, refusal
from sklearn.decomposition import PCA

from galutils.clustering import methods
from galutils.clustering.methods import METHODS, Clustering, cluster, kmeans, kmeans_over_seeds, score_clustering
from galutils.clustering.scores import count_pairs, match_table, one_hot, score_table

# Rows of each cluster (row) that have each class (column). Taking the largest entry of each row first would
# give cluster 0 class 0 (5) and leave cluster 1 with class 1 (1): 6 in all. The other way round gives 4 + 4 = 8.
GREEDY_LOSES = [[5, 4], [4, 1]]


def unrolled(counts) -> tuple[np.ndarray, np.ndarray]:
    """Labels and clusters of single rows that have these counts (K, C)."""
    cells = [(label, number) for number, row in enumerate(counts) for label, n in enumerate(row) for _ in range(n)]
    labels, clusters = np.array(cells).T
    return labels, clusters


@pytest.mark.parametrize(
    ("counts", "one_to_one", "right", "many_to_one", "right_many"),
    [
        (GREEDY_LOSES, [1, 0], 8 / 14, [0, 0], 9 / 14),
        # More clusters than classes: clusters 1 (4) and 3 (3) have the most; clusters 0 and 2 stay without a class.
        ([[3, 0], [4, 1], [0, 2], [1, 3]], [-1, 0, -1, 1], 7 / 14, [0, 0, 1, 1], 12 / 14),
        # Cluster 1 is empty: it takes the class that is left over, which no row is predicted as.
        ([[2, 1, 0], [0, 0, 0], [0, 1, 3]], [0, 1, 2], 5 / 7, [0, -1, 2], 5 / 7),
    ],
    ids=["greed loses", "more clusters than classes", "an empty cluster"],
)
def test_matching_by_hand(counts, one_to_one, right, many_to_one, right_many):
    table = count_pairs(*unrolled(counts), len(counts[0]))
    for many, classes, accuracy in ((False, one_to_one, right), (True, many_to_one, right_many)):
        match = match_table(table, many)
        assert match.tolist() == [*classes, -1]
        assert score_table(table, match)[0] == pytest.approx(accuracy)


def test_an_empty_cluster_at_the_end_is_known_by_the_number_of_clusters():
    labels, clusters = unrolled([[2, 1], [0, 3]])
    assert count_pairs(labels, clusters, 2, num_clusters=3).tolist() == [[2, 1], [0, 3], [0, 0], [0, 0]]
    with pytest.raises(ValueError, match=r"^5 labels do not go with 6 cluster numbers\.$"):
        count_pairs(labels[1:], clusters, 2)


def test_rows_without_a_cluster_are_wrong():
    labels, found = np.array([0, 0, 1, 1]), Clustering(np.array([0, -1, 1, -1]))
    predicted, probabilities = methods.predict_classes(found, labels)
    assert predicted.tolist() == [0, -1, 1, -1]
    assert probabilities.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]
    scores = score_clustering(found, labels)
    assert (scores["accuracy"], scores["recall"], scores["roc_auc_soft"]) == (0.5, [0.5, 0.5], None)


def test_scores_by_hand():
    labels, clusters = unrolled(GREEDY_LOSES)
    scores = score_clustering(Clustering(clusters, one_hot(clusters, 2) * 0.8 + 0.1), labels)
    assert scores["accuracy"] == pytest.approx(8 / 14)
    # Class 0: 4 of 9 found, 4 of 5 right; class 1: 4 of 5 found, 4 of 9 right. Both F1 are 8 / 14.
    assert scores["recall"] == pytest.approx([4 / 9, 4 / 5])
    assert scores["macro_f1"] == pytest.approx(8 / 14)
    # From hard assignments, AUC is the mean of the two recalls.
    assert scores["roc_auc_hard"] == pytest.approx((4 / 9 + 4 / 5) / 2)
    assert scores["roc_auc_soft"] == pytest.approx(scores["roc_auc_hard"]), "only two values, in the same order"
    assert (scores["silhouette"], scores["matched"]) == (None, [1, 0])


def test_perfect_and_useless_clusters():
    labels = np.repeat(np.arange(3), 4)
    perfect = score_clustering(Clustering((labels + 1) % 3), labels, np.eye(3)[labels])
    names = ("accuracy", "macro_f1", "nmi", "ami", "ari", "roc_auc_hard", "silhouette")
    assert [perfect[name] for name in names] == [1] * 7
    useless = score_clustering(Clustering(np.zeros(12, int)), labels, np.eye(3)[labels])
    assert useless["accuracy"] == pytest.approx(1 / 3)
    assert (useless["nmi"], useless["ari"], useless["silhouette"]) == (0, 0, None), "one cluster has no silhouette"


def test_memberships_of_classes_are_sums():
    soft = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    _, found = methods.predict_classes(Clustering(np.array([2, 1]), soft), np.array([1, 1]), 2, many_to_one=True)
    assert found.tolist() == pytest.approx(np.array([[0, 0.8], [0, 0.9]]))


def test_pca_by_the_covariance_is_that_by_singular_values():
    rng = np.random.default_rng(0)
    tall = (rng.normal(size=(300, 40)) @ rng.normal(size=(40, 40)) + 100).astype(np.float32)
    for features in (tall, tall[:30]):
        whole = PCA(0.95, svd_solver="full").fit_transform(features.astype(np.float64))
        assert methods.reduce_dimensions(features, 0.95) == pytest.approx(whole, abs=1e-5)


def test_pca_keeps_the_variance_asked_for():
    features = np.random.default_rng(0).normal(size=(200, 20)) * 0.8 ** np.arange(20)
    reduced = methods.reduce_dimensions(features, 0.95)
    total = features.var(axis=0).sum()
    assert 0.95 <= reduced.var(axis=0).sum() / total < 1
    assert reduced[:, :-1].var(axis=0).sum() / total < 0.95, "one component fewer would do"
    assert reduced.dtype == np.float32
    assert np.abs(reduced.mean(axis=0)).max() < 1e-5
    for count, variance, expected in ((200, 7, (200, 7)), (200, 1.0, (200, 20)), (5, 50, (5, 5))):
        assert methods.reduce_dimensions(features[:count], variance).shape == expected


def test_components_that_are_not_centred_are_those_of_the_singular_values():
    features = np.random.default_rng(0).normal(size=(60, 8)) * 0.8 ** np.arange(8) + [1.5, 0, 0, 0, 0, 0, 0, 0]
    left, values, _ = np.linalg.svd(features, full_matrices=False)
    kept = np.argmax(np.cumsum(values**2) / np.sum(values**2) >= 0.9) + 1
    found = methods.reduce_dimensions(features, 0.9, centered=False)
    assert found.shape == (60, kept)
    assert np.abs(found) == pytest.approx(np.abs(left * values)[:, :kept], abs=1e-5)
    assert kept < methods.reduce_dimensions(features, 0.9).shape[1], "the mean takes no share of the variance"


def test_soft_memberships_by_hand():
    features, centers = np.array([[0.0], [1.0], [4.0]]), np.array([[0.5], [4.0]])
    soft = methods.memberships(features, centers, np.array([0, 0, 1]))
    variance = (0.25 + 0.25 + 0) / 3
    expected = np.exp(-np.array([[0.25, 16], [0.25, 9], [12.25, 0]]) / (2 * variance))
    assert soft == pytest.approx(expected / expected.sum(axis=1, keepdims=True))
    assert soft.sum(axis=1) == pytest.approx(np.ones(3))
    assert soft.argmax(axis=1).tolist() == [0, 0, 1]
    assert np.isfinite(methods.memberships(centers, centers, np.array([0, 1]))).all(), "no spread at all"


def test_the_reported_seed_has_the_lowest_inertia():
    features = np.random.default_rng(0).normal(size=(150, 5)).astype(np.float32)
    labels = np.arange(150) % 10
    table, best = kmeans_over_seeds(features, labels, seeds=range(5), n_init=1)
    assert table["seed"].tolist() == list(range(5))
    assert table["inertia"].nunique() > 1, "this case would show nothing"
    (reported,) = table[table["reported"]].to_dict("records")
    assert reported["inertia"] == table["inertia"].min() == best.inertia
    assert reported["accuracy"] == score_clustering(best, labels)["accuracy"]
    again = kmeans(features, seed=int(reported["seed"]), n_init=1)
    assert np.array_equal(again.clusters, best.clusters)
    permuted, same = kmeans_over_seeds(features, labels[::-1], seeds=range(5), n_init=1)
    assert np.array_equal(same.clusters, best.clusters), "the choice has seen labels"
    assert permuted["inertia"].tolist() == table["inertia"].tolist()


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_separate_blobs(method):
    features, labels = blobs()
    found, again = (cluster(features, method) for _ in range(2))
    assert (found.clusters.shape, found.clusters.dtype, found.count) == ((300,), np.int64, 10)
    assert np.array_equal(again.clusters, found.clusters)
    scores = score_clustering(found, labels, features)
    assert scores["accuracy"] > (0.9 if method == "hdbscan" else 0.999)  # hdbscan leaves edges as noise
    assert scores["silhouette"] > 0.6
    if found.soft is not None:
        assert found.soft.shape == (300, 10)
        assert found.soft.sum(axis=1) == pytest.approx(np.ones(300))
        assert np.mean(found.soft.argmax(axis=1) == found.clusters) > 0.99
        assert scores["roc_auc_soft"] > 0.999


def test_spherical_kmeans_looks_at_directions_alone():
    features, labels = blobs(classes=3, dimensions=3)
    lengths = np.random.default_rng(1).uniform(0.1, 10, (len(labels), 1))
    assert score_clustering(cluster(features * lengths, "spherical", 3), labels)["accuracy"] > 0.999
    assert score_clustering(cluster(features * lengths, "kmeans", 3), labels)["accuracy"] < 0.999


def test_ward_over_near_neighbours_agrees_on_blobs(monkeypatch):
    features, labels = blobs()
    monkeypatch.setattr(methods, "MANY", 10)
    with pytest.warns(UserWarning, match="number of connected components"):
        found = cluster(features, "ward")
    assert score_clustering(found, labels)["accuracy"] > 0.999


SHARE = "give a share above 0 and up to 1.0, or a number of components."
FEATURES = np.eye(4)
NO_SOFT = "This clustering has no memberships; use kmeans, gmm or spherical."
REFUSED = [
    ("method is 'dbscan'; choose kmeans, gmm, spherical, ward, spectral, hdbscan.", cluster, (FEATURES, "dbscan", 2)),
    ("4 rows cannot be put into 10 clusters; set clusters to fewer.", cluster, (FEATURES, "ward", 10)),
    ("4 rows cannot be put into 10 clusters; set clusters to fewer.", kmeans_over_seeds, (FEATURES, np.arange(4), 10)),
    (NO_SOFT, Clustering(np.arange(4)).typical_rows, (1,)),
    (f"variance is 0; {SHARE}", methods.reduce_dimensions, (FEATURES, 0)),
    (f"variance is 1.5; {SHARE}", methods.reduce_dimensions, (FEATURES, 1.5)),
]


@pytest.mark.parametrize(("sentence", "function", "arguments"), REFUSED)
def test_wrong_arguments_are_named(sentence, function, arguments):
    assert refusal(function, *arguments) == sentence
