"""Where pretrained weights come from, and their strict loading.

``weights`` means the same in every notebook:

- ``imagenet``: torchvision's official file, downloaded into torch's cache if it is not there, hash checked;
- a path: a ``.safetensors`` or ``.pth`` file; its architecture is read from its metadata where given;
- ``random``: no pretraining, an explicit control;
- ``auto``: the official file if it is already in the cache, else random. Never downloads.

Nothing is unpickled: ``.pth`` files are read with ``weights_only``.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from galutils.errors import GalutilsError
from galutils.files import sha256

#: What tables and figures add to the name of an approach whose pretrained part is not pretrained.
RANDOM_LABEL = "random-initialisation control"


class WeightsError(GalutilsError):
    """Weights that cannot be used; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class WeightsSource:
    """What a network started from: ``source`` is "imagenet", "random" or a file name."""

    source: str
    sha256: str | None = None
    stand_in: str | None = None

    def to_dict(self) -> dict:
        return asdict(self)


VGGS = ("vgg11", "vgg13", "vgg16", "vgg19")


def vgg_convolutions(arch: str, weights: str) -> tuple[nn.Sequential, str, WeightsSource]:
    """The convolutional part (``features``) of a torchvision VGG with the weights asked for.

    Args:
        arch: one of :data:`VGGS` (without batch normalisation, as in the paper), or "auto": what the
            weights file says that it holds, else vgg11, the paper's.
        weights: see the module's docstring.

    Returns:
        the layers, the architecture's name, and where the weights came from.

    Raises:
        WeightsError: unknown architecture, missing file, or file and architecture disagree.
    """
    state, stand_in = None, None
    if weights not in ("imagenet", "random", "auto"):
        path, source = Path(weights), Path(weights).name
        state, metadata = read_state(path)
        stand_in = metadata.get("stand_in")
        declared = metadata.get("architecture", "vgg11" if arch == "auto" else arch)
        if arch not in ("auto", declared):
            raise WeightsError(f"{path}: holds {declared}, but the network is {arch}; set arch to match the file.")
        arch = declared
    arch = "vgg11" if arch == "auto" else arch
    if arch not in VGGS:
        raise WeightsError(f"'{arch}' is not a VGG; choose {', '.join(VGGS)}.")
    features = torchvision.models.get_model(arch, weights=None).features
    if state is None:
        path, source = official_file(arch), "imagenet"
        if weights == "random" or (weights == "auto" and not path.exists()):
            return features, arch, WeightsSource("random")
        state = _download(arch)
    _load_strictly(features, state, path, arch)
    return features, arch, WeightsSource(source, sha256(path), stand_in)


def official_file(arch: str) -> Path:
    """Where torch's cache keeps torchvision's ImageNet weights of ``arch``, there or not."""
    url = torchvision.models.get_model_weights(arch).IMAGENET1K_V1.url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def _download(arch: str) -> dict[str, torch.Tensor]:
    try:
        return torchvision.models.get_model_weights(arch).IMAGENET1K_V1.get_state_dict(
            check_hash=True, progress=False, weights_only=True
        )
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"The official weights of {arch} could not be downloaded ({error}); "
            f"bring the file to {official_file(arch)}, or give a path."
        ) from error


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of a weights file, as float32 on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, or holds more than tensors.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such weights file; give imagenet, random, auto or a path.")
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
        # Both readers raise many kinds of error for damaged files; all mean the same to the user.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: is not a readable weights file ({reason[:120]}); get it again.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: does not hold a plain table of tensors; save the network's state_dict().")
    return {name: value.float() for name, value in state.items()}, metadata


def _load_strictly(features: nn.Module, state: dict[str, torch.Tensor], path: Path, arch: str) -> None:
    convolutions = {name.removeprefix("features."): t for name, t in state.items() if name.startswith("features.")}
    try:
        features.load_state_dict(convolutions, strict=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise WeightsError(
            f"{path}: does not fit {arch} ({reason[:160]}); give a file of {arch} or set arch to match the file."
        ) from error
