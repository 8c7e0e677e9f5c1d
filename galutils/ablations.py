"""Runs that differ from an experiment in one parameter: where they lie, and what the parameter changes."""

from pathlib import Path

import pandas as pd

from galutils.results import collect_runs
from galutils.runs import find_runs

FOLDER = "ablations"


def collect_ablations(runs_dir: str | Path) -> pd.DataFrame:
    """One row per complete ablation run below ``runs/<profile>``; none is no error.

    Columns: ``base`` (the experiment), ``parameter``, ``value`` (text), and those of
    :func:`galutils.results.collect_runs`.
    """
    tables = []
    for folder in sorted((Path(runs_dir) / FOLDER).glob("*")):
        if find_runs(folder):
            runs = collect_runs(folder)
            varied = [run_dir.parent.name.split("=", 1) for run_dir in runs["run_dir"]]
            parameters, values = zip(*varied, strict=True)
            tables.append(runs.assign(base=folder.name, parameter=parameters, value=values))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["base", "parameter", "value"])
