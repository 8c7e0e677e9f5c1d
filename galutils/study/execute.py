"""One notebook, run by papermill."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import nbformat
import psutil
from filelock import FileLock

from galutils.errors import GalutilsError, first_line
from galutils.files import atomic_path, write_text

T = TypeVar("T")

#: Where :func:`execute` says why it failed, for whoever runs many of it.
FAILURE_SUFFIX = ".failed.txt"

_OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_LESS_MEMORY = "lower image_size or batch_size, run fewer notebooks at once (make report CORES=1), or free some"

#: Seconds in which a kernel has to answer: on a loaded machine, or from a network's disk, its imports take long.
_START = 300


class ReportError(GalutilsError):
    """A notebook failed or is missing; one sentence that names it."""


def execute(source: str | Path, target: str | Path, parameters: dict, key: dict | None = None) -> None:
    """Run a notebook with papermill; ``target`` exists afterwards only if every cell ran.

    key: what it depends on, kept in its metadata; see :mod:`galutils.study.keys`.

    Raises:
        ReportError: a cell failed; the message names notebook, cell and error. What ran so far stays beside
            ``target`` as ``<target>.failed.ipynb`` to look at.
    """
    source, target = Path(source), Path(target)
    partial, failed = target.with_suffix(".partial.ipynb"), target.with_suffix(".failed.ipynb")
    reason = target.with_suffix(FAILURE_SUFFIX)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A run that was killed may have left its notebook running: wait for that one, rather than write with it.
    with FileLock(target.with_suffix(".lock")):
        for leftover in (target, partial, failed, reason):
            leftover.unlink(missing_ok=True)
        message = _stoppable(lambda: _run(source, partial, parameters))
        if message is None:
            notebook = nbformat.read(partial, as_version=4)
            notebook.metadata["galutils"] = key
            with atomic_path(target) as whole:
                nbformat.write(notebook, whole)
            partial.unlink()
            return
        if partial.exists():
            partial.replace(failed)
        write_text(reason, message + "\n")
        raise ReportError(message)


def stop_children(seconds: float = 5) -> None:
    """End all processes below this one: ask them, and after so many seconds do not ask."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    for child in psutil.wait_procs(children, seconds)[1]:
        child.kill()


def _stoppable(work: Callable[[], T]) -> T:
    """Do the work in a thread, so that the main one can answer a signal that asks to stop, and end the kernel."""

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            try:
                return future.result()
            except (SystemExit, KeyboardInterrupt):
                stop_children()  # then the thread ends too
                raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(source: Path, target: Path, parameters: dict, tries: int = 2) -> str | None:
    """Run the notebook, once more if its kernel does not start; why it failed, None if it did not."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    try:
        with _own_kernel():
            papermill.execute_notebook(
                source,
                target,
                parameters,
                kernel_name="python3",
                cwd=source.parent,
                progress_bar=False,
                request_save_on_cell_execute=False,
                start_timeout=_START,
            )
    except PapermillExecutionError as error:
        # papermill counts from zero, and counts the cell that it put in for the parameters.
        cell = error.cell_index + (0 if parameters else 1)
        if error.ename in _OUT_OF_MEMORY or "can't allocate memory" in error.evalue:
            said = (error.evalue.strip() or error.ename).splitlines()[0]
            return f"{source.name}, cell {cell}: the memory is full ({said[:160]}); {_LESS_MEMORY}."
        return f"{source.name}, cell {cell}: {error.ename}: {error.evalue}"
    except DeadKernelError:
        return f"{source.name}: its kernel died, most often because the memory was full; {_LESS_MEMORY}."
    except RuntimeError as error:  # what Jupyter raises for a kernel that dies before it answers, or does not answer
        if tries > 1:
            return _run(source, target, parameters, tries - 1)
        return f"{source.name}: its kernel did not start ({first_line(error)}); run fewer notebooks at once (CORES=1)."
    return None


@contextmanager
def _own_kernel() -> Iterator[None]:
    """Notebooks run in the Python that runs the study, whatever kernel lies in the home."""
    from ipykernel.kernelspec import write_kernel_spec

    before = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        write_kernel_spec(Path(folder) / "kernels" / "python3")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, before]))
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH")
            if before is not None:
                os.environ["JUPYTER_PATH"] = before
