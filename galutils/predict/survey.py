"""Classify a survey part by part on Dask, so that whatever is killed, the same command goes on.

A catalogue that is written holds ``galutils.json``, which says what makes its parts, and ``parts/``, a mark for each
that is finished; a part is a file below ``dataset/`` in HATS's layout, where there are positions, and written whole.
LSDB's own writing holds all images of a partition in memory, does not ask what made the others, and when killed between
its two marks of a partition does not go on.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from itertools import chain, islice
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from filelock import FileLock, Timeout

from galutils.data.catalogue.tables import CatalogueError
from galutils.data.galaxies import DataError
from galutils.data.image_files import Reading
from galutils.evaluation.calibration import Calibration, calibrate
from galutils.files import atomic_path, write_json, writing
from galutils.predict.inputs import training_field
from galutils.predict.survey_jobs import await_worker, submit_workers
from galutils.predict.survey_parts import Part, Source, SurveyError, needs_extra, open_source
from galutils.predict.survey_rows import (
    LIKENESS,
    MARKS,
    Recipe,
    classify_part,
    describe_maker,
    finish_hats,
    look,
    mark_of,
)
from galutils.progress import tracked
from galutils.study.runs import Run

#: What a catalogue says of itself.
STATE = "galutils.json"

#: What of a catalogue is said that another command began.
_REFUSED = "{}: was begun by a command that differs in {}; give that one again, or name another catalogue with --to."

#: Blocks of images that a dry run times.
SAMPLE = 4


class Where(NamedTuple):
    """Processes that classify."""

    workers: int = 1
    memory: float = 4.0  # GB of each
    scheduler: str | None = None  # address of a cluster that is there, instead
    slurm: str | None = None  # options of jobs, of one worker each, such as partition=gpu,gpus=1,time=12:00:00

    @property
    def here(self) -> bool:
        """Whether they run on this machine."""
        return not self.scheduler and not self.slurm


def classify_survey(
    run_dir: str | Path, path: str | Path, target: str | Path, *, where: Where, keep: tuple[str, ...] = (),
    image_column: str | None = None, reading: Reading | None = None, data_path: Path | None = None,
    features: bool = False, device: str = "auto", precision: str = "32-true", command: str = "",
    say: Callable[[str], None] = print,
) -> Path:  # fmt: skip
    """Classify all galaxies of a source with a run that learnt from labels; returns the catalogue's path.

    With positions it is a HATS catalogue, else Parquet files. Its columns say in their metadata what they are.
    Rows whose image cannot be used have nulls, ``bad_image``, and a reason in ``bad_images/``. With ``features`` each
    row holds what the network's last layer weighs up, too.

    Raises:
        SurveyError: it cannot be done so, or another command began the catalogue or is writing it.
        RunError, CatalogueError, DataError, PictureError: the run or the source cannot be used.
    """
    target = Path(target).resolve()
    run, source = _open(run_dir, path, image_column, keep)
    recipe = _write_recipe(run, target, reading, device, precision, features, where)
    if not sum(part.rows for part in source.parts):
        raise SurveyError(f"{path}: holds no galaxies.")
    settings = {"reading": asdict(recipe.reading), "field": recipe.field, "image column": image_column, "keep": keep}
    key = dict(recipe.made_by) | {"preprocessing": json.dumps(settings), "source": source.stamp}
    key |= {"features": "yes" if features else "no"}
    with _alone(target):
        state = _begin(target, key, run, recipe, data_path, command, say)
        if _was_other(target, source, state):
            raise SurveyError(_REFUSED.format(target, "source"))
        aside = state["calibration"] and Calibration(**state["calibration"])
        recipe = recipe._replace(calibration=aside, unlikeness=state["unlikeness"])
        if "rows" not in state:
            _classify_all(source, recipe, where)
            state |= _count(path, source, target)
            for partial in target.rglob(".*.partial*"):
                partial.unlink(missing_ok=True)  # of what was killed; hats would read it
            if source.position:
                with writing(target):
                    finish_hats(target, source, state)
            write_json(target / STATE, state)
        rmtree(target / MARKS, ignore_errors=True)
    if state["bad"]:
        say(f"{state['bad']:,} of {state['rows']:,} images cannot be used; they are listed in {target}/bad_images.")
    return target


def describe_survey(
    run_dir: str | Path, path: str | Path, target: str | Path, *, where: Where, keep: tuple[str, ...] = (),
    image_column: str | None = None, reading: Reading | None = None, device: str = "auto", precision: str = "32-true",
) -> str:  # fmt: skip
    """What :func:`classify_survey` would do, with the time by a sample that is classified here; writes nothing."""
    run, source = _open(run_dir, path, image_column, keep)
    recipe = _write_recipe(run, Path(target).resolve(), reading, device, precision, False, where)
    rows, size = (sum(getattr(part, name) for part in source.parts) for name in ("rows", "size"))
    done = sum(mark_of(recipe.target, part).exists() for part in source.parts)
    told = f"{path}: {len(source.parts):,} partitions ({done:,} of them done), {rows:,} images"
    told += f", {size / 1e9:,.3g} GB" * bool(size)
    blocks = look(chain.from_iterable(part.open()[1] for part in source.parts), recipe)
    if next(blocks, None):  # the first is slower, by what is loaded
        started, seen = time.perf_counter(), 0
        for block, _, _ in islice(blocks, SAMPLE):
            seen += len(block.table) + len(block.failures)
        if seen:
            rate = seen / (time.perf_counter() - started)
            seconds = rows / rate / where.workers
            time_of_all = f"{seconds / 3600:,.1f} hours" if seconds > 3600 else f"{max(1, seconds):,.0f} s"
            return f"{told}; a sample of {seen} ran at {rate:,.0f} images/s in one process, so all take {time_of_all}."
    return f"{told}; too few to say how long they take."


def _open(run_dir: str | Path, path: str | Path, image_column: str | None, keep: tuple[str, ...]) -> tuple[Run, Source]:
    """What is named, before anything else: PyTorch takes seconds to load."""
    needs_extra("hats", "distributed")
    return Run(run_dir), open_source(path, image_column, keep)


def _write_recipe(run: Run, target: Path, reading, device: str, precision: str, features: bool, where: Where) -> Recipe:
    from galutils.device import pick_device

    if where.here or device == "auto":  # elsewhere there may be a GPU that is not here
        device = pick_device(device).type
    directory = run.directory.resolve()
    made_by = tuple(describe_maker(directory, device, precision).items())
    told = (reading or Reading(), training_field(run))
    return Recipe(directory, target, device, precision, made_by, None, False, features, *told)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One command at a time; a lock that a killed one left is none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(target.with_name(f".{target.name}.lock"), timeout=0):
            yield
    except Timeout:
        raise SurveyError(f"{target}: another command is writing it; wait for that one.") from None


def _begin(target: Path, key: dict, run: Run, recipe: Recipe, data_path: Path | None, command: str, say) -> dict:
    """What a catalogue says of itself: one that was begun has to be made by the same."""
    path = target / STATE
    if path.exists():
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            before = state["made by"]
        except (ValueError, KeyError, TypeError) as error:
            raise SurveyError(f"{path}: is damaged; delete {target} and begin anew.") from error
        if changed := [name for name in key if before.get(name) != key[name]]:
            if options := _options(before.get("preprocessing", "{}"), key["preprocessing"]):
                changed = [f"{name} ({options})" if name == "preprocessing" else name for name in changed]
            raise SurveyError(_REFUSED.format(target, ", ".join(changed)))
        return state
    if target.exists() and (not target.is_dir() or any(LIKENESS not in one.name for one in target.iterdir())):
        raise SurveyError(f"{target}: is there already, and not of galutils classify; name another with --to.")
    from safetensors.numpy import save_file

    from galutils.predict.classify import open_likeness
    from galutils.study.features import Classifier

    classifier = Classifier(run, "cpu" if recipe.device == "cpu" else "auto", recipe.precision)
    likeness, _, notes = open_likeness(classifier, data_path)
    if likeness:
        with atomic_path(target / LIKENESS) as partial:
            save_file({field.name: getattr(likeness, field.name) for field in fields(likeness)}, partial)
    calibration = None
    if run.calibration is None:
        notes.append("probabilities are not calibrated: the run set no galaxies aside (calibration_fraction).")
    else:
        calibration = calibrate(run.calibration["y_true"].to_numpy(), run.calibration[run.columns].to_numpy())._asdict()
    for note in notes:
        say(note)
    state = {"made by": key, "command": command, "calibration": calibration, "unlikeness": likeness is not None}
    write_json(path, state)
    return state


def _options(before: str, after: str) -> str:
    """Which options of the command are others in two descriptions of the preprocessing."""
    old, new = (settings | settings.pop("reading", {}) for settings in map(json.loads, (before, after)))
    return ", ".join(f"--{name.replace(' ', '-').replace('_', '-')}" for name in new if old.get(name) != new[name])


def _was_other(target: Path, source: Source, state: dict) -> bool:
    """Whether a part was made of files that have other content now; those that nobody touched are not read for it."""
    for part in source.parts:
        known, mark = state.get("content", {}).get(part.name), mark_of(target, part)
        if part.digest and not known and mark.exists():
            known = json.loads(mark.read_text(encoding="utf-8"))
        if part.digest and known and known["stamp"] != part.stamp and known["content"] != part.digest():
            return True
    return False


def _classify_all(source: Source, recipe: Recipe, where: Where) -> None:
    """All parts that have no mark yet; a SurveyError at the end if some are damaged."""
    waiting = [part for part in source.parts if not mark_of(recipe.target, part).exists()]
    if not waiting:
        return
    damaged = []
    results = _run_parts(waiting, recipe, where)
    for _, error in tracked(results, sum(part.rows for part in waiting), "image", weight=lambda one: one[0].rows):
        if error:
            damaged.append(error)
    if damaged:
        raise SurveyError(
            f"{len(damaged)} of {len(source.parts)} parts cannot be read, the first: {damaged[0]} "
            "Then give the same command again; the others are done."
        )


def _run_parts(parts: list[Part], recipe: Recipe, where: Where) -> Iterator[tuple[Part, str | None]]:
    """Parts as they are finished, and of those that are damaged a sentence; few wait at the scheduler at a time."""
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it tells of lost workers is said here
    with ExitStack() as stack:
        cluster = where.scheduler
        if where.slurm:
            cluster = stack.enter_context(submit_workers(where.slurm, where.workers, where.memory))
        elif where.here:
            cluster = stack.enter_context(LocalCluster(
                n_workers=where.workers, threads_per_worker=1, memory_limit=f"{where.memory}GB", host="127.0.0.1",
                dashboard_address=None, silence_logs=50,
                env={"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // where.workers))},
            ))  # fmt: skip
        try:
            client = stack.enter_context(Client(cluster, set_as_default=False))
        except (OSError, ValueError) as error:
            raise SurveyError(f"{where.scheduler}: no Dask scheduler answers there; start one first.") from error
        if where.slurm:
            await_worker(cluster)
        ahead, waiting = {}, iter(parts)

        def submit(count: int) -> list:
            new = {client.submit(classify_part, part, recipe, pure=False): part for part in islice(waiting, count)}
            ahead.update(new)
            return list(new)

        done = as_completed(submit(2 * max(where.workers, len(client.nthreads()))), loop=client.loop)
        for future in done:
            part = ahead.pop(future)
            try:
                future.result()
                yield part, None
            except (CatalogueError, DataError) as error:
                yield part, str(error)
            except KilledWorker as error:
                raise SurveyError(
                    f"{part.name}: took its worker down each time; give workers more memory with --memory, "
                    "then the same command again."
                ) from error
            except CancelledError as error:
                raise SurveyError("the Dask scheduler went away; start it, and give the same command again.") from error
            done.update(submit(1))


def _count(path: str | Path, source: Source, target: Path) -> dict:
    """Rows and bad ones of all parts; a SurveyError if all are bad."""
    marks = [json.loads(mark_of(target, part).read_text(encoding="utf-8")) for part in source.parts]
    rows, bad = (sum(mark[name] for mark in marks) for name in ("rows", "bad"))
    if rows == bad:
        first = next(mark["first"] for mark in marks if mark["first"])
        raise SurveyError(f"{path}: none of its {rows:,} images can be used, the first: {first}")
    kept = ("stamp", "content")
    content = {
        part.name: {name: mark[name] for name in kept}
        for part, mark in zip(source.parts, marks, strict=True) if part.digest
    }  # fmt: skip
    return {"rows": rows, "bad": bad, "content": content}
