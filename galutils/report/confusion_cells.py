"""The galaxies behind the cells of the confusion matrices on a page of the report."""

import re
from html import unescape

import numpy as np
import pandas as pd

from galutils.data.galaxies import Galaxies
from galutils.data.galaxy10 import CLASS_NAMES
from galutils.report.thumbnails import COLUMNS, PER_SHEET, make_sheets
from galutils.study.runs import PROBABILITIES

#: Thumbnails on a page at most, and their height and width in pixels, in the file and on the page.
MOST_ON_PAGE, SIDE, SHOWN_SIDE = 1000, 96, 80


def cell_data(page: str, runs: pd.DataFrame, galaxies: Galaxies) -> tuple[dict | None, list[str]]:
    """What a page's script needs to show the galaxies of each cell, and its sheets of thumbnails.

    A dictionary for JSON, None where the page has no matrix, and data URLs.

    page: HTML with matrices marked as :func:`galutils.report.figures.plots.confusion_matrices` does, by approach or
    experiment; runs: those that the page is about.
    """
    tables = {}
    for title in map(unescape, re.findall(r"data-matrix=[\"'](.*?)[\"']", page)):
        own = runs[(runs["approach"] == title) | (runs["experiment"] == title)]
        if len(own):
            tables[title] = own["experiment"].iloc[0], _most_probable_first(own)
    if not tables:
        return None, []
    # As many for each cell as the page has room for.
    for per_cell in (24, 16, 12, 8, 6, 4, 3, 2, 1):
        heads = {title: table.groupby(["y_true", "y_pred"]).head(per_cell) for title, (_, table) in tables.items()}
        rows = np.unique(np.concatenate([head["row"] for head in heads.values()]))
        if len(rows) <= MOST_ON_PAGE:
            break
    place = {int(row): index for index, row in enumerate(rows)}
    matrices = {}
    for title, head in heads.items():
        cells: dict[str, list] = {}
        for row, true, predicted in head[["row", "y_true", "y_pred"]].itertuples(index=False):
            cells.setdefault(f"{true} {predicted}", []).append([int(row), place[int(row)]])
        matrices[title] = {"experiment": tables[title][0], "cells": cells}
    shape = {"sheet": PER_SHEET, "columns": COLUMNS, "shown": SHOWN_SIDE}
    sheets = make_sheets(galaxies.read_images(rows, min(SIDE, galaxies.image_size)))
    return {"classes": CLASS_NAMES, "matrices": matrices, **shape}, sheets


def _most_probable_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the runs, those first that are surest; a galaxy that several seeds put into a cell, once."""
    table = pd.concat([run.predictions for run in runs["run"]])
    table = table[table["y_pred"] >= 0]
    own = table[PROBABILITIES].to_numpy()[np.arange(len(table)), table["y_pred"]]
    table = table.assign(own=own).sort_values(["own", "row"], ascending=[False, True], kind="stable")
    return table.drop_duplicates(["row", "y_true", "y_pred"])
