"""One notebook, run by papermill."""

from pathlib import Path

from filelock import FileLock

from galutils.errors import GalutilsError
from galutils.files import atomic_path, write_text

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
