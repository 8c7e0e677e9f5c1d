"""Figures. Every function returns one, of matplotlib's but for :func:`image_grid`; :func:`show` displays it."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galutils.data.galaxy10 import CLASS_NAMES, NUM_CLASSES
from galutils.report.figures.display import PALETTE, new_figure
from galutils.report.figures.display import show as show

#: Class names short enough for an axis.
SHORT_NAMES = tuple(
    name.replace("Unbarred ", "").replace("without", "w/o").replace(" smooth", "").replace("-shaped", "")
    for name in CLASS_NAMES
)


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
