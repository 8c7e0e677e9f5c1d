"""How real the simulated galaxies are: train the custom network on them alone, test it on real ones.

    python benchmarks/realism.py REAL.h5 [--count 5000] [--size 64] [--epochs 15] [--seed 0]

A tenth of the simulated galaxies is held out, to tell what the network fails to learn from what the simulator
fails to show. The network meets no real image before the test, and is tested once, after the last epoch.
Chance is 10%.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import confusion_matrix

from galutils.data.galaxies import open_galaxies
from galutils.data.loader import load_images
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import split_rows
from galutils.models import cnn
from galutils.training.settings import Settings
from galutils.training.supervised import predict_logits, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", help="HDF5 file of real galaxies in Galaxy10's layout")
    parser.add_argument("--count", type=int, default=5000, help="simulated galaxies, the held-out ones included")
    parser.add_argument("--size", type=int, default=64, help="image size in pixels")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0, help="of the galaxies, the network and the training")
    options = parser.parse_args()
    torch.set_num_threads(1)

    real = open_galaxies(options.real)
    if real.simulated:
        parser.error(f"{real.path}: its galaxies are simulated; name a file of real ones")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simulated.h5"
        started = time.process_time()
        write_simulated(path, options.count, options.size, options.seed)
        print(f"simulator: {options.count / (time.process_time() - started):.0f} images per second of one core")
        simulated = open_galaxies(path)
        torch.manual_seed(options.seed)
        network = cnn.build("custom_cnn")
        settings = Settings(epochs=options.epochs, seed=options.seed, image_size=options.size, device="cpu")
        # The curve that the trainer prints is over the held-out simulated galaxies.
        train(network, simulated, split_rows(simulated, 0.1, options.seed), settings)

    rows = np.arange(len(real))
    images = load_images(real, rows, options.size, torch.device("cpu"))
    predicted = predict_logits(network, images, rows).argmax(1).numpy()
    confusion = confusion_matrix(real.labels, predicted, labels=np.arange(len(real.classes)))
    print(f"\naccuracy on {len(real)} real galaxies: {np.mean(predicted == real.labels):.1%}")
    print("per class, and how many were taken for each of the ten:")
    for name, row, hits in zip(real.classes, confusion, confusion.diagonal(), strict=True):
        print(f"{name:24s} {hits / max(1, row.sum()):4.0%}  " + " ".join(f"{n:4d}" for n in row))


if __name__ == "__main__":
    main()
