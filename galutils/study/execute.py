"""One notebook, run by papermill."""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import psutil
from filelock import FileLock, Timeout

from galutils.errors import GalutilsError, first_line
from galutils.files import WriteError, atomic_path, check_target, write_text
from galutils.study.keys import describe_changes, is_executed, notebook_key, read_key, stamp_of
from galutils.study.profile import StudyError, check_files, check_parameters, declared_parameters, find_gpus

T = TypeVar("T")

#: Where :func:`execute` says why it failed, for whoever runs many of it.
FAILURE_SUFFIX = ".failed.txt"

#: What lies beside a target: the one before while it is run again, this one while it runs, and where it failed.
_BESIDE = (".before.ipynb", ".partial.ipynb", ".failed.ipynb")

_OUT_OF_MEMORY = ("MemoryError", "_ArrayMemoryError", "OutOfMemoryError")
_LESS_MEMORY = "lower image_size or batch_size, run fewer notebooks at once (make report CORES=1), or free some"

#: Seconds in which a kernel has to answer: on a loaded machine, or from a network's disk, its imports take long.
_START = 300


class ReportError(GalutilsError):
    """A notebook failed or is missing; one sentence that names it."""


def execute(source: str | Path, target: str | Path, parameters: dict, key: dict | None = None) -> None:
    """Run a notebook with papermill; ``target`` is of this run afterwards only if every cell ran.

    key: what it depends on, kept in its metadata; see :mod:`galutils.study.keys`.

    Raises:
        ReportError: a cell failed; the message names notebook, cell and error. What ran so far stays beside
            ``target`` as ``<target>.failed.ipynb`` to look at, and an untouched run stays finished.
    """
    source, target = Path(source), Path(target)
    declared = declared_parameters(source)
    uses_device = declared.get("device") and parameters.get("device") != "cpu"
    run_dir = parameters.get("run_dir", declared.get("run_dir"))
    partial, failed = (target.with_suffix(suffix) for suffix in _BESIDE[1:])
    reason = target.with_suffix(FAILURE_SUFFIX)
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        _alone(target.with_suffix(".lock")),
        _own_gpu() if uses_device else nullcontext(),
        _set_aside(target, source.parent / run_dir if run_dir else None),
    ):
        for leftover in (partial, failed, reason):
            leftover.unlink(missing_ok=True)
        message = _stoppable(lambda: _run(source, partial, parameters))
        if message is None:
            import nbformat

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


def execute_changed(source: str | Path, target: str | Path, parameters: dict) -> str:
    """:func:`execute`, unless the notebook has run and all that it depends on is as it was; says which.

    Raises:
        StudyError, DataError, WeightsError, WriteError, ReportError: a parameter or a file is of no use, something
            else would be lost, or a cell failed.
    """
    check_parameters(source, parameters)
    check_target(target, ".ipynb")
    _check_replaceable(Path(source), Path(target))
    check_files(source, parameters)
    name, key, kept = Path(source).stem, notebook_key(source, parameters), read_key(target, parameters.get("run_dir"))
    if kept == key:
        Path(target).with_suffix(FAILURE_SUFFIX).unlink(missing_ok=True)  # of a run that failed since
        return f"{name} is finished, and nothing that it depends on has changed: {target}"
    if kept is not None:
        print(f"{name} is run again ({describe_changes(kept, key)}): {target}", flush=True)
    started = time.perf_counter()
    execute(source, target, parameters, key)
    return f"{name} ran in {time.perf_counter() - started:.0f} s: {target}"


def _check_replaceable(source: Path, target: Path) -> None:
    """Refuse to write over the notebook that is to be run, or over one that was not executed by this package."""
    if source.resolve() in [target.with_suffix(suffix).resolve() for suffix in (".ipynb", *_BESIDE)]:
        raise WriteError(f"{target}: {source} is the notebook to run, and would be lost; choose another name.")
    if target.exists() and not is_executed(target):
        raise WriteError(f"{target}: is there, and galutils did not write it; choose another name.")


@contextmanager
def _set_aside(target: Path, run_dir: Path | None) -> Iterator[None]:
    """Take an executed notebook away while it is run again, so that what is half done does not pass for it.

    Where that fails it comes back if the run that it wrote is untouched, so that it is finished still; else it stays
    beside, as a page on runs that may be others by now does.
    """
    before = target.with_suffix(_BESIDE[0])
    finished, stamp = read_key(target, run_dir) is not None, stamp_of(run_dir)
    if finished:
        target.replace(before)
    target.unlink(missing_ok=True)
    try:
        yield
    finally:
        if target.exists():
            before.unlink(missing_ok=True)
        elif finished and stamp and stamp_of(run_dir) == stamp:
            before.replace(target)


def read_parameters(text: str) -> dict:
    """A notebook's parameters as JSON.

    Raises:
        StudyError: it is none, or no object.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise StudyError(f"--parameters is not JSON ({error}); write for example '{{\"epochs\": 2}}'.") from error
    if not isinstance(given, dict):
        raise StudyError("--parameters is not a JSON object; write for example '{\"epochs\": 2}'.")
    return given


def _alone(path: Path) -> FileLock:
    """A lock on a notebook: where a killed run has left it running, wait for that one, rather than write with it."""
    lock = FileLock(path)
    try:
        if not _taken(lock):
            print(f"{path.parent}: another process still runs this notebook; waiting for it.", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise ReportError(f"{path}: cannot be locked ({error.strerror}); put runs/ on another disk.") from error
    return lock


def stop_children(seconds: float = 5) -> None:
    """End all processes below this one: ask them, and after so many seconds do not ask."""
    for child in psutil.wait_procs(_ask_children(), seconds)[1]:
        child.kill()


def _ask_children() -> list[psutil.Process]:
    """Ask all processes below this one to end; returns them."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.terminate()
    return children


def forward_termination() -> None:
    """Let SIGTERM end the notebooks below this process at once, as Ctrl-C does; Snakemake alone would wait for them.

    Python writes the number of every signal to a pipe, whoever's handler it calls: Snakemake sets one of its own.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)

    def forward() -> None:
        while os.read(reader, 1)[0] != signal.SIGTERM:
            continue
        _ask_children()  # not waited for here, as their exit statuses are for Snakemake

    threading.Thread(target=forward, daemon=True).start()


def _stoppable(work: Callable[[], T]) -> T:
    """Do the work in a thread, so that the main one can answer a signal that asks to stop, and end the kernel.

    The signals are noted, not raised: an exception could come before the thread is known that is to be ended.
    """
    asked: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _: asked.append(number)) for number in signals]
    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            while wait([future], 0.1).not_done:
                if asked:  # again and again: the thread may be about to start a kernel, or another one
                    stop_children()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt if asked[0] == signal.SIGINT else SystemExit(128 + signal.SIGTERM)
    return future.result()


def _run(source: Path, target: Path, parameters: dict, tries: int = 2) -> str | None:
    """Run the notebook, once more if its kernel does not start; why it failed, None if it did not."""
    # Otherwise jsonschema, through which papermill reads notebooks, compiles a grammar of addresses for a second.
    sys.modules.setdefault("rfc3987_syntax", None)
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
                # All is written when the last cell ends; to take thousands of modules down one by one takes seconds.
                shutdown_kernel="immediate",
            )
    except PapermillExecutionError as error:
        # papermill counts from zero, and counts the cell that it put in for the parameters.
        cell = error.cell_index + (0 if parameters else 1)
        if error.ename in _OUT_OF_MEMORY or "can't allocate memory" in error.evalue:
            said = (error.evalue.strip() or error.ename).splitlines()[0]
            return f"{source.name}, cell {cell}: the memory is full ({said[:160]}); {_LESS_MEMORY}."
        told = f"{source.name}, cell {cell}: {error.ename}: {error.evalue}"
        if error.ename == "WeightsError" and "experiment" in parameters:
            told += f" To go on without this row, delete the line of {parameters['experiment']} from the profile."
        return told
    except DeadKernelError:
        return f"{source.name}: its kernel died, most often because the memory was full; {_LESS_MEMORY}."
    except RuntimeError as error:  # what Jupyter raises for a kernel that dies before it answers, or does not answer
        if tries > 1:
            return _run(source, target, parameters, tries - 1)
        return f"{source.name}: its kernel did not start ({first_line(error)}); run fewer notebooks at once (CORES=1)."
    return None


@contextmanager
def _own_gpu() -> Iterator[None]:
    """Wait for a GPU that no other notebook has, and show the notebook that one alone; nothing where there is none.

    So several GPUs are used side by side, and none is shared by accident. Only those that CUDA_VISIBLE_DEVICES names
    are taken, where it is set; the locks go by the devices' own identities, as that may number them anew.
    """
    identities, before = find_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if not identities:
        yield
        return
    names = before.split(",") if before else [str(number) for number in range(len(identities))]
    locks = [
        FileLock(Path(tempfile.gettempdir()) / f"galutils-gpu-{identity}.lock", mode=0o666) for identity in identities
    ]
    while (mine := next((i for i, lock in enumerate(locks) if _taken(lock)), None)) is None:
        time.sleep(1)
    try:
        with _variable("CUDA_VISIBLE_DEVICES", names[mine]):
            yield
    finally:
        locks[mine].release()


def _taken(lock: FileLock) -> bool:
    """Take a lock if it is free."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


@contextmanager
def _own_kernel() -> Iterator[None]:
    """Notebooks run in the Python that runs the study, whatever kernel lies in the home."""
    from ipykernel.kernelspec import write_kernel_spec

    with tempfile.TemporaryDirectory() as folder:
        # It listens to this machine alone; that its wire is not encrypted is no news for whoever runs it.
        write_kernel_spec(Path(folder) / "kernels" / "python3", extra_arguments=["--IPKernelApp.log_level=40"])
        with _variable("JUPYTER_PATH", os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))):
            yield


@contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment, and put back what was there."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before
