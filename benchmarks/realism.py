"""How much of real galaxies a network knows that has seen simulated ones alone.

    python benchmarks/realism.py REAL.h5 [WEIGHTS] [--network vit] [--crop 0.5]

WEIGHTS is a file of galutils pretrain; without it, the one that comes with the package. Of the custom network it is the
accuracy without a label, by class; chance is 10%. Of the transformer, which knows no classes, it is what k-means gets
from its embedding, and what the ten nearest neighbours and a linear classifier get, which learn from labels, beside the
same of raw pixels and of a transformer that was never trained.
"""

import argparse
from functools import partial

import numpy as np
import torch

from galutils.clustering import methods, readings
from galutils.clustering.diagnostics import compare_probes
from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.loader import load_images
from galutils.data.splits import find_galaxies
from galutils.models import cnn
from galutils.models.embedding import Preprocessing, embed
from galutils.models.vit import load_backbone
from galutils.training.pretrain import CROP, NETWORKS, SIZE
from galutils.training.supervised import predict_logits


def tell_classes(real: Galaxies, weights: str, crop: float) -> None:
    """The accuracy of the custom network without a label."""
    rows = np.arange(len(real))
    images = load_images(real, rows, SIZE, torch.device("cpu"), crop)
    predicted = predict_logits(cnn.build("custom_cnn", weights=weights), images, rows).argmax(1).numpy()
    print(f"accuracy on {len(real)} real galaxies: {np.mean(predicted == real.labels):.1%}")
    print("per class, and how many were taken for each of the ten:")
    for label, name in enumerate(real.classes):
        taken = np.bincount(predicted[real.labels == label], minlength=10)
        print(f"{name:24s} {taken[label] / max(1, taken.sum()):4.0%}  " + " ".join(f"{n:4d}" for n in taken))


def tell_embedding(real: Galaxies, weights: str, crop: float) -> None:
    """What is in the embedding of the transformer, without labels and with them."""
    embedded = partial(embed, galaxies=real, preprocessing=Preprocessing(SIZE, crop))
    found = readings.references(embedded, load_backbone(weights), real, 32, seed=0)
    probes = compare_probes(found, real.labels, find_galaxies(real)).groupby("kind").mean()
    for name, embedding in found.items():
        table, _ = methods.kmeans_over_seeds(methods.reduce_dimensions(embedding), real.labels)
        print(
            f"{name}: k-means {table['accuracy'].mean():.1%}, ten nearest neighbours {probes.loc['knn', name]:.1%}, "
            f"linear {probes.loc['linear', name]:.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", help="HDF5 file of real galaxies in Galaxy10's layout")
    parser.add_argument("weights", nargs="?", default="simulated", help="file of galutils pretrain")
    parser.add_argument("--network", choices=NETWORKS, default=NETWORKS[0])
    parser.add_argument("--crop", type=float, default=CROP, help="share of each side that the network saw")
    options = parser.parse_args()
    torch.set_num_threads(1)

    real = open_galaxies(options.real)
    if real.simulated:
        parser.error(f"{real.path}: its galaxies are simulated; name a file of real ones")
    tell = tell_classes if options.network == NETWORKS[0] else tell_embedding
    tell(real, options.weights, options.crop)


if __name__ == "__main__":
    main()
