import numpy as np
import pandas as pd
import pytest

from galutils.evaluation import labels
from galutils.evaluation.labels import Crossed
from galutils.evaluation.significance import BETTER, EQUIVALENT, WORSE

N = (40, 80, 160, 320)


def made(*shares, galaxies=4000, draws=5, seeds=3, spread=0.0, seed=0):
    """Arms with these expected accuracies at each of N, of galaxies that are right or wrong each by itself."""
    rng = np.random.default_rng(seed)
    shape = (len(shares), len(N), draws, seeds)
    expected = np.reshape(shares, (len(shares), len(N), 1, 1)) + spread * rng.standard_normal((*shape[:3], 1))
    correct = rng.random((*shape, galaxies)) < expected[..., None]
    names = tuple("abcdef"[: len(shares)])
    return Crossed(names, N, correct, np.arange(galaxies) % 10, np.arange(galaxies))


def test_scores_are_those_of_the_array():
    crossed = made((0.5, 0.6, 0.7, 0.8), galaxies=50)
    whole = labels.curves(crossed)
    np.testing.assert_allclose(whole["value"], crossed.correct[0].mean(axis=(1, 2, 3)), atol=1e-6)
    assert ((whole["low"] < whole["value"]) & (whole["value"] < whole["high"])).all()
    # One class of two is always right: its recall weighs half, however many galaxies it has.
    rare = Crossed(
        ("a",), (40,), np.array([[[[[True] * 9 + [False]] * 2] * 2]]), np.array([0] * 9 + [1]), np.arange(10)
    )
    assert labels.curves(rare)["value"].item() == pytest.approx(0.9)
    assert labels.curves(rare.by_recall())["value"].item() == pytest.approx(0.5)


def test_what_a_label_is_worth_is_found():
    """b with n labels is as good as a with twice as many."""
    a = 0.3 + 0.1 * np.log2(np.divide(N, 40))
    table = labels.label_worth(made(a, a + 0.1), [("a", "b")])
    np.testing.assert_allclose(table["worth"][:2], 2, rtol=0.1)
    assert ((table["low"] < 2) & (table["high"] > 2))[:3].all()
    last = labels.describe_worth(table.iloc[3])
    assert last == ("more than 1.0", "1.0 to more than 1.0")
    assert labels.describe_worth(labels.label_worth(made(a + 0.3, a), [("a", "b")]).iloc[0]) == (
        "less than 1.0",
        "less than 1.0 to 1.0",
    )


def test_sets_of_crossings_hold_the_crossing_and_may_be_empty_open_or_two():
    level = np.full(4, 0.5)
    more = [level] * 4  # so that it is known how much draws and seeds change
    down = labels.differences(made(level, (0.65, 0.55, 0.45, 0.35), *more), [("a", "b")])
    ((low, high),) = labels.crossings(down)
    assert 80 < low < np.sqrt(80 * 160) < high < 160
    measured = dict(down[down["n"].isin(N)][["n", "verdict"]].to_numpy())
    assert measured == {40: BETTER, 80: BETTER, 160: WORSE, 320: WORSE}
    apart = labels.differences(made(level, level + 0.1, *more), [("a", "b")])
    assert labels.crossings(apart) == []
    assert labels.describe_crossings(apart) == ["b lies above a from 40 to 320 labels: the curves do not cross there."]
    both = labels.differences(made(level, (0.6, 0.4, 0.4, 0.6), *more), [("a", "b")])
    assert len(labels.crossings(both)) == 2
    same = labels.differences(made(level, level, *more, galaxies=10000), [("a", "b")], 0.05)
    assert labels.crossings(same) == [(40, 320)]
    assert set(same["verdict"]) == {EQUIVALENT}
    assert labels.describe_crossings(same) == [
        "b and a may be equal, and cross or not, with 40 or fewer to 320 or more labels."
    ]
    assert labels.describe_differences(same, N, 0.05) == [
        "b against a: equivalent with 40, 80, 160 and 320 labels.",
        "Equivalent means within 5 points; open, that neither is shown.",
    ]
    assert labels.describe_differences(same, N, 0.01)[-1] == (
        "Equivalent means within 1 point; open, that neither is shown."
    )
    assert labels.describe_crossings(same[same["n"] == 40]) == [
        "b and a may be equal, and cross or not, with 40 labels."
    ]
    # From one number to the next the difference changes sign, and both bands leave zero out.
    jump = pd.DataFrame({"n": [40, 41, 42], "low": [0.1, -0.3, -0.3], "high": [0.3, -0.1, -0.1]})
    assert labels.crossings(jump) == [(40, 41)]


def test_bands_hold_where_draws_differ_by_more_than_galaxies():
    """Eighteen of twenty experiments, or more, in which no arm is better: bands of galaxies alone would fail."""
    held = 0
    for seed in range(20):
        crossed = made(np.full(4, 0.5), np.full(4, 0.5), galaxies=200, draws=4, spread=0.06, seed=seed)
        table = labels.differences(crossed, [("a", "b")], n=N)
        held += bool(((table["low"] <= 0) & (table["high"] >= 0)).all())
    assert held >= 18


def test_the_best_of_several_is_named_with_those_that_are_not_told_apart():
    level = np.full(4, 0.5)
    best, others = labels.best_way(made(level, level + 0.2, level + 0.2), 100)
    assert labels.describe_best(best, others) == (
        f"{best['approach']} is right most often of 3 ways, {best['value']:.1%} (95% interval, for all ways at once, "
        f"{best['low']:.1%} to {best['high']:.1%}). It is better than: a. Not told apart from it: "
        f"{'bc'.replace(best['approach'], '')}."
    )
    assert labels.best_way(made(level, level + 0.2, level), 100, ["b"])[0]["approach"] in "ac"
