"""Ratios of speed: the study's way against the usual notebook's, and against the bare network."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timing import Measured, in_turn, middle, ratio, stopwatch
from usual import usual_embedding, usual_training

from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import Split
from galutils.memory import freed_memory_kept
from galutils.models import cnn, embedding, vit
from galutils.models.weights import DINO_ARCH
from galutils.training.fabric import make_fabric
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
            write_simulated(path, count, size, seed=0)
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
    fabric = make_fabric(settings)
    network = cnn.build(**ROWS[row]).to(fabric.device).train()
    stage, optimizer = fabric.setup(
        network.trained, torch.optim.AdamW(network.trained.parameters(), settings.learning_rate, fused=True)
    )
    sizes = [len(batch) for batch in epoch_batches(np.arange(count), settings, 0)]
    inputs = torch.rand(max(sizes), 3, size, size, device=fabric.device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (max(sizes),), device=fabric.device)
    with stopwatch(settings.device) as elapsed:
        for length in sizes * settings.epochs:
            fabric.backward(torch.nn.functional.cross_entropy(stage(inputs[:length]), labels[:length]))
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


def compare_speeds(title: str, ways: dict[str, Callable[[], Measured]], repeats: int) -> dict[str, float]:
    """Images per second of two ways, as ``<name>_speed``, and the ``ratio`` of the first to the second."""
    measured, key = in_turn(ways, repeats), "images_per_second"
    first, second = measured
    speeds = {name: middle(results, key) for name, results in measured.items()}
    reached = ratio(measured[first], measured[second], key)
    print(f"{title}: {first} {speeds[first]:6.0f}, {second} {speeds[second]:6.0f} images/s, ratio {reached:.2f}")
    return {**{f"{name}_speed": speed for name, speed in speeds.items()}, "ratio": reached}


def measure_bare(repeats: int, counts: dict[int, int], device: str) -> dict:
    """How much of the bare network's speed the trainer reaches, for the rows without a frozen part."""
    table = []
    for size, galaxies, split in simulated_cases(counts):
        for row in ("vgg_scratch", "custom_cnn"):
            settings = Settings(epochs=2, image_size=size, device=device)
            ways = {
                "our": partial(our_training, row, galaxies, split, settings),
                "bare": partial(bare_training, row, size, len(split.train), settings),
            }
            table.append({"row": row, "size": size, **compare_speeds(f"{row:14} {size:4} px", ways, repeats)})
    return {"repeats": repeats, "cases": table}


def measure_embedding(repeats: int, count: int, device: str, size: int = 224) -> dict:
    """ViT-S/16 at 224 pixels, ours against a loop over images and against a DataLoader."""
    cases = simulated_cases({256: count})  # the file is there as long as this is
    _, galaxies, _ = next(cases)
    backbone = vit.load_backbone("random", DINO_ARCH)
    preprocessing = embedding.Preprocessing(image_size=size)
    rows = np.arange(count)

    def ours() -> dict[str, float]:
        seconds = embedding.embed(backbone, galaxies, preprocessing, device=device).seconds
        return {"images_per_second": count / seconds}

    transformer = vit.load_backbone("random", DINO_ARCH).vit.to(device)
    measured = in_turn(
        {
            "ours": ours,
            "loop": partial(usual_embedding, transformer, galaxies.path, rows, size, 1, device),
            "DataLoader": partial(usual_embedding, transformer, galaxies.path, rows, size, 64, device),
        },
        repeats,
    )
    result = {name: middle(results, "images_per_second") for name, results in measured.items()}
    for name in ("loop", "DataLoader"):
        result[f"ratio_to_{name}"] = ratio(measured["ours"], measured[name], "images_per_second")
    print("embedding: ours {ours:.1f}, loop {loop:.1f}, DataLoader {DataLoader:.1f} images/s".format(**result))
    return {"repeats": repeats, **result}


def measure_frozen(repeats: int, counts: dict[int, int], device: str) -> dict:
    """The frozen layers computed once against in every epoch, in our trainer."""
    table = []
    for size, galaxies, split in simulated_cases(counts):
        for row in ("vgg11_shallow", "vgg11_deep"):
            settings = Settings(epochs=2, image_size=size, device=device)
            measured = in_turn(
                {
                    "once": partial(our_training, row, galaxies, split, replace(settings, keep_frozen=True)),
                    "every": partial(our_training, row, galaxies, split, replace(settings, keep_frozen=False)),
                },
                repeats,
            )
            add_totals(measured)
            once, every = middle(measured["once"], "total"), middle(measured["every"], "total")
            gain = ratio(measured["every"], measured["once"], "total")
            table.append({"row": row, "size": size, "once_seconds": once, "every_seconds": every, "ratio": gain})
            print(f"{row:14} {size:4} px: frozen layers in every epoch {every:.1f} s, once {once:.1f} s, {gain:.2f}")
    return {"repeats": repeats, "cases": table}


def measure_compiled(repeats: int, counts: dict[int, int], device: str) -> dict:
    """Our trainer with its layers fused by torch.compile against as they are; the compilation is not counted."""
    table = []
    for size, galaxies, split in simulated_cases(counts):
        for row in ("vgg_scratch", "custom_cnn"):
            settings = Settings(epochs=3, image_size=size, device=device)  # one of the three compiles
            ways = {
                "compiled": partial(our_training, row, galaxies, split, replace(settings, compile=True)),
                "plain": partial(our_training, row, galaxies, split, settings),
            }
            table.append({"row": row, "size": size, **compare_speeds(f"{row:14} {size:4} px", ways, repeats)})
    return {"repeats": repeats, "cases": table}
