"""Temperatures fitted on the galaxies that runs set aside."""

import pandas as pd

from galutils.evaluation.calibration import calibration_error, fit_temperature, scale, squared_errors
from galutils.study.runs import PROBABILITIES


def temperature_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What a temperature fitted on the rows set aside does to the test rows.

    Args:
        runs: from :func:`galutils.study.ablations.collect_ablations`; those that set no rows aside are left out.

    Returns:
        one row per run: ``approach``, ``seed``, ``set_aside`` (galaxies), ``temperature``, and ``ece``, ``brier`` with
        ``ece_scaled``, ``brier_scaled`` on the test rows.
    """
    rows = []
    for entry in runs.itertuples():
        if (aside := entry.run.calibration) is None:
            continue
        temperature = fit_temperature(aside["y_true"].to_numpy(), aside[PROBABILITIES].to_numpy())
        labels = entry.run.predictions["y_true"].to_numpy()
        plain = entry.run.predictions[PROBABILITIES].to_numpy()
        found = {"approach": entry.approach, "seed": entry.seed, "set_aside": len(aside), "temperature": temperature}
        for suffix, probabilities in (("", plain), ("_scaled", scale(plain, temperature))):
            found[f"ece{suffix}"] = calibration_error(labels, probabilities)
            found[f"brier{suffix}"] = squared_errors(labels, probabilities).mean()
        rows.append(found)
    return pd.DataFrame(rows)
