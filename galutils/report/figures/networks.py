"""Figures of one network: its layers, drawn from the modules themselves, and its training by epoch."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import nn

from galutils.report.figures.display import REFERENCE, new_figure

_LAYER_COLORS = {
    nn.Conv2d: ("#56B4E9", "convolution"),
    nn.MaxPool2d: ("#E69F00", "max pooling"),
    nn.AvgPool2d: ("#D55E00", "average pooling"),
    nn.AdaptiveAvgPool2d: ("#D55E00", "average pooling"),
    nn.BatchNorm2d: ("#F0E442", "batch normalisation"),
    nn.BatchNorm1d: ("#F0E442", "batch normalisation"),
    nn.Linear: ("#009E73", "fully connected"),
}


def trace_layers(network: nn.Module, image_size: int) -> list[dict]:
    """What happens to one image in a :class:`galutils.models.cnn.GalaxyNet`, for each layer that is drawn.

    ``layer`` (the module), ``shape`` of its output without the batch, and whether it is ``frozen``.
    """
    trace: list[dict] = []
    was_training, device = network.training, next(network.parameters()).device
    values = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8, device=device)
    network.eval()
    try:
        with torch.inference_mode():
            for part in (network.frozen, network.trained):
                for layer in part:
                    values = layer(values)
                    if type(layer) in _LAYER_COLORS:
                        trace.append({"layer": layer, "shape": (*values.shape[1:],), "frozen": part is network.frozen})
    finally:
        network.train(was_training)
    return trace


def network_diagram(network: nn.Module, image_size: int) -> Figure:
    """The layers of :func:`trace_layers`: height follows resolution, hatching means frozen."""
    trace = trace_layers(network, image_size)
    figure, ((ax,),) = new_figure(max(7, 0.42 * len(trace)), 3.4)
    seen: dict[str, Rectangle] = {}
    for x, step in enumerate(trace):
        color, kind = _LAYER_COLORS[type(step["layer"])]
        spatial = len(step["shape"]) == 3
        # Square root, so that a 2-pixel map can still be seen beside one of 256 pixels.
        height = (step["shape"][1] / image_size) ** 0.5 if spatial else 0.35
        style = {"edgecolor": "black", "linewidth": 0.6, "hatch": "////" if step["frozen"] else None}
        (box,) = ax.bar(x, height, 0.68, -height / 2, color=color, **style)
        seen.setdefault(kind, box)
        size = f"{step['shape'][0]}×{step['shape'][1]}²" if spatial else f"{step['shape'][0]}"  # noqa: RUF001
        ax.text(x, -height / 2 - 0.06, size, ha="center", va="top", fontsize=8, rotation=90)
    ax.set(xlim=(-0.8, len(trace) - 0.2), ylim=(-0.95, 0.6))
    ax.axis("off")
    title = "hatched: frozen" if any(step["frozen"] for step in trace) else ""
    figure.legend(seen.values(), seen.keys(), loc="outside upper center", ncols=5, title=title)
    return figure


def learning_curves(history: pd.DataFrame, largest: float) -> Figure:
    """Loss and accuracy over training and test rows. history: :attr:`galutils.study.runs.Run.history`.

    largest: accuracy of saying the largest class of all test rows.
    """
    figure, ((left, right),) = new_figure(8, 3, ncols=2)
    for ax, quantity in ((left, "loss"), (right, "accuracy")):
        ax.plot(history["epoch"], history[f"train_{quantity}"], label="training rows")
        ax.plot(history["epoch"], history[f"test_{quantity}"], label="test rows")
        _finish(ax, quantity.capitalize())
    right.set_ylim(0, 1)
    right.axhline(largest, **REFERENCE)
    right.annotate("largest class", (1, largest), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    left.legend()
    return figure


def distillation_curves(history: pd.DataFrame, start_rank: float, prototypes: int) -> Figure:
    """Loss and the signs of collapse, see :class:`galutils.training.dino.DinoResult`.

    prototypes: outputs of the head, whose logarithm is the largest entropy.
    """
    figure, ((left, middle, right),) = new_figure(10, 3, ncols=3)
    epochs = history["epoch"]
    left.plot(epochs, history["loss"], "o-", markersize=4)
    middle.plot(epochs, history["teacher_entropy"], "o-", markersize=4, label="of an output")
    middle.plot(epochs, history["marginal_entropy"], "s-", markersize=4, label="of the mean output")
    middle.axhline(np.log(prototypes), **REFERENCE, label="uniform")
    middle.set_ylim(bottom=0)
    middle.legend()
    right.plot([0, *epochs], [start_rank, *history["embedding_rank"]], "o-", markersize=4)
    right.set_ylim(0, 1.1 * max(start_rank, history["embedding_rank"].max()))
    titles = ("Loss (nats)", "Teacher's entropy (nats)", "Effective rank of the embedding")
    for ax, title in zip((left, middle, right), titles, strict=True):
        _finish(ax, title)
    return figure


def _finish(ax: Axes, quantity: str) -> None:
    """Name the axes; epochs are whole numbers."""
    ax.set(xlabel="Epoch", ylabel=quantity)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
