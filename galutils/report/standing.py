"""Where an approach stands among the others, what that says of the paper's claims, and what its page leaves behind."""

import json
import os
import shlex
from pathlib import Path

import pandas as pd
from jinja2 import Environment

from galutils.files import atomic_path
from galutils.report.bundle import predictions_table
from galutils.study.keys import PLACES
from galutils.study.pages import Page, Study
from galutils.study.profile import declared_parameters
from galutils.study.results import Results


def kind_of(row: dict) -> str:
    """Whether a row of the results is a baseline, or an approach that is built, adapted or unlabelled.

    "simulated" is one that learnt from simulated galaxies first, "random" one that was to be adapted, without weights.
    """
    if row["approach"].startswith("Baseline"):
        return "baseline"
    if not row["supervised"]:
        return "unlabelled"
    kinds = {"simulated": "from_simulations", "built": "built", "adapted": "pretrained"}
    return next((kind for kind, column in kinds.items() if row[column]), "random")


def standing(page: Page, results: Results, templates: Environment) -> list[str]:
    """As Markdown: what an approach gets; and it beside its like and what the paper says. Nothing for other pages."""
    if page.experiment is None:
        return []
    table, runs = results.table, results.runs[results.runs["experiment"] == page.experiment]
    own = table[table["experiment"] == page.experiment].iloc[0]
    like = table[table["supervised"] == own["supervised"]]
    kind = "learns from labels" if own["supervised"] else "knows no labels"
    seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
    said = [f"**{own['accuracy']:.1%}** (95% interval {own['low']:.1%} to {own['high']:.1%}{seeds})"]
    if len(like) > 1:
        place = 1 + (like["accuracy"] > own["accuracy"]).sum()
        said.append(f"number {place} of {len(like)} by accuracy of what {kind}")
    if pd.notna(own["paper_accuracy"]):
        said.append(f"the paper, on Galaxy10: {own['paper_accuracy']:.0%}")
    others = [f"{row.seed}: {row.accuracy:.1%}" for row in runs.itertuples() if row.seed != page.seed]
    shown = f" This page shows seed {page.seed}; seed {', seed '.join(others)}." if others else ""
    told = []
    if pd.notna(own["paper_accuracy"]):
        bearing = [row for row in results.claims.itertuples() if page.experiment in row.experiments]
        told = [f"The paper: {row.claim} [Verdict: {row.verdict}](index.html#claims)." for row in bearing]
    others = results.shown[results.shown["experiment"].isin([*like["experiment"]]) | results.shown["experiment"].isna()]
    rows = [row | {"kind": kind_of(row)} for row in others.to_dict("records")]
    first = next(row for row in rows if row["experiment"] == page.experiment)
    strip = templates.get_template("bars.html").module.strip(first, [row for row in rows if row is not first])
    first = f"{'; '.join(said)}.{shown} [Which differences are shown](10_results.html)."
    return [first, "\n\n".join([" ".join(str(strip).split()), *told])]


def write_predictions(page: Page, results: Results, folder: Path) -> str:
    """Write what an approach says of each galaxy that it was tested on, every seed, as CSV; returns its address."""
    runs = results.runs[results.runs["experiment"] == page.experiment]
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / f"{page.slug}.csv") as partial:
        predictions_table(runs).dropna(axis="columns", how="all").to_csv(partial, index=False, float_format="%.6g")
    return f"{folder.name}/{page.slug}.csv"


def command(page: Page, study: Study) -> str:
    """What to type to run a page's notebook by hand as the study ran it: what differs from the notebook's own."""
    source = study.source(page.notebook)
    usual, chosen = declared_parameters(source), {}
    for name, value in page.parameters.items():
        if name in PLACES or usual.get(name) == value:
            continue
        inside = isinstance(value, str) and Path(value).is_relative_to(study.root)
        chosen[name] = os.path.relpath(value, source.parent) if inside else value
    given = f" -p {shlex.quote(json.dumps(chosen))}" if chosen else ""
    return f"galutils execute {source.relative_to(study.root)} mine.ipynb{given}"
