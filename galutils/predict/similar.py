"""Find the galaxies that a trained run takes for most like an image, and draw them on one sheet."""

from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.image_files import PictureError, Reading, is_hdf5, read_picture
from galutils.files import atomic_path
from galutils.predict.inputs import training_field
from galutils.predict.novelty import measure_likeness
from galutils.report.figures.display import new_panels
from galutils.study.features import open_features
from galutils.study.runs import Run

#: Suffixes of contact sheets.
FORMATS = (".png", ".jpg", ".webp", ".svg", ".pdf")


def find_similar(
    run_dir: str | Path,
    image: str | Path,
    count: int = 12,
    data_path: str | Path | None = None,
    device: str = "auto",
    reading: Reading | None = None,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The most similar of all galaxies that a run read, by what its last layer weighs up or by its embedding.

    A table, nearest first, with ``row``, ``class_name``, ``distance`` and, where the file has them, ``ra`` and ``dec``
    in degrees; the picture itself (side, side, 3) uint8; and theirs (count, side, side, 3). RunError, PictureError,
    DataError: the run, or the image, cannot be used, or the run's data are not at hand (``data_path``, if they moved).
    """
    if is_hdf5(image):
        raise PictureError(f"{image}: is an HDF5 file; give one image.")
    run = Run(run_dir)
    picture = read_picture(image, reading, training_field(run)).image
    extractor, galaxies = open_features(run, device), run.galaxies(data_path)
    likeness = measure_likeness(extractor, galaxies, np.arange(len(galaxies)))
    features, _ = extractor.of_batch(extractor.prepare(picture[None]))
    (distances,), (rows,) = likeness.nearest(features, count)
    names = [galaxies.classes[label] for label in galaxies.labels[rows]]
    table = pd.DataFrame({"row": rows, "class_name": names, "distance": distances})
    for name in ("ra", "dec"):
        if (degrees := getattr(galaxies, name)) is not None:
            table[name] = degrees[rows]
    return table, picture, galaxies.read_images(rows)


def check_format(path: str | Path) -> None:
    """Refuse a contact sheet of a kind that cannot be drawn, before anything is computed."""
    if Path(path).suffix.lower() not in FORMATS:
        raise PictureError(f"{path}: cannot be drawn; let its name end on {', '.join(FORMATS)}.")


def write_sheet(path: str | Path, picture: np.ndarray, table: pd.DataFrame, images: np.ndarray) -> None:
    """Draw what :func:`find_similar` gave, the picture first; the format follows the suffix, one of :data:`FORMATS`."""
    titles = ["this image", *(f"row {row.row}\n{row.class_name}" for row in table.itertuples())]
    figure, axes = new_panels(len(titles), 5, 1.9, 2.3)
    for ax, image, title in zip(axes, [picture, *images], titles, strict=True):
        ax.imshow(image)
        ax.axis("off")
        ax.set_title(title, fontsize=8)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=160)
