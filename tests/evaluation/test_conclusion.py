import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galutils.evaluation.conclusion import claims, conclude, headline
from galutils.evaluation.significance import verdict


def table(*rows, seeds=3, simulations=()):
    found = pd.DataFrame(rows, columns=["approach", "built", "pretrained", "accuracy"])
    found["from_simulations"] = found["approach"].isin([*simulations])
    found = found.assign(picked_low=found["accuracy"] - 0.06, picked_high=found["accuracy"] + 0.07)
    found = found.assign(supervised=True, seeds=seeds, folds=1, largest=0.149, experiment=found["approach"])
    return found.assign(wholly_collapsed=False, may_know=False, stand_in=False)


def comparison(first, second, difference, half=0.05, seeds=3):
    low, high = difference - half, difference + half
    return {
        "first": first, "second": second, "galaxies": 200, "seeds": seeds, "difference": difference, "low": low,
        "high": high, "verdict": verdict(low, high, seeds),
    }  # fmt: skip


ROWS = (("A", True, False, 0.60), ("B", False, True, 0.75), ("C", False, True, 0.5))
SCOPE = " The intervals account for the galaxies tested on and for 3 seeds, not for other training galaxies."
ONE_SEED = (
    " There was one seed, so the intervals hold for these trained networks: how much other initialisations would "
    "change was not measured."
)
CANNOT = "These runs cannot say whether to build or to adapt:"
BUILT = "The one network built is A with 60.0% (95% interval 54.0% to 67.0%)."
BEST = f"The most accurate network adapted is B with 75.0% (95% interval 69.0% to 82.0%). {BUILT} "
EVIDENCE = (
    "on the same 200 galaxies the adapted one less the built one is {} points "
    "(95% interval, simultaneous with the study's other comparisons, {} to {})"
)
WON = f"Of these two approaches, the adapted one is better: {EVIDENCE.format('+15.0', '+10.0', '+20.0')}"


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (comparison("A", "B", 0.15), "Of these two approaches, the adapted one is better: "),
        (comparison("B", "A", -0.15), "Of these two approaches, the adapted one is better: "),
        (comparison("A", "B", -0.15), "Of these two approaches, the built one is better: "),
        (comparison("A", "B", 0.15, seeds=1), "Of these trained networks, the adapted one is better: "),
        (comparison("A", "B", 0.15, seeds=2), "Two seeds are too few to tell these approaches apart: "),
        (comparison("A", "B", 0.03), "Which of these two approaches is better stays open: "),
        (comparison("A", "B", 0.001, 0.004), "Between these two approaches no difference that matters is left: "),
    ],
)
def test_the_answer_is_the_verdict(pair, said):
    sign = 1 if pair["first"] == "A" else -1
    low, high = sorted(sign * 100 * pair[end] for end in ("low", "high"))
    evidence = EVIDENCE.format(f"{sign * 100 * pair['difference']:+.1f}", f"{low:+.1f}", f"{high:+.1f}")
    assert conclude(table(*ROWS), pd.DataFrame([pair])) == f"{BEST}{said}{evidence}.{SCOPE}"


def test_pairs_that_stay_open_are_named_once():
    others = [comparison("A", "B", 0.02), comparison("A", "C", -0.03), comparison("C", "B", 0.25)]
    said = f"{BEST}Which of these two approaches is better stays open: {EVIDENCE.format('+2.0', '-3.0', '+7.0')}."
    assert conclude(table(*ROWS), pd.DataFrame(others)) == f"{said} Open: A against C.{SCOPE}"


def test_without_pretrained_weights_there_is_no_answer():
    control = table(("A", True, False, 0.6), ("D", True, False, 0.5), ("B", False, False, 0.9), seeds=1)
    pairs = pd.DataFrame([comparison("A", "D", -0.04, seeds=1), comparison("A", "B", 0.3, seeds=1)])
    start = f"{CANNOT} no network started from pretrained weights."
    assert conclude(control, pairs) == (
        f"{start} The most accurate network of those built from scratch is A with 60.0% (95% interval 54.0% to 67.0%); "
        f"the largest class alone would give 14.9%. Open: A against D.{ONE_SEED}"
    )
    assert conclude(control.assign(built=False), pairs) == start
    adapted = control.assign(built=False, pretrained=True)
    assert conclude(adapted, pairs) == f"{CANNOT} no network here was built from scratch."
    assert conclude(control.assign(supervised=False), pairs) == f"{CANNOT} none of them learnt from labels."
    assert conclude(table(ROWS[0]), pairs[:0]) == (  # a study of one network has no pairs
        f"{start} The one network of those built from scratch is A with 60.0% (95% interval 54.0% to 67.0%); the "
        f"largest class alone would give 14.9%.{SCOPE}"
    )


def test_what_was_not_compared_is_not_judged():
    said = "The adapted one and the built one were not compared, so nothing is said between them."
    assert conclude(table(*ROWS), pd.DataFrame([comparison("A", "C", 0.2)])) == f"{BEST}{said}{SCOPE}"


@given(
    accuracies=st.lists(st.floats(0.05, 0.95), min_size=4, max_size=4, unique=True),
    differences=st.lists(st.floats(-0.4, 0.4), min_size=6, max_size=6),
    half=st.floats(0.001, 0.3),
    seeds=st.integers(1, 4),
)
def test_whatever_the_runs_say_the_words_follow(accuracies, differences, half, seeds):
    """Two built, two adapted: who is called better, and what stays open, is read off the intervals again."""
    kinds = zip("ABCD", (True, True, False, False), (False, False, True, True), accuracies, strict=True)
    names = ["AB", "AC", "AD", "BC", "BD", "CD"]
    pairs = {own: comparison(*own, gap, half, seeds) for own, gap in zip(names, differences, strict=True)}
    text = conclude(table(*kinds, seeds=seeds), pd.DataFrame(pairs.values()))
    built, adapted = (max(own, key=lambda name: accuracies["ABCD".index(name)]) for own in ("AB", "CD"))
    row = pairs[built + adapted]
    apart = seeds != 2 and (row["low"] > 0 or row["high"] < 0)
    better = re.findall(r"the (adapted|built) one is better", text)
    assert better == (["adapted" if row["difference"] > 0 else "built"] if apart else [])
    assert ("trained networks" in re.split("Open:|Of 5 other", text)[0].split("There was one seed")[0]) == (seeds == 1)
    undecided = {
        f"{a} against {b}"
        for (a, b), own in pairs.items()
        if {a, b} != {built, adapted}
        and (seeds == 2 or (own["low"] <= 0 <= own["high"] and not -0.01 < own["low"] <= own["high"] < 0.01))
    }
    if len(undecided) > 3:
        assert f" Of 5 other pairs of approaches {len(undecided)} stay open." in text
        assert "Open: " not in text
    else:
        named = re.search(r"Open: (.*?)\.", text)
        assert set(named[1].split("; ") if named else ()) == undecided
        assert "other pairs" not in text


def paper_rows(pretrained=True):
    names = ("vgg_scratch", "custom_cnn", "vgg11_deep", "vgg11_shallow")
    return table(*((name, name in names[:2], pretrained and name not in names[:2], 0.5) for name in names))


@pytest.mark.parametrize(
    ("gains", "seeds", "verdict"),
    [
        ((0.1, 0.1, 0.1), 3, "holds here"),
        ((0.1, -0.1, 0.1), 3, "does not hold here"),
        ((0.1, 0.02, 0.1), 3, "open"),
        ((0.1, 0.1, 0.1), 1, "open"),
    ],
)
def test_the_papers_claims_follow_the_comparisons(gains, seeds, verdict):
    others = ("vgg_scratch", "vgg11_deep", "vgg11_shallow")
    # Whichever of a pair comes first.
    pairs = [comparison("custom_cnn", other, -gain, seeds=seeds) for other, gain in zip(others, gains, strict=True)]
    found = claims(paper_rows(), pd.DataFrame(pairs), pd.DataFrame()).set_index("claim")
    row = found.loc["The custom network outperforms all VGGs (76% against 73, 74 and 58%)."]
    assert row["verdict"] == verdict
    first, second = sorted(100 * gains[1] + end for end in (-5, 5))
    count = "1 seed" if seeds == 1 else f"{seeds} seeds"
    said = f"custom_cnn against vgg11_deep: {100 * gains[1]:+.1f} points ({first:+.1f} to {second:+.1f}; {count})"
    assert row["found"].split("; custom")[1] == said.removeprefix("custom")
    assert (found.drop(row.name)["verdict"] == "not tested here").all()


def test_a_claim_is_not_tested_by_random_weights_and_a_change_by_its_parameter():
    change = {
        "base": "custom_cnn", "parameter": "average_pool", "value": "1", "difference": -0.1, "difference_low": -0.15,
        "difference_high": -0.05, "seeds": 3, "verdict": "worse",
    }  # fmt: skip
    pair = comparison("vgg11_shallow", "vgg11_deep", 0.2)
    found = claims(paper_rows(pretrained=False), pd.DataFrame([pair]), pd.DataFrame([change])).set_index("claim")
    assert found["verdict"].to_dict() == {
        "The custom network outperforms all VGGs (76% against 73, 74 and 58%).": "not tested here",
        "Deep fine-tuning beats shallow (74% against 58%).": "not tested here",
        "Galaxies need no more than 32 channels.": "not tested here",
        "Averaging pixels first helps.": "holds here",
        "Clusters of DINO's embedding are near chance (16%, ROC AUC 0.521).": "not tested here",
        "Fine-tuning DINO does not improve its clusters (16% before and after).": "not tested here",
    }
    assert found.loc["Averaging pixels first helps.", "found"] == (
        "with average_pool = 1: -10.0 points (-15.0 to -5.0; 3 seeds)"
    )


@pytest.mark.parametrize(
    ("ends", "gain", "pretrained", "verdicts"),
    [
        ((0.15, 0.19), 0.1, True, ["open", "does not hold here"]),
        ((0.17, 0.19), 0.02, True, ["does not hold here", "open"]),
        ((0.14, 0.155), -0.1, True, ["holds here", "holds here"]),
        ((0.17, 0.19), 0.1, False, ["not tested here", "not tested here"]),
    ],
)
def test_claims_on_clusterings(ends, gain, pretrained, verdicts):
    """Chance is 15%; the frozen network was not trained, so that seeds do not matter to it."""
    rows = table(*((name, False, pretrained, sum(ends) / 2) for name in ("dino_kmeans", "dino_lora_kmeans")), seeds=1)
    rows = rows.assign(supervised=False, low=ends[0], high=ends[1], chance=0.15, trained_parameters=[0, 1000])
    found = claims(rows, pd.DataFrame([comparison("dino_kmeans", "dino_lora_kmeans", gain)]), pd.DataFrame())[-2:]
    assert found["verdict"].tolist() == verdicts
    if pretrained:
        own = f"{sum(ends) / 2:.1%} ({ends[0]:.1%} to {ends[1]:.1%})"
        pair = f"{100 * gain:+.1f} points ({100 * gain - 5:+.1f} to {100 * gain + 5:+.1f}; 3 seeds)"
        assert found["found"].tolist() == [
            f"dino_kmeans: {own}; with permuted labels 15.0%",
            f"dino_lora_kmeans against dino_kmeans: {pair}",
        ]
    trained = claims(rows.assign(trained_parameters=1), pd.DataFrame(), pd.DataFrame())["verdict"].iloc[-2]
    assert trained == ("open" if pretrained else "not tested here")
    assert found["experiments"].tolist() == [{"dino_kmeans"}, {"dino_kmeans", "dino_lora_kmeans"}]


@pytest.mark.parametrize(
    ("pair", "seeds", "said"),
    [
        (comparison("A", "B", 0.15), 3, "On these galaxies, adapting beats building: 75% adapted, 60% built."),
        (comparison("B", "A", 0.15), 3, "On these galaxies, building beats adapting: 75% adapted, 60% built."),
        (comparison("B", "A", 0.001, 0.004), 3,
         "On these galaxies, building and adapting come out alike: 75% adapted, 60% built."),
        (comparison("A", "B", 0.03), 3, "On these galaxies, not decided: 75% adapted, 60% built."),
        (comparison("A", "B", 0.15, seeds=1), 1,
         "On these galaxies, not decided: 75% adapted, 60% built (fewer than three seeds)."),
        (comparison("A", "C", 0.15), 3,
         "On these galaxies, not decided: the best two were not compared (75% adapted, 60% built)."),
    ],
)  # fmt: skip
def test_the_headline_is_short_and_follows_the_verdict(pair, seeds, said):
    assert headline(table(*ROWS, seeds=seeds), pd.DataFrame([pair]), simulated=False) == said
    assert len(said.split()) <= 25


@pytest.mark.parametrize(
    ("gains", "seeds", "said", "end"),
    [
        ((0.3, 0.15), 3, "simulating wins", ""),
        ((0.3, 0.02), 3, "adapting beats building", ""),
        ((0.3, None), 3, "adapting beats building", ""),
        ((0.3, 0.15), 1, "not decided", " (fewer than three seeds)"),
    ],
)
def test_simulating_wins_only_where_it_beats_both_ways(gains, seeds, said, end):
    pairs = [comparison("A", "B", 0.15, seeds=seeds)]
    pairs += [comparison(way, "S", gain, seeds=seeds) for way, gain in zip("AB", gains, strict=True) if gain]
    found = table(*ROWS, ("S", False, False, 0.9), seeds=seeds, simulations="S")
    answer = headline(found, pd.DataFrame(pairs), simulated=False)
    shares = "75% adapted, 60% built, 90% trained on simulated galaxies first"
    assert answer == f"On these galaxies, {said}: {shares}{end}."
    assert len(answer.split()) <= 25
    these = "trained networks" if seeds == 1 else "two approaches"
    start, better = "the one first trained on simulations", f"Of these {these}, the one first trained on simulations is"
    second = f" {start[0].upper()}{start[1:]} and the adapted one were not compared, so nothing is said between them."
    if gains[1]:
        kind = f"{better} better" if gains[1] > 0.05 else f"Which of these {these} is better stays open"
        ends = f"{100 * gains[1]:+.1f} points ({100 * gains[1] - 5:+.1f} to {100 * gains[1] + 5:+.1f})"
        second = f" {kind}: on the same 200 galaxies {start} less the adapted one is {ends}."
    assert conclude(found, pd.DataFrame(pairs)) == (
        f"{BEST}{WON.replace('two approaches', these)}. The one network first trained on simulated galaxies is S with "
        f"90.0% (95% interval 84.0% to 97.0%). {better} better: on the same 200 galaxies {start} less the built one is "
        f"+30.0 points (+25.0 to +35.0).{second}{ONE_SEED if seeds == 1 else SCOPE}"
    )


@pytest.mark.parametrize(("seeds", "said"), [(3, "adapting beats building"), (1, "not decided")])
def test_simulating_wins_nothing_at_home(seeds, said):
    pairs = [comparison(*pair, 0.15, seeds=seeds) for pair in ("AB", "AS", "BS")]
    found = table(*ROWS, ("S", False, False, 0.9), seeds=seeds, simulations="S")
    answer = headline(found, pd.DataFrame(pairs), simulated=True)
    few = " (fewer than three seeds)" * (seeds == 1)
    shares = "75% adapted, 60% built, 90% with a simulated start at home"
    assert answer == f"On these simulated galaxies, {said}: {shares}{few}."
    assert len(answer.split()) <= 25


def test_the_headline_says_what_is_missing():
    alone = table(("A", True, False, 0.6), ("B", False, False, 0.9))
    said = "On these simulated galaxies, not decided: no network here was adapted from pretrained weights."
    assert headline(alone, pd.DataFrame(), simulated=True) == said


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("may_know", "as they may know the labels that they are scored by"),
        ("wholly_collapsed", "as they answer one class for nearly all galaxies"),
    ],
)
def test_what_cannot_be_judged_wins_nothing(flag, why):
    """A network that may know the answers, or gives one to all, is named and left out, however often it is right."""
    rows = table(*ROWS)
    rows[flag] = rows["approach"] == "B"
    pairs = pd.DataFrame([comparison("A", "B", 0.15), comparison("A", "C", -0.1), comparison("B", "C", -0.25)])
    assert headline(rows, pairs, simulated=False) == (
        "On these galaxies, building beats adapting: 50% adapted, 60% built."
    )
    told = conclude(rows, pairs)
    assert told == (
        f"The one network adapted is C with 50.0% (95% interval 44.0% to 57.0%). {BUILT} Of these two approaches, the "
        f"built one is better: {EVIDENCE.format('-10.0', '-15.0', '-5.0')}. Left out here: B, {why}.{SCOPE}"
    )
    # Where no other is left the kind cannot be judged.
    rows[flag] = ~rows["built"]
    said = "no network here that was adapted from pretrained weights can be judged"
    assert headline(rows, pairs, simulated=False) == f"On these galaxies, not decided: {said}."
    assert len(said.split()) <= 20
    assert conclude(rows, pairs) == (
        f"{CANNOT} no network that started from pretrained weights can be judged. The one network of those built from "
        "scratch is A with 60.0% (95% interval 54.0% to 67.0%); the largest class alone would give 14.9%."
        f"{SCOPE} Left out here: B; C, {why}."
    )
    rows[flag] = rows["built"]
    said = "On these galaxies, not decided: no network here that was built from scratch can be judged."
    assert headline(rows, pairs, simulated=False) == said
    none = "no network here that was built from scratch can be judged."
    assert conclude(rows, pairs) == f"{CANNOT} {none} Left out here: A, {why}."


@pytest.mark.parametrize("flag", ["may_know", "wholly_collapsed", "stand_in"])
def test_what_cannot_be_judged_bears_on_no_claim(flag):
    rows = paper_rows()
    rows[flag] = rows["approach"] == "vgg_scratch"
    change = {
        "base": "vgg_scratch", "parameter": "widths", "value": "doubling", "difference": 0.0, "difference_low": 0.0,
        "difference_high": 0.0, "seeds": 3, "verdict": "equivalent",
    }  # fmt: skip
    others = ("vgg_scratch", "vgg11_deep", "vgg11_shallow")
    pairs = pd.DataFrame([comparison(other, "custom_cnn", 0.3) for other in others])
    found = claims(rows, pairs, pd.DataFrame([change])).set_index("claim")
    assert found["verdict"].tolist() == ["open", *["not tested here"] * 5]
    assert "vgg_scratch" not in found["found"].iloc[0]


def test_equal_approaches_are_both_named():
    rows = table(("A", True, False, 0.6), ("B", False, True, 0.75), ("C", False, True, 0.75), ("D", False, True, 0.7))
    told = conclude(rows, pd.DataFrame([comparison("A", "B", 0.15)]))
    assert told == f"{BEST.replace('82.0%).', '82.0%), as accurate as C.')}{WON}.{SCOPE}"


@pytest.mark.parametrize(
    ("seeds", "folds", "said"),
    [
        ([3, 3, 3], 5, "tested on, each once, in one of 5 folds, and for 3 seeds"),
        (
            [1, 3, 3],
            1,
            "tested on and for the seeds of each approach, 1 to 3 (one alone tells nothing of others)",
        ),
        ([2, 3, 3], 1, "tested on and for the seeds of each approach, 2 to 3"),
    ],
)
def test_the_scope_says_what_was_varied(seeds, folds, said):
    told = conclude(table(*ROWS).assign(seeds=seeds, folds=folds), pd.DataFrame([comparison("A", "B", 0.15)]))
    scope = f"The intervals account for the galaxies {said}, not for other training galaxies."
    assert told == f"{BEST}{WON}. {scope}"
