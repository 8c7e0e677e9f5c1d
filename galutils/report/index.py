"""What the first page tells: the answer first, then what it rests on."""

import shlex
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import nbformat
import pandas as pd

from galutils.evaluation import conclusion
from galutils.evaluation.confusion import describe_shared
from galutils.evaluation.paper import starting_weights
from galutils.report.standing import kind_of
from galutils.report.tables import COMPARISONS, TIMES, format_table, in_columns
from galutils.study.ablations import advise
from galutils.study.collect import sound_runs, sum_confusions
from galutils.study.pages import LABELS, WEIGHTS, Study
from galutils.study.results import Results

#: Columns of the results that the first page leaves to the page of results, to fit on a screen.
ELSEWHERE = ["SD of seeds"]


def index_content(study: Study, results: Results, label: str, pages: dict[str, str]) -> dict:
    """What the template of the first page fills in. pages: addresses of the pages of experiments, and of others."""
    table = results.table
    metrics = [run.metrics for run in results.runs["run"]]
    simulated, commit = metrics[0]["data"]["simulated"], metrics[0]["environment"]["git_commit"]
    rows = results.shown.sort_values("accuracy", ascending=False).to_dict("records")
    published = bool(table["paper_accuracy"].notna().any())
    return {
        "label": label,
        "headline": conclusion.headline(table, results.comparisons, simulated),
        "answer": conclusion.conclude(table, results.comparisons),
        "bars": [row | {"page": pages.get(row["experiment"]), "kind": kind_of(row)} for row in rows],
        "approaches": f"{len(table)} approach{'es' * (len(table) > 1)}",
        "beaten": conclusion.describe_beaten(results.against),
        "published": published,
        "claims": results.claims.to_dict("records") if published else [],
        "results": format_table(results.shown, label).drop(columns=ELSEWHERE, errors="ignore"),
        "pages": pages,
        "advice": _advice(study),
        "curves": _curves(study),
        "duels": _duels(pd.concat([results.comparisons, results.clusterings], ignore_index=True)),
        "failures": _failures(results),
        "times": in_columns(table, TIMES),
        "environment": metrics[0]["environment"],
        "commits": sorted({m["environment"]["git_commit"] for m in metrics}),
        "data": metrics[0]["data"],
        "command": _commands(study, commit),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _advice(study: Study) -> list[tuple[int, str]]:
    """Which way is best with so many labels, for the numbers that were measured and those midway between them."""
    if not study.config.labels:
        return []
    measured = study.config.labels.n
    numbers = sorted({*measured, *(round((one * other) ** 0.5) for one, other in pairwise(measured))})
    return list(zip(numbers, advise(study.runs_dir, numbers), strict=True))


def _curves(study: Study) -> str:
    """The first figure of the page on numbers of labels, accuracy against labels; nothing without that page."""
    page = next((page for page in study.pages if page.notebook == LABELS), None)
    cells = nbformat.read(page.executed, as_version=4).cells if page else []
    shown = (out.get("data", {}).get("text/html", "") for cell in cells for out in cell.get("outputs", ()))
    return next((html for html in shown if html.startswith("<figure")), "")


def _duels(comparisons: pd.DataFrame) -> list[dict]:
    """For each pair that was compared its names and what the comparison says."""
    if comparisons.empty:
        return []
    cells = in_columns(comparisons, COMPARISONS)
    right, points = "Right alone: first, second", "Second less first, points"
    return [
        {
            "pair": [row.first, row.second],
            "said": f"{row.second} less {row.first}: {cells[points][i]} points; right alone: "
            f"{cells[right][i]} galaxies. Verdict on the second: {row.told}.",
        }
        for i, row in enumerate(comparisons.itertuples())
    ]


def _failures(results: Results) -> list[tuple[str, str]]:
    """Where the classifiers that have not collapsed fail: a heading and a sentence each."""
    sound = sound_runs(results.runs)
    if sound.empty:
        return []
    classes = sound["run"].iloc[0].classes
    confusions = sum_confusions(sound)
    shared = describe_shared(confusions, classes)
    recalls = {title: pd.Series(own.diagonal(), classes) / own.sum(axis=1) for title, own in confusions.items()}
    recall = pd.DataFrame(recalls).mean(axis=1).dropna()  # of those tested on
    counts = sound["run"].iloc[0].predictions["y_true"].map(dict(enumerate(classes))).value_counts()
    mean = f"in the mean of {len(recalls)} approaches" if len(recalls) > 1 else "here"
    hardest, rarest = recall.index[recall == recall.min()], counts.index[counts == counts.min()]
    many = len(hardest) > 1
    share = f"{recall.min():.0%} of {'their' if many else 'its'} galaxies are found, {mean}"
    found = [
        ("Confused by all", shared[0] if shared else "Nothing is confused by all."),
        (f"The hardest class{'es' * many}", f"{', '.join(hardest)}: {share}."),
    ]
    if len(rarest) == 1:
        galaxies = f"{counts.min()} test {'galaxy' if counts.min() == 1 else 'galaxies'}"
        share = f"{recall[rarest[0]]:.0%} are found, {mean}"
        found.append(("The rarest class", f"{rarest[0]}: {galaxies}; {share}."))
    return found


def _commands(study: Study, commit: str) -> str:
    """What to type to make this very report again, from what papermill noted in the executed notebooks."""
    given = {}
    for page in study.pages:
        noted = nbformat.read(page.executed, as_version=4).metadata.get("papermill", {}).get("parameters", {})
        chosen = {"DATA": "data_path", "DEVICE": "device", WEIGHTS.get(starting_weights(page.notebook)): "weights"}
        for variable, name in chosen.items():
            if variable and name in noted and noted[name] != page.parameters.get(name):
                given[variable] = Path(str(noted[name])).name
    # Within a copy of the checkout, simulated galaxies have another path and the same name.
    if given.get("DATA") == Path(study.data_path).name:
        del given["DATA"]
    choices = "".join(f" {variable}={shlex.quote(value)}" for variable, value in sorted(given.items()))
    make = f"make report PROFILE={study.profile}{choices}"
    if commit.startswith("unknown"):
        return make
    pure = commit.removesuffix("-dirty")
    return f"git checkout {pure}" + ("   # files differed from it" if pure != commit else "") + f"\n{make}"
