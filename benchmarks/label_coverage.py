"""How often the bands of the label curve hold: simulated experiments.

Three ways, three numbers of labels, three draws of the labels and two seeds, on 200 galaxies that are easy or hard for
all. A draw moves all ways together by one SD and each way by another; so does a seed each network by itself. For each
case the share of experiments in which every point of the simultaneous bands holds what is true, for the curves and for
the differences, with its 95% interval. Kept in ``label_coverage.json``; the same command goes on from there, and
another code starts anew.

    OMP_NUM_THREADS=1 python benchmarks/label_coverage.py --studies 200
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from galutils.evaluation.labels import Crossed, curves, differences
from galutils.files import code_digest, write_json

N, DRAWS, SEEDS, GALAXIES = (80, 200, 800), 3, 2, 200
#: Accuracy of three ways with so many labels each.
TRUE = np.array([[0.48, 0.55, 0.69], [0.65, 0.71, 0.79], [0.44, 0.51, 0.64]])
WAYS, PAIRS = ("a", "b", "c"), [("a", "b"), ("c", "b")]
#: Spread of a galaxy's ease and of a network's luck with it, in probits.
EASE, LUCK = 1.0, 1.0
#: SD of the accuracy by what is drawn: of a draw for all ways, of a draw for each, and of a seed.
CASES = [(0, 0, 0), (0.02, 0.02, 0.02), (0.04, 0, 0.02), (0, 0.04, 0.04), (0.1, 0, 0)]
ROUND = 10  # experiments of a case at a time


def draw_experiment(rng, common: float, own: float, seed: float) -> Crossed:
    """An experiment whose ways have the accuracies :data:`TRUE` on all galaxies, draws and seeds."""
    ease = rng.normal(0, EASE, GALAXIES)
    shape = (len(WAYS), len(N), DRAWS, SEEDS)
    moved = rng.normal(0, 1, (1, 1, DRAWS, 1)) * common + rng.normal(0, 1, (len(WAYS), 1, DRAWS, 1)) * own
    moved = np.clip(TRUE[..., None, None] + moved + rng.normal(0, 1, shape) * seed, 0.02, 0.98)
    level = stats.norm.ppf(moved) * np.hypot(EASE, LUCK)
    right = level[..., None] + ease + rng.normal(0, LUCK, (*shape, GALAXIES)) > 0
    return Crossed(WAYS, N, right, np.zeros(GALAXIES, int), np.arange(GALAXIES))


def bands_hold(case: tuple[float, float, float], study: int) -> tuple[bool, bool]:
    """Whether all bands of the curves, and all of the differences, hold what is true."""
    crossed = draw_experiment(np.random.default_rng([*(round(1000 * sd) for sd in case), study]), *case)
    shown = curves(crossed)
    of_curves = ((shown["low"] <= TRUE.ravel()) & (TRUE.ravel() <= shown["high"])).all()
    shown = differences(crossed, PAIRS, n=N)
    gaps = np.concatenate([TRUE[WAYS.index(second)] - TRUE[WAYS.index(first)] for first, second in PAIRS])
    return bool(of_curves), bool(((shown["low"] <= gaps) & (gaps <= shown["high"])).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="of each case")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    code = code_digest("evaluation/labels.py", "evaluation/bootstrap.py")
    kept = json.loads(options.to.read_text()) if options.to.exists() else {}
    found = [{"sds": [*case], "studies": 0, "curves": 0, "differences": 0} for case in CASES]
    if kept.get("code") == code:
        found = kept["cases"]
    while (least := min(case["studies"] for case in found)) < options.studies:
        for case in found:
            if case["studies"] == least:
                more = range(least, min(least + ROUND, options.studies))
                for of_curves, of_differences in (bands_hold(tuple(case["sds"]), study) for study in more):
                    case["curves"] += of_curves
                    case["differences"] += of_differences
                case["studies"] += len(more)
                write_json(options.to, {"code": code, "command": "python benchmarks/label_coverage.py", "cases": found})
    for case in found:
        said = []
        for name in ("curves", "differences"):
            low, high = proportion_confint(case[name], case["studies"], method="wilson")
            said.append(f"{name} {case[name] / case['studies']:.1%} ({low:.1%} to {high:.1%})")
        print(f"SDs {case['sds']}: bands hold, {', '.join(said)} of {case['studies']} experiments")


if __name__ == "__main__":
    main()
