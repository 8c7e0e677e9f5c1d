"""Temperatures fitted on the galaxies that runs set aside."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from galutils.data.galaxies import Galaxies
from galutils.data.loader import load_images
from galutils.evaluation.calibration import calibration_error, fit_temperature, scale, squared_errors
from galutils.study.networks import load_network
from galutils.study.runs import PROBABILITIES, read_metrics, read_predictions, read_run_split
from galutils.training.supervised import predict_logits


def predict_calibration(run_dir: str | Path, galaxies: Galaxies) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and probabilities (n, 10) of the rows that a run set aside, from its saved network, on the CPU."""
    settings, rows = read_metrics(run_dir)["settings"], read_run_split(run_dir).calibration
    images = load_images(galaxies, rows, settings["image_size"], torch.device("cpu"), settings["crop"])
    logits = predict_logits(load_network(run_dir), images, rows)
    return galaxies.labels[rows].astype(np.int64), logits.double().softmax(1).numpy()


def temperature_table(runs: pd.DataFrame, galaxies: Galaxies) -> pd.DataFrame:
    """What a temperature fitted on the rows set aside does to the test rows.

    Args:
        runs: rows of :func:`results.collect_runs` or :func:`ablations.collect_ablations`; those
            that set no rows aside are left out.

    Returns:
        one row per run: ``approach``, ``seed``, ``set_aside`` (galaxies), ``temperature``, and ``ece``, ``brier`` with
        ``ece_scaled``, ``brier_scaled`` on the test rows.
    """
    rows = []
    for run in runs.itertuples():
        if not read_metrics(run.run_dir)["rows"]["calibration"]:
            continue
        temperature = fit_temperature(*(held := predict_calibration(run.run_dir, galaxies)))
        predictions = read_predictions(run.run_dir)
        labels = predictions["y_true"].to_numpy()
        plain = predictions[PROBABILITIES].to_numpy()
        found = {"approach": run.approach, "seed": run.seed, "set_aside": len(held[0]), "temperature": temperature}
        for suffix, probabilities in (("", plain), ("_scaled", scale(plain, temperature))):
            found[f"ece{suffix}"] = calibration_error(labels, probabilities)
            found[f"brier{suffix}"] = squared_errors(labels, probabilities).mean()
        rows.append(found)
    return pd.DataFrame(rows)
