"""Training on simulated galaxies: the checkpoint from which the custom network starts, and its controls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from galutils.data.sources import load_simulated
from galutils.data.splits import split_rows
from galutils.errors import GalutilsError
from galutils.files import atomic_path, check_target
from galutils.models import cnn
from galutils.training.settings import Settings
from galutils.training.supervised import train

#: What the network sees: the central half of a cutout, at 0.52 arcsec per pixel.
SIZE, CROP = 64, 0.5

#: What may be taken from the simulated galaxies: nothing, their labels, or their shapes.
CONTROLS = ("none", "labels", "shapes")

#: Share of the simulated galaxies that is held out.
HELD_OUT = 0.02


def pretrain(
    path: str | Path,
    commit: str = "unknown",
    count: int = 60_000,
    epochs: int = 15,
    version: str = "U",
    control: str = "none",
    processes: int = 1,
    seed: int = 100,
) -> float:
    """Train the custom network on ``count`` simulated galaxies, turned and flipped, and write it to ``path``.

    The ``control`` "labels" deals the classes out anew; "shapes" leaves galaxies size and colour alone. The file's
    metadata say how it was made. Interrupted, it goes on from its last epoch. Returns the accuracy on the galaxies that
    were held out.
    """
    if control not in CONTROLS:
        raise GalutilsError(f"control is '{control}'; choose {', '.join(CONTROLS)}.")
    check_target(path, ".safetensors")
    shapes = "scrambled" if control == "shapes" else "own"
    setup = {"size": SIZE, "crop": CROP, "seed": seed, "version": version, "shapes": shapes}
    galaxies = load_simulated(count, processes, **setup)
    if control == "labels":
        galaxies = replace(galaxies, labels=np.random.default_rng(seed).permutation(galaxies.labels))
    torch.manual_seed(seed)
    network = cnn.build("custom_cnn")
    settings = Settings(epochs=epochs, seed=seed, image_size=SIZE, augment=True, device="cpu")
    checkpoint = Path(path).with_suffix(".checkpoint.pt")
    result = train(network, galaxies, split_rows(galaxies, HELD_OUT, seed), settings, checkpoint)
    recipe = {"count": count, "epochs": epochs, "control": control, **setup, "commit": commit}
    metadata = {"architecture": "custom_cnn", "recipe": json.dumps(recipe), "licence": "MIT"}
    with atomic_path(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, partial, metadata)
    checkpoint.unlink()
    return float(result.history["test_accuracy"].iloc[-1])
