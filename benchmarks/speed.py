"""Ratios of speed: the study's way against the usual notebook's, and against the bare network."""

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import in_turn, middle, ratio, stopwatch
from usual import usual_training

from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import Split
from galutils.device import autocast, pick_device, pick_precision
from galutils.memory import freed_memory_kept
from galutils.models import cnn
from galutils.training.schedule import epoch_batches
from galutils.training.settings import Settings
from galutils.training.supervised import train

#: The supervised rows of the paper's table, and how their networks are built.
ROWS = {
    "vgg_scratch": {"name": "vgg_scratch"},
    "vgg11_deep": {"name": "vgg_finetuned", "weights": "random", "frozen_convs": "three-blocks"},
    "vgg11_shallow": {"name": "vgg_finetuned", "weights": "random", "frozen_convs": "all"},
    "custom_cnn": {"name": "custom_cnn"},
}

#: Epochs for which times are given; the small profile's.
EPOCHS = 30


def simulated_cases(counts: dict[int, int]) -> Iterator[tuple[int, Galaxies, Split]]:
    """For each size, so many simulated galaxies in a file: size, galaxies, and a split, a fifth to test on."""
    for size, count in counts.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "simulated.h5"
            write_simulated(path, count, size, seed=0, processes=os.cpu_count() or 1)
            part = np.where(np.arange(count) % 5 == 0, "test", "train").astype(object)
            yield size, open_galaxies(path), Split(part, np.arange(count))


def our_training(row: str, galaxies: Galaxies, split: Split, settings: Settings) -> dict[str, float]:
    """The trainer: ``setup`` and ``epoch`` in seconds, testing included, and ``images_per_second``."""
    network = cnn.build(**ROWS[row])
    with stopwatch(settings.device) as elapsed:
        result = train(network, galaxies, split, settings)
        seconds = elapsed()
    final = len(split.test) / result.predict_images_per_second
    return {
        "setup": result.setup_seconds,
        "epoch": (seconds - result.setup_seconds - final) / settings.epochs,
        "images_per_second": float(result.history["images_per_second"].median()),
    }


@freed_memory_kept()
def bare_training(row: str, size: int, count: int, settings: Settings) -> dict[str, float]:
    """Images per second of the network alone, on random tensors in memory in the best layout, same precision
    and memory kept alike."""
    device = pick_device(settings.device)
    precision = pick_precision(settings.precision, device)
    network = cnn.build(**ROWS[row]).to(device).train()
    optimizer = torch.optim.AdamW(network.trained.parameters(), settings.learning_rate, fused=True)
    sizes = [len(batch) for batch in epoch_batches(np.arange(count), settings.batch_size, settings.seed, 0)]
    inputs = torch.rand(max(sizes), 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (max(sizes),), device=device)
    with stopwatch(settings.device) as elapsed:
        for length in sizes * settings.epochs:
            with autocast(device, precision):
                logits = network.trained(inputs[:length]).float()
            torch.nn.functional.cross_entropy(logits, labels[:length]).backward()
            optimizer.step()
            optimizer.zero_grad()
        return {"images_per_second": count * settings.epochs / elapsed()}


def add_totals(measured: dict[str, list[dict]]) -> None:
    """Add ``total``, the seconds of :data:`EPOCHS` epochs: set-up, and that many times the measured epoch."""
    for results in measured.values():
        for result in results:
            result["total"] = result["setup"] + EPOCHS * result["epoch"]


def measure_usual(repeats: int, counts: dict[int, int], device: str) -> dict:
    """Each supervised row against the usual notebook, at each size, and seconds for :data:`EPOCHS` epochs from set-up
    and one epoch. counts: images at each size.
    """
    table = []
    for size, galaxies, split in simulated_cases(counts):
        for row in ROWS:
            settings = Settings(epochs=1, image_size=size, device=device)
            measured = in_turn(
                {
                    "usual": partial(usual_training, ROWS[row], galaxies.path, split, settings),
                    "ours": partial(our_training, row, galaxies, split, settings),
                },
                repeats,
            )
            add_totals(measured)
            table.append(
                {
                    "row": row,
                    "size": size,
                    "images": len(galaxies),
                    "usual_images_per_second": middle(measured["usual"], "images_per_second"),
                    "our_images_per_second": middle(measured["ours"], "images_per_second"),
                    "usual_seconds": middle(measured["usual"], "total"),
                    "our_seconds": middle(measured["ours"], "total"),
                    "ratio": ratio(measured["usual"], measured["ours"], "total"),
                }
            )
            last = table[-1]
            print(
                f"{row:14} {size:4} px, {len(galaxies)} images, {EPOCHS} epochs: usual {last['usual_seconds']:7.1f} s, "
                f"ours {last['our_seconds']:7.1f} s, ratio {last['ratio']:.2f}"
            )
    return {"epochs": EPOCHS, "repeats": repeats, "cases": table}


def measure_bare(repeats: int, counts: dict[int, int], device: str) -> dict:
    """How much of the bare network's speed the trainer reaches, for the rows without a frozen part."""
    table, key = [], "images_per_second"
    for size, galaxies, split in simulated_cases(counts):
        for row in ("vgg_scratch", "custom_cnn"):
            settings = Settings(epochs=2, image_size=size, device=device)
            measured = in_turn(
                {
                    "ours": partial(our_training, row, galaxies, split, settings),
                    "bare": partial(bare_training, row, size, len(split.train), settings),
                },
                repeats,
            )
            ours, bare = middle(measured["ours"], key), middle(measured["bare"], key)
            reached = ratio(measured["ours"], measured["bare"], key)
            table.append({"row": row, "size": size, "our_speed": ours, "bare_speed": bare, "ratio": reached})
            print(f"{row:14} {size:4} px: ours {ours:6.0f}, bare {bare:6.0f} images/s, ratio {reached:.2f}")
    return {"repeats": repeats, "cases": table}
