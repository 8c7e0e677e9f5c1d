"""Each sentence is held against its table by other means, on tables drawn at random: it must be true of every one."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from galutils.clustering import chance
from galutils.clustering.null import SCORES, chance_plane
from galutils.clustering.scores import match_table, score_table

ANY = settings(deadline=None, max_examples=60)
RANDOM = "The transformer's weights are random: what follows bears on nothing but the machinery."
NUMBER = r"([+-]?[\d,]+(?:\.\d+)?)"
TABLES = npst.arrays(np.int64, (5, 4), elements=st.integers(0, 30)).filter(lambda table: (table.sum(0) > 0).all())
SHARES = st.floats(0, 1)


def numbers(pattern, text):
    """The numbers of a sentence that is, as a whole, the pattern with numbers in place of #."""
    found = re.fullmatch(re.escape(pattern).replace(r"\#", NUMBER), text)
    assert found, text
    return [float(number.replace(",", "")) for number in found.groups()]


def accuracy_of(table):
    """By trying every assignment."""
    from itertools import permutations

    return max(sum(table[k, c] for k, c in enumerate(order)) for order in permutations(range(4))) / table.sum()


@ANY
@given(TABLES, npst.arrays(float, 20, elements=SHARES))
def test_the_excess_is_that_over_permuted_labels(table, null):
    said = numbers(
        "The clusters of the frozen embedding get #% of these # galaxies right: # points against the #% of permuted "
        "labels (95% interval # to #, the matching taken as it is); #% of the permutations get as much.",
        chance.describe_excess(table, null),
    )
    accuracy, size = accuracy_of(table), table.sum()
    root = 1.96 * np.sqrt(accuracy * (1 - accuracy) / size + (1.96 / (2 * size)) ** 2)
    ends = [(accuracy + 1.96**2 / (2 * size) + sign * root) / (1 + 1.96**2 / size) for sign in (-1, 1)]
    expected = [accuracy, size / 100, accuracy - null.mean(), null.mean(), *(e - null.mean() for e in ends)]
    reached = sum(value >= accuracy - 1e-12 for value in null) / 20
    assert said == pytest.approx([100 * value for value in [*expected, reached]], abs=0.06)


@ANY
@given(npst.arrays(float, (2, 3, 5), elements=SHARES), SHARES)
def test_probes_are_compared_over_folds(values, accuracy):
    folds = pd.MultiIndex.from_product([["knn", "linear"], range(5)])
    names = ["raw pixels, 32 by 32", "untrained transformer", "frozen transformer"]
    probes = pd.DataFrame(values.transpose(0, 2, 1).reshape(10, 3), folds, names)
    said = chance.describe_probes(probes, accuracy)
    means = "; ".join(f"{name} {own.mean():.1%}" for name, own in zip(names, values[1], strict=True))
    assert said[0] == f"A linear classifier that learns from labels gets, by cross-validation: {means}."
    raw, untrained, frozen = values[1]
    assert len(said) == 4
    for sentence, other in zip(said[1:], (raw, untrained, accuracy), strict=True):
        gain = 100 * (frozen - other)
        half = 2.7764 * gain.std(ddof=1) * np.sqrt(0.45)
        told, verdict = sentence.rsplit(": ", 1)
        found = re.search(f"gets {NUMBER} points against .* interval {NUMBER} to {NUMBER}, over folds", told).groups()
        assert [*map(float, found)] == pytest.approx([gain.mean(), gain.mean() - half, gain.mean() + half], abs=0.06)
        if min(abs(gain.mean() - half), abs(gain.mean() + half)) > 1e-6:
            assert verdict[:-1] == (
                "more" if gain.mean() > half else "less" if gain.mean() < -half else "no difference is shown"
            )


def clusterer_cases(rows):
    table = pd.DataFrame(rows, columns=["method", "clusters", "matching", "accuracy"])
    counts = [np.eye(5, 4, dtype=int)] * len(table)
    table = table.assign(chance=0.1, nmi=0.1, roc_auc_hard=0.5, counts=counts)
    reference = pd.DataFrame({"accuracy": [0.9], "nmi": [0.1], "roc_auc_hard": [0.5], "counts": counts[:1]}, ["pixels"])
    return chance.collect_cases({"reference": reference}, table, 0.2, on_full_set=False)


CLUSTERERS = st.lists(
    st.tuples(
        st.sampled_from(["kmeans", "gmm", "ward", "hdbscan"]),
        st.sampled_from([0, 3, 4, 14, 40]),
        st.sampled_from(["one-to-one", "many-to-one"]),
        SHARES,
    ),
    min_size=1,
    max_size=6,
)


@ANY
@given(CLUSTERERS, TABLES)
def test_only_other_clusterers_with_a_cluster_for_each_class_are_ranked(rows, table):
    said = chance.describe_clusterers(clusterer_cases(rows), table)
    fair = [row for row in rows if row[0] != "kmeans" and row[1] == 4 and row[2] == "one-to-one"]
    assert len(said) == bool(fair)
    if not fair:
        return
    count, method, best, place, own, low, high = re.fullmatch(
        r"Of (\d+) other clusterers with 4 clusters, (\w+) gets the most, ([\d.]+)%, which is (above|below|within) the "
        r"95% interval of k-means' ([\d.]+)% \(([\d.]+)% to ([\d.]+)%\)\.",
        said[0],
    ).groups()
    assert int(count) == len(fair)
    most = max(row[3] for row in fair)
    assert method in {row[0] for row in fair if row[3] == most}
    assert [float(best), float(own)] == pytest.approx([100 * most, 100 * accuracy_of(table)], abs=0.06)
    assert float(low) <= float(own) <= float(high)
    if place == "within":
        assert float(low) - 0.1 <= float(best) <= float(high) + 0.1
    else:
        assert float(best) >= float(high) - 0.1 if place == "above" else float(best) <= float(low) + 0.1


@ANY
@given(SHARES, SHARES, st.floats(0, 0.5), st.floats(0, 0.5))
def test_soft_assignments_are_said_to_know_more_where_they_do(soft, hard, below, above):
    gain = soft - hard
    low, high = gain - below, gain + above
    said = chance.describe_soft({"soft": soft, "hard": hard, "gain": gain, "low": low, "high": high})
    head, verdict = said.rsplit(": ", 1)
    found = [*map(float, re.findall(r"[+-]?\d\.\d{3}", head))]
    assert found == pytest.approx([soft, hard, gain, low, high], abs=0.0006)
    assert (verdict == "the distances know more than hard assignments show.") == (low > 0)
    assert (verdict == "hard assignments rank the galaxies better than the distances do.") == (high < 0)
    assert (verdict == "no difference is shown.") == (low <= 0 <= high)


@st.composite
def planes(draw):
    rows = []
    for shares in draw(st.sampled_from([["equal"], ["equal", "as here"]])):
        for size in (500, 1000, 17736):
            row = {"shares": shares, "galaxies": size}
            for name, (start, end) in {"accuracy": (0.1, 0.2), "roc_auc_hard": (0.5, 0.54)}.items():
                row[f"{name}_low"], row[name], row[f"{name}_high"] = sorted(draw(st.floats(start, end)) for _ in "lmh")
            rows.append(row)
    return pd.DataFrame(rows)


def meets(row):
    """Whether the paper's box and chance's central 95% have a point in common."""
    boxes = {"accuracy": (0.155, 0.165), "roc_auc_hard": (0.5205, 0.5225)}
    return all(max(row[f"{n}_low"], a) <= min(row[f"{n}_high"], b) + 1e-12 for n, (a, b) in boxes.items())


@ANY
@given(planes())
def test_what_follows_for_few_and_for_all_follows_from_the_plane(plane):
    said = chance.describe_plane(plane)
    rows = plane.to_dict("records")
    expected = "; ".join(
        f"{name}: " + (", ".join(f"{r['galaxies']:,}" for r in rows if r["shares"] == name and meets(r)) or "none")
        for name in dict.fromkeys(plane["shares"])
    )
    assert said[0].endswith(f"meaningless clusters get both within their central 95% at: {expected}.")
    full = [row for row in rows if row["galaxies"] == 17736]
    for row in full:
        assert f"{row['shares']} {row['accuracy']:.1%} ({row['accuracy_low']:.1%} to " in said[1]
    few = "If the paper scored so few galaxies, its two rows are what clusters without any meaning get"
    assert any(s.startswith(few) for s in said) == any(meets(r) for r in rows if r["galaxies"] < 17736)
    beyond = [r["accuracy_high"] < 0.155 - 1e-12 and r["roc_auc_hard_high"] < 0.5205 - 1e-12 for r in full]
    assert said[-1].startswith("If it scored all 17,736, ")
    assert ("chance gets its pair there, too" in said[-1]) == any(map(meets, full))
    if "more than meaningless ones" in said[-1]:
        assert all(beyond)
        (margin,) = re.search(f"by at least {NUMBER} points", said[-1]).groups()
        assert float(margin) == pytest.approx(100 * min(0.155 - r["accuracy_high"] for r in full), abs=0.06)
    else:
        assert not all(beyond)


@ANY
@given(npst.arrays(float, (5, 2), elements=st.floats(0, 1)), st.integers(0, 4), st.booleans(), planes())
def test_cases_in_the_papers_box_are_counted_and_else_the_nearest_is_named(values, faults, inside, plane):
    scores = values * [0.1, 0.03] + [0.1, 0.5]  # about the box
    scores[0] = (0.16, 0.5215) if inside else (0.3, 0.6)
    causes = ["reference"] * (5 - faults) + ["fault of evaluation"] * faults
    cases = pd.DataFrame(scores, columns=["accuracy_full", "roc_auc_full"]).assign(
        cause=causes, case=[f"case {i}" for i in range(5)]
    )
    said = chance.describe_cases(cases, plane)
    met = [i for i, (a, r) in enumerate(scores) if 0.155 <= a <= 0.165 and 0.5205 <= r <= 0.5225]
    head = f"Taken to the full set's size and class counts, {len(met)} of 5 cases have the paper's pair"
    assert said[0].startswith(head)
    named = [int(i) for i in re.findall(r"case (\d)", said[0])]
    assert named == met if met else len(named) == 1
    if not met:  # nothing is nearer in both numbers at once
        gap = [[max(a - v, v - b, 0) for v, (a, b) in zip(s, chance.PAPER_BOX.values(), strict=True)] for s in scores]
        (best,) = named
        assert not any(g[0] < gap[best][0] - 1e-9 and g[1] < gap[best][1] - 1e-9 for g in gap)
    assert len(said) == 1 + bool(faults)
    if faults:
        assert re.findall(r"case (\d)", said[1]) == [str(i) for i in range(5 - faults, 5)]


READINGS = st.lists(
    st.tuples(st.floats(-0.03, 0.03), st.floats(-0.004, 0.004), SHARES, st.floats(0, 90), st.none() | SHARES),
    max_size=4,
)


@ANY
@given(READINGS, st.booleans())
def test_readings_that_differ_as_the_papers_rows_do_are_named(rows, beside):
    columns = ["change", "auc_change", "cka", "largest_angle", "attention"]
    table = pd.DataFrame(rows, [f"reading {i}" for i in range(len(rows))], columns).astype(float)
    said = chance.describe_readings(table, beside)
    assert len(said) == len(rows) + (beside and bool(rows))
    for i, (change, area, cka, angle, attention) in enumerate(rows):
        words = "" if attention is None else f", attention changed by {attention:.1%} of what two galaxies differ by"
        drift = f"CKA {cka:.4f}, largest angle between leading components {angle:.0f}°"
        assert said[i] == (
            f"reading {i}: {change * 100:+.1f} points and {area:+.4f} in hard ROC AUC against the frozen embedding, "
            f"{drift}{words}."
        )
    if beside and rows:
        alike = [f"reading {i}" for i, row in enumerate(rows) if abs(row[0]) < 0.01 and 0 < row[1] < 0.002]
        other = [name for name in table.index if name not in alike]
        assert said[-1] == (
            "The paper's sixth row has less than 1 point more or less accuracy than its fifth, and a ROC AUC that is "
            f"higher by less than 0.002. So it is here with: {'; '.join(alike) or 'none'}. It is not with: "
            f"{'; '.join(other) or 'none'}."
        )


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
    assert set(SCORES) == {"accuracy", "roc_auc_hard"}


def test_chance_is_told_in_a_line():
    said = chance.describe_null(np.array([0.1, 0.2, 0.3]))
    assert said == "Permuted labels, these galaxies: 20.0%, SD 8.2%, highest 30.0%"
