"""Each sentence as a whole, on tables of which every number can be worked out."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from galutils.clustering import chance
from galutils.clustering.null import chance_plane
from galutils.clustering.scores import match_table, score_table

RANDOM = "The transformer's weights are random: what follows bears on nothing but the machinery."
#: Of 100 galaxies 70 are right, in 95% of the cases 60.4% to 78.1% (Wilson); five have no cluster.
COUNTS = np.array([[5, 30], [40, 20], [0, 5]])


def test_the_excess_is_that_over_permuted_labels():
    assert chance.describe_null(np.array([0.1, 0.2, 0.3])) == (
        "Permuted labels, these galaxies: 20.0%, SD 8.2%, highest 30.0%"
    )
    assert chance.describe_excess(COUNTS, np.array([0.5, 0.6, 0.75, 0.75])) == (
        "The clusters of the frozen embedding get 70.0% of these 100 galaxies right: +5.0 points against the 65.0% of "
        "permuted labels (95% interval -4.6 to +13.1, the matching taken as it is); 50.0% of the permutations get as "
        "much."
    )


def test_probes_are_compared_over_folds():
    """The first gain is 0.14 with a deviation of 0.0548 between folds: 0.14 -+ 2.776 * 0.0548 * sqrt(1/5 + 1/4)."""
    frozen, raw = [0.5, 0.6, 0.7, 0.6, 0.6], [0.4, 0.5, 0.6, 0.4, 0.4]
    columns = {"raw pixels": raw, "untrained transformer": frozen[::-1], "frozen transformer": frozen}
    folds = pd.MultiIndex.from_product([["knn", "linear"], range(5)])
    probes = pd.DataFrame({name: [0.0] * 5 + own for name, own in columns.items()}, folds)
    means = "raw pixels 46.0%; untrained transformer 60.0%; frozen transformer 60.0%."
    many, _ = chance.describe_probes(probes, 0.9, 10_001)
    assert many == (
        "A linear classifier that learns from labels gets, by cross-validation of 4,000 galaxies drawn at random: "
        f"{means}"
    )
    assert chance.describe_probes(probes, 0.9, 10_000) == [
        f"A linear classifier that learns from labels gets, by cross-validation: {means}",
        "On the frozen embedding it gets, in points against others (95% intervals over folds): raw pixels +14.0 (+3.8 "
        "to +24.2), more; untrained transformer +0.0 (-13.2 to +13.2), no difference is shown; k-means on it -30.0 "
        "(-43.2 to -16.8), less.",
    ]


@pytest.mark.parametrize(
    ("accuracies", "said"),
    [((0.78, 0.9, 0.61), "2 78.0%, which is within"), ((0.79, 0.9), "1 79.0%, which is above"),
     ((0.60,), "1 60.0%, which is below"), ((), "")],
)  # fmt: skip
def test_only_other_clusterers_with_a_cluster_for_each_class_are_ranked(accuracies, said):
    names = ["ward, 2 clusters, one-to-one", "gmm, 4 clusters, many-to-one", "spectral, 2 clusters, one-to-one"]
    others = pd.DataFrame({"case": names[: len(accuracies)], "accuracy": accuracies, "cause": "clusterer"})
    own = pd.DataFrame({"case": ["kmeans, 2 clusters, one-to-one"], "accuracy": 0.99, "cause": "clusterer"})
    count, _, place = said.partition(" ")
    assert chance.describe_clusterers(pd.concat([own, others], ignore_index=True), COUNTS) == [
        f"The {'one other clusterer' if count == '1' else 'best of 2 other clusterers'} with 2 clusters, ward, gets "
        f"{place} the 95% interval of k-means' 70.0% (60.4% to 78.1%)."
    ] * bool(said)


def test_a_clusterer_that_saw_some_galaxies_is_held_against_what_kmeans_would_get_on_as_many():
    counts = 200 * COUNTS  # 70% of 20,000 galaxies
    case = {"case": "spectral on 4,000 galaxies, 2 clusters, one-to-one", "accuracy": 0.71, "cause": "clusterer"}
    assert chance.describe_clusterers(pd.DataFrame([case]), counts) == [
        "The one other clusterer with 2 clusters, spectral on 4,000 galaxies, gets 71.0%, which is within the 95% "
        "interval that k-means' 70.0% would have on as many (68.6% to 71.4%)."
    ]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.09, "the distances know more than hard assignments show"),
        (-0.09, -0.01, "hard assignments rank the galaxies better than the distances do"),
        (-0.01, 0.01, "no difference is shown"),
    ],
)
def test_soft_assignments_are_said_to_know_more_where_they_do(low, high, verdict):
    gain = (low + high) / 2
    assert chance.describe_soft({"soft": 0.55 + gain, "hard": 0.55, "gain": gain, "low": low, "high": high}) == (
        f"From soft assignments the ROC AUC is {0.55 + gain:.3f}, from hard ones 0.550 (difference {gain:+.3f}, 95% "
        f"interval {low:+.3f} to {high:+.3f}): {verdict}."
    )


def plane_of(**shares):
    """Rows of the plane: for each kind of shares (accuracy, its low and high end, the same of ROC AUC) by size."""
    names = [f"{score}{end}" for score in ("accuracy", "roc_auc_hard") for end in ("", "_low", "_high")]
    rows = [[name, size, *row] for name, own in shares.items() for size, row in zip((500, 17736), own, strict=True)]
    return pd.DataFrame(rows, columns=["shares", "galaxies", *names])


BELOW, LOWER = (0.11, 0.10, 0.12, 0.506, 0.50, 0.51), (0.12, 0.11, 0.13, 0.507, 0.50, 0.511)
TOUCHES = (0.15, 0.14, 0.155, 0.53, 0.5225, 0.54)  # the paper's box at a corner
BESIDE = (0.15, 0.14, 0.154, 0.52, 0.51, 0.53)  # its ROC AUC alone
FEW = (
    "If the paper scored so few galaxies, its two rows are what clusters without any meaning get, and say nothing "
    "about DINO."
)
ABOVE = (
    "its clusters are more than meaningless ones of such shares, by at least 2.5 points, and a mistake that breaks "
    "every link between galaxies and labels is not the cause"
)


@pytest.mark.parametrize(
    ("first", "other", "few", "reached", "follows"),
    [
        ((TOUCHES, BELOW), (BELOW, LOWER), ("500", "none"), True, ABOVE),
        ((BELOW, BELOW), (BESIDE, BESIDE), ("none", "none"), False,
         "its pair is neither what meaningless clusters get nor above it in both numbers"),
        ((BELOW, BELOW), (BELOW, TOUCHES), ("none", "17,736"), False,
         "chance gets its pair there, too, and it says nothing about DINO"),
    ],
)  # fmt: skip
def test_what_follows_for_few_and_for_all_follows_from_the_plane(first, other, few, reached, follows):
    told = "; ".join(
        f"{name} {own[0]:.1%} ({own[1]:.1%} to {own[2]:.1%}) and {own[3]:.3f} ({own[4]:.3f} to {own[5]:.3f})"
        for name, own in (("equal", first[1]), ("uneven", other[1]))
    )
    assert chance.describe_plane(plane_of(equal=first, uneven=other)) == [
        "The paper's two rows are, but for rounding, an accuracy of 15.5% to 16.5% with a hard ROC AUC of 0.5205 to "
        "0.5225. Of the numbers of galaxies that were tried, meaningless clusters get both within their central 95% "
        f"at: equal: {few[0]}; uneven: {few[1]}.",
        f"On all 17,736 galaxies meaningless clusters get: {told}.",
        *([FEW] if reached else []),
        f"If it scored all 17,736, {follows}.",
    ]


TAKEN = "Taken to the full set's size and class counts, "
FAULTS = "With mistakes of evaluation, this clustering would get there: inverse (20.0%, 0.5500)."


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([(0.16, 0.5215), (0.30, 0.5215), (0.155, 0.5225)], "2 of 4 cases have the paper's pair: "
         "a (16.0%, 0.5215); c (15.5%, 0.5225)."),
        ([(0.16, 0.5215), (0.30, 0.5215), (0.145, 0.5225)], "1 of 4 cases has the paper's pair: a (16.0%, 0.5215)."),
        # Chance's 95% are 2 points and 0.01 wide: a is 0.9 such widths away, b 0.95 and c 2.0.
        ([(0.183, 0.5215), (0.165, 0.532), (0.145, 0.5055)], "0 of 4 cases have the paper's pair; the nearest in both "
         "numbers is, by cause reference, a (18.3%, 0.5215)."),
    ],
)  # fmt: skip
def test_cases_in_the_papers_box_are_counted_and_else_the_nearest_is_named(scores, said):
    cases = pd.DataFrame([*scores, (0.2, 0.55)], columns=["accuracy_full", "roc_auc_full"])
    cases = cases.assign(case=["a", "b", "c", "inverse"], cause=["reference"] * 3 + ["fault of evaluation"])
    plane = plane_of(equal=(TOUCHES, BELOW))
    assert chance.describe_cases(cases, plane) == [TAKEN + said, FAULTS]
    assert len(chance.describe_cases(cases[:3], plane)) == 1


def test_readings_that_differ_as_the_papers_rows_do_are_named():
    columns = ["change", "auc_change", "cka", "largest_angle", "attention"]
    rows = [(0.009, 0.001, 0.99, 12.4, 0.5), (-0.01, 0.001, 0.5, 90, np.nan), (0.0, 0.0, 1, 0, 0), (0, 0.002, 1, 0, 0)]
    table = pd.DataFrame(rows, [*"abcd"], columns)
    paper = "The paper's sixth row has less than 1 point more or less accuracy than its fifth, and a ROC AUC that is "
    paper += "higher by less than 0.002. So it is here with: "
    assert chance.describe_readings(table) == [f"{paper}a. It is not with: b; c; d."]
    assert chance.describe_readings(table[1:]) == [f"{paper}none. It is not with: b; c; d."]
    assert chance.describe_readings(table[:1]) == [f"{paper}a. It is not with: none."]
    assert chance.describe_readings(table[:0]) == []


def evidence(random):
    """The smallest that :func:`chance.conclude` takes."""
    table = np.vstack([np.diag(range(1, 11)), np.zeros(10, int)]) + np.array([[1]] * 10 + [[0]])
    folds = pd.MultiIndex.from_product([["knn", "linear"], range(5)])
    probes = pd.DataFrame({"raw pixels": 0.2, "frozen transformer": 0.3}, folds)
    readings = pd.DataFrame({name: [0.001] for name in ("change", "auc_change", "cka", "largest_angle", "attention")})
    readings.index = ["fork"]
    rows = pd.DataFrame({"fault": ["none", "inverse"], "accuracy": [0.3, 0.1], "roc_auc_hard": [0.6, 0.5]})
    found = {"method": ["ward"], "clusters": [10], "matching": ["one-to-one"], "accuracy": [0.2], "counts": [table]}
    clusterers = pd.DataFrame(found).assign(chance=0.15, nmi=0.1, roc_auc_hard=0.5)
    reference = clusterers[["accuracy", "nmi", "roc_auc_hard", "counts"]].set_index(pd.Index(["pixels"]))
    cases = chance.collect_cases({"reference": reference}, clusterers, 0.2, on_full_set=True)
    cases = chance.add_faults(cases, rows, rows)
    soft = dict.fromkeys(("soft", "hard", "gain", "low", "high"), 0.5)
    plane = chance_plane({"equal": np.full(10, 0.1)}, (500, 17736), draws=5)
    return [table, np.array([0.2, 0.2]), soft, probes, cases, readings, plane, random]


def test_cases_hold_every_cause_and_not_the_faultless_evaluation():
    cases = evidence(False)[4]
    assert cases["cause"].tolist() == ["reference", "clusterer", "fault of evaluation"]
    assert cases["case"].tolist() == ["pixels", "ward, 10 clusters, one-to-one", "inverse"]
    assert cases["chance"].tolist() == [0.2, 0.15, 0.2]
    assert cases["accuracy_full"].iloc[2] == 0.1
    table = evidence(False)[0]
    assert cases["accuracy_full"].iloc[0] == pytest.approx(score_table(table, match_table(table))[0], abs=0.05)


def test_random_weights_are_said_first_and_the_papers_numbers_go_with_its_classes():
    given, plain = evidence(True), evidence(False)
    assert chance.conclude(*given) == [RANDOM, *chance.conclude(*plain)]
    other = [*plain[:6], None, False]
    without = chance.conclude(*other)
    assert not any("paper's two rows" in s or "paper's sixth" in s or "full set" in s for s in without)
    assert len(chance.conclude(*plain)) > len(without) + 4


@given(st.lists(st.tuples(st.floats(0.1, 0.3), st.floats(0.5, 0.6)), min_size=1, max_size=6))
def test_whatever_cases_get_those_in_the_papers_box_are_counted(scores):
    cases = pd.DataFrame(scores, columns=["accuracy_full", "roc_auc_full"])
    cases = cases.assign(case=[f"case {i}" for i in range(len(scores))], cause="reference")
    (told,) = chance.describe_cases(cases, plane_of(equal=(TOUCHES, BELOW)))
    met = [i for i, (share, area) in enumerate(scores) if 0.155 <= share <= 0.165 and 0.5205 <= area <= 0.5225]
    start, named = told.split(" the paper's pair")
    assert start == f"{TAKEN}{len(met)} of {len(scores)} cases {'has' if len(met) == 1 else 'have'}"
    numbers = [int(number) for number in re.findall(r"case (\d)", named)]
    assert numbers == met if met else len(numbers) == 1


@given(st.lists(st.floats(0.3, 0.99), min_size=1, max_size=4, unique=True))
def test_whatever_clusterers_get_the_best_is_named_on_its_side_of_the_interval(accuracies):
    names = [f"{name}, 2 clusters, one-to-one" for name in ("ward", "gmm", "spectral", "spherical")]
    cases = pd.DataFrame({"case": names[: len(accuracies)], "accuracy": accuracies, "cause": "clusterer"})
    (told,) = chance.describe_clusterers(cases, COUNTS)
    best = max(accuracies)
    assert f", {names[accuracies.index(best)].split(',')[0]}, gets {best:.1%}, which is " in told
    # Of k-means' 70 of 100, by Wilson: 60.4% to 78.1%.
    low, high = proportion_confint(70, 100, method="wilson")
    place = "above" if best > high else "below" if best < low else "within"
    assert f"which is {place} the 95% interval of k-means' 70.0% (60.4% to 78.1%)." in told
