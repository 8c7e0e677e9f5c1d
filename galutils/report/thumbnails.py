"""Hundreds of small pictures in few files: sheets of thumbnails, of which a page shows a piece at a time."""

import numpy as np
from PIL import Image

from galutils.report.figures.display import webp_url

#: Thumbnails side by side on a sheet, and on a whole one.
COLUMNS, PER_SHEET = 10, 100


def make_sheets(images: np.ndarray, quality: int = 75) -> list[str]:
    """Data URLs (WebP) of sheets that hold the images row by row, every sheet as large as the first.

    Args:
        images: (n, size, size, 3) uint8.
    """
    side = images.shape[1]
    sheets = []
    for start in range(0, len(images), PER_SHEET):
        part = images[start : start + PER_SHEET]
        sheet = np.zeros((PER_SHEET, side, side, 3), np.uint8)
        sheet[: len(part)] = part
        rows = PER_SHEET // COLUMNS
        tiled = sheet.reshape(rows, COLUMNS, side, side, 3).swapaxes(1, 2).reshape(rows * side, COLUMNS * side, 3)
        sheets.append(webp_url(Image.fromarray(tiled), quality))
    return sheets
