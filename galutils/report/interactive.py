"""What the pages' scripts show: the galaxy explorer, the galaxies of each cell of a matrix, and their thumbnails."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from PIL import Image

from galutils.clustering.methods import reduce_dimensions
from galutils.data.classes import GALAXY10
from galutils.data.galaxies import Galaxies
from galutils.files import write_text
from galutils.models.embedding import embed
from galutils.report.figures.display import class_palette, webp_url
from galutils.study.features import Classifier

#: Galaxies on the map at most, drawn by a seed; neighbours given for each; pixels of a thumbnail's side.
MOST_GALAXIES, NEIGHBOURS, MAP_SIDE = 20_000, 8, 128

#: Thumbnails on a page with matrices at most, and their height and width in pixels, in the file and on the page.
MOST_ON_PAGE, SIDE, SHOWN_SIDE = 1000, 96, 80

#: Thumbnails side by side on a sheet, and on a whole one; of WebP's 100.
COLUMNS, PER_SHEET, QUALITY = 10, 100, 75


def write_explorer(runs: pd.DataFrame, galaxies: Galaxies, cache_dir: Path, folder: Path) -> tuple[dict, list[str]]:
    """Write what the explorer's page loads into a folder beside it, of which nothing else is kept.

    Returns galaxies mapped by their embedding and what each approach says of them, as ``data.js`` holds it, and the
    sheets' addresses. A browser loads a sheet when a galaxy on it is first shown.

    The map shows the galaxies of :func:`mapped_rows`. Their places come from the embedding of the first run without
    labels; where there is none, from the features of the first classifier.
    """
    from plotly.offline import get_plotlyjs

    firsts, rows = runs.drop_duplicates("experiment"), mapped_rows(runs, galaxies)
    supervised, unsupervised = firsts[firsts["supervised"]], firsts[~firsts["supervised"]]
    clusters = cluster_of = None
    if len(unsupervised):
        first = unsupervised.iloc[0]
        clusters = first.run.predictions.set_index("row")["cluster"].reindex(rows).tolist()
        cluster_of, name = first.approach, f"the embedding of {first.approach.replace(' and k-means', '')}"
        features = embed(first.run.network(), galaxies, first.run.preprocessing, cache_dir=cache_dir).values[rows]
    else:
        name = f"the features of {supervised['approach'].iloc[0]}"
        features = Classifier(supervised["run"].iloc[0]).of_rows(galaxies, rows)
    data = {
        "classes": galaxies.classes,
        "colours": None if galaxies.classes == GALAXY10 else [*map(to_hex, class_palette(len(galaxies.classes)))],
        "rows": rows.tolist(),
        "tested": bool(len(supervised)),
        "true": galaxies.labels[rows].tolist(),
        "embedding": name,
        **_places(features),
        "places": _on_sky(galaxies, rows),
        "clusters": clusters,
        "cluster_of": cluster_of,
        "best": firsts.loc[(supervised if len(supervised) else firsts)["accuracy"].idxmax(), "experiment"],
        "approaches": [_opinion(entry, rows) for entry in firsts.itertuples()],
        "sheet": PER_SHEET,
        "columns": COLUMNS,
    }
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_text(folder / "data.js", f"const data = {json.dumps(data)};")
    write_text(folder / "plotly.js", get_plotlyjs())
    addresses = []
    for number, sheet in enumerate(_sheets(galaxies, rows, MAP_SIDE)):
        addresses.append(f"{folder.name}/{number}.webp")
        sheet.save(folder / f"{number}.webp", quality=QUALITY)
    return data, addresses


def mapped_rows(runs: pd.DataFrame, galaxies: Galaxies) -> np.ndarray:
    """(n,) rows that the explorer shows: the test galaxies of the first classifier; where there is none, any."""
    supervised = runs[runs["supervised"]]
    rows = supervised["run"].iloc[0].predictions["row"].to_numpy() if len(supervised) else np.arange(len(galaxies))
    if len(rows) > MOST_GALAXIES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_GALAXIES, replace=False))
    return rows


def _places(features: np.ndarray) -> dict:
    """Two maps (x, y by galaxy) and the nearest neighbours of each galaxy, nearest first. features: (n, D)."""
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    components = reduce_dimensions(features, 0.95)
    count = len(components)
    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, count - 1)).fit(components).kneighbors(return_distance=False)
    plane = np.pad(components[:, :2], ((0, 0), (0, max(0, 2 - components.shape[1]))))
    maps = {"principal components": plane}
    if count > 5:
        start = plane / (plane[:, 0].std() or 1) * 1e-4
        tsne = TSNE(2, perplexity=min(30, (count - 1) / 3), init=start, random_state=0)
        maps = {"neighbourhoods": tsne.fit_transform(components), **maps}
    # Three digits of the map's width are finer than a point.
    scaled = {title: 1000 * (places - places.min(0)) / (np.ptp(places) or 1) for title, places in maps.items()}
    maps = {title: dict(zip("xy", places.round(1).T.tolist(), strict=True)) for title, places in scaled.items()}
    return {"maps": maps, "neighbours": near.tolist()}


def _on_sky(galaxies: Galaxies, rows: np.ndarray) -> list[list[float] | None] | None:
    """Right ascension and declination in degrees, None where unknown, where the file has real ones."""
    if galaxies.simulated or galaxies.ra is None or galaxies.dec is None:
        return None
    places = np.stack([galaxies.ra[rows], galaxies.dec[rows]], axis=1).round(5)
    return [place.tolist() if np.isfinite(place).all() else None for place in places]


def _opinion(entry, rows: np.ndarray) -> dict:
    """What one run says of each galaxy: the class, -1 where it was not asked, and probabilities in 255 steps."""
    table = entry.run.predictions.set_index("row").reindex(rows)
    steps = (255 * table[entry.run.columns].fillna(0)).round().to_numpy(np.uint8)
    return {
        "experiment": entry.experiment,
        "title": entry.approach,
        "supervised": bool(entry.supervised),
        "predicted": table["y_pred"].fillna(-1).astype(int).tolist(),
        "probabilities": base64.b64encode(steps.tobytes()).decode(),
    }


def cell_data(page: str, runs: pd.DataFrame, galaxies: Galaxies, mapped: np.ndarray) -> tuple[dict | None, list[str]]:
    """What shows the galaxies of each cell, for JSON, None where the page has no matrix; and its sheets as data URLs.

    page: HTML with matrices marked as :func:`galutils.report.figures.plots.confusion_matrices` does, by approach or
    experiment; runs: those that the page is about; mapped: rows that the explorer shows, and may be asked for.
    """
    matrices, tables = {}, {}
    for title in map(unescape, re.findall(r"data-matrix=[\"'](.*?)[\"']", page)):
        own = runs[(runs["approach"] == title) | (runs["experiment"] == title)]
        if len(own):
            first = own.iloc[0]
            told = {"experiment": first["experiment"], "supervised": bool(first["supervised"]), "seeds": len(own)}
            matrices[title] = told | {"cells": {}}
            tables[title] = _most_probable_first(own)
    if not tables:
        return None, []
    cells = pd.concat(tables, names=["title"]).groupby(["title", "y_true", "y_pred"])
    # As many for each cell as the page has room for.
    for per_cell in (24, 16, 12, 8, 6, 4, 3, 2, 1):
        chosen = cells.head(per_cell)
        rows = np.unique(chosen["row"])
        if len(rows) <= MOST_ON_PAGE:
            break
    places = {"place": np.searchsorted(rows, chosen["row"]), "mapped": chosen["row"].isin(mapped)}
    chosen = chosen.assign(**places).reset_index("title")
    for entry in chosen.itertuples():
        cell = matrices[entry.title]["cells"].setdefault(f"{entry.y_true} {entry.y_pred}", [])
        cell.append([entry.row, entry.place, entry.mapped])
    shape = {"sheet": PER_SHEET, "columns": COLUMNS, "shown": SHOWN_SIDE}
    sheets = [webp_url(sheet, QUALITY) for sheet in _sheets(galaxies, rows, SIDE)]
    return {"classes": galaxies.classes, "matrices": matrices, **shape}, sheets


def _most_probable_first(runs: pd.DataFrame) -> pd.DataFrame:
    """Predictions of the runs, those first that are surest; a galaxy that several seeds put into a cell, once."""
    table = pd.concat([run.predictions for run in runs["run"]])
    table = table[table["y_pred"] >= 0]
    own = table[runs["run"].iloc[0].columns].to_numpy()[np.arange(len(table)), table["y_pred"]]
    table = table.assign(own=own).sort_values(["own", "row"], ascending=[False, True], kind="stable")
    return table.drop_duplicates(["row", "y_true", "y_pred"])


def _sheets(galaxies: Galaxies, rows: np.ndarray, side: int) -> Iterator[Image.Image]:
    """Galaxies at most ``side`` pixels high, line by line, every sheet as large as the first."""
    side, lines = min(side, galaxies.image_size), PER_SHEET // COLUMNS
    for start in range(0, len(rows), PER_SHEET):
        part = rows[start : start + PER_SHEET]
        sheet = np.zeros((PER_SHEET, side, side, 3), np.uint8)
        sheet[: len(part)] = galaxies.read_images(part, side)
        tiled = sheet.reshape(lines, COLUMNS, side, side, 3).swapaxes(1, 2).reshape(lines * side, COLUMNS * side, 3)
        yield Image.fromarray(tiled)
