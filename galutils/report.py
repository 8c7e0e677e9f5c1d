"""Executed notebooks to one HTML report that opens anywhere: no request to any other host.

nbconvert renders each notebook's cells; the page around them, its style and its few lines of script are in
``templates/``. Also :func:`execute`, which runs one notebook with papermill for the graph.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from filelock import FileLock
from jinja2 import Environment, PackageLoader

from galutils.errors import GalutilsError
from galutils.files import atomic_path, write_text
from galutils.results import answer, average_seeds, collect_runs, describe_sources, format_table
from galutils.runs import find_runs, read_metrics
from galutils.study import Page, Study

#: Where :func:`execute` says why it failed, for whoever runs many of it.
FAILURE_SUFFIX = ".failed.txt"

_OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_LESS_MEMORY = "lower image_size or batch_size, run fewer notebooks at once (make report CORES=1), or free some"


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
    """Render all pages of a study whose notebooks have run; returns the path of the index.

    Raises:
        ReportError: a notebook has not run.
    """
    for page in study.pages:
        if not page.executed.exists():
            raise ReportError(f"{page.notebook} has not run ({page.executed} is missing); run make report.")
    environment = Environment(loader=PackageLoader("galutils", "templates"), autoescape=True)
    environment.globals["code_style"] = _code_style()
    label, warnings = describe_sources(study.runs_dir)
    navigation = [(f"{page.slug}.html", _title(page)) for page in study.pages]
    common = {"navigation": navigation, "warnings": warnings, "profile": study.profile}
    for number, page in enumerate(study.pages):
        html = environment.get_template("page.html").render(
            **common,
            title=_title(page),
            current=f"{page.slug}.html",
            body=_render(page),
            previous=navigation[number - 1] if number else None,
            following=navigation[number + 1] if number + 1 < len(navigation) else None,
        )
        write_text(study.report_dir / f"{page.slug}.html", html)
    table = average_seeds(collect_runs(study.runs_dir))
    metrics = [read_metrics(run_dir) for run_dir in find_runs(study.runs_dir)]
    index = environment.get_template("index.html").render(
        **common,
        title="Build or adapt?",
        current="index.html",
        label=label,
        results=format_table(table, label),
        answer=answer(table),
        environment=metrics[0]["environment"],
        commits=sorted({str(m["environment"]["git_commit"]) for m in metrics}),
        data=metrics[0]["data"],
        seconds=table.set_index("approach")["train_seconds"].to_dict(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    write_text(study.report_dir / "index.html", index)
    return study.report_dir / "index.html"


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
    # nbconvert's anchors on headings are links to nowhere useful in print and for screen readers.
    return re.sub(r'<a class="anchor-link"[^>]*>.*?</a>', "", body)


def _code_style() -> str:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(style="friendly").get_style_defs(".highlight")
