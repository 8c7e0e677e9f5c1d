"""Galleries of attention and Grad-CAM maps, each on its own scale from zero."""

from collections.abc import Iterable, Sequence
from textwrap import fill

import numpy as np
import torch
from matplotlib.figure import Figure

from galutils.report.figures.display import new_figure


def attention_gallery(
    images: torch.Tensor, maps: dict[str, np.ndarray | torch.Tensor], titles: Sequence[str]
) -> Figure:
    """One row per galaxy: the image (N, 3, H, W), then its maps; for each column's title (N, h, w) of any size."""
    figure, axes = _gallery(images, titles, 1 + len(maps))
    for column, values in zip(axes.T[1:], maps.values(), strict=True):
        for ax, own in zip(column, values, strict=True):
            ax.imshow(own, cmap="inferno", vmin=0)
    for ax, title in zip(axes[0], ["image", *maps], strict=True):
        ax.set_title(fill(title, 18), fontsize=8)
    return figure


def head_gallery(image: torch.Tensor, maps: dict[str, np.ndarray | torch.Tensor]) -> Figure:
    """One galaxy (3, H, W), one row per network, one column per head; maps: for each network (heads, h, w)."""
    figure, axes = _gallery(image.expand(len(maps), -1, -1, -1), maps, 1 + max(map(len, maps.values())))
    for row, values in zip(axes, maps.values(), strict=True):
        for head, (ax, own) in enumerate(zip(row[1:], values, strict=False)):
            ax.imshow(own, cmap="inferno", vmin=0)
            ax.set_title(f"head {head + 1}", fontsize=8)
    return figure


def _gallery(images: torch.Tensor, titles: Iterable[str], columns: int) -> tuple[Figure, np.ndarray]:
    """Axes without frames (N, columns); in each row the image, with its title to the left."""
    figure, axes = new_figure(1.45 * columns + 0.8, 1.45 * len(images) + 0.3, nrows=len(images), ncols=columns)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    pictures = images.round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for ax, picture, title in zip(axes[:, 0], pictures, titles, strict=True):
        ax.imshow(picture)
        ax.set_ylabel(fill(title, 18), fontsize=8, rotation=0, ha="right", va="center")
    return figure, axes
