"""Find the galaxies that a trained run takes for most like an image, and draw them on one sheet."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from galutils.data.galaxies import Galaxies
from galutils.data.image_files import Reading
from galutils.files import WriteError, atomic_path, check_target
from galutils.predict.classify import extract_features
from galutils.predict.inputs import check_unread, gather, training_field
from galutils.study.runs import Run

#: Suffixes of contact sheets, and what tells those in PNG from other people's pictures.
FORMATS, MARK = (".png", ".jpg", ".webp", ".svg", ".pdf"), {"Software": "galutils"}


class Similar(NamedTuple):
    """What :func:`find_similar` gives.

    The table has, for each image that could be read, one row per galaxy, nearest first: ``image``, ``row``,
    ``class_name``, ``distance`` and, where the file has them, ``ra`` and ``dec`` in degrees.
    """

    table: pd.DataFrame
    galaxies: Galaxies  # that its rows are of
    field: float | None  # arcsec that their images span, and the given ones were cut or filled up to
    failures: list[str]  # a sentence for each file that could not be used


def find_similar(
    run_dir: str | Path,
    images: list[str | Path],
    count: int = 12,
    data_path: str | Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
) -> Similar:
    """The most similar of all galaxies that a run read, by what its last layer weighs up or by its embedding.

    ``images`` are what :func:`galutils.predict.inputs.gather` takes. RunError, PictureError, DataError: the run, or
    what was named, cannot be used, or the run's data are not at hand (``data_path``, if they moved).
    """
    run, _ = Run(run_dir), gather(images)
    # PyTorch takes seconds to load, and what was named wrongly has been said by now.
    from galutils.predict.novelty import measure_likeness
    from galutils.study.features import open_features

    extractor, field = open_features(run, device), training_field(run)
    seen, failures = extract_features(extractor, images, reading)
    galaxies = run.galaxies(data_path)
    if seen.empty:
        return Similar(seen, galaxies, field, failures)
    likeness = measure_likeness(extractor, galaxies, np.arange(len(galaxies)))
    distances, rows = (found.ravel() for found in likeness.nearest(np.stack(seen["features"]), count))
    names = np.array(galaxies.classes)[galaxies.labels[rows]]
    near = np.repeat(seen["path"], len(rows) // len(seen)).to_numpy()
    table = pd.DataFrame({"image": near, "row": rows, "class_name": names, "distance": distances})
    for name in ("ra", "dec"):
        if (degrees := getattr(galaxies, name)) is not None:
            table[name] = degrees[rows]
    return Similar(table, galaxies, field, failures)


def check_sheet(path: str | Path, images: list[str | Path]) -> None:
    """Refuse what is no name for a sheet, or where something else would be lost; only one in PNG is known again.

    To be asked before anything is computed; ``images`` are those of :func:`find_similar`.
    """
    check_target(path, *FORMATS)
    check_unread(path, images)
    if Path(path).exists():
        with open(path, "rb") as file:
            start = file.read(200)
        if not all(f"{key}\0{value}".encode() in start for key, value in MARK.items()):
            raise WriteError(f"{path}: is there, and is no sheet of galutils; name another with --to, or remove it.")


def write_sheet(path: str | Path, picture: np.ndarray, table: pd.DataFrame, images: np.ndarray) -> None:
    """Draw a picture (side, side, 3) uint8 and, in the table's order, the images (n, s, s, 3) uint8 most like it.

    The format follows the suffix, one of :data:`FORMATS`.
    """
    from galutils.report.figures.display import new_panels

    titles = ["this image", *(f"row {row.row}\n{row.class_name}" for row in table.itertuples())]
    figure, axes = new_panels(len(titles), 5, 1.9, 2.3)
    for ax, image, title in zip(axes, [picture, *images], titles, strict=True):
        ax.imshow(image)
        ax.axis("off")
        ax.set_title(title, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=160, metadata=MARK if partial.suffix.lower() == ".png" else None)
