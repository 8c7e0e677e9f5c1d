"""The rows of a surveyed catalogue: what a worker makes of a part, and what makes a HATS catalogue of the files."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile, write_table

from galutils.data.catalogue.healpix import HEALPIX, HEALPIX_ORDER
from galutils.data.image_files import Reading
from galutils.evaluation.calibration import COVERAGE, SETS, Calibration, conformal_sets, scale
from galutils.files import atomic_path, code_digest, write_json
from galutils.memory import freed_memory_kept
from galutils.predict.inputs import Block, prepare_blocks
from galutils.predict.survey_parts import Part, Source, SurveyError
from galutils.study.runs import Run

#: The reference for what is unlike, and the folder of marks of finished parts, in a catalogue.
LIKENESS, MARKS = "likeness.safetensors", "parts"

#: Order of the map of counts.
ORDER = 8

#: Code that makes the rows of a catalogue.
CODE = ("data", "models", "study/features.py", "evaluation/calibration.py", "predict/inputs.py", "predict/novelty.py",
        "predict/survey_rows.py", "predict/survey_parts.py")  # fmt: skip


class Recipe(NamedTuple):
    """What a worker needs to know to classify a part; a few hundred bytes."""

    run_dir: Path
    target: Path
    device: str
    precision: str
    made_by: tuple[tuple[str, str], ...]  # what its network and code have to be
    calibration: Calibration | None
    unlikeness: bool
    features: bool
    reading: Reading
    field: float | None  # arcsec of the training images


def describe_maker(run_dir: Path, device: str, precision: str) -> dict[str, str]:
    """What the numbers of a row come from, beside its image."""
    from importlib.metadata import version

    from galutils.predict.novelty import checksums

    network, *weights = checksums(run_dir)
    return {
        "network": network, "weights": "".join(weights), "code": code_digest(*CODE),
        "PyTorch": version("torch"), "device": device, "precision": precision,
    }  # fmt: skip


def mark_of(target: Path, part: Part) -> Path:
    return target / MARKS / f"{part.name}.json"


def own_device(device: str) -> str:
    """Workers on this machine, which are called by numbers, take its GPUs in turn.

    Several share one: what a process reads and prepares keeps a GPU busy for a small part of the time only.
    """
    import torch
    from distributed import get_worker

    try:
        name = get_worker().name
    except ValueError:  # the command's own process
        return device
    return f"{device}:{name % torch.cuda.device_count()}" if device == "cuda" and isinstance(name, int) else device


@lru_cache(maxsize=1)
def open_network(recipe: Recipe) -> tuple:
    """The classifier and what its training galaxies look like to it: once in each process, from where they lie."""
    from safetensors.numpy import load_file

    from galutils.predict.novelty import Likeness
    from galutils.study.features import Classifier

    own = describe_maker(recipe.run_dir, recipe.device, recipe.precision)
    if changed := [name for name, value in recipe.made_by if own[name] != value]:
        raise SurveyError(f"a worker has another {', '.join(changed)} than this command; install the same there.")
    likeness = Likeness(**load_file(recipe.target / LIKENESS)) if recipe.unlikeness else None
    return Classifier(Run(recipe.run_dir), own_device(recipe.device), recipe.precision), likeness


def look(entries: Iterator[dict], recipe: Recipe) -> Iterator[tuple[Block, np.ndarray, np.ndarray]]:
    """Blocks of images in their order, and of those that can be used the features (n, D) and probabilities (n, C)."""
    import torch

    classifier, _ = open_network(recipe)
    for block in prepare_blocks(entries, classifier.prepare, recipe.reading, recipe.field):
        yield block, *(classifier.of_batch(torch.cat(block.inputs)) if block.inputs else [np.empty((0, 0))] * 2)


def judge(entries: Iterator[dict], recipe: Recipe) -> pd.DataFrame:
    """Rows as they are written, in the order of the images, with the ``reason`` why one is bad.

    They become a table at the end alone: for a small network a table for each block takes as long as its images.
    """
    classifier, likeness = open_network(recipe)
    run, calibration = classifier.run, recipe.calibration
    count, places, notes, reasons = 0, [], [], {}
    probabilities, unlikeness, kept = [], [], []
    for block, features, found in look(entries, recipe):
        places += (count + block.table.index).tolist()
        notes += map("; ".join, block.table["notes"])
        reasons |= {count + place: reason for place, reason in block.failures.items()}
        count += len(block.table) + len(block.failures)
        if len(found):
            probabilities.append(found)
            unlikeness += [likeness.distance(features)] if likeness else []
            kept += [*features] if recipe.features else []
    found = np.concatenate(probabilities) if probabilities else np.empty((0, len(run.classes)))
    sets = conformal_sets(found, calibration.threshold, run.classes) if calibration else None
    found = scale(found, calibration.temperature) if calibration else found
    table = pd.DataFrame(found, places, run.columns)
    table["class"] = np.array(run.classes, object)[found.argmax(1)]
    if calibration:
        table[SETS] = sets
    if likeness:
        table["unlikeness"] = np.concatenate([np.empty(0), *unlikeness]) / likeness.threshold
    if recipe.features:
        table["features"] = kept
    table = table.reindex(range(count))
    table["bad_image"] = ~table.index.isin(places)
    return table.assign(note=pd.Series(notes, places, object), reason=pd.Series(reasons, dtype=object))


@freed_memory_kept()
def classify_part(part: Part, recipe: Recipe) -> None:
    """Write the rows of a part, those that are bad, and then its mark."""
    carried, entries = part.open()
    found = judge(entries, recipe)
    if len(found) != part.rows or len(carried) != part.rows:
        raise SurveyError(f"{part.name}: has {len(found)} rows, not {part.rows}; it changed since the command began.")
    bad = found["bad_image"].to_numpy(bool)
    if len(found):
        fields = _describe_columns(found, recipe, open_network(recipe)[0].head.in_features)
        own = [pa.array(found[field.name], field.type, from_pandas=True) for field in fields]
        made_by = {f"galutils {name}": value for name, value in recipe.made_by}
        schema = pa.schema([*carried.schema.remove_metadata(), *fields], made_by)
        table = pa.Table.from_arrays([*carried.columns, *own], schema=schema)
        table = table.sort_by(HEALPIX) if HEALPIX in carried.column_names else table
        with atomic_path(recipe.target / part.place) as partial:
            write_table(table, partial, compression="zstd", row_group_size=100_000)
    if bad.any():
        listed = carried.filter(bad).append_column("reason", pa.array(found["reason"][bad], pa.string()))
        with atomic_path(recipe.target / "bad_images" / f"{part.name}.parquet") as partial:
            write_table(listed, partial)
    first = found["reason"][bad].iloc[0] if bad.any() else None
    mark = {"rows": len(found), "bad": int(bad.sum()), "first": first}
    if part.digest:  # of what lies in the cache of files now
        mark |= {"stamp": part.stamp, "content": part.digest()}
    write_json(mark_of(recipe.target, part), mark)


def _describe_columns(table: pd.DataFrame, recipe: Recipe, width: int) -> list:
    """Arrow's fields of the columns that are added, with unit and meaning."""
    aside = recipe.calibration
    calibrated = f"calibrated, temperature {aside.temperature:.4g}" if aside else "not calibrated"
    meanings = {
        SETS: (pa.list_(pa.string()), "", f"classes, likeliest first, the true one among them for {COVERAGE:.0%} of "
               f"galaxies like those set aside (n = {aside.count if aside else 0}); split conformal prediction"),
        "features": (pa.list_(pa.float32(), width), "", "what the last layer of the network weighs up"),
        "class": (pa.string(), "", "the likeliest class; null of a bad image"),
        "unlikeness": (pa.float32(), "1", "distance to the training galaxies in what the network sees; unlike above 1"),
        "bad_image": (pa.bool_(), "", "whether the image could not be used; bad_images says why"),
        "note": (pa.string(), "", "what is odd about the image; empty where nothing is"),
    }  # fmt: skip
    for name in table.filter(regex="^p_"):
        meanings[name] = (pa.float32(), "1", f"probability of the class, {calibrated}; null of a bad image")
    return [
        pa.field(name, meanings[name][0], metadata={"unit": meanings[name][1], "description": meanings[name][2]})
        for name in table
        if name in meanings
    ]


def finish_hats(target: Path, source: Source, state: dict) -> None:
    """What makes a HATS catalogue of the files: the list of partitions, schema, map of counts and properties."""
    from hats.catalog import PartitionInfo
    from hats.catalog.dataset.table_properties import TableProperties
    from hats.io import paths, write_parquet_metadata
    from hats.io.skymap import write_skymap

    files = [target / part.place for part in source.parts if part.place.startswith("dataset/") and part.rows]
    pixels, counts, most = [paths.get_healpix_from_path(str(file)) for file in files], np.zeros(12 * 4**ORDER, int), 0
    for file in files:
        index = ParquetFile(file).read([HEALPIX])[HEALPIX].to_numpy()
        most = max(most, len(index))
        counts += np.bincount(index >> 2 * (HEALPIX_ORDER - ORDER), minlength=len(counts))
    write_parquet_metadata(target, create_metadata=False)
    write_skymap(counts, target)
    info = PartitionInfo(pixels)
    info.write_to_file(target / "partition_info.csv")
    said = {f"galutils_{name.replace(' ', '_')}": value for name, value in state["made by"].items()}
    TableProperties(
        catalog_name=target.name, catalog_type="object", ra_column=source.position[0], dec_column=source.position[1],
        healpix_column=HEALPIX, healpix_order=HEALPIX_ORDER, total_rows=int(counts.sum()), hats_max_rows=most,
        skymap_order=ORDER, moc_sky_fraction=info.calculate_fractional_coverage(),
        galutils_command=state["command"], galutils_calibration=json.dumps(state["calibration"]), **said,
    ).to_properties_file(target)  # fmt: skip
