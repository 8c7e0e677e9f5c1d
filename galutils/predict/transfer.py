"""How what networks learnt on one set of galaxies carries over to another, labelled one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.evaluation.bootstrap import Graded, estimate
from galutils.evaluation.calibration import calibration_error, correct_label_shift, fit_temperature, scale
from galutils.predict.classify import classify
from galutils.predict.score import Matching, grade_file
from galutils.study.runs import Run


@dataclass(frozen=True)
class Transfer:
    """What approaches make of one file."""

    table: pd.DataFrame  # one row per approach, see :func:`transfer`
    graded: dict[str, Graded]  # by approach
    notes: list[str]  # what was left out, and what could not be known, a sentence each


def transfer(runs: pd.DataFrame, path: str | Path, device: str = "auto") -> Transfer:
    """Try classifiers on a labelled file. runs: rows of :func:`galutils.study.collect.collect_runs`, one per approach.

    Of the table's columns ``at_home`` is the accuracy on the run's own test galaxies, told apart no finer than the
    file does; ``accuracy`` that on the file, with ``low`` and ``high``; ``unlike`` the share of its galaxies that are
    marked as unlike the training galaxies; ``ece`` the calibration error, and ``ece_scaled`` that after the temperature
    that was fitted at home, where galaxies had been set aside; ``shifted`` the accuracy, and ``ece_shifted`` the
    calibration error, after the proportions of the classes were corrected without a look at the labels; ``unmatched``
    the accuracy where the field of view is not matched, NaN where it is not known.
    """
    rows, graded, notes = {}, {}, []
    for entry in runs.itertuples():
        run = entry.run.folds[0]  # a network of its own has test galaxies of its own
        found = classify(run.directory, [path], device=device)
        own, said, matching = grade_file(path, found.table, run.classes)
        graded[entry.approach] = own
        told = [note[:1].upper() + note[1:] for note in [*said, *found.notes]]
        notes += [note for note in told if note not in notes]
        estimated = estimate([own]).loc["accuracy"]
        labels, values = _home(run, matching, run.predictions)
        trained = np.bincount(matching.ours, run.metrics["trained_classes"], len(matching.names))
        _, shifted = correct_label_shift(own.probabilities, trained)
        row = {
            "at_home": np.mean(values.argmax(axis=1) == labels),
            "accuracy": estimated["mean"],
            "low": estimated["low"],
            "high": estimated["high"],
            "unlike": np.mean(found.table["distance"].iloc[own.row] > 1),
            "ece": calibration_error(own.labels, own.probabilities),
            "ece_scaled": np.nan,
            "shifted": np.mean(shifted.argmax(axis=1) == own.labels),
            "ece_shifted": calibration_error(own.labels, shifted),
            "unmatched": np.nan,
        }
        if run.calibration is not None:
            temperature = fit_temperature(*_home(run, matching, run.calibration))
            row["ece_scaled"] = calibration_error(own.labels, scale(own.probabilities, temperature))
        if found.matched:
            whole = classify(run.directory, [path], device=device, match_field=False)
            row["unmatched"] = grade_file(path, whole.table, run.classes)[0].correct.mean()
        rows[entry.approach] = row
    return Transfer(pd.DataFrame(rows).T.rename_axis("approach").reset_index(), graded, notes)


def _home(run: Run, matching: Matching, predictions: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, C) of the run's own galaxies, told apart as the other file does."""
    return matching.ours[predictions["y_true"]], matching.merge(predictions[run.columns].to_numpy())
