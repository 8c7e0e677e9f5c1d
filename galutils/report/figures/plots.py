"""Figures of galaxies, classes and clusters."""

from collections.abc import Sequence
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from galutils.clustering.null import PAPER_BOX
from galutils.data.classes import short_names
from galutils.report.figures.display import MARKERS, PALETTE, REFERENCE, class_palette, new_figure, new_panels

#: Classes that a confusion matrix has room for in full: side of a cell in inches, counts written in.
ROOMY, CELL = 20, 0.36

#: Colours of shares from 0 to 1: transparent where empty, and never so dark that the page's text could not be read.
SHARES = mpl.colors.LinearSegmentedColormap.from_list("shares", [(*PALETTE[0], 0), (*PALETTE[0], 0.75)])


def class_counts(labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Bars: galaxies per class. labels: (N,) int; classes: their names."""
    figure, ((ax,),) = new_figure(7, 0.7 + 0.25 * len(classes))
    counts = np.bincount(labels, minlength=len(classes))
    sns.barplot(x=counts, y=short_names(classes), color=PALETTE[0], saturation=1, ax=ax)
    ax.bar_label(ax.containers[0], padding=3)
    ax.set_xlabel("Galaxies")
    return figure


def recall_bars(recall: pd.DataFrame) -> Figure:
    """Bars with intervals. recall: ``mean``, ``low`` and ``high`` of each class, which is the index."""
    figure, ((ax,),) = new_figure(5.6, 0.7 + 0.25 * len(recall))
    sns.barplot(x=recall["mean"], y=short_names(tuple(recall.index)), color=PALETTE[0], saturation=1, alpha=0.75, ax=ax)
    ends = np.abs(recall[["low", "high"]].sub(recall["mean"], axis=0)).to_numpy().T
    ax.errorbar(recall["mean"], range(len(recall)), xerr=ends, fmt="none", color="black", linewidth=1)
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.set(xlim=(0, 1), xlabel="Recall", ylabel="")
    return figure


def class_distributions(table: pd.DataFrame, labels: dict[str, str], classes: Sequence[str]) -> Figure:
    """Box plots per class. table: a column "class" and those of the quantities; labels: of each quantity's axis."""
    figure, axes = new_figure(3.3 * len(labels), 0.8 + 0.28 * len(classes), ncols=len(labels), sharey=True)
    names = short_names(classes)
    own = np.array(names)[table["class"]]
    style = {"fill": False, "color": "black", "medianprops": {"color": PALETTE[3]}, "fliersize": 2}
    for ax, (column, label) in zip(axes.flat, labels.items(), strict=True):
        sns.boxplot(x=table[column], y=own, order=names, flierprops={"marker": "."}, ax=ax, **style)
        ax.set(xlabel=label, ylabel="")
    return figure


def sky_map(ra: np.ndarray, dec: np.ndarray) -> Figure:
    """Positions on the sky. ra, dec: (N,) degrees."""
    figure, ((ax,),) = new_figure(7, 3.2)
    ax.plot(ra, dec, ".", markersize=2.5, alpha=float(np.clip(3000 / max(1, len(ra)), 0.5, 1)))
    ax.set(xlabel="Right ascension (degrees)", ylabel="Declination (degrees)", xlim=(360, 0))
    return figure


def confusion_matrices(counts: dict[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Two side by side, coloured by row share, with counts written in where there is room.

    counts: for each title, not drawn where there is one, a (C, C) int array, true class by predicted class;
    classes: their names.
    """
    roomy, names = len(classes) <= ROOMY, short_names(classes)
    side = CELL * np.clip(len(classes), 6, ROOMY)
    margin = 0.8 + 0.055 * max(map(len, names))
    figure, axes = new_panels(len(counts), 2, side + margin, side + margin)
    grid = {"cbar": False, "square": True, "linewidths": 0.5 if roomy else 0, "linecolor": (0.5, 0.5, 0.5, 0.3)}
    text = {"fmt": "d", "annot_kws": {"color": "black", "fontsize": 8}, "xticklabels": False, "yticklabels": False}
    for ax, (title, table) in zip(axes, counts.items(), strict=True):
        share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
        sns.heatmap(
            share, vmin=0, vmax=1, cmap=SHARES, annot=table if roomy else None, mask=table == 0, ax=ax, **grid, **text
        )
        ax.set_gid(f"data:matrix={title}")
        for i, j in np.ndindex(*table.shape) if roomy else np.argwhere(table).tolist():
            # For pointer and keyboard. Not wholly transparent, as the page could not feel the pointer then.
            gid = f"data:cell={i} {j} {table[i, j]}"
            ax.add_patch(Rectangle((j, i), 1, 1, facecolor=(0, 0, 0, 0.004), linewidth=0, gid=gid))
        step = -(-len(table) // (2 * ROOMY))  # where they are hundreds, not every name has room
        places = np.arange(0, len(table), step) + 0.5
        ax.set_xticks(places, names[::step], rotation=60, rotation_mode="anchor", ha="right")
        ax.set_yticks(places, names[::step])
        ax.tick_params(labelsize=8)
        ax.set(
            xlabel="Predicted class",
            ylabel="True class",
            title=fill(title, 16 + int(8 * side)) if len(counts) > 1 else "",
        )
    return figure


def confusion_data(counts: dict[str, np.ndarray], classes: Sequence[str]) -> dict[str, pd.DataFrame]:
    """What :func:`confusion_matrices` draws, as tables: the true class, and a column for each predicted one."""
    own = {title: pd.DataFrame(table, columns=list(classes)) for title, table in counts.items()}
    return {title: table.assign(true_class=list(classes)) for title, table in own.items()}


def embedding_scatter(points: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Two principal components of every galaxy (N, 2), coloured by class (N,) int; larger: the mean of each class."""
    figure, ((ax,),) = new_figure(7.5, 4.6)
    names, colors = short_names(classes), class_palette(len(classes))
    for label in np.unique(labels):
        own, mark = points[labels == label], MARKERS[label % len(MARKERS)]
        ax.plot(*own.T, ".", color=colors[label], markersize=3, alpha=0.5, rasterized=True)
        ax.plot(*own.mean(axis=0), mark, color=colors[label], markeredgecolor="black", label=names[label])
    ax.set(xlabel="PC 1", ylabel="PC 2")
    figure.legend(loc="outside right upper", ncols=-(-len(classes) // ROOMY))
    return figure


def cause_chart(table: pd.DataFrame, chance: float, paper: bool) -> Figure:
    """Accuracy of every case of :func:`galutils.clustering.chance.collect_cases`, grouped by the cause that it tests.

    chance: accuracy of permuted labels, one-to-one. paper: whether the paper's is about these classes.
    """
    figure, ((ax,),) = new_figure(8.5, 0.27 * len(table) + 1.2)
    for i, (cause, cases) in enumerate(table.groupby("cause", sort=False)):
        ax.plot(cases["accuracy"], cases.index, MARKERS[i % len(MARKERS)], color=PALETTE[i % 7], label=cause)
    ax.plot(table["chance"], table.index, "|", color="grey", markersize=9, label="permuted labels, same matching")
    ax.axvline(chance, **REFERENCE)
    if paper:
        reported = sum(PAPER_BOX["accuracy"]) / 2
        ax.axvline(reported, color="black", linestyle="--", linewidth=1, label=f"the paper's {reported:.0%}")
    ax.set_yticks(table.index, [fill(case, 64) for case in table["case"]], fontsize=8)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.set(xlim=(0, None), xlabel="Accuracy")
    ax.grid(axis="x")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def accuracy_plane(plane: pd.DataFrame, cases: pd.DataFrame, singly: str) -> Figure:
    """Accuracy against hard ROC AUC: chance with the number of galaxies, the paper's two rows, and every case.

    plane: of :func:`galutils.clustering.null.chance_plane`. cases: of :func:`galutils.clustering.chance.collect_cases`;
    hollow as scored, filled on the full set; without those that have more clusters than classes, or none. singly: the
    cause whose cases have a mark each.
    """
    figure, ((ax,),) = new_figure(8.5, 7)
    cases = cases[~cases["case"].str.endswith("many-to-one") & (cases["accuracy"] > 0)]
    lines = zip(("-", "--", ":"), plane.groupby("shares", sort=False), strict=False)
    for style, (name, own) in lines:
        ax.plot(own["accuracy"], own["roc_auc_hard"], "grey", linestyle=style, marker="|", label=f"chance, {name}")
        for row in own[own["galaxies"].isin((500, 1000, own["galaxies"].max()))].itertuples():
            half = [[[row.accuracy - row.accuracy_low], [row.accuracy_high - row.accuracy]]]
            half += [[[row.roc_auc_hard - row.roc_auc_hard_low], [row.roc_auc_hard_high - row.roc_auc_hard]]]
            ax.errorbar(row.accuracy, row.roc_auc_hard, half[1], half[0], color="grey", linewidth=0.6)
            words = {"xytext": (-7, 4), "textcoords": "offset points", "ha": "right", "fontsize": 8}
            if style == "-":
                ax.annotate(f"{row.galaxies:,}", (row.accuracy, row.roc_auc_hard), **words)
    groups = cases["case"].where(cases["cause"] == singly, cases["cause"])
    colors = class_palette(groups.nunique())
    for i, (name, own) in enumerate(cases.groupby(groups, sort=False)):
        mark, style = MARKERS[i % len(MARKERS)], {"color": colors[i], "linestyle": "", "markersize": 6}
        ends = own[["accuracy", "accuracy_full", "roc_auc_hard", "roc_auc_full"]].to_numpy().reshape(-1, 2, 2)
        ax.plot(*ends.transpose(1, 2, 0), color=colors[i], linewidth=0.5)
        ax.plot(own["accuracy"], own["roc_auc_hard"], mark, markerfacecolor="none", **style)
        ax.plot(own["accuracy_full"], own["roc_auc_full"], mark, label=fill(name, 46, break_on_hyphens=False), **style)
    (left, right), (low, high) = PAPER_BOX.values()
    ax.add_patch(Rectangle((left, low), right - left, high - low, facecolor="none", edgecolor="black", zorder=5))
    arrow = {"arrowstyle": "-", "color": "black", "linewidth": 0.8}
    ax.annotate("the paper", (right, low), (28, -26), textcoords="offset points", arrowprops=arrow)
    ax.set(xlabel="Accuracy", ylabel="ROC AUC of hard assignments")
    ax.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.grid()
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure
