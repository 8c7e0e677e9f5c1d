"""The galaxy explorer: a page that maps galaxies by their embedding, with what each approach says about them."""

import base64
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.clustering.methods import reduce_dimensions
from galutils.data.galaxies import Galaxies
from galutils.data.galaxy10 import CLASS_NAMES
from galutils.models.embedding import embed
from galutils.report.thumbnails import COLUMNS, PER_SHEET, make_sheets
from galutils.study.features import Classifier
from galutils.study.runs import PROBABILITIES

#: Galaxies on the map at most, drawn by a seed; neighbours given for each.
MOST_GALAXIES, NEIGHBOURS = 4000, 8

#: Bytes of all sheets of thumbnails at most, and the sides in pixels that are tried, the largest first.
MOST_BYTES, SIDES = 8_000_000, (128, 96, 72, 56, 48)


def explorer_data(runs: pd.DataFrame, galaxies: Galaxies, cache_dir: str | Path) -> tuple[dict, list[str]]:
    """All that the page shows, for JSON, and its sheets of thumbnails as data URLs.

    The map shows the test galaxies of the first classifier; where there is none, any. Their places come from the
    embedding of the first run without labels; where there is none, from the features of the first classifier.
    """
    firsts = runs.drop_duplicates("experiment")
    supervised, unsupervised = firsts[firsts["supervised"]], firsts[~firsts["supervised"]]
    rows = supervised["run"].iloc[0].predictions["row"].to_numpy() if len(supervised) else np.arange(len(galaxies))
    if len(rows) > MOST_GALAXIES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_GALAXIES, replace=False))
    clusters, cluster_of = None, None
    if len(unsupervised):
        first = unsupervised.iloc[0]
        clusters = first.run.predictions.set_index("row")["cluster"].reindex(rows).tolist()
        cluster_of, name = first.approach, f"the embedding of {first.approach.replace(' and k-means', '')}"
        features = embed(first.run.network(), galaxies, first.run.preprocessing, cache_dir=cache_dir).values[rows]
    else:
        first = supervised.iloc[0]
        name = f"the features of {first.approach}"
        features = Classifier(first.run).of_rows(galaxies, rows)
    data = {
        "classes": CLASS_NAMES,
        "rows": rows.tolist(),
        "tested": bool(len(supervised)),
        "true": galaxies.labels[rows].tolist(),
        "embedding": name,
        **_places(features),
        "clusters": clusters,
        "cluster_of": cluster_of,
        "best": firsts.loc[(supervised if len(supervised) else firsts)["accuracy"].idxmax(), "experiment"],
        "approaches": [_opinion(entry, rows) for entry in firsts.itertuples()],
        "sheet": PER_SHEET,
        "columns": COLUMNS,
    }
    return data, _affordable_sheets(galaxies, rows)


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
        tsne = TSNE(
            2, perplexity=min(30, (count - 1) / 3), init=plane / (plane[:, 0].std() or 1) * 1e-4, random_state=0
        )
        maps = {"neighbourhoods": tsne.fit_transform(components), **maps}
    # Three digits of the map's width are finer than a point.
    scaled = {title: 1000 * (places - places.min(0)) / (np.ptp(places) or 1) for title, places in maps.items()}
    return {
        "maps": {title: dict(zip("xy", places.round(1).T.tolist(), strict=True)) for title, places in scaled.items()},
        "neighbours": near.tolist(),
    }


def _opinion(entry, rows: np.ndarray) -> dict:
    """What one run says of each galaxy: the class, -1 where it was not asked, and probabilities in 255 steps."""
    table = entry.run.predictions.set_index("row").reindex(rows)
    steps = (255 * table[PROBABILITIES].fillna(0)).round().to_numpy(np.uint8)
    return {
        "experiment": entry.experiment,
        "title": entry.approach,
        "predicted": table["y_pred"].fillna(-1).astype(int).tolist(),
        "probabilities": base64.b64encode(steps.tobytes()).decode(),
    }


def _affordable_sheets(galaxies: Galaxies, rows: np.ndarray) -> list[str]:
    """Sheets of the largest thumbnails that fit into the page."""
    for side in dict.fromkeys(min(side, galaxies.image_size) for side in SIDES):
        sheets = make_sheets(galaxies.read_images(rows, side))
        if sum(map(len, sheets)) <= MOST_BYTES:
            break
    return sheets
