"""Galleries of attention and Grad-CAM maps."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from galutils.report.figures.display import new_figure


def attention_gallery(
    images: torch.Tensor, maps: dict[str, np.ndarray | torch.Tensor], titles: Sequence[str] | None = None
) -> Figure:
    """One row per galaxy: the image (N, 3, H, W), then its maps, each on its own scale from zero.

    maps: for each column's title (N, h, w) float, of any size.
    """
    figure, axes = _figure(len(images), 1 + len(maps))
    for i, image in enumerate(_pictures(images)):
        axes[i, 0].imshow(image)
        if titles is not None:
            axes[i, 0].set_ylabel(_wrapped(titles[i]), fontsize=8, rotation=0, ha="right", va="center")
        for ax, values in zip(axes[i, 1:], maps.values(), strict=True):
            ax.imshow(values[i], cmap="inferno", vmin=0)
    for ax, title in zip(axes[0], ["image", *maps], strict=True):
        ax.set_title(_wrapped(title), fontsize=7)
    return figure


def head_gallery(image: torch.Tensor, maps: dict[str, np.ndarray | torch.Tensor]) -> Figure:
    """One galaxy (3, H, W), one row per network, one column per head, each on its own scale from zero.

    maps: for each network's name (heads, h, w) float.
    """
    heads = max(len(values) for values in maps.values())
    figure, axes = _figure(len(maps), 1 + heads)
    for row, (name, values) in zip(axes, maps.items(), strict=True):
        row[0].imshow(_pictures(image[None])[0])
        row[0].set_ylabel(_wrapped(name), fontsize=8, rotation=0, ha="right", va="center")
        for head, (ax, head_map) in enumerate(zip(row[1:], values, strict=False)):
            ax.imshow(head_map, cmap="inferno", vmin=0)
            ax.set_title(f"head {head + 1}", fontsize=8)
    return figure


def _pictures(images: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) to (N, H, W, 3) uint8."""
    return images.round().byte().permute(0, 2, 3, 1).cpu().numpy()


def _wrapped(title: str) -> str:
    return textwrap.fill(title, 18)


def _figure(rows: int, columns: int, side: float = 1.6) -> tuple[Figure, np.ndarray]:
    figure, axes = new_figure(side * columns + 0.8, side * rows + 0.3, nrows=rows, ncols=columns)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return figure, axes
