"""Find the galaxies that a trained run takes for most like an image, and draw them on one sheet."""

from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.galaxy10 import CLASS_NAMES
from galutils.data.image_files import PictureError, is_hdf5, read_picture
from galutils.files import atomic_path
from galutils.predict.likeness import measure_likeness
from galutils.report.figures.display import new_figure
from galutils.study.networks import load_seer
from galutils.study.runs import find_galaxies

#: Suffixes of contact sheets.
FORMATS = (".png", ".jpg", ".webp", ".svg", ".pdf")


def find_similar(
    run_dir: str | Path, image: str | Path, count: int = 12, data_path: str | Path | None = None, device: str = "auto"
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The most similar of all galaxies that the run read, training rows included.

    Args:
        run_dir: a run with labels (likeness by what its last layer weighs up) or without (by its embedding).
        data_path: the file that the run read, where it is not to be found.

    Returns:
        a table, nearest first, with ``row``, ``class_name``, ``distance`` and, where the file has them, ``ra`` and
        ``dec`` in degrees; the picture itself (side, side, 3) uint8; and theirs (count, side, side, 3) uint8.

    Raises:
        galutils.study.runs.RunError: the directory holds no complete run.
        galutils.data.image_files.PictureError: the image cannot be used.
        galutils.data.galaxies.DataError: the run's data are not at hand.
    """
    if is_hdf5(image):
        raise PictureError(f"{image}: is an HDF5 file; give one image.")
    picture = read_picture(image)
    seer, galaxies = load_seer(run_dir, device), find_galaxies(run_dir, data_path)
    likeness = measure_likeness(run_dir, seer, galaxies, np.arange(len(galaxies)))
    features, _ = seer.of_batch(seer.prepare(picture[None]))
    (distances,), (rows,) = likeness.nearest(features, count)
    table = pd.DataFrame({"row": rows, "class_name": [CLASS_NAMES[label] for label in galaxies.labels[rows]]})
    table["distance"] = distances
    for name in ("ra", "dec"):
        if getattr(galaxies, name) is not None:
            table[name] = getattr(galaxies, name)[rows]
    return table, picture, galaxies.read_images(rows)


def check_format(path: str | Path) -> None:
    """Refuse a contact sheet of a kind that cannot be drawn, before anything is computed.

    Raises:
        PictureError: its name ends on something else than a known format.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise PictureError(f"{path}: cannot be drawn; let its name end on {', '.join(FORMATS)}.")


def write_sheet(path: str | Path, picture: np.ndarray, table: pd.DataFrame, images: np.ndarray) -> None:
    """Draw what :func:`find_similar` gave, the picture first; the format follows the suffix, one of :data:`FORMATS`."""
    titles = ["this image", *(f"row {row.row}\n{row.class_name}" for row in table.itertuples())]
    columns = min(5, len(titles))
    lines = -(-len(titles) // columns)
    figure, axes = new_figure(1.9 * columns, 2.3 * lines, nrows=lines, ncols=columns)
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, [picture, *images], titles, strict=False):
        ax.imshow(image)
        ax.set_title(title, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=160)
