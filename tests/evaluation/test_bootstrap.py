import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from galutils.evaluation import bootstrap
from galutils.evaluation.bootstrap import Graded, combine_seeds, estimate, galaxy_draws, weighted_scores, wilson


def graded(count=400, seed=0, group=None):
    """Predictions that are right for about half of the galaxies; every class occurs."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    probabilities = rng.dirichlet(np.ones(10), count) + 0.2 * np.eye(10)[labels]
    probabilities = np.round(probabilities / probabilities.sum(axis=1, keepdims=True), 2)  # with ties
    group = np.arange(count) if group is None else group
    return Graded(np.arange(count), group, labels, probabilities.argmax(axis=1), probabilities)


def test_scores_agree_with_scikit_learn():
    run = graded()
    scores = {name: values[0] for name, values in weighted_scores(run, np.ones((1, 400))).items()}
    given = run.labels, run.predicted
    assert scores["accuracy"] == pytest.approx(sk.accuracy_score(*given))
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(*given))
    assert scores["macro_f1"] == pytest.approx(sk.f1_score(*given, average="macro"))
    assert scores["recall"] == pytest.approx(sk.recall_score(*given, average=None))
    assert scores["precision"] == pytest.approx(sk.precision_score(*given, average=None))
    areas = [sk.roc_auc_score(run.labels == label, run.probabilities[:, label]) for label in range(10)]
    assert scores["roc_auc"] == pytest.approx(np.mean(areas))


def test_a_row_that_counts_twice_is_a_row_that_occurs_twice():
    run = graded()
    weights = np.random.default_rng(1).integers(0, 3, (2, 400))
    found = weighted_scores(run, weights.astype(float))
    for draw, weight in enumerate(weights):
        rows = np.repeat(np.arange(400), weight)
        again = Graded(rows, rows, run.labels[rows], run.predicted[rows], run.probabilities[rows])
        for name, values in weighted_scores(again, np.ones((1, len(rows)))).items():
            assert found[name][draw] == pytest.approx(values[0]), name


def test_top_two_and_confused_pairs_by_hand():
    labels, predicted = np.array([0, 0, 1, 6, 6, 7]), np.array([0, 1, 0, 6, -1, 6])
    probabilities = np.full((6, 10), 0.01)
    probabilities[np.arange(6), [0, 1, 0, 6, 2, 6]] = 0.6
    probabilities[np.arange(6), [1, 0, 5, 7, 6, 3]] = 0.3
    scores = weighted_scores(Graded(np.arange(6), np.arange(6), labels, predicted, probabilities), np.ones((1, 6)))
    assert scores["accuracy"][0] == pytest.approx(2 / 6)
    assert scores["top2_accuracy"][0] == pytest.approx(4 / 6)  # not the third and the last
    # Of three disturbed or merging galaxies two are swapped, of three spirals one; of the third pair there is none.
    assert scores["confused"][0, :2] == pytest.approx([2 / 3, 1 / 3])
    assert np.isnan(scores["confused"][0, 2])
    assert scores["recall"][0, [0, 1, 6, 7]] == pytest.approx([1 / 2, 0, 1 / 2, 0])
    assert np.isnan(scores["recall"][0, 3])


def test_weighted_roc_auc_counts_ties_half():
    labels, scores = np.array([0, 0, 1]), np.array([[0.5, 0.5], [0.9, 0.1], [0.5, 0.5]])
    # Pairs of a 0 and a 1: one tied, one won; the first counts three times in the second weighting.
    areas = bootstrap.weighted_roc_auc(labels, scores, np.array([[1.0, 1, 1], [3, 1, 1]]))
    assert areas == pytest.approx([0.75, (3 * 0.5 + 1) / 4])


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_interval_is_wilsons(right, count, low, high):
    """Newcombe (1998), Statistics in Medicine 17, 857, table I, method 3."""
    share = right / count
    found = wilson([share], [np.sqrt(share * (1 - share) / count)], [np.inf], [count])
    assert np.concatenate(found) == pytest.approx([low, high], abs=5e-5)


def test_seeds_and_galaxies_add_up_by_hand():
    points = np.array([[0.4], [0.6]])
    # The galaxies change nothing: the variance of the mean of two seeds is 0.02 / 2, with one degree of freedom.
    row = combine_seeds(points, np.repeat(points[:, None], 50, axis=1), galaxies=101).iloc[0]
    assert [row["mean"], row["sd"], row["standard_error"], row["dof"]] == pytest.approx([0.5, 0.02**0.5, 0.1, 1])
    # The galaxies move both seeds alike, with variance 0.03; the seeds' own variance comes on top.
    moved = points[:, None] + np.array([-(0.015**0.5), 0.015**0.5])[None, :, None]
    row = combine_seeds(points, moved, galaxies=101).iloc[0]
    assert row["standard_error"] == pytest.approx((0.01 + 0.03 * 1.01) ** 0.5)
    assert row["dof"] == pytest.approx((0.01 + 0.0303) ** 2 / (0.01**2 / 1 + 0.0303**2 / 100))
    # The seeds differ on drawn galaxies by as much as they do at all: nothing is left for the seeds themselves.
    apart = points[:, None] + np.array([[0.1, -0.1], [-0.1, 0.1]])[:, :, None]
    row = combine_seeds(points, apart, galaxies=101).iloc[0]
    assert row["standard_error"] == pytest.approx(0)


def test_copies_of_a_galaxy_are_no_evidence_of_their_own():
    single, twice = graded(300), graded(600, group=np.repeat(np.arange(300), 2))
    doubled = Graded(np.arange(600), twice.group, *(np.repeat(x, 2, axis=0) for x in (single.labels, single.predicted)))
    apart = Graded(np.arange(600), np.arange(600), doubled.labels, doubled.predicted)
    errors = [estimate([run]).loc["accuracy", "standard_error"] for run in (single, doubled, apart)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-6)
    assert errors[1] / errors[2] == pytest.approx(2**0.5, rel=0.1)


def test_intervals_have_a_width_where_all_are_right():
    labels = np.arange(100) % 10
    table = estimate([Graded(np.arange(100), np.arange(100), labels, labels)])
    assert table.loc["accuracy", "low"] == pytest.approx(1 / (1 + stats.t.ppf(0.975, 99) ** 2 / 100))
    assert table.loc["recall Merging", "low"] < table.loc["accuracy", "low"] < table.loc["accuracy", "high"] == 1
    assert np.isnan(table.loc["top2_accuracy", "mean"])
    assert np.isnan(table.loc["accuracy", "sd"])


def test_a_class_with_one_galaxy_still_has_an_interval():
    """In a third of the draws it does not occur."""
    labels, predicted = np.array([0] * 9 + [1]), np.array([0] * 8 + [1] * 2)
    runs = [Graded(np.arange(10), np.arange(10), labels, predicted)] * 2
    row = estimate(runs).loc["recall Merging"]
    assert row["mean"] == 1
    assert 0 < row["low"] < 0.5
    assert row["high"] == 1
    precision = estimate(runs).loc["precision Merging"]
    assert 0 <= precision["low"] < 0.5 < precision["high"] <= 1
    assert np.isnan(estimate(runs).loc["recall Round smooth", "mean"])


def simulate(rng, seeds, seed_sd, galaxies=200, share=0.75):
    """Correctness (S, n) with easy and hard galaxies, good and bad seeds, and a tenth of the galaxies twice."""
    group = np.repeat(np.arange(galaxies), np.where(rng.random(galaxies) < 0.1, 2, 1))
    ease = rng.normal(0, 1, galaxies)[group]
    middle = stats.norm.ppf(share) * np.sqrt(2 + seed_sd**2)
    noise = rng.normal(size=(seeds, len(group)))
    return group, middle + rng.normal(0, seed_sd, (seeds, 1)) + ease + noise > 0


@pytest.mark.parametrize(("seeds", "seed_sd"), [(1, 0.0), (3, 0.05), (5, 0.1)])
def test_intervals_cover_what_they_claim(seeds, seed_sd):
    """Claimed: 95%. The binomial standard error over 1,000 simulated studies is 0.7%; 2% are allowed."""
    rng, covered = np.random.default_rng(0), 0
    for study in range(1000):
        group, right = simulate(rng, seeds, seed_sd)
        weights = galaxy_draws([group], 100, study)[0]
        replicates = np.stack([weights @ own / weights.sum(axis=1) for own in right])[:, :, None]
        row = combine_seeds(right.mean(axis=1)[:, None], replicates, 200)
        low, high = wilson(row["mean"], row["standard_error"], row["dof"], np.array([200]))
        covered += low[0] <= 0.75 <= high[0]
    assert covered / 1000 == pytest.approx(0.95, abs=0.02)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seeds", [1, 2])
def test_one_galaxy_tells_a_score_and_no_interval(seeds):
    one = Graded(np.array([0]), np.array([0]), np.array([1]), np.array([1]))
    accuracy = estimate([one] * seeds).loc["accuracy"]
    assert accuracy["mean"] == 1
    assert accuracy[["standard_error", "low", "high"]].isna().all()
