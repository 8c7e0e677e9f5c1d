"""The study's answer in words: build or adapt? Every word follows from the table and the family of comparisons."""

import pandas as pd

from galutils.evaluation.significance import BETTER, DECIDED, EQUIVALENT, MARGIN, OPEN, TOO_FEW, WORSE

#: So many open pairs are named one by one; more are counted.
NAMED = 3

_UNDECIDED = "These runs cannot say whether to build or to adapt:"


def conclude(table: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The paper's question, build or adapt, as far as these numbers answer it.

    Clusterings are left out: they know no labels, so they answer another question. For table and comparisons see
    :class:`galutils.study.results.Results`.
    """
    table = table[table["supervised"]]
    if table.empty:
        return f"{_UNDECIDED} none of them learnt from labels."
    built, adapted, simulated = _ways(table)
    if adapted.empty:
        said = [f"{_UNDECIDED} no network {_missing(table, _adapted(table), 'started from pretrained weights')}."]
        if len(built):
            said += [
                f"{_best(built, 'of those built from scratch')}; the largest class alone would give "
                f"{_first(built).largest:.1%}.",
                _others([*built["approach"]], comparisons),
                _scope(built),
            ]
        return " ".join(filter(None, [*said, _left_out(table)]))
    if built.empty:
        told = f"{_UNDECIDED} no network here {_missing(table, table['built'], 'was built from scratch')}."
        return " ".join(filter(None, [told, _left_out(table)]))
    first, second = _first(built), _first(adapted)
    said = [
        f"{_best(adapted, 'adapted')}. {_best(built, 'built')}.",
        _decision(first.approach, second.approach, comparisons),
        *_third(simulated, first, second, comparisons),
        _others([*built["approach"], *adapted["approach"]], comparisons, {first.approach, second.approach}),
        _left_out(table),
        _scope(table),
    ]
    return " ".join(filter(None, said))


def _adapted(table: pd.DataFrame) -> pd.Series:
    """Which rows started from pretrained weights, and not from simulated galaxies."""
    return ~table["built"] & table["pretrained"]


def _ways(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The rows that are built, adapted, and first trained on simulated galaxies, of those that can be judged.

    Not one that answers one class for nearly all galaxies, which tells none apart, nor one that may have learnt from
    the very labels that it is scored by.
    """
    fair = table[~table["wholly_collapsed"] & ~table["may_know"]]
    return fair[fair["built"]], fair[_adapted(fair)], fair[fair["from_simulations"]]


def _missing(table: pd.DataFrame, kind: pd.Series, words: str) -> str:
    """Why there is none of a kind: none was run, or none can be judged."""
    return f"that {words} can be judged" if len(table[kind]) else words


def _left_out(table: pd.DataFrame) -> str:
    """Which rows :func:`_ways` leaves out, and why."""
    reasons = {
        "as they may know the labels that they are scored by": table["may_know"] & ~table["wholly_collapsed"],
        "as they answer one class for nearly all galaxies": table["wholly_collapsed"],
    }
    said = [f"{'; '.join(table.loc[rows, 'approach'])}, {why}" for why, rows in reasons.items() if rows.any()]
    return f"Left out here: {'; and '.join(said)}." if said else ""


def describe_beaten(against: pd.DataFrame) -> str:
    """Which approaches beat five measured numbers, by the family's rule; nothing where none was held against them.

    against: see :class:`galutils.study.results.Results`.
    """
    if against.empty:
        return ""
    groups = against.groupby("told", sort=False)["second"]
    said = [f"{told[0].upper()}{told[1:]}: {'; '.join(names)}." for told, names in groups]
    return f"Held against a random forest on five measured numbers. {' '.join(said)}"


def _first(rows: pd.DataFrame) -> pd.Series:
    """The most accurate of them."""
    return rows.loc[rows["accuracy"].idxmax()]


def _best(rows: pd.DataFrame, kind: str) -> str:
    """The most accurate of a kind, with an interval that knows that it was picked."""
    row = _first(rows)
    which = f"The most accurate network {kind}" if len(rows) > 1 else f"The one network {kind}"
    interval = f"95% interval {row.picked_low:.1%} to {row.picked_high:.1%}"
    equal = rows.loc[(rows["accuracy"] == row.accuracy) & (rows["approach"] != row.approach), "approach"]
    also = f", as accurate as {' and '.join(equal)}" if len(equal) else ""
    return f"{which} is {row.approach} with {row.accuracy:.1%} ({interval}){also}"


def _third(simulated: pd.DataFrame, built: pd.Series, adapted: pd.Series, comparisons: pd.DataFrame) -> list[str]:
    """The most accurate of those that learnt from simulated galaxies first, beside the best of both other ways."""
    if simulated.empty:
        return []
    best, words = _first(simulated).approach, "one first trained on simulations"
    return [
        f"{_best(simulated, 'first trained on simulated galaxies')}.",
        _decision(built.approach, best, comparisons, words, interval=""),
        _decision(adapted.approach, best, comparisons, words, "adapted one", interval=""),
    ]


def _decision(
    first: str,
    other: str,
    comparisons: pd.DataFrame,
    words: str = "adapted one",
    known: str = "built one",
    interval: str = "95% interval, simultaneous with the study's other comparisons, ",
) -> str:
    """What the family of comparisons says of two: ``other``, in ``words``, against ``first``, the ``known``.

    interval: what is said of it the first time.
    """
    row = _paired(first, other, comparisons)
    if row is None:
        return f"The {words} and the {known} were not compared, so nothing is said between them."
    evidence = (
        f"on the same {row['galaxies']:,} galaxies the {words} less the {known} is "
        f"{row['difference'] * 100:+.1f} points ({interval}{row['low'] * 100:+.1f} to {row['high'] * 100:+.1f})"
    )
    these = "these trained networks" if row["seeds"] == 1 else "these two approaches"
    if row["verdict"] in DECIDED:
        return f"Of {these}, the {words if row['verdict'] == BETTER else known} is better: {evidence}."
    if row["verdict"] == EQUIVALENT:
        return f"Between {these} no difference that matters is left: {evidence}."
    if row["verdict"] == TOO_FEW:
        return f"Two seeds are too few to tell these approaches apart: {evidence}."
    return f"Which of {these} is better stays open: {evidence}."


def _paired(first: str, second: str, comparisons: pd.DataFrame) -> dict | None:
    """The comparison of two titles as second less first, whichever way it was made; None: there is none."""
    swapped = {BETTER: WORSE, WORSE: BETTER}
    for row in comparisons.to_dict("records"):
        if (row["first"], row["second"]) == (first, second):
            return row
        if (row["first"], row["second"]) == (second, first):
            turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
            return row | turned | {"verdict": swapped.get(row["verdict"], row["verdict"])}
    return None


def _others(contenders: list[str], comparisons: pd.DataFrame, told: frozenset[str] | set[str] = frozenset()) -> str:
    """Pairs of contenders, but for the one that was told of, that are neither told apart nor equivalent.

    They are named where they are few, else counted.
    """
    among = comparisons[comparisons["first"].isin(contenders) & comparisons["second"].isin(contenders)]
    among = among.loc[[{row.first, row.second} != set(told) for row in among.itertuples()]]
    left = among[~among["verdict"].isin([BETTER, WORSE, EQUIVALENT])]
    pairs = [f"{row.first} against {row.second}" for row in left.itertuples()]
    if len(pairs) > NAMED:
        return f"Of {len(among)} {'other ' * bool(told)}pairs of approaches {len(pairs)} stay open."
    return f"Open: {'; '.join(pairs)}." if pairs else ""


def _scope(table: pd.DataFrame) -> str:
    """What the intervals do not cover."""
    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    if most == 1:
        return (
            "There was one seed, so the intervals hold for these trained networks: how much other initialisations "
            "would change was not measured."
        )
    seeds = f"for {most} seeds" if fewest == most else f"for the seeds of each approach, {fewest} to {most}"
    seeds += " (one alone tells nothing of others)" * (fewest == 1)
    folds = int(table["folds"].max())
    tested = f"tested on, each once, in one of {folds} folds," if folds > 1 else "tested on"
    return f"The intervals account for the galaxies {tested} and {seeds}, not for other training galaxies."


#: What the paper says, for :func:`claims`: where it is seen, and which experiments, which change of one, or which one
#: beside chance, would show it, with the verdicts of the second on the first, or on chance, that agree with it.
_CLAIMS = (
    (
        "The custom network outperforms all VGGs (76% against 73, 74 and 58%).",
        "10_results",
        [("vgg_scratch", "custom_cnn"), ("vgg11_deep", "custom_cnn"), ("vgg11_shallow", "custom_cnn")],
        {BETTER},
    ),
    ("Deep fine-tuning beats shallow (74% against 58%).", "10_results", [("vgg11_shallow", "vgg11_deep")], {BETTER}),
    (
        "Galaxies need no more than 32 channels.",
        "14_ablations",
        [("vgg_scratch", "widths", "doubling")],
        {WORSE, EQUIVALENT},
    ),
    ("Averaging pixels first helps.", "14_ablations", [("custom_cnn", "average_pool", "1")], {WORSE}),
    (
        "Clusters of DINO's embedding are near chance (16%, ROC AUC 0.521).",
        "11_why_chance",
        [("dino_kmeans",)],
        {EQUIVALENT},
    ),
    (
        "Fine-tuning DINO does not improve its clusters (16% before and after).",
        "10_results",
        [("dino_kmeans", "dino_lora_kmeans")],
        {WORSE, EQUIVALENT},
    ),
)

HOLDS, FAILS, UNTESTED = "holds here", "does not hold here", "not tested here"


def claims(table: pd.DataFrame, comparisons: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """The paper's claims beside what these runs say of them: ``claim``, ``found`` (words), ``verdict``, ``page``.

    And ``experiments``, the set of those that it is about. A claim is about approaches: what one or two seeds of what
    was trained show is open, and what rows show that cannot be judged, see :func:`_ways`, or that have other weights
    than the paper's, is not told. One that speaks of several pairs holds if all do, and does not if any does not.
    For changes see :func:`galutils.study.ablations.compare_with_base`; comparisons are of classifiers and clusterings.
    """
    known = table.set_index("experiment")
    unfair = (
        table["wholly_collapsed"] | table["may_know"] | (~table["built"] & ~table["pretrained"]) | table["stand_in"]
    )
    unfair = set(table.loc[unfair, "experiment"])
    rows = []
    for claim, page, pairs, agreeing in _CLAIMS:
        told = []
        for pair in pairs:
            if not unfair.isdisjoint(pair):
                continue
            if len(pair) == 1:
                told += [_beside_chance(known.loc[name]) for name in pair if name in known.index]
                continue
            if len(pair) == 3:
                name, row = f"with {pair[1]} = {pair[2]}", _changed(*pair, changes)
            else:
                first, second = (known["approach"].get(experiment) for experiment in pair)
                name, row = f"{second} against {first}", _paired(first, second, comparisons)
            if row is not None:
                told.append(_evidence(name, row))
        verdicts = [verdict for verdict, _ in told]
        if not told:
            verdict = UNTESTED
        elif any(verdict in {BETTER, WORSE, EQUIVALENT} - agreeing for verdict in verdicts):
            verdict = FAILS
        else:
            verdict = HOLDS if len(told) == len(pairs) and set(verdicts) <= agreeing else OPEN
        found = "; ".join(words for _, words in told)
        # A change is named by three: the experiment, the parameter, its value.
        experiments = {name for pair in pairs for name in (pair[:1] if len(pair) == 3 else pair)}
        rows.append({"claim": claim, "found": found, "verdict": verdict, "page": page, "experiments": experiments})
    return pd.DataFrame(rows)


def _beside_chance(row: pd.Series) -> tuple[str, str]:
    """The verdict on a clustering's accuracy beside what permuted labels get, and both in words."""
    if row["seeds"] < 3 and row["trained_parameters"]:
        verdict = OPEN
    elif row["low"] > row["chance"] + MARGIN:
        verdict = BETTER
    else:
        verdict = EQUIVALENT if row["high"] < row["chance"] + MARGIN else OPEN
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    return verdict, f"{row['approach']}: {row['accuracy']:.1%} ({interval}); with permuted labels {row['chance']:.1%}"


def _changed(base: str, parameter: str, value: str, changes: pd.DataFrame) -> dict | None:
    """What one change of an experiment did, as :func:`_paired` tells it; None: it was not made."""
    for row in changes.to_dict("records"):
        if (row["base"], row["parameter"], row["value"]) == (base, parameter, value):
            return row | {"low": row["difference_low"], "high": row["difference_high"]}
    return None


def _evidence(name: str, row: dict) -> tuple[str, str]:
    """The verdict, open where there are fewer than three seeds, and the difference in words."""
    ends = f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
    words = f"{name}: {100 * row['difference']:+.1f} points ({ends}; {_count(row['seeds'])})"
    return OPEN if row["seeds"] < 3 else row["verdict"], words


def _count(seeds: int) -> str:
    return f"{seeds} seed" + "s" * int(seeds != 1)


def headline(table: pd.DataFrame, comparisons: pd.DataFrame, simulated: bool) -> str:
    """The answer in at most 25 words; :func:`conclude` gives its grounds.

    On ``simulated`` galaxies what learnt from such is at home, and no answer to the question.
    """
    where = "On these simulated galaxies" if simulated else "On these galaxies"
    table = table[table["supervised"]]
    built, adapted, third = _ways(table)
    if built.empty:
        return f"{where}, not decided: no network here {_missing(table, table['built'], 'was built from scratch')}."
    if adapted.empty:
        missing = _missing(table, _adapted(table), "was adapted from pretrained weights")
        return f"{where}, not decided: no network here {missing}."
    first, second = _first(built), _first(adapted)
    shares = f"{second.accuracy:.0%} adapted, {first.accuracy:.0%} built"
    # Of the two alone: what a simulated start does beside them is told where it beats both.
    said = {
        BETTER: "adapting beats building",
        WORSE: "building beats adapting",
        EQUIVALENT: "building and adapting come out alike",
    }
    found = _verdict(first.approach, second.approach, comparisons)
    if len(third):
        third = _first(third)
        how = "with a simulated start at home" if simulated else "trained on simulated galaxies first"
        shares += f", {third.accuracy:.0%} {how}"
        beaten = [_verdict(way.approach, third.approach, comparisons) == BETTER for way in (first, second)]
        if all(beaten) and not simulated:
            return f"{where}, simulating wins: {shares}."
    if found is None:
        return f"{where}, not decided: the best two were not compared ({shares})."
    few = min(first.seeds, second.seeds) < 3
    return f"{where}, {said.get(found, 'not decided')}: {shares}" + (" (fewer than three seeds)." if few else ".")


def _verdict(first: str, second: str, comparisons: pd.DataFrame) -> str | None:
    """On the second; open where there are fewer than three seeds, None where they were not compared."""
    row = _paired(first, second, comparisons)
    return row and (OPEN if row["seeds"] < 3 else row["verdict"])
