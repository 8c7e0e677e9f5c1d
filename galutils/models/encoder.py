"""Any network of timm, or the study's transformer, with a linear head; the encoder frozen or adapted, in part or whole.

What an encoder wants of an image (mean, standard deviation, size, interpolation) is what timm says of it, but for
:data:`CORRECTIONS`, and each can be overridden.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from galutils.errors import GalutilsError, first_line
from galutils.files import SIMULATED_VIT, sha256
from galutils.models.cnn import NUM_CLASSES, GalaxyNet, Normalize
from galutils.models.lora import add_lora
from galutils.models.vit import NORMALIZATIONS, Backbone
from galutils.models.weights import (
    DINO_ARCH,
    GALAXY_VIT,
    WeightsError,
    WeightsSource,
    galaxy_vit,
    load_strictly,
    official_file,
    origin,
    read_given,
    read_state,
)

#: What of an encoder is trained, in words.
ADAPT = {"none": "frozen", "last": "its last block trained", "lora": "adapted by LoRA", "all": "trained as a whole"}

#: Where timm's configuration is not what an encoder was trained with, by a part of its name.
CORRECTIONS = {
    # ImageNet's mean and deviation stand there, but Zoobot was given plain grey levels from 0 to 1.
    "zoobot": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "may_know": "Galaxy Zoo"},
    "dinov3": {"pool": "token"},  # timm averages the patches, but what was trained is the CLS token
}

#: What is kept of timm's configuration beside what it says of images.
_KEPT = ("license", "classifier", "fixed_input_size")


class Resize(nn.Module):
    """Float images (N, 3, H, H) at the size that an encoder sees, antialiased."""

    def __init__(self, size: int, interpolation: str):
        super().__init__()
        self.size, self.interpolation = size, interpolation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] == self.size:
            return images
        return nn.functional.interpolate(images, (self.size,) * 2, mode=self.interpolation, antialias=True)


class Encoder(nn.Module):
    """A network of timm without classifier: float images (N, 3, H, H) in, features (N, D) out.

    Layers of which nothing is trained stay in evaluation mode. So does batch normalisation, unless ``fresh``: a few
    hundred galaxies give no better statistics than those that the encoder was trained with.
    """

    def __init__(self, net: nn.Module, fresh: bool = False):
        super().__init__()
        self.net, self.fresh = net, fresh

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """What is pooled: (N, C, h, w) of a convolutional network, (N, tokens, D) of a transformer."""
        return self.net.forward_features(images)

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Features (N, D) of :meth:`maps`."""
        return self.net.forward_head(maps, pre_logits=True)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.maps(images))

    def train(self, mode: bool = True) -> "Encoder":
        super().train(mode)
        for module in self.modules():
            own = list(module.parameters(recurse=False))
            kept = isinstance(module, nn.BatchNorm2d) and not self.fresh
            if kept or (own and not any(parameter.requires_grad for parameter in own)):
                module.eval()
        return self


def encoder(
    arch: str = "auto",
    weights: str = "official",
    adapt: str = "none",
    input_size: int = 0,
    interpolation: str = "auto",
    normalization: str | Sequence[Sequence[float]] = "auto",
    pool: str = "auto",
    lora_rank: int = 16,
    options: Mapping[str, Any] | None = None,
    num_classes: int = NUM_CLASSES,
) -> GalaxyNet:
    """A pretrained encoder with a linear head.

    Args:
        arch, weights: see :func:`pretrained`.
        adapt: what of the encoder is trained, one of :data:`ADAPT`; with "none" its features are computed once.
        input_size: pixels that the encoder sees, to which images of another size are resized.
        interpolation: of that: bilinear or bicubic.
        normalization: one of :data:`galutils.models.vit.NORMALIZATIONS`, or mean and standard deviation of the
            channels. These three are timm's own where they are 0 or "auto".
        pool: how timm makes features of tokens or maps, "token" or "avg" say; "auto": as it was trained.
        lora_rank: of the adapters, which start with full strength.
        options: further ones of timm's constructor.
    """
    if adapt not in ADAPT:
        raise GalutilsError(f"adapt is '{adapt}'; choose {', '.join(ADAPT)}.")
    net, arch, source, wants = pretrained(arch, weights, pool, options or {})
    size = input_size or wants["input_size"][-1]
    interpolation = wants["interpolation"] if interpolation == "auto" else interpolation
    if interpolation not in ("bicubic", "bilinear"):
        raise GalutilsError(f"interpolation is '{interpolation}' but must be bicubic or bilinear.")
    if normalization == "auto":
        normalization = wants["mean"], wants["std"]
    elif isinstance(normalization, str):
        if normalization not in NORMALIZATIONS:
            raise GalutilsError(f"normalization is '{normalization}'; choose auto, {', '.join(NORMALIZATIONS)}.")
        normalization = NORMALIZATIONS[normalization]
    _check_size(net, arch, size, wants)
    net.requires_grad_(adapt == "all")
    if adapt == "lora":
        net = _with_lora(net, arch, source, lora_rank)
    for name in _last_block(net) if adapt == "last" else ():
        net.get_parameter(name).requires_grad_(True)
    trunk, head = Encoder(net, fresh=source.source == "random"), nn.Linear(net.num_features, num_classes)
    seen = [Normalize(*normalization), Resize(size, interpolation)]
    parts = ([*seen, trunk], [head]) if adapt == "none" else (seen, [trunk, head])
    network = GalaxyNet(*(nn.Sequential(*part) for part in parts), source)
    network.recipe = {
        "arch": arch,
        "weights": source.source,
        "input_size": size,
        "interpolation": interpolation,
        "normalization": [list(values) for values in normalization],
        "pool": wants["pool"],
        "options": wants["options"],
    }
    return network


def pretrained(
    arch: str = "auto", weights: str = "official", pool: str = "auto", options: Mapping[str, Any] = {}
) -> tuple[nn.Module, str, WeightsSource, dict[str, Any]]:
    """A network without classifier, its name, where its weights came from, and what it wants of images.

    Args:
        arch: timm's name, :data:`GALAXY_VIT`, ``hf_hub:owner/name``, or "auto": what the file says, DINO's ViT-S/16
            where there is none.
        weights: "official" or "dino" (downloaded where they are not there), "auto" (if they are there, else random),
            "simulated" (of that transformer), "random", or a path.

    Returns:
        with the last: ``mean``, ``std``, ``input_size``, ``interpolation``, ``license`` as timm has them, corrected,
        and ``pool`` and ``options``, with which it was built.
    """
    import timm
    from timm.models import is_model_in_modules

    given = weights not in ("official", "dino", "auto", "random")
    path, state, metadata = None, {}, {}
    if given:
        path = SIMULATED_VIT if weights == "simulated" else Path(weights)
        state, metadata, arch = read_given(path, arch)
        if arch == "auto":
            raise WeightsError(f"{path}: does not say which network it holds; set arch, such as convnext_nano.")
    arch = DINO_ARCH if arch == "auto" else arch
    if not arch.startswith("hf_hub:"):
        _check_known(arch)
    if not given and weights != "random":
        path = official_file(arch, download=weights != "auto")
    wants, arch, options = _configuration(arch, path.name if path else "", dict(options))
    if metadata.get("normalization") in NORMALIZATIONS:
        wants["mean"], wants["std"] = NORMALIZATIONS[metadata["normalization"]]
    wants |= {"pool": wants["pool"] if pool == "auto" else pool, "options": options}
    chosen = {"dynamic_img_size": True} if is_model_in_modules(arch, ["vision_transformer", "eva"]) else {}
    chosen |= options | ({} if wants["pool"] == "auto" else {"global_pool": wants["pool"]})
    create = galaxy_vit if arch == GALAXY_VIT else partial(timm.create_model, arch, pretrained=False, num_classes=0)
    net = create(**chosen)
    if path is None:
        return net, arch, WeightsSource("random", on_purpose=weights == "random"), wants
    if not given:
        state, metadata = read_state(path)
    load_strictly(net, _renamed(state, net, wants["classifier"]), path, arch)
    source = "official" if not given else weights if weights == "simulated" else path.name
    known = {"may_know": wants["may_know"], "licence": metadata.get("licence") if given else wants["license"]}
    return net, arch, WeightsSource(source, sha256(path), **known, **origin(metadata)), wants


def _check_known(arch: str) -> None:
    """Refuse what neither timm nor this package has, also if it is only what follows the dot."""
    from timm.models import is_model, is_model_pretrained

    if arch != GALAXY_VIT and (not is_model(arch) or ("." in arch and not is_model_pretrained(arch))):
        raise WeightsError(f"'{arch}' is no network of timm; choose one such as convnext_nano, or hf_hub:owner/name.")


def _configuration(named: str, file: str, options: dict) -> tuple[dict[str, Any], str, dict]:
    """What timm or Hugging Face says of an encoder, corrected; its plain name, and its constructor's options."""
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg, load_model_config_from_hf

    arch = named.split(".")[0]
    if named.startswith("hf_hub:"):
        try:
            given, arch, own = load_model_config_from_hf(named.removeprefix("hf_hub:"))
        except Exception as error:
            # The hub and its transport raise many kinds of error; all mean the same to the user.
            raise WeightsError(
                f"What {named} is could not be read from Hugging Face ({first_line(error)[:120]}); "
                "give the path of its weights, with arch as timm names it."
            ) from error
        options = {name: value for name, value in own.items() if name != "num_classes"} | options
    elif named == GALAXY_VIT:
        given = {"input_size": (3, 64, 64), "interpolation": "bilinear"}
    else:
        given = {"architecture": arch} | get_pretrained_cfg(named).to_dict()
    _check_known(arch)
    wants = {"pool": "auto", "may_know": None} | {name: given.get(name) for name in _KEPT}
    wants |= resolve_data_config(pretrained_cfg=given)
    for part, changed in CORRECTIONS.items():
        if part in f"{named} {file}".lower():
            wants |= changed
    return wants, arch, options


def _renamed(state: dict[str, torch.Tensor], net: nn.Module, classifier: str | Sequence[str] | None) -> dict:
    """Tensors by timm's names, without those of the classifier and of a mask that only training needs."""
    if "_conv_stem.weight" in state:  # the packaged EfficientNet's, in timm's order, the classifier last
        return dict(zip(net.state_dict(), state.values(), strict=False))
    heads = (classifier,) if isinstance(classifier, str) else classifier or ()
    left = ("mask_token", *(f"{name}." for name in heads))
    return {name: tensor for name, tensor in state.items() if not name.startswith(left)}


def _check_size(net: nn.Module, arch: str, size: int, wants: Mapping[str, Any]) -> None:
    """Refuse a size that an encoder does not take."""
    patches, own = getattr(net, "patch_embed", None), wants["input_size"][-1]
    if getattr(patches, "strict_img_size", None) is False:
        patch = patches.patch_size[0]
        if size % patch:
            near = max(1, round(size / patch)) * patch
            raise GalutilsError(f"{size} pixels are not whole patches of {patch}; set input_size to {near}.")
    elif wants["fixed_input_size"] and size != own:
        raise GalutilsError(f"{arch}: takes images of {own} pixels alone, not of {size}; set input_size to 0.")


def _last_block(net: nn.Module) -> list[str]:
    """Names of the parameters from the last block on: timm's last group that has a weight matrix, and what follows."""
    from timm.models import group_parameters

    groups = group_parameters(net, net.group_matcher(coarse=False))
    first = max(number for number, names in groups.items() if any(net.get_parameter(n).ndim > 1 for n in names))
    return [name for number, names in groups.items() if number >= first for name in names]


def _with_lora(net: nn.Module, arch: str, source: WeightsSource, rank: int) -> nn.Module:
    """A vision transformer with adapters; they alone, and biases, can be trained."""
    from timm.models import VisionTransformer

    if not isinstance(net, VisionTransformer):
        raise GalutilsError(f"{arch}: is no plain vision transformer, as LoRA wants; set adapt to none, last or all.")
    return add_lora(Backbone(net, arch, source), rank, rank, seed=torch.randint(1 << 31, ()).item()).vit


def rate_groups(network: GalaxyNet, weight_decay: float, encoder_rate: float, layer_decay: float) -> list[dict]:
    """What AdamW trains. ``lr_scale`` is a group's share of the learning rate: 1, but in an :class:`Encoder`.

    There it is ``encoder_rate`` in the last block and ``layer_decay`` times that of the next in each before; biases
    and norms have no weight decay.
    """
    from timm.optim import param_groups_layer_decay

    groups, rest = [], []
    for layer in network.trained:
        if isinstance(layer, Encoder):
            for group in param_groups_layer_decay(layer.net, weight_decay, layer_decay=layer_decay):
                scale = encoder_rate * group["lr_scale"]
                groups.append({"params": group["params"], "weight_decay": group["weight_decay"], "lr_scale": scale})
        else:
            rest += layer.parameters()
    return [{"params": rest, "lr_scale": 1.0}, *groups]
