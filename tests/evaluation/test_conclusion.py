import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galutils.evaluation.conclusion import conclude
from galutils.evaluation.significance import verdict


def table(*rows, seeds=3):
    found = pd.DataFrame(rows, columns=["approach", "built", "pretrained", "accuracy"])
    found = found.assign(picked_low=found["accuracy"] - 0.06, picked_high=found["accuracy"] + 0.07)
    return found.assign(supervised=True, seeds=seeds, folds=1, largest=0.149)


def comparison(first, second, difference, half=0.05, seeds=3):
    low, high = difference - half, difference + half
    return {
        "first": first, "second": second, "galaxies": 200, "seeds": seeds, "difference": difference, "low": low,
        "high": high, "verdict": verdict(low, high, seeds),
    }  # fmt: skip


ROWS = (("A", True, False, 0.60), ("B", False, True, 0.75), ("C", False, True, 0.5))
SCOPE = " The intervals account for the galaxies tested on and for 3 seeds, not for other training galaxies."
BEST = (
    "The most accurate network adapted is B with 75.0% (95% interval 69.0% to 82.0%). The one network built is A with "
    "60.0% (95% interval 54.0% to 67.0%). "
)
EVIDENCE = (
    "on the same 200 galaxies the adapted one less the built one is {} points "
    "(95% interval, simultaneous for {}, {} to {})"
)


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
    evidence = EVIDENCE.format(f"{sign * 100 * pair['difference']:+.1f}", "1 comparison", f"{low:+.1f}", f"{high:+.1f}")
    assert conclude(table(*ROWS), pd.DataFrame([pair])) == f"{BEST}{said}{evidence}.{SCOPE}"


def test_pairs_that_stay_open_are_named_once():
    others = [comparison("A", "B", 0.02), comparison("A", "C", -0.03), comparison("C", "B", 0.25)]
    text = conclude(table(*ROWS), pd.DataFrame(others))
    assert text.endswith(f"(95% interval, simultaneous for 3 comparisons, -3.0 to +7.0). Open: A against C.{SCOPE}")


def test_without_pretrained_weights_there_is_no_answer():
    control = table(("A", True, False, 0.6), ("D", True, False, 0.5), ("B", False, False, 0.9), seeds=1)
    pairs = pd.DataFrame([comparison("A", "D", -0.04, seeds=1), comparison("A", "B", 0.3, seeds=1)])
    start = "These runs cannot say whether to build or to adapt: no network started from pretrained weights."
    scope = (
        "There was one seed, so the intervals hold for these trained networks: how much other initialisations would "
        "change was not measured."
    )
    assert conclude(control, pairs) == (
        f"{start} The most accurate network of those built from scratch is A with 60.0% (95% interval 54.0% to 67.0%); "
        f"the largest class alone would give 14.9%. Open: A against D. {scope}"
    )
    assert conclude(control.assign(built=False), pairs) == start
    assert conclude(control.assign(built=False, pretrained=True), pairs).endswith("was built from scratch.")
    assert conclude(control.assign(supervised=False), pairs).endswith("none of them learnt from labels.")


def test_what_was_not_compared_is_not_judged():
    text = conclude(table(*ROWS), pd.DataFrame([comparison("A", "C", 0.2)]))
    assert "The two were not tested on the same galaxies with the same seed, so nothing is said between them." in text
    assert "better" not in text


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
    assert ("trained networks" in text.split("Open:")[0].split("There was one seed")[0]) == (seeds == 1)
    undecided = {
        f"{a} against {b}"
        for (a, b), own in pairs.items()
        if {a, b} != {built, adapted}
        and (seeds == 2 or (own["low"] <= 0 <= own["high"] and not -0.01 < own["low"] <= own["high"] < 0.01))
    }
    named = re.search(r"Open: (.*?)\.", text)
    assert set(named[1].split("; ") if named else ()) == undecided
