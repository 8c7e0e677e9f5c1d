"""Figures of the statistics."""

from collections.abc import Sequence
from itertools import cycle
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from seaborn import objects as so

from galutils.evaluation.metrics import COSTS, on_front
from galutils.evaluation.significance import DECIDED
from galutils.report.figures.display import MARKERS, PALETTE, REFERENCE, STYLE, class_palette, new_figure, new_panels


def difference_matrix(comparisons: pd.DataFrame, titles: Sequence[str]) -> Figure:
    """What :func:`galutils.evaluation.significance.compare` says of each pair; grey where it is not told apart.

    titles: the approaches, in the order to draw.
    """
    gap = np.full((len(titles), len(titles)), np.nan)
    words = np.full(gap.shape, "", dtype=object)
    for row in comparisons.itertuples():
        first, second = titles.index(row.first), titles.index(row.second)
        for i, j, points in ((second, first, 100 * row.difference), (first, second, -100 * row.difference)):
            gap[i, j] = points if row.verdict in DECIDED else 0
            words[i, j] = f"{points:+.1f}" if row.verdict in DECIDED else f"{points:+.1f}\n{row.verdict}"
    figure, ((ax,),) = new_figure(2.6 + 0.95 * len(titles), 1.4 + 0.62 * len(titles))
    end = 1.8 * np.nanmax(np.abs(gap), initial=1)  # so that no cell is too dark for its words
    # Words not in black, which would turn with the page's text colour, as the cells do not.
    style = {"fmt": "", "annot_kws": {"color": "#1a1a1a", "fontsize": 8}, "cbar": False}
    names = {"xticklabels": [fill(title, 15) for title in titles], "yticklabels": [fill(title, 24) for title in titles]}
    sns.heatmap(gap, vmin=-end, vmax=end, cmap="RdBu", annot=words, ax=ax, **style, **names)
    ax.tick_params(rotation=0, labelsize=8)
    ax.set_title("Accuracy of the row less that of the column, points")
    return figure


def reliability_diagrams(tables: dict[str, list[pd.DataFrame]]) -> Figure:
    """Accuracy against confidence; on the diagonal, probabilities mean what they say. Areas follow the galaxies.

    tables: for each title the bins of :func:`galutils.evaluation.calibration.reliability`, a table for each seed.
    """
    columns = 3
    figure, axes = new_panels(len(tables), columns, 3.3, 3.5, sharex=True, sharey=True)
    for ax, (title, seeds) in zip(axes, tables.items(), strict=True):
        ax.plot([0, 1], [0, 1], **REFERENCE)
        for bins, color in zip(seeds, cycle(PALETTE), strict=False):
            ax.plot(bins["confidence"], bins["accuracy"], color=color, linewidth=1)
            ax.scatter(bins["confidence"], bins["accuracy"], 250 * bins["count"] / bins["count"].sum(), color=color)
        ax.set(xlim=(0, 1.03), ylim=(0, 1.03))
        ax.set_title(fill(title, 36), fontsize=9)
    for ax in axes[::columns]:
        ax.set_ylabel("Accuracy")
    for ax in axes[-columns:]:  # those with nothing below
        ax.set_xlabel("Confidence")
        ax.tick_params(labelbottom=True)
    return figure


def coverage_curves(tables: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy on the most confident galaxies. tables: see :func:`calibration.accuracy_by_coverage`."""
    figure, ((ax,),) = new_figure(7.5, 3.8)
    for i, (title, curve) in enumerate(tables.items()):
        shown = curve[curve["coverage"] >= 0.05]  # a few galaxies make a wild curve
        ax.plot(shown["coverage"], shown["accuracy"], color=PALETTE[i % 7], linestyle=("-", "--")[i // 7], label=title)
    ax.set(xlabel="Share of the galaxies that is kept, the most confident first", ylabel="Accuracy on them")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.grid()
    figure.legend(loc="outside lower center")
    return figure


def ablation_chart(table: pd.DataFrame) -> Figure:
    """What each change of :func:`galutils.study.ablations.compare_with_base` changes; hollow where it is not shown."""
    figure, ((ax,),) = new_figure(8.5, 0.32 * len(table) + 1.1)
    ax.axvline(0, **REFERENCE)
    ends = {"x": "difference", "xmin": "difference_low", "xmax": "difference_high"}
    points = table.assign(**100 * table[[*ends.values()]], place=range(len(table)))
    _draw_intervals(ax, points, y="place", **ends)
    ax.set_yticks(points["place"], table["parameter"] + " = " + table["value"])
    label = "Accuracy less that of the unchanged experiment, points; filled where a difference is shown"
    ax.set(ylim=(len(table) - 0.4, -0.6), xlabel=label, ylabel="")
    return figure


def accuracy_curves(
    curves: dict[str, pd.DataFrame], label: str, log: bool = False, score: str = "Accuracy on the test rows"
) -> Figure:
    """Accuracy with intervals along a parameter. curves: from :func:`ablations.curve`; label, score: of the axes."""
    figure, ((ax,),) = new_figure(7.5, max(3.8, 2.9 + 0.3 * -(-len(curves) // 2)))  # the legend takes a line for two
    points = pd.concat(curves, names=["approach"]).reset_index()
    # Intervals side by side, where an axis of numbers has room for it.
    aside = points["approach"].map({name: i - (len(curves) - 1) / 2 for i, name in enumerate(curves)})
    points["place"] = points["x"] * (1.025**aside if log else 1)
    _draw_intervals(ax, points, joined=True, x="place", y="accuracy", ymin="low", ymax="high")
    ax.set(xlabel=label, ylabel=score, xscale="log" if log else "linear")
    ticks = sorted(set(points["x"]))
    ax.set_xticks(ticks, [f"{x:,}" for x in ticks])
    ax.minorticks_off()
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.grid()
    return figure


def difference_bands(table: pd.DataFrame, numbers: Sequence[int], margin: float) -> Figure:
    """Bands of :func:`galutils.evaluation.labels.differences`, a panel each; numbers: of labels that were measured."""
    contrasts = list(table.groupby(["first", "second"], sort=False))
    figure, axes = new_panels(len(contrasts), 2, 4.6, 2.9, sharey=True)
    for ax, ((first, second), own) in zip(axes, contrasts, strict=True):
        ax.axhline(0, **REFERENCE)
        ax.axhspan(-100 * margin, 100 * margin, color="grey", alpha=0.15, linewidth=0)
        ax.fill_between(own["n"], 100 * own["low"], 100 * own["high"], color=PALETTE[0], alpha=0.25, linewidth=0)
        measured = own[own["n"].isin(numbers)]
        ax.plot(own["n"], 100 * own["value"], color=PALETTE[0])
        ax.plot(measured["n"], 100 * measured["value"], "o", color=PALETTE[0])
        ax.set_title(fill(f"{second} less {first}", 52), fontsize=8)
        ax.set(xscale="log", xlabel="Labels", ylabel="Points")
        ax.set_xticks(numbers, [f"{n:,}" for n in numbers])
        ax.minorticks_off()
        ax.grid()
    return figure


def accuracy_against_cost(table: pd.DataFrame) -> Figure:
    """Accuracy with its 95% interval against costs, from the results table; the line is the front that nobody beats."""
    table = table.astype(dict.fromkeys(COSTS, float))
    figure, axes = new_figure(10, 7, nrows=2, ncols=2, sharey=True)
    for ax, (column, (label, less_is_better)) in zip(axes.flat, COSTS.items(), strict=True):
        known = table[table[column].notna()]
        front = known[on_front(known[column], known["accuracy"], less_is_better)].sort_values(column)
        ax.plot(front[column], front["accuracy"], color="grey", linewidth=1, zorder=0)
        _draw_intervals(ax, table, x=column, y="accuracy", ymin="low", ymax="high")
        ax.set(xscale="log" if len(known) else "linear", xlabel=label, ylabel="")
        ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
        ax.grid()
    for left, right in axes:
        left.set_ylabel("Accuracy")
        right.tick_params(labelleft=False)
    return figure


def _draw_intervals(ax: Axes, table: pd.DataFrame, joined: bool = False, **columns: str) -> None:
    """Points and intervals, a colour and a marker for each "approach"; hollow where its verdict shows no difference.

    columns: those for seaborn's x and y and for the intervals' ends, xmin and xmax or ymin and ymax.
    """
    table = table.reset_index(drop=True)
    real = table["verdict"].isin(DECIDED) if "verdict" in table else table["approach"].notna()
    count = table["approach"].nunique()
    colors, markers = class_palette(count), [MARKERS[i % len(MARKERS)] for i in range(count)]
    plot = so.Plot(table, **columns, color="approach", edgecolor="approach", marker="approach")
    plot = plot.scale(color=colors, edgecolor=colors, marker=markers).theme(STYLE).on(ax)
    plot = plot.add(so.Range(), orient="y" if "xmin" in columns else "x", legend=False)
    if joined:
        plot = plot.add(so.Line(), marker=None, legend=False)
    plot = plot.add(so.Dot(edgewidth=1.2), data=table[real])
    plot.add(so.Dot(edgewidth=1.2, color="white"), data=table[~real], legend=False).plot()
    legend = ax.figure.legends[-1]  # seaborn's stands beside the axes, where long names have no room
    ax.figure.legends.clear()
    names = [text.get_text() for text in legend.get_texts()]
    ax.figure.legend(legend.legend_handles, names, loc="outside lower center", ncols=1 + (count > 4))
