"""No sentence that can be false: each maker is fed random tables and runs, and its words are checked by other means."""

import re

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from galutils.evaluation import (
    baselines,
    bootstrap,
    calibration,
    confusion,
    label_noise,
    labels,
    power,
    significance,
)
from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.significance import BETTER, DECIDED, EQUIVALENT, OPEN, TOO_FEW, WORSE
from galutils.report import tables
from galutils.study.ablations import ONE_SEED
from galutils.training import lessons

CLASSES = ("A", "B", "C")
TRIED = settings(max_examples=40)


@st.composite
def runs(draw, fewest=2):
    """Predictions of three classes by a network of any skill and any confidence; rows of a galaxy may repeat."""
    size, seed = draw(st.integers(fewest, 60)), draw(st.integers(0, 2**31))
    skill, sharpness = draw(st.floats(0, 5)), draw(st.sampled_from([0.01, 0.5, 1, 3, 50]))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, draw(st.integers(1, 3)), size)
    logits = rng.normal(0, 1, (size, 3)) + skill * np.eye(3)[labels] + [draw(st.sampled_from([0, 4])), 0, 0]
    logits *= sharpness
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    group = rng.integers(0, size, size) if draw(st.booleans()) else np.arange(size)
    return Graded(np.arange(size), group, labels, probabilities.argmax(axis=1), probabilities, CLASSES)


def numbers(text):
    """All numbers of a sentence, without the commas of thousands."""
    return [float(number) for number in re.findall(r"[-+]?\d+\.?\d*", re.sub(r"(?<=\d),(?=\d)", "", text))]


@TRIED
@given(runs())
def test_a_run_has_collapsed_if_it_says_one_class_and_others_are_there(run):
    most = pd.Series(run.predicted).value_counts()
    others_said, others_there = len(run.row) - most.max(), np.sum(run.labels != most.idxmax())
    assert run.collapsed == (most.max() / len(run.row) >= 0.95 and others_said < others_there / 2)
    always = Graded(run.row, run.group, run.labels, np.full(len(run.row), 2), None, CLASSES)
    assert always.collapsed == (not (run.labels == 2).all())
    right = Graded(run.row, run.group, run.labels, run.labels, None, CLASSES)
    assert not right.collapsed


@TRIED
@given(npst.arrays(float, st.integers(0, 30), elements=st.one_of(st.just(np.nan), st.floats(-1, 1), st.just(0.25))))
def test_a_gap_is_told_only_where_the_interval_leaves_none_out(values):
    text, known = bootstrap.describe_gap(values, "One", "other"), values[~np.isnan(values)]
    if len(known) < 2:
        assert text == "One and other cannot be compared: fewer than two galaxies have both numbers."
        return
    shown, low, high = (numbers(text)[i] for i in (0, 2, 3))
    assert numbers(text)[-1] == len(known)
    # Student's interval of the mean, by scipy; the bootstrap's draws move it a little.
    half = stats.t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / len(known) ** 0.5 * 100
    mean = known.mean() * 100
    assert abs((low + high) / 2 - mean) <= 0.11
    assert 0.85 * half - 0.11 <= (high - low) / 2 <= 1.15 * half + 0.11
    if "not told apart" in text:
        assert low <= 0 <= high
        assert abs(shown - mean) <= 0.051
    else:
        size = f"{abs(mean):.1f}" if abs(mean) >= 0.05 else "less than 0.1"
        assert f"One lies {size} points {'above' if mean > 0 else 'below'} other" in text
        assert np.sign(low) * np.sign(high) >= 0


@TRIED
@given(runs(20), runs(20))
def test_calibration_is_told_as_it_is_tested(first, second):
    table = calibration.calibration_table({"one": {0: first}, "two": {0: second}})
    sentences = calibration.describe_calibration(table)
    sound = [(title, run) for title, run in (("one", first), ("two", second)) if not run.collapsed]
    assert len(sentences) == len(table) == len(sound)
    for text, (title, run) in zip(sentences, sound, strict=True):
        gap = (run.probabilities.max(axis=1) - run.correct).mean() * 100
        row = table.loc[title]
        said = re.fullmatch(
            rf"{title}: (.+); its calibration error is (.+)%, and true probabilities show as much in (.+) of draws; "
            r"confidence less accuracy is (.+) points \(95% interval (.+) to (.+)\)\.", text
        )  # fmt: skip
        way, error, _, shown, low, high = said.groups()
        assert abs(float(error) - 100 * calibration.calibration_error(run.labels, run.probabilities)) < 0.051
        assert abs(float(shown) - gap) < 0.051
        assert float(low) - 0.051 <= gap <= float(high) + 0.051
        decided = not row["gap_low"] <= 0 <= row["gap_high"]
        assert (way == "too sure on average") == (decided and gap > 0)
        assert (way == "too timid on average") == (decided and gap < 0)
        assert (way == "not calibrated, which way is open") == (not decided and row["p"] < 0.05)
        assert (way == "no departure from calibration is shown") == (not decided and row["p"] >= 0.05)


COUNTS = npst.arrays(np.int64, (3, 3), elements=st.integers(0, 40))


@given(COUNTS)
def test_confusions_are_those_of_the_matrix(counts):
    sentences = confusion.describe_confusions(counts, CLASSES)
    off = [(t, p) for t in range(3) for p in range(3) if t != p and counts[t, p]]
    assert len(sentences) == min(3, len(off))
    shares = sorted((counts[t, p] / counts[t].sum() for t, p in off), reverse=True)
    for text, share in zip(sentences, shares, strict=False):
        true, taken = (CLASSES.index(name) for name in re.search(r"of (\w) \(.+ taken for (\w)$", text).groups())
        assert true != taken
        assert text.startswith(f"{share:.0%} of {CLASSES[true]} ({counts[true, taken]} of {counts[true].sum()})")


@given(st.lists(COUNTS, max_size=4))
def test_what_all_confuse_each_confuses(matrices):
    named = {str(i): counts for i, counts in enumerate(matrices)}
    sentences = confusion.describe_shared(named, CLASSES)
    shared = [(t, p) for t in range(3) for p in range(3) if t != p and all(counts[t, p] for counts in matrices)]
    if len(matrices) < 2:
        assert sentences == ["Fewer than two classifiers tell classes apart here, so there is nothing that they share."]
    elif not shared:
        assert sentences == [f"There is no confusion that all {len(matrices)} classifiers share."]
    else:
        assert len(sentences) == min(5, len(shared))
        for text in sentences:
            true, taken = (CLASSES.index(name) for name in re.match(r"(\w) taken for (\w):", text).groups())
            of_each = [counts[true, taken] / counts[true].sum() for counts in matrices]
            assert (true, taken) in shared
            assert f"from {min(of_each):.0%} to {max(of_each):.0%} of the class by each of {len(matrices)}" in text


@given(st.integers(1, 5000), st.floats(0, 1), st.booleans())
def test_suspects_are_counted_and_in_simulations_are_false_alarms(galaxies, share, simulated):
    suspects = int(share * galaxies)
    text = label_noise.describe_suspects(suspects, galaxies, simulated)
    found = numbers(text)
    assert found[:2] == [suspects, galaxies]
    assert abs(found[2] - 100 * suspects / galaxies) < 0.051
    assert ("false alarm" in text) == simulated
    if simulated:  # every label is right: the interval holds the rate that was seen
        assert found[-2] - 0.051 <= found[2] <= found[-1] + 0.051


@given(npst.arrays(bool, st.integers(1, 40)), st.integers(0, 2**31))
def test_planted_labels_are_counted(spoilt, seed):
    suspected = np.random.default_rng(seed).random(len(spoilt)) < 0.4
    found = numbers(label_noise.describe_planted(spoilt, suspected))
    table = pd.crosstab(spoilt, suspected).reindex(index=[True, False], columns=[True, False], fill_value=0)
    assert [found[0], found[1]] == [table.loc[True].sum(), table.loc[True, True]]
    assert [found[3], found[4]] == [table.loc[False].sum(), table.loc[False, True]]
    if suspected.any():
        assert abs(found[6] - 100 * table.loc[True, True] / table[True].sum()) <= 0.5
    else:
        assert len(found) == 6


@TRIED
@given(st.integers(0, 2**31), st.integers(0, 30), st.integers(1, 20), st.integers(0, 5))
def test_votes_give_what_drawing_voters_gives(seed, galaxies, voters, without):
    rng = np.random.default_rng(seed)
    votes = rng.multinomial(voters, rng.dirichlet(np.ones(3), galaxies)) / voters
    text = label_noise.describe_votes(np.concatenate([votes, np.full((without, 3), np.nan), votes[:0]]))
    assert text.startswith(f"{galaxies} of {galaxies + without} galaxies have votes that sum to one")
    if galaxies < 2:
        assert text.endswith("too few to say how far any answer can agree with them.")
        return
    best, two = (found[i] for found in [numbers(text)] for i in (2, 6))
    drawn = np.stack([rng.choice(3, 4000, p=own) for own in votes])
    other = np.stack([rng.choice(3, 4000, p=own) for own in votes])
    assert abs(best - 100 * np.mean(drawn == votes.argmax(axis=1)[:, None])) < 1.5 + 100 / galaxies**0.5 / 30
    assert abs(two - 100 * np.mean(drawn == other)) < 1.5 + 100 / galaxies**0.5 / 30
    assert two <= best + 0.11


def test_without_votes_nothing_is_said_of_them():
    assert label_noise.describe_votes(None) == "This file holds no votes of volunteers."


@TRIED
@given(runs(), st.integers(0, 2**31))
def test_a_baseline_is_beaten_only_where_galaxies_and_test_say_so(run, seed):
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(len(run.row)) < rng.random(), run.labels, rng.integers(0, 3, len(run.row)))
    other = Graded(run.row, run.group, run.labels, predicted, None, CLASSES)
    text = baselines.describe_against(run, {"luck": other})
    _, first = np.unique(run.group, return_index=True)  # one row a galaxy
    won, lost = (int(np.sum(a.correct[first] & ~b.correct[first])) for a, b in ((run, other), (other, run)))
    p = stats.binomtest(won, won + lost).pvalue if won + lost else 1
    gap = run.correct.mean() - other.correct.mean()
    told = re.fullmatch(
        r"In points, with 95% intervals of each pair alone: less luck \((.+)%\) (.+) \((.+) to (.+)\)\.", text
    ).groups()
    share, shown, low, high = map(float, told)
    assert abs(share - 100 * other.correct.mean()) < 0.051
    assert abs(shown - 100 * gap) < 0.051
    assert low - 0.051 <= 100 * gap <= high + 0.051
    (same,) = baselines.describe_baselines({baselines.LARGEST: other, baselines.FIVE: run})
    if same.startswith("Five measured numbers: better than the largest class by"):
        assert gap > 0
        assert p < 0.05
        assert low >= -0.051
    elif same.startswith("Five measured numbers: worse than the largest class by"):
        assert gap < 0
        assert p < 0.05
        assert high <= 0.051
    else:
        assert same.startswith("Five measured numbers: not shown to differ from the largest class")
        assert p >= 0.05 or (low <= 0.051 and high >= -0.051)


@given(st.lists(st.integers(50, 99), min_size=2, max_size=4, unique=True), st.integers(1, 45), st.integers(100, 10**6))
def test_power_is_told_as_the_table_has_it(percents, pairs, galaxies):
    table = power.needed_table([percent / 100 for percent in percents], pairs)
    text = power.describe_power(table, galaxies)
    assert text.startswith(f"Told apart four times out of five at p < {0.05 / pairs:.2g}, which is 5% shared among")
    usual = round(galaxies / 5)
    for pair, needed in table.iterrows():
        known = needed.dropna()
        said = re.search(rf"{pair}: ([\d,]+) to ([\d,]+) test galaxies; (.+?)\.( |$)", text)
        assert [float(n.replace(",", "")) for n in said.groups()[:2]] == [known.min(), known.max()]
        enough = {
            "would not do": known.min() > galaxies,
            "is too few": usual < known.min() <= galaxies,
            "for some cases alone": known.min() <= usual < known.max(),
            "is enough, however": known.max() <= usual,
        }
        assert [words for words in enough if words in said[3]] == [words for words, holds in enough.items() if holds]
        if enough["for some cases alone"]:
            assert re.search(r"\((the same.*|different.*)\)$", said[3])[1].split("; ") == [*known.index[known <= usual]]


VERDICTS = st.sampled_from([BETTER, WORSE, EQUIVALENT, OPEN, TOO_FEW, ONE_SEED])


@TRIED
@given(st.lists(st.tuples(VERDICTS, st.integers(1, 300)), max_size=12))
def test_changes_are_counted_and_the_largest_of_the_decided_ones_named(changes):
    table = pd.DataFrame(
        [
            {"approach": f"A{i}", "parameter": "p", "value": "1", "verdict": verdict, "difference": size / 1000}
            for i, (verdict, size) in enumerate(changes)
        ]
    )
    told = tables.describe_changes(table)
    if not changes:
        assert told == "This profile changes no parameter: name some under ablations in its configuration."
        return
    counts = re.findall(r"(\d+) (?:is|are) (better|worse|equivalent|undecided|of too few|of one seed)", told)
    assert sum(int(count) for count, _ in counts) == len(changes)
    named = [int(number) for number in re.findall(r"A(\d+), p = 1", told)]
    for verdict in DECIDED:
        own = sorted((size for kind, size in changes if kind == verdict), reverse=True)
        assert sorted((changes[i][1] for i in named if changes[i][0] == verdict), reverse=True) == own[:3]
    assert all(changes[i][0] in DECIDED for i in named)


def test_what_was_carried_over_is_told_best_first():
    accuracy = {"accuracy": [0.175, 0.2], "low": [0.15, 0.18], "high": [0.2, 0.22], "at_home": [0.67, 0.5]}
    table = pd.DataFrame({"approach": ["A", "B"], **accuracy})
    assert tables.describe_transfer("sky.h5", table) == (
        "Right on sky.h5: B 20.0% (18.0% to 22.0%; at home 50.0%); A 17.5% (15.0% to 20.0%; at home 67.0%)."
    )


ENDS = st.tuples(st.floats(-0.3, 0.3), st.floats(0, 0.2)).map(lambda own: (own[0] - own[1], own[0] + own[1]))


@TRIED
@given(st.lists(ENDS, min_size=1, max_size=6), st.sampled_from([0.01, 0.05]))
def test_differences_by_number_of_labels_are_told_as_their_bands_lie(ends, margin):
    numbers = [40 * 2**i for i in range(len(ends))]
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(n=numbers, first="A", second="B")
    table["verdict"] = [significance.verdict(low, high, 6, margin) for low, high in ends]
    told, meant = labels.describe_differences(table, numbers, margin)
    assert meant.startswith(f"Equivalent means within {'1 point;' if margin == 0.01 else '5 points;'}")
    found = dict(re.findall(r"(\w+) with ([\d,and ]+) labels", told))
    for n, (low, high) in zip(numbers, ends, strict=True):
        sign = "better" if low > 0 else "worse" if high < 0 else None
        word = sign or ("equivalent" if max(abs(low), abs(high)) < margin else "open")
        assert f"{n:,}" in re.split(r", | and ", found[word])
    assert sum(len(re.split(r", | and ", text)) for text in found.values()) == len(numbers)


@TRIED
@given(st.lists(ENDS, min_size=1, max_size=8))
def test_curves_are_said_to_cross_where_a_band_holds_zero_or_jumps_over_it(ends):
    table = pd.DataFrame(ends, columns=["low", "high"]).assign(first="A", second="B", n=range(40, 40 + len(ends)))
    (told,) = labels.describe_crossings(table)
    sides = [0 if low <= 0 <= high else np.sign(low) for low, high in ends]
    apart = all(side == sides[0] != 0 for side in sides)
    assert ("the curves do not cross there" in told) == apart
    if apart:
        assert (" lies above " in told) == (sides[0] > 0)
    else:
        named = [int(n) for n in re.findall(r"\d+", told)]
        assert 40 <= min(named) <= max(named) <= 39 + len(ends)
        # Between two neighbours on different sides, the earlier and the later are named.
        first = next(i for i, side in enumerate(sides) if side == 0 or (i and side != sides[i - 1]))
        assert named[0] == 40 + first - (sides[first] != 0)


@TRIED
@given(st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0, 0.1)), min_size=1, max_size=5), st.data())
def test_lessons_are_told_with_their_scores_and_every_pair_once(scores, data):
    titles = [f"{20 * 2**i} galaxies" for i in range(len(scores))]
    estimates = {
        title: pd.DataFrame({"mean": [mean], "low": [mean - half], "high": [mean + half]}, index=["accuracy"])
        for title, (mean, half) in zip(titles, scores, strict=True)
    }
    words = [data.draw(st.sampled_from(["better", "worse", "open"])) for _ in titles[1:]]
    pairs = pd.DataFrame({"first": titles[:-1], "second": titles[1:], "told": words}, dtype=object)
    pairs["difference"] = 0.1 * np.arange(len(pairs))
    first, *groups = lessons.describe_lessons(estimates, pairs, len(titles))
    for title, (mean, _) in zip(titles, scores, strict=True):
        assert f" {title}: {mean:.1%} (" in first
    assert len(groups) == len(set(words))
    for row in pairs.itertuples():
        said = f"{row.second} against {row.first}, {100 * row.difference:+.1f} points"
        (own,) = (text for text in groups if said in text)
        assert own.startswith(row.told.capitalize())
