"""Figures. Every function returns one, of matplotlib's but for :func:`image_grid`; :func:`show` displays it."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import nn

from galutils.display import PALETTE, STYLE, Gallery
from galutils.display import show as show  # notebooks find it beside the figures
from galutils.galaxy10 import CLASS_NAMES, NUM_CLASSES

#: Class names short enough for an axis.
SHORT_NAMES = tuple(
    name.replace("Unbarred ", "").replace("without", "w/o").replace(" smooth", "").replace("-shaped", "")
    for name in CLASS_NAMES
)


def new_figure(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot's registry, so that nothing is shown twice or kept alive."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(**grid, squeeze=False)
    return figure, axes


def image_grid(images: np.ndarray, titles: Sequence[str], columns: int = 5) -> Gallery:
    """Images (n, H, W, 3) uint8 with a title each, so many side by side where there is room."""
    return Gallery(images, titles, columns)


def class_counts(labels: np.ndarray) -> Figure:
    """Bars: galaxies per class. labels: (N,) int."""
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    figure, ((ax,),) = new_figure(7, 3.2)
    bars = ax.barh(CLASS_NAMES, counts, color=PALETTE[0])
    ax.bar_label(bars, padding=3, fontsize=9)
    ax.invert_yaxis()
    ax.set_xlabel("Galaxies")
    return figure


def class_distributions(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Box plots per class.

    Args:
        table: a column "class" (0 to 9) and one column for each quantity.
        labels: axis label of each quantity, in the order to draw.
    """
    figure, axes = new_figure(3.3 * len(labels), 3.6, ncols=len(labels), sharey=True)
    for ax, (column, label) in zip(axes.flat, labels.items(), strict=True):
        ax.boxplot(
            [table.loc[table["class"] == c, column].dropna() for c in range(NUM_CLASSES)],
            orientation="horizontal",
            tick_labels=SHORT_NAMES,
            flierprops={"marker": ".", "markersize": 2},
            medianprops={"color": PALETTE[3]},
        )
        ax.set_xlabel(label)
    axes[0, 0].invert_yaxis()
    return figure


def sky_map(ra: np.ndarray, dec: np.ndarray) -> Figure:
    """Positions on the sky. ra, dec: (N,) degrees."""
    figure, ((ax,),) = new_figure(7, 3.2)
    ax.plot(ra, dec, ".", markersize=2, alpha=0.6)
    ax.set(xlabel="Right ascension (degrees)", ylabel="Declination (degrees)", xlim=(360, 0))
    return figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch, over training and test rows. history: see galutils.runs.read_history."""
    figure, ((left, right),) = new_figure(8, 3, ncols=2)
    for ax, quantity in ((left, "loss"), (right, "accuracy")):
        ax.plot(history["epoch"], history[f"train_{quantity}"], label="training rows")
        ax.plot(history["epoch"], history[f"test_{quantity}"], label="test rows")
        ax.set(xlabel="Epoch", ylabel=quantity.capitalize())
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    right.set_ylim(0, 1)
    right.axhline(1 / NUM_CLASSES, color="grey", linestyle=":", linewidth=1)
    right.annotate("chance", (1, 1 / NUM_CLASSES), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    left.legend(frameon=False)
    return figure


def confusion_matrices(counts: dict[str, np.ndarray], columns: int = 2) -> Figure:
    """Confusion matrices side by side, coloured by row share, with counts written in.

    Args:
        counts: for each title a (10, 10) int array, true class by predicted class.
    """
    columns = min(columns, len(counts))
    rows = -(-len(counts) // columns)
    figure, axes = new_figure(5.6 * columns, 5.2 * rows, nrows=rows, ncols=columns)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, table) in zip(axes.flat, counts.items(), strict=False):
        share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        ax.axis("on")
        ax.set_gid(f"data:matrix={title}")
        for i, j in np.ndindex(*table.shape):
            # Transparent where empty, so that a matrix suits a light page and a dark one.
            cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=(*mpl.colors.to_rgb(PALETTE[0]), share[i, j]))
            cell.set(edgecolor=(0.5, 0.5, 0.5, 0.3), linewidth=0.5)
            cell.set_gid(f"data:cell={i} {j} {table[i, j]}")
            ax.add_patch(cell)
            if table[i, j]:
                color = "white" if share[i, j] > 0.92 else "black"
                ax.text(j, i, table[i, j], ha="center", va="center", fontsize=7, color=color)
        ax.set(xlim=(-0.5, NUM_CLASSES - 0.5), ylim=(NUM_CLASSES - 0.5, -0.5), aspect="equal")
        ax.grid(False)
        ax.set_xticks(range(NUM_CLASSES), SHORT_NAMES, rotation=60, ha="right", fontsize=8)
        ax.set_yticks(range(NUM_CLASSES), SHORT_NAMES, fontsize=8)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="Predicted class", ylabel="True class")
        ax.set_title(textwrap.fill(title, 44))
    return figure


def embedding_scatter(points: np.ndarray, labels: np.ndarray, titles: Sequence[str] = ("PC 1", "PC 2")) -> Figure:
    """Two coordinates of every galaxy (N, 2), coloured by class (N,) int; larger: the mean of each class."""
    figure, ((ax,),) = new_figure(7.5, 4.6)
    colors = mpl.colormaps["tab10"].colors
    for label in np.unique(labels):
        own = points[labels == label]
        ax.plot(*own.T, ".", color=colors[label], markersize=3, alpha=0.5)
        ax.plot(*own.mean(axis=0), "o", color=colors[label], markeredgecolor="black", label=CLASS_NAMES[label])
    ax.set(xlabel=titles[0], ylabel=titles[1])
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def distillation_curves(history: pd.DataFrame, start_rank: float, prototypes: int) -> Figure:
    """Loss and the signs of collapse by epoch.

    Args:
        history: see :class:`galutils.distill.DistillResult`.
        start_rank: effective rank of the embedding before the first step.
        prototypes: outputs of the head, whose logarithm is the largest entropy.
    """
    figure, ((left, middle, right),) = new_figure(10, 3, ncols=3)
    epochs = history["epoch"]
    left.plot(epochs, history["loss"], "o-", markersize=4)
    left.set_ylabel("Loss (nats)")
    middle.plot(epochs, history["teacher_entropy"], "o-", markersize=4, label="of an output")
    middle.plot(epochs, history["marginal_entropy"], "s-", markersize=4, label="of the mean output")
    middle.axhline(np.log(prototypes), color="grey", linestyle=":", linewidth=1, label="uniform")
    middle.set_ylabel("Teacher's entropy (nats)")
    middle.set_ylim(bottom=0)
    middle.legend(frameon=False, fontsize=8)
    right.plot([0, *epochs], [start_rank, *history["embedding_rank"]], "o-", markersize=4)
    right.set_ylabel("Effective rank of the embedding")
    right.set_ylim(0, 1.1 * max(start_rank, history["embedding_rank"].max()))
    for ax in (left, middle, right):
        ax.set_xlabel("Epoch")
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def cause_chart(table: pd.DataFrame, chance: float, paper: float) -> Figure:
    """Accuracy of every case, grouped by the cause that it tests.

    Args:
        table: "cause", "case", "accuracy", and "chance", what permuted labels give under the same matching.
        chance: accuracy of permuted labels, one-to-one.
        paper: accuracy that the paper reports.
    """
    figure, ((ax,),) = new_figure(8.5, 0.27 * len(table) + 1.2)
    for i, (cause, cases) in enumerate(table.groupby("cause", sort=False)):
        ax.plot(cases["accuracy"], cases.index, "osD^vPX*"[i % 8], color=PALETTE[i % 7], label=cause)
    ax.plot(table["chance"], table.index, "|", color="grey", markersize=9, label="permuted labels, same matching")
    ax.axvline(chance, color="grey", linestyle=":", linewidth=1)
    ax.axvline(paper, color="black", linestyle="--", linewidth=1, label=f"the paper's {paper:.0%}")
    ax.set_yticks(table.index, table["case"], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1, decimals=0))
    ax.set_xlabel("Accuracy")
    ax.grid(axis="x", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


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
    """What happens to one image in a :class:`galutils.models.GalaxyNet`, layer by layer.

    Returns:
        for each layer that is drawn: ``layer`` (the module), ``shape`` of its output without the batch,
        ``frozen``, and ``parameters``.
    """
    trace: list[dict] = []
    frozen = set(network.frozen.modules())

    def record(module, _inputs, output):
        if type(module) in _LAYER_COLORS:
            parameters = sum(p.numel() for p in module.parameters())
            shape = tuple(output.shape[1:])
            trace.append({"layer": module, "shape": shape, "frozen": module in frozen, "parameters": parameters})

    was_training = network.training
    hooks = [module.register_forward_hook(record) for module in network.modules()]
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8))
    finally:
        for hook in hooks:
            hook.remove()
        network.train(was_training)
    return trace


def network_diagram(network: nn.Module, image_size: int) -> Figure:
    """Diagram of a network, drawn from the module itself: height follows resolution, hatching means frozen."""
    trace = trace_layers(network, image_size)
    figure, ((ax,),) = new_figure(max(7, 0.42 * len(trace)), 3.4)
    seen: dict[str, FancyBboxPatch] = {}
    for x, step in enumerate(trace):
        color, kind = _LAYER_COLORS[type(step["layer"])]
        spatial = len(step["shape"]) == 3
        # Square root, so that a 2-pixel map can still be seen beside one of 256 pixels.
        height = (step["shape"][1] / image_size) ** 0.5 if spatial else 0.35
        box = FancyBboxPatch(
            (x - 0.32, -height / 2),
            0.64,
            height,
            boxstyle="round,pad=0.02",
            facecolor=color,
            edgecolor="black",
            linewidth=0.6,
            hatch="////" if step["frozen"] else None,
        )
        ax.add_patch(box)
        seen.setdefault(kind, box)
        size = f"{step['shape'][0]}×{step['shape'][1]}²" if spatial else f"{step['shape'][0]}"  # noqa: RUF001
        ax.text(x, -height / 2 - 0.06, size, ha="center", va="top", fontsize=7, rotation=90)
    ax.set(xlim=(-0.8, len(trace) - 0.2), ylim=(-0.95, 0.6))
    ax.axis("off")
    title = "hatched: frozen" if any(step["frozen"] for step in trace) else ""
    figure.legend(seen.values(), seen.keys(), loc="outside upper center", ncols=5, frameon=False, title=title)
    return figure
