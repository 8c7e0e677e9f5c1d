"""Executed notebooks to one HTML report that opens anywhere: no request to any other host.

nbconvert renders the cells; the pages around them, their style and their scripts are in ``templates/``.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import nbformat
from jinja2 import Environment, PackageLoader

from galutils.data.classes import GALAXY10
from galutils.data.galaxies import Galaxies
from galutils.evaluation.paper import APPROACHES
from galutils.files import write_text
from galutils.progress import tracked
from galutils.report.html import COMPUTED, clean, code_style, link_numbers
from galutils.report.index import index_content
from galutils.report.interactive import cell_data, mapped_rows, write_explorer
from galutils.report.standing import command, standing, write_predictions
from galutils.study.collect import describe_sources, tabulate
from galutils.study.execute import ReportError
from galutils.study.pages import Page, Study
from galutils.study.results import load_results
from galutils.study.runs import Run

#: What stands where an answer was given that now stands first.
POINTER = "The answer stands at the [top](#content)."


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
    mapped = mapped_rows(runs, galaxies)
    navigation = [(f"{page.slug}.html", _title(page)) for page in study.pages]
    label, warnings = describe_sources(runs)
    warnings += study.notes
    shared = {"navigation": navigation, "warnings": warnings, "profile": study.profile, "credit": _credit(galaxies)}
    environment = make_environment(**shared)

    def write(name: str, template: str, **content) -> Path:
        path = study.report_dir / f"{name}.html"
        write_text(path, environment.get_template(template).render(**content, current=path.name))
        return path

    beside = zip(study.pages, navigation, [None, *navigation[:-1]], [*navigation[1:], None], strict=True)
    for page, (_, title), previous, following in tracked(beside, len(study.pages), "page"):
        body, sections = _render(page, title, warnings, standing(page, results, environment), set(mapped))
        own = runs if page.experiment is None else tabulate([Run(page.directory)])
        cells, sheets = cell_data(body, own, galaxies, mapped)
        shown = {"title": title, "body": body, "sections": sections, "cells": cells, "sheets": sheets}
        if page.experiment:
            predictions = write_predictions(page, results, study.report_dir / "predictions")
            shown |= {"predictions": predictions, "command": command(page, study)}
        write(page.slug, "page.html", **shown, previous=previous, following=following)
    folder = study.report_dir / "explorer"
    explorer, sheets = write_explorer(runs, galaxies, study.runs_dir / "embeddings", folder)
    write("explorer", "explorer.html", explorer=explorer, sheets=sheets)
    pages = {page.experiment or page.notebook: f"{page.slug}.html" for page in reversed(study.pages)}
    return write("index", "index.html", title="Findings", **index_content(study, results, label, pages))


def make_environment(**shared) -> Environment:
    """The templates, with what all pages share."""
    environment = Environment(loader=PackageLoader("galutils.report"), autoescape=True, trim_blocks=True)
    environment.globals |= {"code_style": code_style(), "computed": f"({COMPUTED.pattern})", **shared}
    environment.filters["link_numbers"] = link_numbers
    return environment


def _credit(galaxies: Galaxies) -> str:
    """Whom the pictures are owed to, as far as it is known."""
    if galaxies.simulated:
        return "The galaxies are simulated."
    if galaxies.classes == GALAXY10:
        return "Images: DESI Legacy Imaging Surveys; labels: Galaxy Zoo; compiled by Leung and Bovy (Galaxy10 DECaLS)."
    return f"Images and labels: {galaxies.path.name}."


def _title(page: Page) -> str:
    """The notebook's first heading, with the approach where one notebook serves several."""
    cells = nbformat.read(page.executed, as_version=4).cells
    text = next((cell.source for cell in cells if cell.cell_type == "markdown"), page.notebook)
    heading = text.splitlines()[0].lstrip("# ")
    if page.experiment and page.experiment != page.notebook.split("_", 1)[1]:
        known = APPROACHES.get(page.experiment)
        heading = known.title if known else f"{heading}: {page.experiment}"
    return heading


def _render(
    page: Page, title: str, known: Sequence[str], standing: Sequence[str], mapped: Collection[int]
) -> tuple[str, list[tuple[str, str]]]:
    """The cells of an executed notebook as HTML, and its sections, without papermill's and debugging noise.

    First comes what its approach gets, then what cells tagged "answer" say, then where it stands. Those tagged "setup"
    say where the notebook ran, in their first line; that, and the warnings that are known from the head of the page,
    are left out. Sections whose heading is tagged "method" come after the others, but for the last; those without
    output, or with nothing else than :func:`galutils.report.figures.display.say_nothing`, are left out.
    """
    from nbconvert import HTMLExporter

    notebook = nbformat.read(page.executed, as_version=4)
    cells, answers = [], []
    notebook.cells[0].source = "\n".join([f"# {title}", *notebook.cells[0].source.splitlines()[1:]])
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        if "setup" in tags:
            _shorten(cell, known)
        answers += [cell] if "answer" in tags else []
        cells.append(nbformat.v4.new_markdown_cell(POINTER, id=f"answer-{len(answers)}") if "answer" in tags else cell)
    told = [nbformat.v4.new_markdown_cell(part, id=f"standing-{number}") for number, part in enumerate(standing)]
    notebook.cells = [*cells[:1], *told[:1], *answers, *told[1:], *_ordered(cells[1:])]
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    # Lines that were printed one by one are one log.
    exporter.register_preprocessor("nbconvert.preprocessors.CoalesceStreamsPreprocessor", enabled=True)
    body, _ = exporter.from_notebook_node(notebook)
    return clean(body, page.slug, mapped, page.experiment)


def _ordered(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What precedes the sections, the sections without those on method, these, and the last section."""
    starts = [i for i, cell in enumerate(cells) if cell.cell_type == "markdown" and cell.source.startswith("## ")]
    sections = [cells[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    sections = [section for section in sections if _shows(section)]
    sections[:-1] = sorted(sections[:-1], key=lambda section: "method" in section[0].metadata.get("tags", []))
    return [*cells[: starts[0] if starts else None], *(cell for section in sections for cell in section)]


def _shows(section: list[nbformat.NotebookNode]) -> bool:
    code = [cell for cell in section if cell.cell_type == "code"]
    pointed = any(cell.source == POINTER for cell in section)
    shown = any(not out.get("metadata", {}).get("nothing") for cell in code for out in cell.outputs)
    return not code or pointed or shown


def _shorten(cell: nbformat.NotebookNode, known: Sequence[str]) -> None:
    """Drop the first line that a cell printed, and those that are known."""
    first = True
    for out in cell.outputs:
        if out.get("name") == "stdout":
            lines = [line for line in out.text.splitlines()[first:] if line not in known]
            out.text, first = "".join(f"{line}\n" for line in lines), False
    cell.outputs = [out for out in cell.outputs if out.get("text") != ""]
