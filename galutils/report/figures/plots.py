"""Figures of galaxies, classes and clusters."""

import textwrap

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galutils.data.galaxy10 import CLASS_NAMES, NUM_CLASSES
from galutils.report.figures.display import PALETTE, REFERENCE, class_palette, new_figure, new_panels

#: Class names short enough for an axis.
SHORT_NAMES = tuple(
    name.replace("Unbarred ", "").replace("without", "w/o").replace(" smooth", "").replace("-shaped", "")
    for name in CLASS_NAMES
)

#: Colours of shares from 0 to 1: transparent where empty, and never so dark that the page's text could not be read.
SHARES = mpl.colors.LinearSegmentedColormap.from_list("shares", [(*PALETTE[0], 0), (*PALETTE[0], 0.75)])


def class_counts(labels: np.ndarray) -> Figure:
    """Bars: galaxies per class. labels: (N,) int."""
    figure, ((ax,),) = new_figure(7, 3.2)
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    sns.barplot(x=counts, y=list(CLASS_NAMES), color=PALETTE[0], saturation=1, ax=ax)
    ax.bar_label(ax.containers[0], padding=3)
    ax.set_xlabel("Galaxies")
    return figure


def class_distributions(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Box plots per class. table: a column "class" and those of the quantities; labels: of each quantity's axis."""
    figure, axes = new_figure(3.3 * len(labels), 3.6, ncols=len(labels), sharey=True)
    classes = np.array(SHORT_NAMES)[table["class"]]
    style = {"fill": False, "color": "black", "medianprops": {"color": PALETTE[3]}, "fliersize": 2}
    for ax, (column, label) in zip(axes.flat, labels.items(), strict=True):
        sns.boxplot(x=table[column], y=classes, order=SHORT_NAMES, flierprops={"marker": "."}, ax=ax, **style)
        ax.set(xlabel=label, ylabel="")
    return figure


def sky_map(ra: np.ndarray, dec: np.ndarray) -> Figure:
    """Positions on the sky. ra, dec: (N,) degrees."""
    figure, ((ax,),) = new_figure(7, 3.2)
    ax.plot(ra, dec, ".", markersize=2, alpha=0.6)
    ax.set(xlabel="Right ascension (degrees)", ylabel="Declination (degrees)", xlim=(360, 0))
    return figure


def confusion_matrices(counts: dict[str, np.ndarray]) -> Figure:
    """Two side by side, coloured by row share, with counts written in.

    counts: for each title a (K, K) int array, true class by predicted class; numbered unless K is 10.
    """
    side = 0.36 * max(map(len, counts.values()))
    figure, axes = new_panels(len(counts), 2, side + 2, side + 1.6)
    grid = {"cbar": False, "square": True, "linewidths": 0.5, "linecolor": (0.5, 0.5, 0.5, 0.3)}
    text = {"fmt": "d", "annot_kws": {"color": "black", "fontsize": 8}, "xticklabels": False, "yticklabels": False}
    for ax, (title, table) in zip(axes, counts.items(), strict=True):
        share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        sns.heatmap(share, vmin=0, vmax=1, cmap=SHARES, annot=table, mask=table == 0, ax=ax, **grid, **text)
        ax.set_gid(f"data:matrix={title}")
        for i, j in np.ndindex(*table.shape):
            # For pointer and keyboard. Not wholly transparent, as the page could not feel the pointer then.
            gid = f"data:cell={i} {j} {table[i, j]}"
            ax.add_patch(Rectangle((j, i), 1, 1, facecolor=(0, 0, 0, 0.004), linewidth=0, gid=gid))
        names, angle = (SHORT_NAMES, 60) if len(table) == NUM_CLASSES else (range(len(table)), 0)
        places = np.arange(len(table)) + 0.5
        ax.set_xticks(places, names, rotation=angle, rotation_mode="anchor", ha="right" if angle else "center")
        ax.set_yticks(places, names)
        ax.tick_params(labelsize=8)
        ax.set(xlabel="Predicted class", ylabel="True class", title=textwrap.fill(title, 16 + int(8 * side)))
    return figure


def embedding_scatter(points: np.ndarray, labels: np.ndarray) -> Figure:
    """Two principal components of every galaxy (N, 2), coloured by class (N,) int; larger: the mean of each class."""
    figure, ((ax,),) = new_figure(7.5, 4.6)
    names = dict(enumerate(CLASS_NAMES))
    colors = class_palette(labels.max() + 1)
    for label in np.unique(labels):
        own = points[labels == label]
        ax.plot(*own.T, ".", color=colors[label], markersize=3, alpha=0.5)
        ax.plot(*own.mean(axis=0), "o", color=colors[label], markeredgecolor="black", label=names.get(label, label))
    ax.set(xlabel="PC 1", ylabel="PC 2")
    figure.legend(loc="outside right upper")
    return figure


def cause_chart(table: pd.DataFrame, chance: float, paper: float) -> Figure:
    """Accuracy of every case of :func:`galutils.clustering.chance.collect_cases`, grouped by the cause that it tests.

    chance: accuracy of permuted labels, one-to-one. paper: that which the paper reports.
    """
    figure, ((ax,),) = new_figure(8.5, 0.27 * len(table) + 1.2)
    for i, (cause, cases) in enumerate(table.groupby("cause", sort=False)):
        ax.plot(cases["accuracy"], cases.index, "osD^vPX*"[i % 8], color=PALETTE[i % 7], label=cause)
    ax.plot(table["chance"], table.index, "|", color="grey", markersize=9, label="permuted labels, same matching")
    ax.axvline(chance, **REFERENCE)
    ax.axvline(paper, color="black", linestyle="--", linewidth=1, label=f"the paper's {paper:.0%}")
    ax.set_yticks(table.index, table["case"], fontsize=8)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.set(xlim=(0, None), xlabel="Accuracy")
    ax.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure
