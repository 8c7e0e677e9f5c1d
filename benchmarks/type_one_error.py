"""How often equal approaches are called different, and how often simultaneous intervals hold: simulated studies.

Approaches of one accuracy share easy and hard galaxies; each has its own taste and each of its seeds its own level.
Prints, for each case, the share of studies in which any pair is called better or worse, with the upper end of its
one-sided 95% interval; and that in which any interval misses the truth, which is zero.

    python benchmarks/type_one_error.py --studies 1000
"""

import argparse
import time

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from galutils.evaluation.bootstrap import Graded
from galutils.evaluation.significance import BETTER, WORSE, compare

ACCURACY = 0.7
#: Spread of a galaxy's ease, of an approach's taste for it, and of a seed's luck with it, in probits.
EASE, TASTE, LUCK = 1.0, 0.5, 1.0


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


def measure(approaches: int, seeds: int, galaxies: int, seed_sd: float, studies: int) -> tuple[float, float]:
    """Share of studies in which a pair is called different, and in which an interval misses zero."""
    rng = np.random.default_rng([approaches, seeds, galaxies, round(1000 * seed_sd)])
    called = missed = 0
    for _ in range(studies):
        table = compare(draw_study(rng, approaches, seeds, galaxies, seed_sd))
        called += table["verdict"].isin([BETTER, WORSE]).any()
        missed += ((table["low"] > 0) | (table["high"] < 0)).any()
    return called / studies, missed / studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000, help="of each case")
    parser.add_argument("--approaches", type=int, nargs="+", default=[2, 3, 6])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--galaxies", type=int, nargs="+", default=[200, 3500])
    options = parser.parse_args()
    print("approaches seeds galaxies seed SD | called different (at most) | intervals that miss")
    for galaxies in options.galaxies:
        for approaches in options.approaches:
            for seeds in options.seeds:
                for seed_sd in (0, 0.01, 0.02, 0.04):
                    started = time.perf_counter()
                    called, missed = measure(approaches, seeds, galaxies, seed_sd, options.studies)
                    most = proportion_confint(round(called * options.studies), options.studies, 0.1, "beta")[1]
                    print(
                        f"{approaches:10d} {seeds:5d} {galaxies:8d} {seed_sd:7.0%} | {called:.3f} ({most:.3f}) | "
                        f"{missed:.3f}   {time.perf_counter() - started:.0f} s",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
