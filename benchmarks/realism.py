"""How much of real galaxies a network knows that has seen simulated ones alone: accuracy without a label, by class.

    python benchmarks/realism.py REAL.h5 [WEIGHTS] [--crop 0.5]

WEIGHTS is a file of galutils pretrain; without it, the one that comes with the package. Chance is 10%.
"""

import argparse

import numpy as np
import torch

from galutils.data.galaxies import open_galaxies
from galutils.data.loader import load_images
from galutils.models import cnn
from galutils.training.pretrain import CROP, SIZE
from galutils.training.supervised import predict_logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", help="HDF5 file of real galaxies in Galaxy10's layout")
    parser.add_argument("weights", nargs="?", default="simulated", help="file of galutils pretrain")
    parser.add_argument("--crop", type=float, default=CROP, help="share of each side that the network saw")
    options = parser.parse_args()
    torch.set_num_threads(1)

    real = open_galaxies(options.real)
    if real.simulated:
        parser.error(f"{real.path}: its galaxies are simulated; name a file of real ones")
    rows = np.arange(len(real))
    images = load_images(real, rows, SIZE, torch.device("cpu"), options.crop)
    predicted = predict_logits(cnn.build("custom_cnn", weights=options.weights), images, rows).argmax(1).numpy()
    print(f"accuracy on {len(real)} real galaxies: {np.mean(predicted == real.labels):.1%}")
    print("per class, and how many were taken for each of the ten:")
    for label, name in enumerate(real.classes):
        taken = np.bincount(predicted[real.labels == label], minlength=10)
        print(f"{name:24s} {taken[label] / max(1, taken.sum()):4.0%}  " + " ".join(f"{n:4d}" for n in taken))


if __name__ == "__main__":
    main()
