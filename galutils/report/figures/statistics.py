"""Figures of the statistics. Every function returns a matplotlib figure, see :mod:`galutils.plots`."""

from collections.abc import Sequence
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from galutils.evaluation.cost import COSTS, on_front
from galutils.evaluation.power import ALL_GALAXIES, DISAGREEMENTS, PAPER_ACCURACIES, power_at
from galutils.report.figures.display import new_figure
from galutils.report.figures.plots import PALETTE


def difference_matrix(comparisons: pd.DataFrame, titles: Sequence[str]) -> Figure:
    """Which differences are real: accuracy of the row less that of the column, in points; grey where undecided.

    Args:
        comparisons: from :func:`galutils.evaluation.significance.compare`.
        titles: the approaches, in the order to draw.
    """
    gap, real = np.full((2, len(titles), len(titles)), np.nan)
    for row in comparisons.itertuples():
        first, second = titles.index(row.first), titles.index(row.second)
        gap[second, first], gap[first, second] = 100 * row.difference, -100 * row.difference
        real[second, first] = real[first, second] = row.real
    figure, ((ax,),) = new_figure(2.6 + 0.95 * len(titles), 1.4 + 0.62 * len(titles))
    largest = max(1.0, np.nanmax(np.abs(gap), initial=1.0))
    ax.imshow(np.where(real == 0, 0.06, np.nan), cmap="Greys", vmin=0, vmax=1, aspect="auto")
    ax.imshow(np.where(real == 1, gap, np.nan), cmap="RdBu", vmin=-largest, vmax=largest, aspect="auto")
    for i, j in np.ndindex(*gap.shape):
        if np.isfinite(gap[i, j]):
            strong = real[i, j] == 1 and abs(gap[i, j]) > 0.55 * largest
            # Not black, which would turn with the page's text colour, as the cells do not.
            color = "white" if strong else "#1a1a1a" if real[i, j] else "#595959"
            text = f"{gap[i, j]:+.1f}" if real[i, j] else f"{gap[i, j]:+.1f}\nundecided"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    ax.set_xticks(range(len(titles)), [fill(title, 15) for title in titles], fontsize=7)
    ax.set_yticks(range(len(titles)), [fill(title, 24) for title in titles], fontsize=8)
    ax.spines[:].set_visible(False)
    ax.set_title("Accuracy of the row less that of the column, points", fontsize=10)
    return figure


def power_curves() -> Figure:
    """Probability of telling two of the paper's accuracies apart, against the number of test galaxies."""
    sizes = np.geomspace(100, 40_000, 200)
    low, middle, high = PAPER_ACCURACIES
    figure, axes = new_figure(10, 3.4, ncols=3, sharey=True)
    for ax, (first, second) in zip(axes.flat, ((low, middle), (low, high), (middle, high)), strict=True):
        ax.plot(sizes, power_at(sizes, first, second), color="black", label="different galaxies")
        for color, rate in zip(PALETTE, DISAGREEMENTS, strict=False):
            ax.plot(
                sizes, power_at(sizes, first, second, rate), color=color, label=f"the same, {rate:.0%} disagreement"
            )
        ax.axhline(0.8, color="grey", linestyle=":", linewidth=1)
        for share, style in ((0.2, "--"), (1.0, "-")):
            label = "a fifth of Galaxy10 (dashed), and all of it" if share == 0.2 else None
            ax.axvline(share * ALL_GALAXIES, color="grey", linestyle=style, linewidth=1, label=label)
        ax.set(xscale="log", xlabel="Test galaxies", title=f"{first:.0%} against {second:.0%}", ylim=(0, 1.02))
        ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    axes[0, 0].set_ylabel("Probability of telling them apart")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    return figure


def reliability_diagrams(tables: dict[str, pd.DataFrame], columns: int = 3) -> Figure:
    """Accuracy against confidence; on the diagonal, probabilities mean what they say. Areas follow the galaxies.

    Args:
        tables: for each title the bins, see :func:`galutils.evaluation.calibration.reliability`.
    """
    columns = min(columns, len(tables))
    rows = -(-len(tables) // columns)
    figure, axes = new_figure(3.3 * columns, 3.5 * rows, nrows=rows, ncols=columns, sharex=True, sharey=True)
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
    for ax, (title, bins) in zip(axes.flat, tables.items(), strict=False):
        ax.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
        ax.plot(bins["confidence"], bins["accuracy"], color=PALETTE[0], linewidth=1)
        ax.scatter(bins["confidence"], bins["accuracy"], 250 * bins["count"] / bins["count"].sum(), color=PALETTE[0])
        ax.set(xlim=(0, 1.03), ylim=(0, 1.03))
        ax.set_title(fill(title, 36), fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("Accuracy")
    for ax in axes.flat[max(0, len(tables) - columns) : len(tables)]:  # those with nothing below
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
    ax.grid(alpha=0.2)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9)
    return figure


def ablation_chart(table: pd.DataFrame) -> Figure:
    """What each changed parameter changes, in points of accuracy, with intervals; hollow where undecided.

    Args:
        table: from :func:`galutils.study.ablations.compare_with_base`.
    """
    figure, ((ax,),) = new_figure(8.5, 0.32 * len(table) + 1.1)
    bases = list(dict.fromkeys(table["approach"]))
    for i, row in enumerate(table.itertuples()):
        color = PALETTE[bases.index(row.approach) % 7]
        low, high = row.difference - row.difference_low, row.difference_high - row.difference
        label = row.approach if row.Index == table.index[table["approach"] == row.approach][0] else None
        ax.errorbar(
            100 * row.difference,
            i,
            xerr=[[100 * low], [100 * high]],
            fmt="o",
            color=color,
            markerfacecolor=color if row.real else "white",
            label=label,
        )
    ax.axvline(0, color="grey", linestyle=":", linewidth=1)
    ax.set_yticks(range(len(table)), table["parameter"] + " = " + table["value"], fontsize=8)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlabel("Accuracy less that of the unchanged experiment, points; filled where the difference is real")
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=8)
    return figure


def accuracy_curves(curves: dict[str, pd.DataFrame], label: str, log: bool = False) -> Figure:
    """Accuracy with intervals along a parameter. curves: from :func:`ablations.curve`; label: of the axis."""
    figure, ((ax,),) = new_figure(7.5, 3.8)
    for i, (title, points) in enumerate(curves.items()):
        spread = np.abs(points[["low", "high"]].to_numpy().T - points["accuracy"].to_numpy())
        ax.errorbar(points["x"], points["accuracy"], spread, fmt="osD^vPX"[i % 7] + "-", capsize=3, label=title)
    ax.set(xlabel=label, ylabel="Accuracy on the test rows", xscale="log" if log else "linear")
    if log:
        ticks = sorted({x for points in curves.values() for x in points["x"]})
        ax.set_xticks(ticks, [f"{x:,}" for x in ticks])
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    else:
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    ax.grid(alpha=0.2)
    figure.legend(loc="outside lower center", ncols=1, frameon=False, fontsize=9)
    return figure


def accuracy_against_cost(table: pd.DataFrame) -> Figure:
    """Accuracy with its 95% interval against costs, on logarithmic axes; the line is the front that nobody beats.

    Args:
        table: one row per approach with "approach", "accuracy", "low", "high" and the columns of
            :data:`galutils.evaluation.cost.COSTS`.
    """
    figure, axes = new_figure(10, 7, nrows=2, ncols=2, sharey=True)
    for ax, (column, (label, less_is_better)) in zip(axes.flat, COSTS.items(), strict=True):
        known = table[table[column].notna()]
        front = known[on_front(known[column], known["accuracy"], less_is_better)].sort_values(column)
        ax.plot(front[column], front["accuracy"], color="grey", linewidth=1, zorder=0)
        for i, row in enumerate(table.to_dict("records")):
            spread = [[row["accuracy"] - row["low"]], [row["high"] - row["accuracy"]]]
            marker, color = "osD^vPX*"[i % 8], PALETTE[i % 7]
            ax.errorbar(row[column], row["accuracy"], spread, fmt=marker, color=color, label=row["approach"])
        ax.set(xscale="log", xlabel=label)
        ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        ax.grid(alpha=0.2)
        ax.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1))
    for ax in axes[:, 0]:
        ax.set_ylabel("Accuracy")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
