"""Where pretrained weights come from, and their strict loading.

``weights`` means the same in every notebook:

- ``imagenet``: torchvision's official file, downloaded into torch's cache if it is not there, hash checked;
- ``dino``: timm's official file, downloaded into Hugging Face's cache if it is not there, hash checked;
- ``official``: for an encoder, what timm or Hugging Face has for it, as with ``dino``; see :func:`official_file`;
- ``simulated``: the file that comes with the package, of the custom network or of the small transformer, which may be
  an encoder, too;
- a path: a ``.safetensors``, ``.pth`` or ``.bin`` file; its architecture is read from its metadata where given;
- ``random``: no pretraining, an explicit control;
- ``auto``: the official file if it is already in the cache, else random. Never downloads.

Nothing is unpickled: ``.pth`` and ``.bin`` files are read with ``weights_only``.
"""

import json
import os
import pickle
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galutils.download import RemoteFile, fetch
from galutils.errors import GalutilsError, first_line
from galutils.files import PACKAGED, SIMULATED_CNN, SIMULATED_VIT, not_a_file, sha256

#: torchvision's VGGs without batch normalisation, as in the paper.
VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")

#: Of torchvision's files. timm names the licences of its own, and a file of weights may name its own.
VGG_LICENCE = "BSD-3-Clause, that of torchvision's code (it leaves open what ImageNet's terms mean for the weights)"

#: DINO ViT-S/16, the paper's backbone (Caron et al. 2021), under timm's name.
DINO_ARCH = "vit_small_patch16_224.dino"

#: The study's own transformer, of which timm has none: small, with patches of 8 pixels in images of 64.
GALAXY_VIT = "galaxy_vit_patch8_64"
_GALAXY_VIT = {"img_size": 64, "patch_size": 8, "embed_dim": 192, "depth": 6, "num_heads": 3}

#: Names of weights in Hugging Face's repositories; older ones have the second alone.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")

State = dict[str, torch.Tensor]


class WeightsError(GalutilsError):
    """Weights that are missing, damaged, not to be had or not of the network; one sentence says so and what to do."""


@dataclass(frozen=True)
class WeightsSource:
    """What a network started from: "imagenet", "dino", "official", "simulated", "random" or a file name: ``source``."""

    source: str
    sha256: str | None = None
    stand_in: str | None = None
    on_purpose: bool = False  # whether it is random because that was asked for
    may_know: str | None = None  # whose labels it learnt from, where the galaxies tested on may be among them
    licence: str | None = None  # of the weights, where it is named
    learnt_from: str | None = None  # which galaxies, where the file says so
    seen: dict | None = None  # of which file, "sha256", the training rows of which "split" it has seen without labels


def vgg_convolutions(arch: str, weights: str, classifier: bool = False) -> tuple[nn.Sequential, str, WeightsSource]:
    """The convolutional part (``features``) of one of :data:`VGGS`, its name, and where its weights came from.

    ``arch`` "auto" is what the weights file says that it holds, else vgg11, the paper's. classifier: with all that
    follows in it up to its last layer.
    """
    import torchvision  # seconds, which other networks do without

    official = weights in ("imagenet", "random", "auto")
    if not official:
        path = Path(weights)
        state, metadata, arch = read_given(path, arch)
    arch = "vgg11" if arch == "auto" else arch
    if arch not in VGGS:
        raise WeightsError(f"'{arch}' is not a VGG; choose {', '.join(VGGS)}.")
    vgg = torchvision.models.get_model(arch, weights=None)
    parts = {"features": vgg.features} | ({"classifier": vgg.classifier[:-1]} if classifier else {})
    layers = nn.Sequential(*vgg.features, *([vgg.avgpool, nn.Flatten(), *parts["classifier"]] if classifier else []))
    if official:
        path = None if weights == "random" else _official_vgg_file(arch, download=weights == "imagenet")
        if path is None:
            return layers, arch, WeightsSource("random", on_purpose=weights == "random")
        state, metadata = read_state(path)
    for name, part in parts.items():
        own = {key.removeprefix(f"{name}."): tensor for key, tensor in state.items() if key.startswith(f"{name}.")}
        if name == "classifier":
            own = {key: tensor for key, tensor in own.items() if not key.startswith("6.")}  # the last layer
        load_strictly(part, own, path, arch)
    source, licence = ("imagenet", VGG_LICENCE) if official else (path.name, metadata.get("licence"))
    return layers, arch, WeightsSource(source, sha256(path), metadata.get("stand_in"), licence=licence)


def vit_weights(arch: str = "auto", weights: str = "dino") -> tuple[nn.Module, str, WeightsSource, dict[str, str]]:
    """A timm VisionTransformer without classifier, its name, where its weights came from, and their file's metadata.

    It takes images of any size, its position embeddings interpolated. ``arch`` "auto" is what the weights file
    says that it holds, and :data:`DINO_ARCH` where no path is given.
    """
    from timm.models import get_pretrained_cfg

    official = weights in ("dino", "random", "auto")
    if official:
        arch = DINO_ARCH if arch == "auto" else arch
    else:
        path = SIMULATED_VIT if weights == "simulated" else Path(weights)
        state, metadata, arch = read_given(path, arch)
        if metadata.get("kind") == "lora" or any("lora_" in name or "parametrizations" in name for name in state):
            raise WeightsError(f"{path}: holds LoRA adapters, not a whole network; merge them into one first.")
        if arch == "auto":
            raise WeightsError(f"{path}: does not say which network it holds; set arch, such as vit_small_patch16_224.")
    vit = _new_vit(arch)
    if official:
        path = None if weights == "random" else _official_vit_file(arch, download=weights == "dino")
        if path is None:
            return vit, arch, WeightsSource("random", on_purpose=weights == "random"), {}
        state, metadata = read_state(path)
    state.pop("mask_token", None)  # of use in DINOv2's training alone; timm's networks have none
    load_strictly(vit, state, path, arch)
    source = "dino" if official else weights if weights == "simulated" else path.name
    licence = get_pretrained_cfg(arch).license if official else metadata.get("licence")
    return vit, arch, WeightsSource(source, sha256(path), licence=licence, **origin(metadata)), metadata


def start_from(network: nn.Module, weights: str, start: str = "whole") -> WeightsSource:
    """Give a network the weights of a file that ``galutils pretrain`` made; returns where they came from.

    The last layer is loaded only if it has as many classes. ``start`` "statistics" keeps the file's biases and batch
    normalisation, but of each matrix of weights mean and scatter alone (Raghu et al. 2019), drawn anew: a control.
    """
    if start not in ("whole", "statistics"):
        raise WeightsError(f"start is '{start}'; choose whole or statistics.")
    if weights in ("imagenet", "dino", "auto"):
        raise WeightsError(f"The custom network has no weights '{weights}'; give simulated, random or a path.")
    path = SIMULATED_CNN if weights == "simulated" else Path(weights)
    state, metadata = read_state(path)
    own = network.state_dict()
    state |= {name: own[name] for name in [*own][-2:] if name in state and state[name].shape != own[name].shape}
    if start == "statistics":
        drawn = (name for name, tensor in state.items() if tensor.ndim > 1)
        state |= {name: state[name].mean() + state[name].std() * torch.randn_like(state[name]) for name in drawn}
    if (width := _width(state)) != (asked := _width(own)):
        raise WeightsError(f"{path}: is of convolutions with {width} channels, not {asked}; set channels to {width}.")
    load_strictly(network, state, path, "custom_cnn")
    source = weights if weights == "simulated" else path.name
    return WeightsSource(source, sha256(path), licence=metadata.get("licence"), **origin(metadata))


def origin(metadata: dict[str, str]) -> dict[str, Any]:
    """What a file of weights says of where they come from, for :class:`WeightsSource`."""
    told = {name: metadata.get(name) for name in ("stand_in", "learnt_from")}
    return told | {"seen": json.loads(metadata.get("seen", "null"))}


def check_weights(path: Path, arch: str, kind: str) -> None:
    """Load a file strictly into the network that it is for; ``kind`` is a word that ``weights`` may be."""
    from galutils.models.cnn import custom_cnn
    from galutils.models.encoder import pretrained

    load = {"imagenet": vgg_convolutions, "dino": vit_weights, "official": pretrained}
    load["simulated"] = lambda arch, weights: custom_cnn(channels_of(path), weights=weights)
    load[kind](arch, str(path))


def channels_of(path: Path) -> int:
    """How wide the custom network in a file of ``galutils pretrain`` is."""
    return _width(read_state(path)[0])


def _width(state: State) -> int:
    """Channels of the first convolution; 32, the study's own, where there is none, as loading will say."""
    return next((len(tensor) for tensor in state.values() if tensor.ndim == 4), 32)


def describe_weights(path: Path) -> str:
    """What a weights file holds, one fact a line; a network that it names is built and loaded strictly."""
    state, metadata = read_state(path)
    arch = metadata.get("architecture")
    if arch is not None:
        kind = {"custom_cnn": "simulated", GALAXY_VIT: "dino"}.get(arch, "imagenet" if arch in VGGS else "official")
        check_weights(path, arch, kind)
    made = "".join(f"{name.capitalize()}: {metadata[name]}\n" for name in ("recipe", "licence") if name in metadata)
    return (
        f"{path}: {len(state)} tensors, {sum(tensor.numel() for tensor in state.values()):,} numbers\n"
        f"Architecture: {arch + ', and it fits' if arch else 'not said; set arch where you use it'}\n"
        f"Stand-in: {metadata.get('stand_in', 'no word of it')}\n{made}"
        f"SHA-256: {sha256(path)}"
    )


def fetch_official() -> list[Path]:
    """Paths of the weights of VGG11, DINO ViT-S/16 and EfficientNet-Lite0, downloaded where they are not there."""
    encoders = (DINO_ARCH, *PACKAGED)
    return [_official_vgg_file("vgg11", download=True), *(official_file(arch, download=True) for arch in encoders)]


def read_state(path: Path) -> tuple[State, dict[str, str]]:
    """Tensors, as float32 on the CPU, and metadata of a weights file that holds nothing but tensors."""
    if not path.is_file():
        raise WeightsError(f"{path}: {not_a_file(path)}; give imagenet, random, auto or the path of a weights file.")
    if not os.access(path, os.R_OK):
        raise WeightsError(f"{path}: may not be read; change its permissions, or give a copy.")
    metadata: dict[str, str] = {}
    try:
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Both readers raise many kinds of error for damaged files, in words of their own insides.
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise WeightsError(f"{path}: holds more than tensors; save the network's state_dict().") from error
        raise WeightsError(f"{path}: is no weights file, or not a whole one; get it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: holds more than tensors; save the network's state_dict().")
    return {name: value.float() for name, value in state.items()}, metadata


def read_given(path: Path, arch: str) -> tuple[State, dict[str, str], str]:
    """:func:`read_state` of a user's file, and the architecture that it says, or ``arch`` where it says none."""
    state, metadata = read_state(path)
    declared = metadata.get("architecture") or arch
    # What follows the dot in timm's names says how a network was trained, not how it is built.
    if arch != "auto" and arch.split(".")[0] != declared.split(".")[0]:
        raise WeightsError(f"{path}: holds {declared}, but the network is {arch}; set arch to match the file.")
    return state, metadata, declared


def load_strictly(network: nn.Module, state: State, path: Path, arch: str) -> None:
    own = network.state_dict()
    missing = len(own.keys() - state.keys())
    unknown = len(state.keys() - own.keys())
    other = sum(own[name].shape != state[name].shape for name in own.keys() & state.keys())
    if missing or unknown or other:
        raise WeightsError(
            f"{path}: does not fit {arch} (of its {len(own)} tensors {missing} are missing and {other} have another "
            f"shape, {unknown} more belong to no layer); give a file of {arch} or set arch to match the file."
        )
    network.load_state_dict(state, strict=True)


def _official_vgg_file(arch: str, download: bool) -> Path | None:
    """torchvision's ImageNet weights of ``arch`` in torch's cache; None if they are not there and may not be."""
    import torchvision

    url = torchvision.models.get_model_weights(arch).IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not download:
        return path if path.exists() else None
    digits = path.stem.rpartition("-")[2]  # torchvision names its files by the beginning of their SHA-256
    advice = f"bring the file to {path}, or give the path of a copy"
    return fetch(RemoteFile(path.name, url, f"sha256:{digits}", advice=advice), path.parent)


def galaxy_vit(**options) -> nn.Module:
    """The study's own transformer without classifier, for images of any whole patches; ``options`` are timm's."""
    from timm.models import VisionTransformer

    return VisionTransformer(**_GALAXY_VIT | options, num_classes=0, dynamic_img_size=True)


def _new_vit(arch: str) -> nn.Module:
    import timm
    from timm.models import is_model, is_model_in_modules, is_model_pretrained

    if arch == GALAXY_VIT:
        return galaxy_vit()
    tag_known = "." not in arch or is_model_pretrained(arch)
    if not (is_model(arch) and tag_known and is_model_in_modules(arch, ["vision_transformer"])):
        raise WeightsError(f"'{arch}' is not a vision transformer of timm; choose one such as {DINO_ARCH}.")
    vit = timm.create_model(arch, pretrained=False, num_classes=0, dynamic_img_size=True)
    if vit.cls_token is None:
        raise WeightsError(f"{arch}: has no CLS token to embed images with; choose one such as {DINO_ARCH}.")
    return vit


def _official_vit_file(arch: str, download: bool) -> Path | None:
    """DINO's own file for ``arch`` in Hugging Face's cache; None if it is not there and may not be."""
    # timm has weights of other origins too, for supervised classification say: those are not DINO's.
    if "dino" in arch:
        return official_file(arch, download)
    if download:
        raise WeightsError(f"timm names no DINO weights for {arch}; give a path, or choose {DINO_ARCH}.")
    return None


def official_file(arch: str, download: bool) -> Path | None:
    """The weights that timm, or Hugging Face's ``hf_hub:owner/name``, has for ``arch``: of a package, or in the hub's
    cache; None if they are not there and may not be downloaded.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from timm.models import get_pretrained_cfg

    package = PACKAGED.get(arch.split(".")[0])
    if package and (found := find_spec(package)):
        return next(Path(found.origin).parent.glob("models/*.pth"))
    hub = arch.startswith("hf_hub:")
    repository = arch.removeprefix("hf_hub:") if hub else getattr(get_pretrained_cfg(arch), "hf_hub_id", None)
    if repository is None:
        if download:
            raise WeightsError(f"timm names no weights for {arch}; give a path, or choose another network.")
        return None
    found = [huggingface_hub.try_to_load_from_cache(repository, name) for name in HUB_FILES]
    cached = next((path for path in found if isinstance(path, str)), None)
    for name in HUB_FILES if download and cached is None else ():
        try:
            cached = huggingface_hub.hf_hub_download(repository, name)
            break
        except Exception as error:
            absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            if absent and name != HUB_FILES[-1]:
                continue
            # The hub and its transport raise many kinds of error; all mean the same to the user.
            raise WeightsError(
                f"The official weights of {arch} could not be downloaded from Hugging Face's {repository} "
                f"({first_line(error)[:120]}); give the path of model.safetensors from there, or choose auto or random."
            ) from error
    if cached is None:
        return None
    path = Path(cached)
    # The hub keeps large files under their SHA-256, so the name is the checksum that its server states.
    stated = path.resolve().name
    if len(stated) == 64 and sha256(path) != stated:
        raise WeightsError(f"{path}: is damaged (its checksum is not {stated[:12]}…); delete it and run again.")
    return path
