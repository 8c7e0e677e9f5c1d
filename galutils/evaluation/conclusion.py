"""The study's answer in words: build or adapt? Every word follows from the table and the paired tests."""

import pandas as pd

_UNDECIDED = "These runs cannot say whether to build or to adapt:"


def conclude(table: pd.DataFrame, comparisons: pd.DataFrame) -> str:
    """The paper's question, build or adapt, as far as these numbers answer it.

    Clusterings are left out: they know no labels, so they answer another question. For table and comparisons see
    :class:`galutils.study.results.Results`.
    """
    table = table[table["supervised"]]
    if table.empty:
        return f"{_UNDECIDED} none of them learnt from labels."
    built = table[table["built"]]
    adapted = table[~table["built"] & table["pretrained"]]
    if adapted.empty and built.empty:
        return f"{_UNDECIDED} no network started from pretrained weights."
    if built.empty:
        return f"{_UNDECIDED} no network here was built from scratch."
    first = built.loc[built["accuracy"].idxmax()]
    if adapted.empty:
        said = [
            f"{_UNDECIDED} no network started from pretrained weights.",
            f"The best of those built from scratch was {first.approach} with {_share(first)}; "
            f"chance among {first.num_classes:.0f} equally frequent classes is {1 / first.num_classes:.1%}.",
            _open([*built["approach"]], comparisons, "those built from scratch"),
            _scope(built),
        ]
    else:
        second = adapted.loc[adapted["accuracy"].idxmax()]
        said = [
            f"The best adapted network, {second.approach}, reaches {_share(second)}; "
            f"the best one built from scratch, {first.approach}, {_share(first)}.",
            _decision(first.approach, second.approach, comparisons),
            _open([*built["approach"], *adapted["approach"]], comparisons, "these networks", told=1),
            _scope(table),
        ]
    return " ".join(filter(None, said))


def _share(row) -> str:
    return f"{row.accuracy:.1%} (95% interval {row.low:.1%} to {row.high:.1%})"


def _decision(built: str, adapted: str, comparisons: pd.DataFrame) -> str:
    """Which of the best two is better, by the paired tests."""
    pairs = list(zip(comparisons["first"], comparisons["second"], strict=True))
    sign, pair = (1, (built, adapted)) if (built, adapted) in pairs else (-1, (adapted, built))
    if pair not in pairs:
        return "The two were not tested on the same galaxies with the same seed, so nothing is decided between them."
    row = comparisons.iloc[pairs.index(pair)]
    gap = sign * row.difference
    low, high = sorted((sign * row.low, sign * row.high))
    evidence = (
        f"on the same {row.galaxies:,} galaxies the adapted one is {abs(gap) * 100:.1f} points "
        f"{'better' if gap > 0 else 'worse'} (95% interval {low * 100:+.1f} to {high * 100:+.1f}; "
        f"corrected for {len(pairs)} {'comparison' if len(pairs) == 1 else 'comparisons'}, "
        f"p {_p(row.mcnemar_holm)} by McNemar's test and p {_p(row.bootstrap_holm)} by the bootstrap)"
    )
    if not row.real:
        return f"Building and adapting are not told apart here: {evidence}. These runs do not decide between them."
    return f"{'Adapting' if gap > 0 else 'Building'} wins here: {evidence}."


def _open(contenders: list[str], comparisons: pd.DataFrame, name: str, told: int = 0) -> str:
    """The pairs of contenders that the tests leave undecided; nothing where no pair is left beyond those told of."""
    among = comparisons[comparisons["first"].isin(contenders) & comparisons["second"].isin(contenders)]
    if len(among) <= told:
        return ""
    pairs = [f"{row.first} against {row.second}" for row in among[~among["real"].astype(bool)].itertuples()]
    return f"Not decided: {'; '.join(pairs)}." if pairs else f"Every difference between {name} is real."


def _scope(table: pd.DataFrame) -> str:
    """What the intervals do not cover."""
    fewest, most = int(table["seeds"].min()), int(table["seeds"].max())
    if most == 1:
        return (
            "There was one seed, so the intervals hold for these trained networks: how much other initialisations "
            "would change was not measured."
        )
    return f"The intervals account for the galaxies and for {most if fewest == most else f'{fewest} to {most}'} seeds."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
