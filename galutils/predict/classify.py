"""Classify images with a trained run, and say where it should not be believed."""

from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.galaxies import DataError
from galutils.data.image_files import count_pictures, read_pictures
from galutils.predict.novelty import measure_likeness
from galutils.progress import tracked
from galutils.study.features import Classifier
from galutils.study.runs import Run

#: Training galaxies that an image is held against, at most; drawn by a seed.
REFERENCE = 2000

#: A probability below that of all but this share of the run's own test galaxies is a low one.
LOW_SHARE = 0.01


def classify(
    run_dir: str | Path, paths: list[Path], data_path: str | Path | None = None, device: str = "auto"
) -> tuple[pd.DataFrame, str]:
    """Classify all galaxies in image or HDF5 files with a run that learnt from labels, prepared as in training.

    A table, one row per galaxy: ``path``, ``class_id``, ``class_name``, the probability of each class
    (:attr:`Run.columns`), ``distance`` (in units of :attr:`galutils.predict.novelty.Likeness.threshold`, NaN if
    unchecked) and ``warning`` (text, empty where there is none): the image is unlike the training galaxies, or the
    highest probability lower than that of 99% of the run's test galaxies. And a note, empty unless likeness could not
    be checked since the run's data are not at hand; ``data_path`` is where they have moved to.

    RunError, PictureError, DataError: the run, or a file, cannot be used.
    """
    run, likeness, note = Run(run_dir), None, ""
    classifier = Classifier(run, device)
    train = run.split.train
    if len(train) > REFERENCE:
        train = np.sort(np.random.default_rng(0).choice(train, REFERENCE, replace=False))
    try:
        likeness = measure_likeness(classifier, run.galaxies(data_path), train)
    except DataError as error:
        if data_path is not None:
            raise
        note = f"likeness to the training galaxies was not checked: {error}"
    tables = []
    for names, images in tracked(read_pictures(paths), count_pictures(paths), "image", weight=lambda b: len(b[0])):
        features, probabilities = classifier.of_batch(classifier.prepare(images))
        table = pd.DataFrame({"path": names, "class_id": probabilities.argmax(1)})
        table["class_name"] = np.array(run.classes)[table["class_id"]]
        table[run.columns] = probabilities
        table["distance"] = likeness.distance(features) / likeness.threshold if likeness else np.nan
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    table.attrs["classes"] = run.classes
    low = run.predictions[run.columns].max(axis=1).quantile(LOW_SHARE)
    unsure = table[run.columns].max(axis=1) < low
    signs = {"unlike the training galaxies": table["distance"] > 1, "low probability": unsure}
    table["warning"] = ["; ".join(sign for sign, rows in signs.items() if rows[i]) for i in table.index]
    return table, note


def as_records(table: pd.DataFrame) -> list[dict]:
    """What :func:`classify` gives as a list for JSON, one object per galaxy."""
    return [
        {
            **{name: row[name] for name in ("path", "class_id", "class_name")},
            "probabilities": [value for name, value in row.items() if name.startswith("p_")],
            "distance": None if np.isnan(row["distance"]) else row["distance"],
            "warning": row["warning"] or None,
        }
        for row in table.to_dict("records")
    ]


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
