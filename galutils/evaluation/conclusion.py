"""The study's answer in words: build or adapt? Every word follows from the table and the family of comparisons."""

import pandas as pd

from galutils.evaluation.significance import BETTER, DECIDED, EQUIVALENT, TOO_FEW, WORSE

_UNDECIDED = "These runs cannot say whether to build or to adapt:"


def conclude(table: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The paper's question, build or adapt, as far as these numbers answer it.

    Clusterings are left out: they know no labels, so they answer another question. For table and comparisons see
    :class:`galutils.study.results.Results`.
    """
    table = table[table["supervised"]]
    if table.empty:
        return f"{_UNDECIDED} none of them learnt from labels."
    built, adapted = table[table["built"]], table[~table["built"] & table["pretrained"]]
    if adapted.empty:
        said = [f"{_UNDECIDED} no network started from pretrained weights."]
        if len(built):
            first = built.loc[built["accuracy"].idxmax()]
            said += [
                f"{_best(first, 'of those built from scratch', len(built))}; the largest class alone would give "
                f"{first.largest:.1%}.",
                _others([*built["approach"]], comparisons),
                _scope(built),
            ]
        return " ".join(filter(None, said))
    if built.empty:
        return f"{_UNDECIDED} no network here was built from scratch."
    first, second = (rows.loc[rows["accuracy"].idxmax()] for rows in (built, adapted))
    said = [
        f"{_best(second, 'adapted', len(adapted))}. {_best(first, 'built', len(built))}.",
        _decision(first.approach, second.approach, comparisons),
        _others([*built["approach"], *adapted["approach"]], comparisons, {first.approach, second.approach}),
        _scope(table),
    ]
    return " ".join(filter(None, said))


def describe_beaten(against: pd.DataFrame) -> str:
    """Which approaches beat five measured numbers, by the family's rule; nothing where none was held against them.

    against: see :class:`galutils.study.results.Results`.
    """
    told = [f"{row.second} ({row.told})" for row in against.itertuples()]
    return f"Held against a random forest on five measured numbers: {'; '.join(told)}." if told else ""


def _best(row, kind: str, count: int) -> str:
    """The most accurate of a kind, with an interval that knows that it was picked."""
    which = f"The most accurate network {kind}" if count > 1 else f"The one network {kind}"
    interval = f"95% interval {row.picked_low:.1%} to {row.picked_high:.1%}"
    return f"{which} is {row.approach} with {row.accuracy:.1%} ({interval})"


def _decision(built: str, adapted: str, comparisons: pd.DataFrame) -> str:
    """What the family of comparisons says of the best two."""
    pairs = list(zip(comparisons["first"], comparisons["second"], strict=True))
    sign, pair = (1, (built, adapted)) if (built, adapted) in pairs else (-1, (adapted, built))
    if pair not in pairs:
        return "The two were not tested on the same galaxies with the same seed, so nothing is said between them."
    row = comparisons.iloc[pairs.index(pair)]
    gap, (low, high) = sign * row.difference, sorted((sign * row.low, sign * row.high))
    evidence = (
        f"on the same {row.galaxies:,} galaxies the adapted one less the built one is {gap * 100:+.1f} points "
        f"(95% interval, simultaneous for {len(pairs)} {'comparison' if len(pairs) == 1 else 'comparisons'}, "
        f"{low * 100:+.1f} to {high * 100:+.1f})"
    )
    these = "these trained networks" if row.seeds == 1 else "these two approaches"
    if row.verdict in DECIDED:
        better = (row.verdict == BETTER) == (sign == 1)
        return f"Of {these}, the {'adapted' if better else 'built'} one is better: {evidence}."
    if row.verdict == EQUIVALENT:
        return f"Between {these} no difference that matters is left: {evidence}."
    if row.verdict == TOO_FEW:
        return f"Two seeds are too few to tell these approaches apart: {evidence}."
    return f"Which of {these} is better stays open: {evidence}."


def _others(contenders: list[str], comparisons: pd.DataFrame, told: frozenset[str] | set[str] = frozenset()) -> str:
    """Pairs of contenders, but for the one that was told of, that are neither told apart nor equivalent."""
    among = comparisons[comparisons["first"].isin(contenders) & comparisons["second"].isin(contenders)]
    among = among[[{row.first, row.second} != set(told) for row in among.itertuples()]]
    left = among[~among["verdict"].isin([BETTER, WORSE, EQUIVALENT])]
    pairs = [f"{row.first} against {row.second}" for row in left.itertuples()]
    return f"Open: {'; '.join(pairs)}." if pairs else ""


def _scope(table: pd.DataFrame) -> str:
    """What the intervals do not cover."""
    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    if most == 1:
        return (
            "There was one seed, so the intervals hold for these trained networks: how much other initialisations "
            "would change was not measured."
        )
    seeds, folds = most if fewest == most else f"{fewest} to {most}", int(table["folds"].max())
    others = "not for other training galaxies"
    if folds > 1:
        others = f"and for other training galaxies as far as those of {folds} folds, which overlap, differ"
    return f"The intervals account for the galaxies tested on and for {seeds} seeds, {others}."
