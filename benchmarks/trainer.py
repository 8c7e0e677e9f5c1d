"""How much of the bare network's speed the trainer reaches.

The trainer against a bare loop over normalised float tensors that are already in memory in the best layout:
same network, same optimizer, same batches; interleaved, median of the repeats. Prints and stores ratios.

    python benchmarks/trainer.py [--images 512] [--size 128] [--repeats 5] [--json out.json]
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from galutils import models
from galutils.files import write_json
from galutils.galaxy10 import open_galaxies
from galutils.mock import write_simulated
from galutils.splits import Split
from galutils.trainer import Settings, epoch_batches, train


def bare_loop(name: str, images: torch.Tensor, labels: torch.Tensor, settings: Settings) -> float:
    """Images per second of one epoch over float tensors in memory. images: (N, 3, H, W) float, channels last."""
    network = models.build(name).trained.train()
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, fused=True)
    batches = [torch.from_numpy(batch) for batch in epoch_batches(np.arange(len(images)), settings, 0)]
    pairs = [(images[batch].contiguous(memory_format=torch.channels_last), labels[batch]) for batch in batches]
    started = time.perf_counter()
    for inputs, target in pairs:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), target).backward()
        optimizer.step()
    return len(images) / (time.perf_counter() - started)


def trainer_loop(name: str, galaxies, split: Split, settings: Settings) -> float:
    """Images per second of one epoch of the trainer."""
    with contextlib.redirect_stdout(io.StringIO()):
        result = train(models.build(name), galaxies, split, settings)
    return result.history["images_per_second"].iloc[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/benchmarks/trainer.json"))
    options = parser.parse_args()
    settings = Settings(epochs=1, image_size=options.size, device="cpu")
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simulated.h5"
        write_simulated(path, options.images + 10, options.size, seed=0)
        galaxies = open_galaxies(path)
        part = np.array(["train"] * options.images + ["test"] * 10, dtype=object)
        split = Split(part, np.arange(len(part)))
        pixels = torch.from_numpy(galaxies.read_images(split.train)).permute(0, 3, 1, 2)
        images = models.Normalize(models.GALAXY_MEAN, models.GALAXY_STD)(pixels)
        labels = torch.from_numpy(galaxies.labels)
        for name in ("custom_cnn", "vgg_scratch"):
            pairs = [
                (trainer_loop(name, galaxies, split, settings), bare_loop(name, images, labels, settings))
                for _ in range(options.repeats)
            ]
            ours, bare = (median(column) for column in zip(*pairs, strict=True))
            ratio = median(first / second for first, second in pairs)
            rows[name] = {"trainer_images_per_second": ours, "bare_images_per_second": bare, "ratio": ratio}
            print(
                f"{name:12} {options.size} px: trainer {ours:6.0f}, bare loop {bare:6.0f} images/s, ratio {ratio:.2f}"
            )
    write_json(options.json, {"images": options.images, "size": options.size, "rows": rows})


if __name__ == "__main__":
    main()
