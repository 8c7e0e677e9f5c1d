"""Training on simulated galaxies: the checkpoints from which networks start, and their controls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from galutils.data.galaxies import Galaxies
from galutils.data.sources import load_simulated
from galutils.data.splits import split_rows
from galutils.errors import GalutilsError
from galutils.files import atomic_path, check_target
from galutils.models import cnn
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import GALAXY_VIT
from galutils.training.dino import distill
from galutils.training.settings import DinoSettings, Settings
from galutils.training.supervised import train

#: What the networks see: the central half of a cutout, at 0.52 arcsec per pixel.
SIZE, CROP = 64, 0.5

#: What may be taken from the simulated galaxies: nothing, their labels, or their shapes.
CONTROLS = ("none", "labels", "shapes")

#: The custom network learns the simulated classes; the small transformer, by self-distillation, no label at all.
NETWORKS = ("custom_cnn", "vit")

#: Share of the simulated galaxies that is held out from learning their labels.
HELD_OUT = 0.02


def pretrain(
    path: str | Path,
    commit: str = "unknown",
    network: str = "custom_cnn",
    count: int = 60_000,
    epochs: int = 15,
    version: str = "U",
    control: str = "none",
    processes: int = 1,
    seed: int = 100,
) -> str:
    """Train one of :data:`NETWORKS` on ``count`` simulated galaxies, turned and flipped, and write it to ``path``.

    The ``control`` "labels" deals the classes out anew; "shapes" leaves galaxies size and colour alone. The file's
    metadata say how it was made. Interrupted, it goes on from its last epoch. Returns in words what it reached.
    """
    if network not in NETWORKS:
        raise GalutilsError(f"network is '{network}'; choose {' or '.join(NETWORKS)}.")
    if control not in CONTROLS:
        raise GalutilsError(f"control is '{control}'; choose {', '.join(CONTROLS)}.")
    if (network, control) == ("vit", "labels"):
        raise GalutilsError("vit looks at no labels, so that shuffling them is no control; choose none or shapes.")
    check_target(path, ".safetensors")
    shapes = "scrambled" if control == "shapes" else "own"
    setup = {"size": SIZE, "crop": CROP, "seed": seed, "version": version, "shapes": shapes}
    galaxies = load_simulated(count, processes, **setup)
    if control == "labels":
        galaxies = replace(galaxies, labels=np.random.default_rng(seed).permutation(galaxies.labels))
    recipe = {"count": count, "epochs": epochs, "control": control, **setup, "commit": commit}
    metadata = {"recipe": json.dumps(recipe), "licence": "MIT"}
    checkpoint = Path(path).with_suffix(".checkpoint.pt")
    make = _learn_classes if network == "custom_cnn" else _distill
    reached = make(path, galaxies, epochs, seed, checkpoint, metadata)
    checkpoint.unlink()
    return reached


def _learn_classes(path, galaxies: Galaxies, epochs: int, seed: int, checkpoint: Path, metadata: dict) -> str:
    torch.manual_seed(seed)
    network = cnn.build("custom_cnn")
    settings = Settings(epochs=epochs, seed=seed, image_size=SIZE, augment=True, device="cpu")
    result = train(network, galaxies, split_rows(galaxies, HELD_OUT, seed), settings, checkpoint)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(state, partial, {"architecture": "custom_cnn", **metadata})
    right = result.history["test_accuracy"].iloc[-1]
    return f"{right:.1%} of simulated galaxies that were held out are classified correctly"


def _distill(path, galaxies: Galaxies, epochs: int, seed: int, checkpoint: Path, metadata: dict) -> str:
    """DINO from scratch; its crops are larger than DINO's own, as the outer parts of a cutout are sky.

    With DINO's teacher temperature, 0.04, and 0.2 for ``jitter`` it fell for a few prototypes in its third epoch.
    """
    of_processor = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch do not say
    settings = DinoSettings(
        epochs=epochs, seed=seed, adapt="all", image_size=SIZE, local_size=SIZE // 2, local_crops=4,
        global_scale=(0.5, 1.0), local_scale=(0.15, 0.5), jitter=0.4,
        prototypes=4096, head_width=512, momentum=0.99, teacher_temperature=0.07,
        device="cpu", precision="bf16-mixed" if of_processor.get("avx512_bf16") else "32-true",
    )  # fmt: skip
    result = distill(load_backbone("random", GALAXY_VIT, seed=seed), galaxies, settings, checkpoint)
    save_backbone(result.teacher.half(), path, **metadata)
    return f"learnt without labels; the embedding's effective rank is {result.history['embedding_rank'].iloc[-1]:.1f}"
