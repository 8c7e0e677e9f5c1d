"""Why the paper's clusterings score near chance: what the candidate causes show, and what they cannot decide, in words.

The numbers come from ``diagnostics``, ``readings`` and ``null``. A sentence says no more than its numbers do: a
difference is called one where its 95% interval leaves out zero, and sentences about the paper's numbers are made for
its own classes alone.
"""

import numpy as np
import pandas as pd

from galutils.clustering.diagnostics import SAMPLE, fold_interval
from galutils.clustering.methods import MANY
from galutils.clustering.null import PAPER_BOX, SCORES, inside_box, project, score_tables, within_chance
from galutils.clustering.scores import match_table, score_table
from galutils.evaluation.bootstrap import wilson

#: What accuracy and ROC AUC of the paper's sixth row can at most have more than those of its fifth, by rounding.
PAPER_CHANGES = (-0.01, 0.01), (0.0, 0.002)
_REPORTED = "frozen transformer"
_FULL = ("accuracy_full", "roc_auc_full")


def collect_cases(
    assessed: dict[str, pd.DataFrame], clusterers: pd.DataFrame, chance: float, on_full_set: bool
) -> pd.DataFrame:
    """Every clustering that was tested: ``cause``, ``case``, ``accuracy``, ``chance``, ``nmi``, ``roc_auc_hard``.

    Args:
        assessed: by cause, tables with a row for each case and a column ``counts``.
        clusterers: from ``compare_clusterers``.
        chance: accuracy of permuted labels under one-to-one matching.
        on_full_set: add ``accuracy_full`` and ``roc_auc_full``, what the case would get on the full Galaxy10 DECaLS;
            see :func:`galutils.clustering.null.project`.
    """
    parts = [table.rename_axis("case").reset_index().assign(cause=cause) for cause, table in assessed.items()]
    names = clusterers["method"] + ", " + clusterers["clusters"].astype(str) + " clusters, " + clusterers["matching"]
    table = pd.concat([*parts, clusterers.assign(cause="clusterer", case=names)], ignore_index=True)
    table = table.fillna({"chance": chance}) if "chance" in table else table.assign(chance=chance)
    kept = ["cause", "case", "accuracy", "chance", "nmi", "roc_auc_hard"]
    if on_full_set:
        many = table["case"].str.endswith("many-to-one")
        tables = zip(table["counts"], many, strict=True)
        full = np.array([score_tables(project(counts, own), own).mean(axis=0) for counts, own in tables])
        table, kept = table.assign(accuracy_full=full[:, 0], roc_auc_full=full[:, 1]), [*kept, *_FULL]
    return table[kept]


def add_faults(cases: pd.DataFrame, faults: pd.DataFrame, full: pd.DataFrame | None) -> pd.DataFrame:
    """The cases with those of ``evaluation_faults`` on these galaxies and, where there is one, on the full set."""
    rows = faults.rename(columns={"fault": "case"}).assign(cause="fault of evaluation", chance=cases["chance"].iloc[0])
    if full is not None:
        rows = rows.assign(accuracy_full=full["accuracy"], roc_auc_full=full["roc_auc_hard"])
    rows = rows[rows["case"] != "none"]
    return pd.concat([cases, rows[[name for name in cases if name in rows]]], ignore_index=True)


def describe_null(null: np.ndarray) -> str:
    """What permuted labels get, in a line. null: (permutations,) accuracies."""
    return f"Permuted labels, these galaxies: {null.mean():.1%}, SD {null.std():.1%}, highest {null.max():.1%}"


def conclude(
    counts: np.ndarray,
    null: np.ndarray,
    soft: dict[str, float],
    probes: pd.DataFrame,
    cases: pd.DataFrame,
    readings: pd.DataFrame,
    plane: pd.DataFrame | None,
    random: bool,
) -> list[str]:
    """What the numbers support, as sentences.

    Args:
        counts, null: (K + 1, C) table of the reported clusters of the frozen embedding, see ``count_pairs``, and its
            accuracies (permutations,) under permuted labels.
        soft, probes, cases, readings: from ``soft_gain``, ``compare_probes``, :func:`collect_cases` and
            ``assess_readings``.
        plane: from ``chance_plane``; None where the classes are not the paper's.
        random: whether the frozen transformer's weights are random.
    """
    warned = ["The transformer's weights are random: what follows bears on nothing but the machinery."]
    sentences = [*(warned if random else []), describe_excess(counts, null)]
    sentences += describe_probes(probes, score_table(counts, match_table(counts))[0], int(counts.sum()))
    sentences += [*describe_clusterers(cases, counts), describe_soft(soft)]
    if plane is not None:
        sentences += [*describe_plane(plane), *describe_cases(cases, plane)]
        sentences += describe_readings(readings)
    return sentences


def describe_excess(counts: np.ndarray, null: np.ndarray) -> str:
    """How far the clusters of a table (K + 1, C) are above permuted labels (permutations,)."""
    accuracy, size = score_table(counts, match_table(counts))[0], int(counts.sum())
    low, high = _interval(accuracy, size)
    ends = [100 * (end - null.mean()) for end in (accuracy, low, high)]
    return (
        f"The clusters of the frozen embedding get {accuracy:.1%} of these {size:,} galaxies right: {ends[0]:+.1f} "
        f"points against the {null.mean():.1%} of permuted labels (95% interval {ends[1]:+.1f} to {ends[2]:+.1f}, the "
        f"matching taken as it is); {np.mean(null >= accuracy):.1%} of the permutations get as much."
    )


def _interval(accuracy: float, size: int) -> tuple[float, float]:
    error = np.sqrt(accuracy * (1 - accuracy) / size)
    low, high = wilson([accuracy], [error], np.array([np.inf]), np.array([size]))
    return float(low[0]), float(high[0])


def describe_probes(probes: pd.DataFrame, accuracy: float, size: int) -> list[str]:
    """What labels find in the frozen embedding of so many galaxies, beside other embeddings and k-means' accuracy."""
    linear, seen = probes.loc["linear"], f" of {SAMPLE:,} galaxies drawn at random" if size > MANY else ""
    means = "; ".join(f"{case} {values.mean():.1%}" for case, values in linear.items())
    others, told = {case: linear[case] for case in linear if case != _REPORTED}, []
    for case, other in {**others, "k-means on it": accuracy}.items():
        points = [100 * value for value in fold_interval((linear[_REPORTED] - other).to_numpy())]
        ends = f"{points[0]:+.1f} ({points[1]:+.1f} to {points[2]:+.1f})"
        told.append(f"{case} {ends}, {_verdict(*points[1:], 'more', 'less')}")
    return [
        f"A linear classifier that learns from labels gets, by cross-validation{seen}: {means}.",
        f"On the frozen embedding it gets, in points against others (95% intervals over folds): {'; '.join(told)}.",
    ]


def _verdict(low: float, high: float, more: str, less: str) -> str:
    return more if low > 0 else less if high < 0 else "no difference is shown"


def describe_clusterers(cases: pd.DataFrame, counts: np.ndarray) -> list[str]:
    """The best of the clusterings by other methods that have a cluster for each class; none where there is none."""
    classes, size = counts.shape[1], int(counts.sum())
    method = cases["case"].str.split(", ").str[0]
    exact = cases["case"].str.contains(f", {classes} clusters, one-to-one", regex=False)
    others = cases[(cases["cause"] == "clusterer") & exact & (method != "kmeans")]
    if others.empty:
        return []
    best, own = others.loc[others["accuracy"].idxmax()], score_table(counts, match_table(counts))[0]
    sampled = method[best.name].endswith(f" on {SAMPLE:,} galaxies")
    low, high = _interval(own, SAMPLE if sampled else size)
    interval = f"that k-means' {own:.1%} would have on as many" if sampled else f"of k-means' {own:.1%}"
    which = f"The best of {len(others)} other clusterers" if len(others) > 1 else "The one other clusterer"
    place = "above" if best["accuracy"] > high else "below" if best["accuracy"] < low else "within"
    return [
        f"{which} with {classes} clusters, {method[best.name]}, gets {best['accuracy']:.1%}, which is {place} the "
        f"95% interval {interval} ({low:.1%} to {high:.1%})."
    ]


def describe_soft(soft: dict[str, float]) -> str:
    """What the ROC AUC from soft assignments has more than that from hard ones; see ``soft_gain``."""
    more = "the distances know more than hard assignments show"
    less = "hard assignments rank the galaxies better than the distances do"
    return (
        f"From soft assignments the ROC AUC is {soft['soft']:.3f}, from hard ones {soft['hard']:.3f} (difference "
        f"{soft['gain']:+.3f}, 95% interval {soft['low']:+.3f} to {soft['high']:+.3f}): "
        f"{_verdict(soft['low'], soft['high'], more, less)}."
    )


def describe_plane(plane: pd.DataFrame) -> list[str]:
    """At which numbers of galaxies meaningless clusters get the paper's pair, and what follows for few and for all."""
    pair = "an accuracy of {:.1%} to {:.1%} with a hard ROC AUC of {:.4f} to {:.4f}".format(
        *PAPER_BOX["accuracy"], *PAPER_BOX["roc_auc_hard"]
    )
    met, largest = within_chance(plane), plane["galaxies"].max()
    where = "; ".join(
        f"{name}: {', '.join(f'{size:,}' for size in own.loc[met[own.index], 'galaxies']) or 'none'}"
        for name, own in plane.groupby("shares", sort=False)
    )
    full = plane[plane["galaxies"] == largest]
    reached = "; ".join(
        f"{row.shares} {row.accuracy:.1%} ({row.accuracy_low:.1%} to {row.accuracy_high:.1%}) and "
        f"{row.roc_auc_hard:.3f} ({row.roc_auc_hard_low:.3f} to {row.roc_auc_hard_high:.3f})"
        for row in full.itertuples()
    )
    sentences = [
        f"The paper's two rows are, but for rounding, {pair}. Of the numbers of galaxies that were tried, meaningless "
        f"clusters get both within their central 95% at: {where}.",
        f"On all {largest:,} galaxies meaningless clusters get: {reached}.",
    ]
    if met[plane["galaxies"] < largest].any():
        sentences.append(
            "If the paper scored so few galaxies, its two rows are what clusters without any meaning get, and say "
            "nothing about DINO."
        )
    above = [(full[f"{name}_high"] < PAPER_BOX[name][0]).all() for name in SCORES]
    if met[full.index].any():
        follows = "chance gets its pair there, too, and it says nothing about DINO"
    elif all(above):
        margin = 100 * (PAPER_BOX["accuracy"][0] - full["accuracy_high"].max())
        follows = (
            f"its clusters are more than meaningless ones of such shares, by at least {margin:.1f} points, and a "
            "mistake that breaks every link between galaxies and labels is not the cause"
        )
    else:
        follows = "its pair is neither what meaningless clusters get nor above it in both numbers"
    return [*sentences, f"If it scored all {largest:,}, {follows}."]


def describe_cases(cases: pd.DataFrame, plane: pd.DataFrame) -> list[str]:
    """Which cases, taken to the full set, have the paper's pair, or are the nearest; and what the faults get there."""
    full = cases[list(_FULL)].set_axis(list(SCORES), axis=1)
    inside, null = inside_box(full), plane[plane["galaxies"] == plane["galaxies"].max()].iloc[-1]
    causes = cases["cause"].to_numpy()
    named = zip(cases["case"], full["accuracy"], full["roc_auc_hard"], strict=True)
    scores = [f"{case} ({accuracy:.1%}, {area:.4f})" for case, accuracy, area in named]
    have = "has" if inside.sum() == 1 else "have"
    said = (
        f"Taken to the full set's size and class counts, {inside.sum()} of {len(cases)} cases {have} the paper's pair"
    )
    if inside.any():
        said += f": {'; '.join(own for own, met in zip(scores, inside, strict=True) if met)}."
    else:
        # How far outside the box, in widths of chance's central 95%.
        widths = {name: max(null[f"{name}_high"] - null[f"{name}_low"], 1e-6) for name in SCORES}
        distance = sum((full[name].clip(*PAPER_BOX[name]) - full[name]).abs() / widths[name] for name in SCORES)
        place = int(np.argmin(distance))
        said += f"; the nearest in both numbers is, by cause {causes[place]}, {scores[place]}."
    faults = [own for own, cause in zip(scores, causes, strict=True) if cause == "fault of evaluation"]
    faulty = [f"With mistakes of evaluation, this clustering would get there: {'; '.join(faults)}."]
    return [said, *(faulty if faults else [])]


def describe_readings(readings: pd.DataFrame) -> list[str]:
    """Which readings of the sixth row differ from the fifth as the paper's rows do; nothing where there are none."""
    if readings.empty:
        return []
    (low, high), (least, most) = PAPER_CHANGES
    alike = readings["change"].between(low, high, "neither") & readings["auc_change"].between(least, most, "neither")
    named = ["; ".join(readings.index[chosen]) or "none" for chosen in (alike, ~alike)]
    return [
        f"The paper's sixth row has less than {100 * high:.0f} point more or less accuracy than its fifth, and a "
        f"ROC AUC that is higher by less than {most:.3f}. So it is here with: {named[0]}. It is not with: {named[1]}.",
    ]
