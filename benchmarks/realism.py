"""How real the simulated galaxies are: train on them alone, test on real ones.

    python benchmarks/realism.py REAL.h5 --count 5000 --size 64

The network meets no real image before the test, and is tested once, after the last epoch. Chance is 10 %.
"""

import argparse
import time

import numpy as np
import torch
from torch import nn

from galutils.galaxy10 import CLASS_NAMES, NUM_CLASSES, open_galaxies
from galutils.mock import simulate


def network(size: int) -> nn.Module:
    """A small convolutional network on (N, 3, size, size) images, scaled to about unit variance."""
    layers: list[nn.Module] = [nn.AvgPool2d(2)] if size >= 128 else []
    channels = 3
    for _ in range(5):
        layers += [nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2)]
        channels = 32
    layers += [nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.BatchNorm1d(128), nn.Linear(128, NUM_CLASSES)]
    model = nn.Sequential(*layers)
    model(torch.zeros(2, 3, size, size))  # LazyLinear learns its width here
    return model


def prepare(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, size, size, 3) to float (N, 3, size, size) with the sky near zero."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(32).div_(32)


def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int, batch: int = 64) -> None:
    """AdamW at 5e-4, brought to zero along a cosine."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(images) // batch))
    model.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(len(images))
        for start in range(0, len(images) - batch + 1, batch):
            rows = order[start : start + batch]
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {total / (len(images) // batch):.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", help="HDF5 file of real galaxies in Galaxy10's layout")
    parser.add_argument("--count", type=int, default=5000, help="simulated galaxies to train on")
    parser.add_argument("--size", type=int, default=64, help="image size in pixels")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    started = time.process_time()
    simulated = simulate(arguments.count, arguments.size, arguments.seed)
    print(f"simulator: {arguments.count / (time.process_time() - started):.0f} images per second of one core")

    torch.manual_seed(arguments.seed)
    model = network(arguments.size)
    train(model, prepare(simulated.images), torch.from_numpy(simulated.ans).long(), arguments.epochs)

    real = open_galaxies(arguments.real)
    if real.simulated:
        parser.error(f"{real.path}: its galaxies are simulated; name a file of real ones")
    images = prepare(real.read_images(np.arange(len(real)), arguments.size))
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in images.split(256)]).numpy()

    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int)
    np.add.at(confusion, (real.labels, predicted), 1)
    print(f"\naccuracy on {len(real)} real galaxies: {np.mean(predicted == real.labels):.1%}")
    print("per class, and how many were taken for each of the ten:")
    for name, row, hits in zip(CLASS_NAMES, confusion, confusion.diagonal(), strict=True):
        print(f"{name:24s} {hits / max(1, row.sum()):4.0%}  " + " ".join(f"{n:4d}" for n in row))


if __name__ == "__main__":
    main()
