"""Whether bf16 changes the science: the same runs in bf16 and in float32, over seeds.

    python benchmarks/precision.py DATA.h5 [--device cuda] [--size 64] [--crop 0.5] [--epochs 30] [--seeds 3]

Prints the accuracy of each run on its test rows, and the mean difference beside the spread between seeds.
"""

import argparse
import contextlib
import io
from dataclasses import replace

import numpy as np
import torch
from speed import ROWS

from galutils import models
from galutils.galaxy10 import open_galaxies
from galutils.splits import split_rows
from galutils.trainer import Settings, train

PRECISIONS = ("32-true", "bf16-mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="HDF5 file in Galaxy10's layout")
    parser.add_argument("--row", default="custom_cnn", choices=ROWS)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", type=int, default=64, help="image size in pixels")
    parser.add_argument("--crop", type=float, default=0.5, help="share of each side that is kept")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    galaxies = open_galaxies(options.data)
    split = split_rows(galaxies)
    settings = Settings(epochs=options.epochs, image_size=options.size, crop=options.crop, device=options.device)
    accuracy = np.zeros((options.seeds, len(PRECISIONS)))
    for seed in range(options.seeds):
        for column, precision in enumerate(PRECISIONS):
            torch.manual_seed(seed)
            network = models.build(**ROWS[options.row])
            with contextlib.redirect_stdout(io.StringIO()):
                result = train(network, galaxies, split, replace(settings, seed=seed, precision=precision))
            accuracy[seed, column] = np.mean(result.probabilities.argmax(1) == galaxies.labels[split.test])
        print(f"seed {seed}: " + ", ".join(f"{p} {a:.1%}" for p, a in zip(PRECISIONS, accuracy[seed], strict=True)))
    difference = accuracy[:, 1] - accuracy[:, 0]
    print(
        f"bf16 minus float32 on {len(split.test)} galaxies: mean {difference.mean():+.1%}; standard deviation "
        f"between seeds {accuracy[:, 0].std(ddof=1):.1%} (float32) and {accuracy[:, 1].std(ddof=1):.1%} (bf16)"
    )


if __name__ == "__main__":
    main()
