"""What ``run.py`` measured, as tables and figures for the report's appendix."""

import json
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from galutils.errors import GalutilsError
from galutils.evaluation.paper import APPROACHES
from galutils.report.figures.display import PALETTE, new_figure


class TimingsError(GalutilsError):
    """Measurements that cannot be read; one sentence that says why and what to do."""


def read_timings(path: str | Path) -> dict:
    """Measurements by the parts of ``run.py``, as far as they were made.

    Raises:
        TimingsError: there is no such file, or it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TimingsError(f"{path}: nothing has been measured there; run make bench.") from None
    except ValueError as error:
        raise TimingsError(f"{path}: is not JSON ({error}); delete it and run make bench.") from error


def conditions(part: dict) -> str:
    """Under what a part was measured, in one line."""
    environment = part["environment"]
    repeated = f", medians of {part['repeats']}" if "repeats" in part else ""
    return (
        f"{environment['device']}, {environment['cpu_cores']} cores, torch {environment['packages']['torch']}, "
        f"commit {environment['git_commit']}{repeated}"
    )


def usual_table(usual: dict) -> pd.DataFrame:
    """Seconds of the supervised rows, the usual notebook's and the study's, and their ratio; one row per case."""
    table = pd.DataFrame(usual["cases"])
    return pd.DataFrame(
        {
            "Approach": table["row"].map(lambda name: APPROACHES[name].title),
            "Pixels": table["size"],
            "Images": table["images"],
            "Usual, images/s": table["usual_images_per_second"].map("{:,.0f}".format),
            "Study, images/s": table["our_images_per_second"].map("{:,.0f}".format),
            f"Usual, s for {usual['epochs']} epochs": table["usual_seconds"].map("{:,.1f}".format),
            "Study, s": table["our_seconds"].map("{:,.1f}".format),
            "Times faster": table["ratio"].map("{:.1f}".format),
        }
    )


def describe_usual(parts: list[dict]) -> str:
    """By how many times the study is faster than the usual notebook, for each device that was measured."""
    found = []
    for usual in (part["usual"] for part in parts if "usual" in part):
        ratios = [case["ratio"] for case in usual["cases"]]
        environment = usual["environment"]
        where = f"{environment['device']}, {environment['cpu_cores']} cores"
        found.append(f"{min(ratios):.1f} to {max(ratios):.1f} times as fast as the usual notebook ({where})")
    return f"The supervised approaches were trained {'; '.join(found)}."


def bare_table(bare: dict) -> pd.DataFrame:
    """Images per second of the trainer and of the bare network, and the share of them that the trainer reaches."""
    table = pd.DataFrame(bare["cases"])
    return pd.DataFrame(
        {
            "Approach": table["row"].map(lambda name: APPROACHES[name].title),
            "Pixels": table["size"],
            "Trainer, images/s": table["our_speed"].map("{:,.0f}".format),
            "Bare network, images/s": table["bare_speed"].map("{:,.0f}".format),
            "Share reached": table["ratio"].map("{:.2f}".format),
        }
    )


def ratio_chart(usual: dict) -> Figure:
    """Bars: how many times faster than the usual notebook each row is at each size. Logarithmic."""
    table = pd.DataFrame(usual["cases"]).pivot(index="row", columns="size", values="ratio")
    figure, ((ax,),) = new_figure(7, 3.4)
    height = 0.8 / len(table.columns)
    for number, size in enumerate(table.columns):
        places = [place + height * number for place in range(len(table))]
        bars = ax.barh(places, table[size], height, label=f"{size} pixels", color=PALETTE[number])
        ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    middle = height * (len(table.columns) - 1) / 2
    ax.set_yticks([place + middle for place in range(len(table))], [APPROACHES[name].title for name in table.index])
    ax.set_xscale("log")
    ax.margins(x=0.15)
    ax.set_xlim(left=min(1, table.min().min()))  # a bar begins where there is no difference
    ticks = [1, 2, 5, 10, 20, 50]
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.set_xlabel(f"Times faster than the usual notebook, {usual['epochs']} epochs")
    ax.legend(frameon=False, fontsize=8, ncols=len(table.columns), loc="lower left", bbox_to_anchor=(0, 1))
    ax.invert_yaxis()
    return figure


def growth_chart(memory: dict) -> Figure:
    """Peak memory and seconds of one epoch against the number of galaxies, images resident and streamed."""
    table = pd.DataFrame(memory["cases"])
    figure, ((left, right),) = new_figure(8, 3.2, ncols=2)
    for number, (resident, own) in enumerate(table.groupby("resident", sort=False)):
        label = "resident" if resident else "streamed"
        left.plot(own["count"], own["peak_bytes"] / 1e9, "o-", color=PALETTE[number], label=label)
        right.loglog(own["count"], own["seconds"] - own["import_seconds"], "o-", color=PALETTE[number], label=label)
    sizes = table.drop_duplicates("count")
    left.plot(sizes["count"], sizes["image_bytes"] / 1e9, "--", color="0.5", label="the images alone")
    left.set_ylabel("Peak memory of the process (GB)")
    right.set_ylabel("Seconds of one epoch from the start")
    for ax in (left, right):
        ax.set_xticks(sizes["count"], [f"{count:,}" for count in sizes["count"]])
        ax.minorticks_off()
        ax.set_xlabel(f"Galaxies of {memory['size']} pixels")
    low, high = right.get_ylim()
    ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500) if low <= tick <= high]
    right.set_yticks(ticks, ticks)
    left.legend(frameon=False, fontsize=8)
    return figure


def precision_line(precision: dict) -> str:
    """What bf16 changes, in words: the mean difference in accuracy, its interval, and the spread between seeds."""
    accuracy = pd.DataFrame(precision["accuracy"]) * 100
    low, high = (100 * end for end in precision["interval"])
    spreads = ", ".join(f"{value:.1f} in {name}" for name, value in accuracy.std().items())
    seen = "no difference is seen" if low <= 0 <= high else "the two differ"
    kind = "simulated" if precision["simulated"] else "real"
    return (
        f"{APPROACHES[precision['row']].title}, {precision['size']} pixels, {precision['epochs']} epochs, "
        f"{len(accuracy)} seeds, {precision['n_test']} {kind} galaxies to test on: bf16 minus float32 is "
        f"{100 * precision['difference']:+.1f} points (95% interval {low:+.1f} to {high:+.1f}), so {seen}. "
        f"Standard deviation between seeds: {spreads}."
    )


def precision_chart(precision: dict) -> Figure:
    """Accuracy in bf16 against that in float32, a point for each seed."""
    accuracy = pd.DataFrame(precision["accuracy"]) * 100
    wide, narrow = accuracy["32-true"], accuracy["bf16-mixed"]
    figure, ((ax,),) = new_figure(3.6, 3.4)
    ends = [accuracy.min().min() - 2, accuracy.max().max() + 2]
    ax.plot(ends, ends, color="0.5", linewidth=1)
    ax.plot(wide, narrow, "o", color=PALETTE[0])
    ax.set_aspect("equal")
    ax.set_xlabel("Accuracy in float32 (%)")
    ax.set_ylabel("Accuracy in bf16 (%)")
    return figure


def full_size_table(full_size: dict) -> pd.DataFrame:
    """The paper's rows at full size: images per second, minutes, and the shares of the device's limits."""
    table = pd.DataFrame(full_size["rows"]).T.rename(index={name: own.title for name, own in APPROACHES.items()})
    shown = pd.DataFrame({"Images/s": table["images_per_second"].map("{:,.0f}".format)})
    shown[f"Minutes for {full_size['epochs']} epochs"] = (table["seconds"].astype(float) / 60).round(2)
    for column, title in (("share_of_arithmetic", "Of arithmetic"), ("share_of_bandwidth", "Of bandwidth")):
        shown[title] = table[column].map("{:.0%}".format, na_action="ignore").fillna("not known")
    recorded = table["images_per_second"].astype(float) / table["plain_images_per_second"].astype(float)
    shown["Recorded, times as fast"] = recorded.round(2)
    shown["Peak memory, GB"] = (table["peak_bytes"].astype(float) / 1e9).round(1)
    # What was not measured for a row is left blank, and what was for none has no column.
    shown = shown.dropna(axis="columns", how="all").astype(object).fillna("")
    return shown
