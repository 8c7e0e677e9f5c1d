"""Executed notebooks to one HTML report that opens anywhere: no request to any other host.

nbconvert renders each notebook's cells; the page around them, its style and its few lines of script are in
``templates/``. Also :func:`execute`, which runs one notebook with papermill for the graph.
"""

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pandas as pd
from bs4 import BeautifulSoup, Tag
from filelock import FileLock
from jinja2 import Environment, PackageLoader

from galutils.errors import GalutilsError
from galutils.files import atomic_path, write_text
from galutils.progress import tracked
from galutils.results import answer, average_seeds, collect_runs, describe_sources, format_table
from galutils.runs import read_metrics
from galutils.study import Page, Study, choice_of_weights

#: Where :func:`execute` says why it failed, for whoever runs many of it.
FAILURE_SUFFIX = ".failed.txt"

_OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_LESS_MEMORY = "lower image_size or batch_size, run fewer notebooks at once (make report CORES=1), or free some"

#: Pages that the first page points to, with what is found there.
DOORS = {
    "01_data_exploration": "What the networks see: examples, sizes, colours, and galaxies that occur twice.",
    "09_confusion_matrices": "What is taken for what. Choose a cell to see its galaxies.",
    "10_results": "Which differences are real: intervals, paired tests, rare classes, and what an image costs.",
    "11_why_chance": "Why the two approaches without labels are near chance in the paper.",
    "14_ablations": "What one parameter changes: initialisation, widths, frozen layers, training galaxies, rotations.",
}

#: Columns of the results that the first page leaves to the page of results, to fit on a screen.
ELSEWHERE = ["95% interval", "SD of seeds", "Seeds"]


class ReportError(GalutilsError):
    """A notebook failed or is missing; one sentence that names it."""


def execute(source: str | Path, target: str | Path, parameters: dict) -> None:
    """Run a notebook with papermill; ``target`` exists afterwards only if every cell ran.

    Raises:
        ReportError: a cell failed; the message names notebook, cell and error. What ran so far stays beside
            ``target`` as ``<target>.failed.ipynb`` to look at.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    source, target = Path(source), Path(target)
    failed, reason = target.with_suffix(".failed.ipynb"), target.with_suffix(FAILURE_SUFFIX)
    for leftover in (target, failed, reason):
        leftover.unlink(missing_ok=True)
    # A run that was killed may have left its notebook running: wait for that one, rather than write with it.
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")), atomic_path(target) as partial:
        try:
            papermill.execute_notebook(
                source,
                partial,
                parameters,
                kernel_name="python3",
                cwd=source.parent,
                progress_bar=False,
                request_save_on_cell_execute=False,
            )
        except PapermillExecutionError as error:
            partial.replace(failed)
            # papermill counts from zero, and counts the cell that it put in for the parameters.
            cell = error.cell_index + (0 if parameters else 1)
            message = f"{source.name}, cell {cell}: {error.ename}: {error.evalue}"
            if error.ename in _OUT_OF_MEMORY or "can't allocate memory" in error.evalue:
                said = (error.evalue.strip() or error.ename).splitlines()[0]
                message = f"{source.name}, cell {cell}: the memory is full ({said[:160]}); {_LESS_MEMORY}."
        except DeadKernelError:
            message = f"{source.name}: its kernel died, most often because the memory was full; {_LESS_MEMORY}."
        else:
            return
        write_text(reason, message + "\n")
        raise ReportError(message)


def build_report(study: Study) -> Path:
    """Render all pages of a study whose notebooks have run, and the explorer; returns the path of the index.

    Raises:
        ReportError: a notebook has not run.
        galutils.galaxy10.DataError: the galaxies that the runs read are no longer there.
    """
    from galutils.cells import cell_data
    from galutils.data import find_galaxies
    from galutils.explorer import explorer_data

    for page in study.pages:
        if not page.executed.exists():
            raise ReportError(f"{page.notebook} has not run ({page.executed} is missing); run make report.")
    runs = collect_runs(study.runs_dir)
    galaxies = find_galaxies(runs["run_dir"].iloc[0], study.data_path if Path(study.data_path).is_file() else None)
    navigation = [(f"{page.slug}.html", _title(page)) for page in study.pages]
    label, warnings = describe_sources(study.runs_dir)
    environment = make_environment(navigation=navigation, warnings=warnings, profile=study.profile)

    def write(name: str, template: str, **content) -> Path:
        path = study.report_dir / f"{name}.html"
        write_text(path, environment.get_template(template).render(**content, current=path.name))
        return path

    for number, page in enumerate(tracked(study.pages, len(study.pages), "page")):
        body = _render(page)
        own = runs if page.experiment is None else runs[runs["run_dir"] == page.directory]
        cells, sheets = cell_data(body, own, galaxies)
        write(
            page.slug,
            "page.html",
            title=_title(page),
            body=body,
            cells=cells,
            sheets=sheets,
            previous=navigation[number - 1] if number else None,
            following=navigation[number + 1] if number + 1 < len(navigation) else None,
        )
    explorer, sheets = explorer_data(runs, galaxies, study.runs_dir / "embeddings")
    write("explorer", "explorer.html", explorer=explorer, sheets=sheets)
    return write("index", "index.html", title="Results", **_index(study, runs, label))


def make_environment(**shared) -> Environment:
    """The templates, with what all pages share, and the plotting library that the explorer has in it."""
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=PackageLoader("galutils", "templates"), autoescape=True, trim_blocks=True)
    environment.globals |= {"code_style": _code_style(), "plotly": get_plotlyjs, **shared}
    return environment


def _index(study: Study, runs: pd.DataFrame, label: str) -> dict:
    """What the first page tells."""
    table = average_seeds(runs)
    metrics = [read_metrics(run_dir) for run_dir in runs["run_dir"]]
    rate = "{:,.0f}".format
    return {
        "label": label,
        "results": format_table(table, label).drop(columns=ELSEWHERE, errors="ignore"),
        "rows": table.assign(has_paper=table["paper_accuracy"].notna()).to_dict("records"),
        "answer": answer(table),
        "doors": [(f"{page.slug}.html", _title(page), DOORS[page.slug]) for page in study.pages if page.slug in DOORS],
        "times": pd.DataFrame(
            {
                "Approach": table["approach"],
                "Training (s)": table["train_seconds"].map("{:,.1f}".format),
                "Images/s, training": table["train_images_per_second"].map(rate, na_action="ignore").fillna("–"),  # noqa: RUF001
                "Images/s, prediction": table["predict_images_per_second"].map(rate),
            }
        ),
        "environment": metrics[0]["environment"],
        "commits": sorted({str(m["environment"]["git_commit"]) for m in metrics}),
        "data": metrics[0]["data"],
        "command": "\n".join(_commands(study, metrics)),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _commands(study: Study, metrics: list[dict]) -> list[str]:
    """What to type to make this very report again, from what papermill noted in the executed notebooks."""
    given = {}
    for page in study.pages:
        noted = nbformat.read(page.executed, as_version=4).metadata.get("papermill", {}).get("parameters", {})
        chosen = {"DATA": "data_path", "DEVICE": "device", choice_of_weights(page.notebook): "weights"}
        for variable, name in chosen.items():
            if variable and name in noted and noted[name] != page.parameters.get(name):
                given[variable] = Path(str(noted[name])).name
    # Within a copy of the checkout, simulated galaxies have another path and the same name.
    if given.get("DATA") == Path(study.data_path).name:
        del given["DATA"]
    commit = metrics[0]["environment"]["git_commit"]
    lines = []
    if commit:
        clean = str(commit).removesuffix("-dirty")
        lines.append(f"git checkout {clean}" + ("   # files differed from it" if clean != commit else ""))
    choices = "".join(f" {variable}={shlex.quote(value)}" for variable, value in sorted(given.items()))
    return [*lines, f"make report PROFILE={study.profile}{choices}"]


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


def clean(body: str) -> str:
    """nbconvert's HTML without what could run, and with what readers of a page need.

    Nothing in the study's notebooks needs a script, so that a script there could only have come from the data.
    """
    soup = BeautifulSoup(body, "html.parser")
    # nbconvert's anchors on headings are links to nowhere useful in print and for screen readers.
    for element in soup.select("a.anchor-link, script, iframe, object, embed, base, meta, link, form"):
        element.decompose()
    for element in soup.find_all(True):
        for name in list(element.attrs):
            value = "".join(element.attrs[name]).strip().lower()
            if name.lower().startswith("on") or value.startswith(("javascript:", "data:text")):
                del element[name]
    for head in soup.select("th"):
        if not head.get_text(strip=True):
            head.name = "td"  # an empty heading announces nothing
    for table in soup.select("table"):
        _align(table)
    return str(soup)


def _align(table: Tag) -> None:
    """Mark cells that hold words rather than numbers, and the headings of columns that hold nothing else."""
    for cell in table.select("td"):
        if not re.match(r"[-−+–<]?\s*\d|[-–]?$", cell.get_text(strip=True)):  # noqa: RUF001 (minus and dash)
            cell["class"] = [*cell.get("class", []), "words"]
    heads, *others = table.select("thead tr") or [None]
    rows = [row.find_all(["td", "th"]) for row in table.select("tbody tr")]
    if heads is None or others or not rows:
        return
    heads = heads.find_all(["td", "th"])
    if all(len(row) == len(heads) for row in rows):
        for head, *cells in zip(heads, *rows, strict=True):
            if all("words" in cell.get("class", []) for cell in cells):
                head["class"] = [*head.get("class", []), "words"]


def _code_style() -> str:
    """Colours of code that keep a contrast of 4.5 on their ground, light and dark."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style, nobackground=True) for style in ("xcode", "zenburn"))
    nested = dark.get_style_defs(".highlight")
    return f"{light.get_style_defs('.highlight')}\n@media (prefers-color-scheme: dark) {{\n{nested}\n}}"
