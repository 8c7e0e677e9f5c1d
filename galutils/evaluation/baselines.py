"""What classifies galaxies without a network: the least that an approach has to beat.

The largest class, for every galaxy; the position on the sky alone, which tells something where classes are clumped;
and five numbers measured on each image. The last two are given to a random forest (Breiman 2001). All are fitted on
the training galaxies of a split and asked for its test galaxies, as a network is.
"""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from galutils.data.check import measure_once
from galutils.data.galaxies import Galaxies
from galutils.data.splits import Split, keep_arrays
from galutils.evaluation.bootstrap import Graded, estimate_mean, wilson
from galutils.evaluation.significance import ALPHA, DECIDED, compare

#: Columns of :func:`galutils.data.check.measure_images` that a forest gets.
MEASURED = ("half_light_radius", "peak", "colour", "axis_ratio", "concentration")
LARGEST, POSITION, FIVE = "the largest class", "position alone", "five measured numbers"
TREES = 300


def baselines(
    labels: np.ndarray,
    split: Split,
    classes: tuple[str, ...],
    measured: pd.DataFrame | None = None,
    ra: np.ndarray | None = None,
    dec: np.ndarray | None = None,
) -> dict[str, Graded]:
    """Predictions of the test rows by :data:`LARGEST`, :data:`POSITION` and :data:`FIVE`, like those of a run.

    Args:
        labels: (N,) int of all rows. classes: what they are called.
        measured: (N rows) with the columns :data:`MEASURED`; None leaves that baseline out.
        ra, dec: (N,) degrees, NaN where unknown; None, or none known, leaves that baseline out.
    """
    known = labels[split.train]
    shares = np.bincount(known, minlength=len(classes)) / len(known)
    probabilities = {LARGEST: np.tile(shares, (len(split.test), 1))}
    if ra is not None and dec is not None and np.isfinite(ra + dec).any():
        longitude, latitude = np.radians(ra), np.radians(dec)
        # On the sphere, where 359.9 degrees lie beside 0.1.
        parts = np.cos(longitude) * np.cos(latitude), np.sin(longitude) * np.cos(latitude), np.sin(latitude)
        probabilities[POSITION] = _forest(np.stack(parts, axis=1), known, split, len(classes))
    if measured is not None:
        probabilities[FIVE] = _forest(measured[[*MEASURED]].to_numpy(float), known, split, len(classes))
    return grade_answers(probabilities, labels, split, classes)


def baselines_once(galaxies: Galaxies, split: Split) -> dict[str, Graded]:
    """:func:`baselines` of a file and a split, kept beside the files of galaxies for the next time."""

    def fit() -> dict[str, np.ndarray]:
        numbers = measure_once(galaxies)
        found = baselines(galaxies.labels, split, galaxies.classes, numbers, galaxies.ra, galaxies.dec)
        return {title: own.probabilities for title, own in found.items()}

    code = ("evaluation/baselines.py", "data/check.py", "data/galaxies.py")
    return grade_answers(
        keep_arrays(galaxies, "baselines", fit, *code, of=split), galaxies.labels, split, galaxies.classes
    )


def grade_answers(
    probabilities: Mapping[Hashable, np.ndarray], labels: np.ndarray, split: Split, classes: tuple[str, ...]
) -> dict[Hashable, Graded]:
    """Probabilities (n, C) of the test rows as predictions. labels: (N,) int of all rows."""
    row, group = split.test, split.group[split.test]
    return {
        title: Graded(row, group, labels[row], values.argmax(axis=1), values, classes)
        for title, values in probabilities.items()
    }


def _forest(features: np.ndarray, known: np.ndarray, split: Split, count: int) -> np.ndarray:
    """(n, C) probabilities of the test rows, from features (N, K), NaN where unknown, and the training labels."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, random_state=0).fit(features[split.train], known)
    probabilities = np.zeros((len(split.test), count))
    probabilities[:, forest.classes_] = forest.predict_proba(features[split.test])
    return probabilities


def accuracy(*seeds: Graded) -> tuple[float, float, float]:
    """Accuracy and its 95% interval (low, high) over galaxies and seeds, those of ``bootstrap.estimate``.

    Alone: the ROC curves of all draws would take most of its time.
    """
    found = estimate_mean([run.group for run in seeds], [run.correct.astype(float) for run in seeds])
    size = np.mean([len(run.row) for run in seeds])
    low, high = wilson(*(np.array([found[name]]) for name in ("mean", "standard_error", "dof")), size)
    return found["mean"], float(low[0]), float(high[0])


def baseline_table(found: Mapping[str, Graded]) -> pd.DataFrame:
    """``accuracy``, ``low`` and ``high`` of each of the :func:`baselines`."""
    return pd.DataFrame({title: accuracy(own) for title, own in found.items()}, index=["accuracy", "low", "high"]).T


def describe_baselines(found: Mapping[str, Graded]) -> list[str]:
    """In words: what position, and what five numbers, tell beyond the largest class."""
    sentences = []
    for title in (POSITION, FIVE):
        if title in found:
            verdict, evidence = _compare(found[LARGEST], found[title])
            said = {
                1: f"better than the largest class by {evidence}",
                0: f"not shown to differ from the largest class, the difference is {evidence}",
                -1: f"worse than the largest class by {evidence}",
            }[verdict]
            clumped = "; classes are clumped on the sky" if verdict > 0 and title == POSITION else ""
            sentences.append(f"{title.capitalize()}: {said}{clumped}.")
    return sentences


def describe_against(graded: Graded, found: Mapping[str, Graded]) -> str:
    """In words: how a run differs from each of the :func:`baselines`; a verdict is for the whole family to give."""
    pairs = ((title, own, compare({"first": {0: own}, "second": {0: graded}}).iloc[0]) for title, own in found.items())
    said = [
        f"less {title} ({own.correct.mean():.1%}) {row['difference'] * 100:+z.1f} "
        f"({row['low'] * 100:+z.1f} to {row['high'] * 100:+z.1f})"
        for title, own, row in pairs
    ]
    return f"In points, with 95% intervals of each pair alone: {'; '.join(said)}."


def _compare(first: Graded, second: Graded) -> tuple[int, str]:
    """1 if the second is better, -1 if it is worse, 0 if that is not decided; and the difference in words.

    Decided is what both the interval and McNemar's exact test decide, which needs no large numbers. Each pair is a
    family of its own, since it is one question about one run.
    """
    row = compare({"first": {0: first}, "second": {0: second}}).iloc[0]
    told = row["mcnemar"] < ALPHA and row["verdict"] in DECIDED
    verdict = int(np.sign(row["difference"])) if told else 0
    size = f"{abs(row['difference']) * 100:.1f}" if verdict else f"{row['difference'] * 100:+z.1f}"
    p = "< 0.001" if row["mcnemar"] < 0.001 else f"= {row['mcnemar']:.3f}"
    interval = f"95% interval {row['low'] * 100:+z.1f} to {row['high'] * 100:+z.1f}"
    return verdict, f"{size} points ({interval}; McNemar's p {p})"
