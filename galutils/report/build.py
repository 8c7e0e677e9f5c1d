"""Executed notebooks to one HTML report that opens anywhere: no request to any other host.

nbconvert renders the cells; the pages around them, their style and their scripts are in ``templates/``.
"""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from jinja2 import Environment, PackageLoader

from galutils.data.classes import GALAXY10
from galutils.data.galaxies import Galaxies
from galutils.evaluation.conclusion import conclude, describe_beaten
from galutils.evaluation.paper import starting_weights
from galutils.files import write_text
from galutils.progress import tracked
from galutils.report.html import clean, code_style
from galutils.report.interactive import cell_data, explorer_data
from galutils.report.tables import TIMES, format_table, in_columns
from galutils.study.collect import describe_sources, tabulate
from galutils.study.execute import ReportError
from galutils.study.pages import WEIGHTS, Page, Study
from galutils.study.results import Results, load_results
from galutils.study.runs import Run

#: Pages that the first page points to, with what is found there.
DOORS = {
    "01_data_exploration": "What the networks see: examples, sizes, colours, and galaxies that occur twice.",
    "09_confusion_matrices": "What is taken for what. Choose a cell to see its galaxies.",
    "10_results": "Which approaches differ: intervals, all pairs compared, rare classes, and what an image costs.",
    "11_why_chance": "Why the two approaches without labels are near chance in the paper.",
    "14_ablations": "What one parameter changes: initialisation, widths, frozen layers, training galaxies, rotations.",
}

#: Columns of the results that the first page leaves to the page of results, to fit on a screen.
ELSEWHERE = ["95% interval", "SD of seeds", "Seeds"]


def build_report(study: Study) -> Path:
    """Render all pages of a study whose notebooks have run, and the explorer; returns the path of the index.

    ReportError: a notebook has not run. DataError: the galaxies that the runs read are no longer there.
    """
    for page in study.pages:
        if not page.executed.exists():
            raise ReportError(f"{page.notebook} has not run ({page.executed} is missing); run make report.")
    results = load_results(study.runs_dir)
    runs = results.runs
    galaxies = runs["run"].iloc[0].galaxies()
    navigation = [(f"{page.slug}.html", _title(page)) for page in study.pages]
    label, warnings = describe_sources(runs)
    warnings += study.notes
    shared = {"navigation": navigation, "warnings": warnings, "profile": study.profile, "credit": _credit(galaxies)}
    environment = make_environment(**shared)

    def write(name: str, template: str, **content) -> Path:
        path = study.report_dir / f"{name}.html"
        write_text(path, environment.get_template(template).render(**content, current=path.name))
        return path

    beside = zip(study.pages, [None, *navigation[:-1]], [*navigation[1:], None], strict=True)
    for page, previous, following in tracked(beside, len(study.pages), "page"):
        body = _render(page)
        own = runs if page.experiment is None else tabulate([Run(page.directory)])
        cells, sheets = cell_data(body, own, galaxies)
        shown = {"title": _title(page), "body": body, "cells": cells, "sheets": sheets}
        write(page.slug, "page.html", **shown, previous=previous, following=following)
    explorer, sheets = explorer_data(runs, galaxies, study.runs_dir / "embeddings")
    write("explorer", "explorer.html", explorer=explorer, sheets=sheets)
    return write("index", "index.html", title="Results", **_index(study, results, label))


def make_environment(**shared) -> Environment:
    """The templates, with what all pages share, and the plotting library that the explorer has in it."""
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=PackageLoader("galutils.report"), autoescape=True, trim_blocks=True)
    environment.globals |= {"code_style": code_style(), "plotly": get_plotlyjs, **shared}
    return environment


def _credit(galaxies: Galaxies) -> str:
    """Whom the pictures are owed to, as far as it is known."""
    if galaxies.simulated:
        return "The galaxies are simulated."
    if galaxies.classes == GALAXY10:
        return "Images: DESI Legacy Imaging Surveys; labels: Galaxy Zoo; compiled by Leung and Bovy (Galaxy10 DECaLS)."
    return f"Images and labels: {galaxies.path.name}."


def _index(study: Study, results: Results, label: str) -> dict:
    """What the first page tells."""
    table = results.table
    metrics = [run.metrics for run in results.runs["run"]]
    return {
        "label": label,
        "results": format_table(results.shown, label).drop(columns=ELSEWHERE, errors="ignore"),
        "rows": results.shown.assign(has_paper=results.shown["paper_accuracy"].notna()).to_dict("records"),
        "beside_paper": bool(table["paper_accuracy"].notna().any()),
        "answer": conclude(table, results.comparisons),
        "approaches": len(table),
        "beaten": describe_beaten(results.against),
        "doors": [(f"{page.slug}.html", _title(page), DOORS[page.slug]) for page in study.pages if page.slug in DOORS],
        "times": in_columns(table, TIMES),
        "environment": metrics[0]["environment"],
        "commits": sorted({m["environment"]["git_commit"] for m in metrics}),
        "data": metrics[0]["data"],
        "command": _commands(study, metrics[0]["environment"]["git_commit"]),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


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


def _title(page: Page) -> str:
    """The notebook's first heading, with the approach where one notebook serves several."""
    cells = nbformat.read(page.executed, as_version=4).cells
    text = next((cell.source for cell in cells if cell.cell_type == "markdown"), page.notebook)
    heading = text.splitlines()[0].lstrip("# ")
    if page.experiment and page.experiment != page.notebook.split("_", 1)[1]:
        heading += f": {page.experiment}"
    return heading + (f", seed {page.seed}" if page.seed else "")


def _render(page: Page) -> str:
    """The cells of an executed notebook as HTML, without papermill's and debugging noise."""
    from nbconvert import HTMLExporter

    notebook = nbformat.read(page.executed, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(notebook)
    return clean(body)
