"""Training on simulated galaxies, or on real ones without labels: what networks start from, and its controls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.simulate.recipes import PARTS
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

#: What may be taken from the simulated galaxies: nothing, their labels, or a part.
CONTROLS = ("none", "labels", *PARTS)

#: The custom network learns the simulated classes; the small transformer, by self-distillation, no label at all.
NETWORKS = ("custom_cnn", "vit")

#: Share of the simulated galaxies that is held out from learning their labels.
HELD_OUT = 0.02

#: The split of notebooks that are not told another, whose test galaxies are not shown to a network without labels.
TESTED = {"test_size": 0.2, "seed": 0}


def pretrain(
    path: str | Path,
    commit: str = "unknown",
    network: str = "custom_cnn",
    count: int | None = None,
    epochs: int = 15,
    version: str | None = None,
    control: str | None = None,
    processes: int | None = None,
    seed: int = 100,
    data: str | Path | None = None,
    channels: int | None = None,
) -> str:
    """Train one of :data:`NETWORKS` on simulated galaxies, turned and flipped, and write it to ``path``.

    There are ``count`` (60,000) of them, from the simulator's ``version`` (U). The ``control`` "labels" deals the
    classes out anew; another leaves out a part, see :data:`galutils.data.simulate.recipes.PARTS`. Or the transformer
    learns from ``data``, a file in Galaxy10's layout: from the training part of the split that notebooks make, and from
    no label. ``channels`` (32) are the custom network's. The metadata say how the file was made. Interrupted, it goes
    on from its last epoch. Returns in words what it reached.
    """
    if network not in NETWORKS:
        raise GalutilsError(f"network is '{network}'; choose {' or '.join(NETWORKS)}.")
    if data is not None and network != "vit":
        raise GalutilsError(f"{network} learns simulated classes, and data gives none; choose vit, or leave data out.")
    if channels is not None and network == "vit":
        raise GalutilsError("channels are the custom network's; leave them out.")
    simulation = {"count": count, "version": version, "control": control, "processes": processes}
    named = [name for name, value in simulation.items() if value is not None]
    if data is not None and named:
        raise GalutilsError(f"{named[0]} is about simulated galaxies, and data names others; leave one of the two out.")
    count, version, control = count or 60_000, version or "U", control or "none"
    if control not in CONTROLS:
        raise GalutilsError(f"control is '{control}'; choose {', '.join(CONTROLS)}.")
    if (network, control) == ("vit", "labels"):
        raise GalutilsError("vit looks at no labels, so that shuffling them is no control; choose another.")
    check_target(path, ".safetensors")
    recipe = {"epochs": epochs, "size": SIZE, "crop": CROP, "seed": seed, "commit": commit}
    checkpoint = Path(path).with_suffix(".checkpoint.pt")
    if data is not None:
        galaxies = open_galaxies(data)
        rows = split_rows(galaxies, **TESTED).train
        file = {"data": galaxies.path.name, "sha256": galaxies.sha256, "simulated": galaxies.simulated}
        told = {**file, "count": len(rows), "part": "train", "split": TESTED, "labels": "none", **recipe}
        source = f"the {len(rows):,} training galaxies of {galaxies.path.name}, without their labels"
        seen = json.dumps({"sha256": galaxies.sha256, "split": TESTED})
        metadata = {"recipe": told, "learnt_from": source, "seen": seen}
        reached = _distill(path, galaxies, epochs, seed, checkpoint, metadata, rows, CROP)
    else:
        setup = {"version": version, "without": control if control in PARTS else ""}
        galaxies = load_simulated(count, processes or 1, size=SIZE, crop=CROP, seed=seed, **setup)
        if control == "labels":
            galaxies = replace(galaxies, labels=np.random.default_rng(seed).permutation(galaxies.labels))
        told = {"count": count, "control": control, "version": version, **recipe}
        metadata = {"recipe": told, "licence": "MIT", "learnt_from": f"{count:,} simulated galaxies"}
        if network == "custom_cnn":
            told["channels"] = channels or 32
            reached = _learn_classes(path, galaxies, epochs, seed, checkpoint, metadata)
        else:
            reached = _distill(path, galaxies, epochs, seed, checkpoint, metadata)
    checkpoint.unlink()
    return reached


def _learn_classes(path, galaxies: Galaxies, epochs: int, seed: int, checkpoint: Path, metadata: dict) -> str:
    torch.manual_seed(seed)
    network = cnn.build("custom_cnn", channels=metadata["recipe"]["channels"])
    settings = Settings(epochs=epochs, seed=seed, image_size=SIZE, augment=True, device="cpu")
    result = train(network, galaxies, split_rows(galaxies, HELD_OUT, seed), settings, checkpoint)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(path) as partial:
        save_file(state, partial, {"architecture": "custom_cnn", **_told(metadata, result.precision)})
    right = result.history["test_accuracy"].iloc[-1]
    return f"{right:.1%} of simulated galaxies that were held out are classified correctly"


def _distill(
    path, galaxies: Galaxies, epochs: int, seed: int, checkpoint: Path, metadata: dict, rows=None, crop: float = 1.0
) -> str:
    """DINO from scratch; its crops are larger than DINO's own, as the outer parts of a cutout are sky.

    With DINO's teacher temperature, 0.04, and 0.2 for ``jitter`` it fell for a few prototypes in its third epoch.
    """
    of_processor = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch do not say
    settings = DinoSettings(
        epochs=epochs, seed=seed, adapt="all", image_size=SIZE, local_size=SIZE // 2, local_crops=4,
        global_scale=(0.5, 1.0), local_scale=(0.15, 0.5), jitter=0.4, crop=crop,
        prototypes=4096, head_width=512, momentum=0.99, teacher_temperature=0.07,
        device="cpu", precision="bf16-mixed" if of_processor.get("avx512_bf16") else "32-true",
    )  # fmt: skip
    start = load_backbone("random", GALAXY_VIT, seed=seed)
    result = distill(start, galaxies, settings, checkpoint, rows, round(SIZE / crop))
    save_backbone(result.teacher.half(), path, **_told(metadata, result.precision))
    return f"learnt without labels; the embedding's effective rank is {result.history['embedding_rank'].iloc[-1]:.1f}"


def _told(metadata: dict, precision: str) -> dict[str, str]:
    """Metadata as a file has them, with the precision that training turned out to have."""
    return metadata | {"recipe": json.dumps(metadata["recipe"] | {"precision": precision})}
