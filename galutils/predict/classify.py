"""Classify images with a trained run, and say where it should not be believed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import write_table

from galutils.data.galaxies import DataError
from galutils.data.image_files import Reading, describe_frame
from galutils.files import atomic_path
from galutils.predict.inputs import gather, read_blocks, training_field
from galutils.progress import tracked
from galutils.study.runs import Run

if TYPE_CHECKING:
    from galutils.predict.novelty import Likeness
    from galutils.study.features import Classifier, FeatureExtractor

#: Training galaxies that an image is held against, at most; drawn by a seed.
REFERENCE = 2000

#: A probability below that of all but this share of the run's own test galaxies is a low one.
LOW_SHARE = 0.01


class Prediction(NamedTuple):
    """What :func:`classify` gives.

    The table has one row per galaxy: ``path``, ``class_id``, ``class_name``, the probability of each class
    (:attr:`Run.columns`), where the run set galaxies aside ``set90``, a list of classes that holds the true one for 90%
    of galaxies like these, where they are known of any ``ra`` and ``dec`` in degrees, ``distance`` (in units of
    :attr:`galutils.predict.novelty.Likeness.threshold`, NaN if unchecked) and ``warning`` (text, empty where there is
    none): what is odd about the picture; that it is unlike the training galaxies; or that the highest probability is
    lower than that of 99% of the run's test galaxies.
    """

    run: Run
    table: pd.DataFrame
    notes: list[str]  # what holds for many of them
    failures: list[str]  # a sentence for each file that could not be used
    matched: bool = False  # whether any image was cut or filled up to the training's field of view


def classify(
    run_dir: str | Path,
    inputs: list[str | Path],
    data_path: str | Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
    image_column: str | None = None,
    match_field: bool = True,
) -> Prediction:
    """Classify all galaxies in image or HDF5 files with a run that learnt from labels, prepared as in training.

    ``inputs`` and ``image_column`` are what :func:`galutils.predict.inputs.gather` takes; a file that cannot be used
    is left out. If ``match_field``, images are cut or filled up to the field of view of the training. Likeness is not
    checked if the run's data are not at hand; ``data_path`` is where they have moved to.

    RunError, PictureError, CatalogueError, DataError: the run, or what was named, cannot be used.
    """
    paths, run = gather(inputs, image_column), Run(run_dir)
    # PyTorch takes seconds to load, and what was named wrongly has been said by now.
    from galutils.study.features import Classifier

    classifier = Classifier(run, device)
    likeness, usual, notes = open_likeness(classifier, data_path)
    field = training_field(run) if match_field else None
    tables, failures = [], []
    for seen, features, probabilities in _look(classifier, paths, reading, field, failures):
        seen[run.columns] = probabilities
        seen["distance"] = likeness.distance(features) / likeness.threshold if likeness else np.nan
        tables.append(seen)
    if not tables:
        return Prediction(run, pd.DataFrame(), notes, failures)
    table = pd.concat(tables, ignore_index=True)
    unknown = int((~table["scaled"]).sum())
    if unknown and field:
        notes.append(
            f"the field of view of {unknown} of {len(table)} images is not known; they are taken to show {field:.0f} "
            "arcsec, as the training images do (--field and --pixel-scale say otherwise)."
        )
    table["class_id"] = table[run.columns].to_numpy().argmax(1)
    table["class_name"] = np.array(run.classes)[table["class_id"]]
    low = run.predictions[run.columns].max(axis=1).quantile(LOW_SHARE)
    signs = {
        "unlike the training galaxies": table["distance"] > 1,
        "low probability": table[run.columns].max(axis=1) < low,
    }
    table["warning"] = [
        "; ".join([note for note in noted if note not in usual] + [sign for sign, holds in signs.items() if holds[row]])
        for row, noted in table["notes"].items()
    ]
    more = [name for name in ("ra", "dec") if table[["ra", "dec"]].notna().any(axis=None)]
    if (aside := run.calibration) is not None:
        from galutils.evaluation.calibration import SETS, conformal_sets, fit_threshold

        threshold = fit_threshold(aside["y_true"].to_numpy(), aside[run.columns].to_numpy())
        table[SETS] = conformal_sets(table[run.columns].to_numpy(), threshold, run.classes)
        more = [SETS, *more]
    table = table[["path", "class_id", "class_name", *run.columns, *more, "distance", "warning"]]
    table.attrs["classes"] = run.classes
    return Prediction(run, table, notes, failures, matched=field is not None and unknown < len(table))


def open_likeness(
    classifier: Classifier, data_path: str | Path | None = None
) -> tuple[Likeness | None, set[str], list[str]]:
    """What a run's training galaxies look like to it, what is odd about all of them, and a sentence if unknown."""
    from galutils.predict.novelty import measure_likeness

    train = classifier.run.split.train
    if len(train) > REFERENCE:
        train = np.sort(np.random.default_rng(0).choice(train, REFERENCE, replace=False))
    try:
        galaxies = classifier.run.galaxies(data_path)
        likeness = measure_likeness(classifier, galaxies, train)
        return likeness, {"grey"} & {*describe_frame(galaxies.read_images(train[:1])[0])}, []
    except DataError as error:
        if data_path is not None:
            raise
        return None, set(), [f"likeness to the training galaxies was not checked: {error}"]


def _look(
    extractor: FeatureExtractor, paths: list, reading: Reading | None, field: float | None, failures: list[str]
) -> Iterator[tuple[pd.DataFrame, np.ndarray, np.ndarray | None]]:
    """Tables of :class:`Block` and what a network makes of them; ``failures`` gets a sentence for what is not read."""
    import torch

    count, blocks = read_blocks(paths, extractor.prepare, reading or Reading(), field)
    for table, inputs, failed in tracked(blocks, count, "image", weight=lambda block: sum(map(len, block[1:]))):
        failures += failed.values()
        if inputs:
            yield table, *extractor.of_batch(torch.cat(inputs))


def extract_features(
    extractor: FeatureExtractor,
    inputs: list[str | Path],
    reading: Reading | None = None,
    image_column: str | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """What a run's network sees in images: its features, in which ``similar`` measures nearness.

    A table, one row per galaxy: ``path``, ``ra`` and ``dec`` in degrees, ``features``, an array (D,) float32 each, and
    of a run that learnt from labels the probability of each class; and a sentence for each file that could not be used.
    """
    paths, run = gather(inputs, image_column), extractor.run
    tables, failures = [], []
    for seen, features, probabilities in _look(extractor, paths, reading, training_field(run), failures):
        table = seen[["path", "ra", "dec"]].assign(features=list(features))
        if probabilities is not None:
            table[run.columns] = probabilities
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(), failures


def as_records(table: pd.DataFrame) -> list[dict]:
    """What :func:`classify` gives as a list for JSON, one object per galaxy; null where nothing is known."""
    records = table.drop(columns=table.filter(regex="^p_").columns).to_dict("records")
    for record, probabilities in zip(records, table.filter(regex="^p_").to_numpy().tolist(), strict=True):
        record |= {name: None for name, value in record.items() if value != value or value == ""}  # NaN is not itself
        record["probabilities"] = dict(zip(table.attrs["classes"], probabilities, strict=True))
    return records


def write_parquet(table: pd.DataFrame, path: Path) -> Path:
    """Write a table to a Parquet file, without its attributes, which that cannot hold; returns the file's path."""
    table.attrs = {}
    content = pa.Table.from_pandas(table, preserve_index=False)
    if "features" in table:  # of one length
        vectors = content["features"].cast(pa.list_(pa.float32(), len(table["features"].iloc[0])))
        content = content.set_column(table.columns.get_loc("features"), "features", vectors)
    with atomic_path(path) as partial:
        write_table(content, partial)
    return path


def as_csv(table: pd.DataFrame) -> str:
    """What :func:`classify` gives as comma-separated values; the classes of a set are joined by "; "."""
    from galutils.evaluation.calibration import SETS

    sets = {SETS: table[SETS].map("; ".join)} if SETS in table else {}
    return table.assign(**sets).to_csv(index=False).rstrip()


def as_text(table: pd.DataFrame) -> str:
    """The same for a terminal: class, its probability, the runner-up, and the warning."""
    probabilities = table.filter(regex="^p_").to_numpy()
    second = np.argsort(-probabilities, axis=1)[:, 1]
    shown = {
        "image": table["path"],
        "class": table["class_name"],
        "probability": [f"{p:.1%}" for p in probabilities.max(axis=1)],
        "next": [f"{table.attrs['classes'][label]} ({probabilities[i, label]:.1%})" for i, label in enumerate(second)],
    }
    if table["warning"].any():
        shown["warning"] = table["warning"]
    return pd.DataFrame(shown).to_string(index=False, justify="left")
