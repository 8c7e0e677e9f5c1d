"""How often equal approaches are called different: simulated studies.

Approaches of one accuracy share easy and hard galaxies; each has its own taste and each of its seeds its own level.
For each case the share of studies in which any pair is called better or worse, with the upper end of its one-sided
95% interval. From three seeds on that is also the share of studies in which any of the simultaneous intervals misses
the truth, which is zero. The counts are kept in ``type_one_error.json`` after every round of a few studies of each
case, and the same command goes on from there; another code starts anew.

    OMP_NUM_THREADS=1 python benchmarks/type_one_error.py --studies 1000 --figure docs/type_one_error.png
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.significance import ALPHA, DECIDED, compare
from galutils.files import code_digest, write_json
from galutils.report.figures.display import PALETTE, new_figure

ACCURACY = 0.7
#: Spread of a galaxy's ease, of an approach's taste for it, and of a seed's luck with it, in probits.
EASE, TASTE, LUCK = 1.0, 0.5, 1.0
#: Galaxies, approaches, seeds, and the SD of the accuracy between seeds.
CASES = list(product((200, 3500), (2, 3, 6), (3, 5), (0, 0.02, 0.04)))
#: What the study's rule is to keep to: no more than this share of studies.
BOUND = 0.07
ROUND = 20  # studies of a case at a time


def draw_study(rng, approaches: int, seeds: int, galaxies: int, seed_sd: float) -> dict[str, dict[int, Graded]]:
    """Runs of equal approaches. seed_sd: of the accuracy between seeds."""
    width = np.sqrt(EASE**2 + TASTE**2 + LUCK**2)
    middle = stats.norm.ppf(ACCURACY)
    level = middle * width + rng.normal(0, seed_sd * width / stats.norm.pdf(middle), (approaches, seeds, 1))
    ease, taste = rng.normal(0, EASE, galaxies), rng.normal(0, TASTE, (approaches, 1, galaxies))
    right = level + ease + taste + rng.normal(0, LUCK, (approaches, seeds, galaxies)) > 0
    rows, labels = np.arange(galaxies), np.zeros(galaxies, int)
    return {
        f"approach {a}": {s: Graded(rows, rows, labels, np.where(right[a, s], 0, 1)) for s in range(seeds)}
        for a in range(approaches)
    }


def count_called(galaxies: int, approaches: int, seeds: int, seed_sd: float, studies: int, start: int = 0) -> int:
    """In how many of the studies from number ``start`` on any pair is called different."""
    called = 0
    for study in range(start, start + studies):
        rng = np.random.default_rng([approaches, seeds, galaxies, round(1000 * seed_sd), study])
        table = compare(draw_study(rng, approaches, seeds, galaxies, seed_sd))
        called += int(table["verdict"].isin(DECIDED).any())
    return called


def tabulate(found: list[dict]) -> pd.DataFrame:
    """The kept counts as shares, each with the upper end of its one-sided 95% interval, ``at_most``."""
    table = pd.DataFrame(found)
    table["share"] = table["called"] / table["studies"]
    table["at_most"] = proportion_confint(table["called"], table["studies"], 0.1, "beta")[1]
    return table


def draw(table: pd.DataFrame, path: Path) -> None:
    """Shares by SD between seeds, with two-sided 95% intervals, a panel for each number of galaxies."""
    figure, axes = new_figure(9, 3.4, ncols=table["galaxies"].nunique(), sharey=True)
    for ax, (galaxies, cases) in zip(axes.flat, table.groupby("galaxies"), strict=True):
        kinds = cases.groupby(["approaches", "seeds"], sort=True)
        for place, ((approaches, seeds), own) in enumerate(kinds):
            low, high = proportion_confint(own["called"], own["studies"], method="wilson")
            aside = 100 * own["seed_sd"] + 0.16 * (place - (len(kinds) - 1) / 2)
            errors = 100 * np.stack([own["share"] - low, high - own["share"]])
            label = f"{approaches} approaches, {seeds} seeds"
            ax.errorbar(aside, 100 * own["share"], errors, fmt="os^Dv*"[place], color=PALETTE[place], label=label)
        ax.axhline(100 * ALPHA, color="grey", linestyle=":")
        ax.set(title=f"{galaxies:,} galaxies", xlabel="SD between seeds, points", ylim=(0, 9))
        ax.set_xticks(sorted(100 * cases["seed_sd"].unique()))
    axes.flat[0].set_ylabel("Any pair called, % of studies")
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="of each case")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--figure", type=Path, help="to draw, such as docs/type_one_error.png")
    options = parser.parse_args()
    code = code_digest("evaluation/significance.py")
    kept = json.loads(options.to.read_text()) if options.to.exists() else {}
    names = ("galaxies", "approaches", "seeds", "seed_sd")
    found = [dict(zip(names, case, strict=True)) | {"studies": 0, "called": 0} for case in CASES]
    if kept.get("code") == code:
        found = kept["cases"]
    while (least := min(case["studies"] for case in found)) < options.studies:
        for case in found:
            if case["studies"] == least:
                given, more = {name: case[name] for name in names}, min(ROUND, options.studies - least)
                case["called"] += count_called(**given, studies=more, start=least)
                case["studies"] += more
                write_json(options.to, {"code": code, "command": "python benchmarks/type_one_error.py", "cases": found})
    table = tabulate(found)
    print(table.to_string(index=False, formatters={name: "{:.3f}".format for name in ("share", "at_most")}))
    if options.figure:
        draw(table, options.figure)
    above = table[table["at_most"] > BOUND]
    print(f"At most {BOUND} in {len(table) - len(above)} of {len(table)} cases; not shown to be in {len(above)}.")


if __name__ == "__main__":
    main()
