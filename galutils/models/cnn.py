"""The supervised networks of the paper (sections 4.1 to 4.4): uint8 images in, logits out.

Every network is a :class:`GalaxyNet`: normalisation first, then a frozen part, then a trained part. So training
and prediction cannot preprocess differently, and the trainer can compute the frozen part once.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from itertools import chain
from typing import Any

import torch
from torch import nn

from galutils.data.classes import GALAXY10
from galutils.errors import GalutilsError
from galutils.models.weights import WeightsSource, start_from, vgg_convolutions

#: Classes of the paper, where nothing else is asked for.
NUM_CLASSES = len(GALAXY10)

#: Mean and standard deviation of the channels of ImageNet (the VGGs' training set), as fractions of 255.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: The same, rounded, for Galaxy10 DECaLS; for networks without pretraining.
GALAXY_MEAN, GALAXY_STD = (0.155, 0.150, 0.147), (0.103, 0.095, 0.089)

#: VGG11's eight convolutions and five pools: as wide throughout (section 4.1), or wider from block to block as in
#: the original; in multiples of the first convolution's channels.
VGG11_LAYOUTS = {
    "constant": (1, "M", 1, "M", 1, 1, "M", 1, 1, "M", 1, 1, "M"),
    "doubling": (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"),
}
#: Standard deviations of weights by ``init``: the paper's variance of 1e-2, and what such a number often means.
INITS = {"paper": 1e-2**0.5, "sd0.01": 1e-2}
#: Heads of fine-tuned VGGs, in words.
HEADS = {
    "hidden": "one hidden layer on features averaged to 4x4",
    "linear": "a linear layer on averaged features",
    "vgg": "VGG's own two hidden layers of 4096, new",
    "last": "VGG's own two hidden layers, pretrained, and a new last one",
}
#: What may stand first in the custom network, all of the same size.
FIRST = {
    "average": nn.AvgPool2d,
    "max": nn.MaxPool2d,
    "subsample": lambda side: nn.AvgPool2d(1, stride=side),
}
#: The custom network's convolutions: "slightly shorter" than VGG11's, six convolutions and four pools.
CUSTOM_LAYOUT = (1, "M", 1, "M", 1, 1, "M", 1, 1, "M")


class Normalize(nn.Module):
    """uint8 (N, 3, H, W) to float with about zero mean and unit variance per channel."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        # One multiplication and one addition for (x / 255 - mean) / std.
        self.register_buffer("scale", 1 / (255 * torch.tensor(std)), persistent=False)
        self.register_buffer("shift", -torch.tensor(mean) / torch.tensor(std), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # In place, and along rows: fresh memory, and loops of three channels, take longer than the arithmetic.
        values = images.to(self.scale.dtype, memory_format=torch.channels_last, copy=True)
        count, _, height, width = images.shape
        rows = values.permute(0, 2, 3, 1).view(count, height, width * 3)
        torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width), out=rows)
        return values


class GalaxyNet(nn.Module):
    """A classifier in two parts: ``trained(frozen(images))``.

    Attributes:
        frozen: normalisation and the layers that are never trained; always in evaluation mode.
        source: where pretrained weights came from; None for a network that has none by design.
        recipe: ``build(**recipe)`` gives a network of the same shape; set by :func:`build`.
    """

    def __init__(self, frozen: nn.Sequential, trained: nn.Sequential, source: WeightsSource | None = None):
        super().__init__()
        self.frozen, self.trained, self.source = frozen.requires_grad_(False), trained, source
        self.recipe: dict = {}
        # Channels-last is the layout of the files and the faster one for convolutions on CPU and GPU.
        self.to(memory_format=torch.channels_last)

    def train(self, mode: bool = True) -> "GalaxyNet":
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images: (N, 3, H, W) uint8; returns logits (N, C) float."""
        values = images
        for layer in chain(self.frozen, self.trained):  # not part by part, which would hold on to the first's result
            values = layer(values)
        return values

    def count_parameters(self) -> tuple[int, int]:
        """(all, trained) numbers of parameters."""
        trained = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return sum(p.numel() for p in self.parameters()), trained


def vgg_scratch(
    channels: int = 32, init: str = "paper", widths: str = "constant", num_classes: int = NUM_CLASSES
) -> GalaxyNet:
    """Row 1: torchvision's VGG with VGG11's eight convolutions, each of ``channels`` channels (section 4.1).

    ``widths="doubling"`` lets the channels grow from there as VGG11's do, to eight times as many. The paper draws
    the weights from N(0, variance 1e-2); it does not say of which layers. Here: of every convolution and linear
    layer, biases zero, as the VGG paper did. Other ``init`` are "sd0.01", see :data:`INITS`, and "kaiming",
    torchvision's own. The classifier is VGG's, with its first layer fitted to the smaller number of features.
    """
    from torchvision.models.vgg import VGG, make_layers  # seconds to import, which other networks do without

    if widths not in VGG11_LAYOUTS:
        raise GalutilsError(f"widths is '{widths}'; choose {' or '.join(VGG11_LAYOUTS)}.")
    layout = [entry if entry == "M" else entry * channels for entry in VGG11_LAYOUTS[widths]]
    vgg = VGG(make_layers(layout), num_classes=num_classes, init_weights=False)
    vgg.classifier[0] = nn.Linear(layout[-2] * 7 * 7, 4096)
    for layer in vgg.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if init in INITS:
                nn.init.normal_(layer.weight, 0, INITS[init])
            elif init == "kaiming":
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                raise GalutilsError(f"init is '{init}'; choose {', '.join(INITS)} or kaiming.")
            nn.init.zeros_(layer.bias)
    trained = nn.Sequential(*vgg.features, vgg.avgpool, nn.Flatten(), *vgg.classifier)
    return GalaxyNet(nn.Sequential(Normalize(GALAXY_MEAN, GALAXY_STD)), trained)


def vgg_finetuned(
    arch: str = "auto",
    weights: str = "imagenet",
    frozen_convs: int | str = "all",
    later_layers: str = "new",
    head: str = "hidden",
    head_width: int = 512,
    num_classes: int = NUM_CLASSES,
) -> GalaxyNet:
    """Rows 2 and 3: a pretrained VGG, its first convolutions frozen, the rest and the head trained (4.2, 4.3).

    Args:
        arch, weights: see :func:`galutils.models.weights.vgg_convolutions`; "vgg11" in the paper.
        frozen_convs: how many of the first convolutions are frozen, or "all", the shallow fine-tuning of
            row 3, or "three-blocks", the deep one of row 2. The paper does not say how many are frozen in
            row 2; the study takes three of VGG's five blocks, VGG11's first four convolutions.
        later_layers: what follows the frozen convolutions. "new": layers of the same shape, each
            convolution with batch normalisation before its ReLU; "plain": the same without it (they hardly
            learn at the paper's learning rate); "pretrained": the original ones, trained on.
        head: one of :data:`HEADS`. The paper reinitialises "the classifier head", which may be each of them. The
            pretrained layers of "last" are frozen where all convolutions are.
        head_width: units of the hidden layer of "hidden". VGG's own 4096 twice make 120 million
            parameters; see docs/assumptions.md.
    """
    if head not in HEADS:
        raise GalutilsError(f"head is '{head}'; choose {', '.join(HEADS)}.")
    features, arch, source = vgg_convolutions(arch, weights, classifier=head == "last")
    convolutions = [i for i, layer in enumerate(features) if isinstance(layer, nn.Conv2d)]
    pools = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
    named = {"all": len(convolutions), "three-blocks": sum(i < pools[2] for i in convolutions)}
    frozen_convs = named.get(frozen_convs, frozen_convs)
    if frozen_convs not in range(len(convolutions) + 1):
        raise GalutilsError(
            f"frozen_convs is {frozen_convs!r}; choose all, three-blocks or a number up to {len(convolutions)}."
        )
    if later_layers not in ("new", "plain", "pretrained"):
        raise GalutilsError(f"later_layers is '{later_layers}'; choose new, plain or pretrained.")
    cut = [*convolutions, len(features)][frozen_convs]
    later: list[nn.Module] = []
    for layer in features[cut:]:
        if later_layers != "pretrained" and isinstance(layer, nn.Conv2d):
            normalised = [nn.BatchNorm2d(layer.out_channels)] if later_layers == "new" else []
            conv = nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1, bias=not normalised)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            later += [conv, *normalised]
        else:
            later.append(layer)
    width = features[convolutions[-1]].out_channels
    trained = nn.Sequential(*later, *_head(head, width, head_width, num_classes))
    frozen = nn.Sequential(Normalize(IMAGENET_MEAN, IMAGENET_STD), *features[:cut])
    network = GalaxyNet(frozen, trained, source)
    network.recipe = {"arch": arch, "weights": source.source, "frozen_convs": frozen_convs}
    return network


def _head(head: str, width: int, head_width: int, num_classes: int) -> list[nn.Module]:
    """The new layers of a head, from features of so many channels to logits."""
    if head == "last":
        return [nn.Linear(4096, num_classes)]
    if head == "linear":
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes)]
    if head == "vgg":
        from torchvision.models.vgg import VGG

        own = VGG(nn.Identity(), num_classes=num_classes).classifier  # for 512 channels, as all VGGs have
        return [nn.AdaptiveAvgPool2d(7), nn.Flatten(), *own]
    hidden = [nn.Linear(width * 4 * 4, head_width), nn.ReLU(inplace=True), nn.BatchNorm1d(head_width)]
    return [nn.AdaptiveAvgPool2d(4), nn.Flatten(), *hidden, nn.Dropout(0.5), nn.Linear(head_width, num_classes)]


def custom_cnn(
    channels: int = 32,
    average_pool: int = 2,
    first: str = "average",
    hidden: int = 0,
    weights: str = "random",
    start: str = "whole",
    num_classes: int = NUM_CLASSES,
) -> GalaxyNet:
    """Row 4: average pooling first, then six convolutions of 32 channels (section 4.4, figure A.3).

    The pooling averages detector noise away and widens what each convolution sees; ``average_pool`` is its side,
    and 1 leaves it out. Each convolution is followed by ReLU and batch normalisation, in the paper's order. The
    paper does not say how many layers there are, nor the pooling's size: here six convolutions ("slightly
    shorter" than VGG11's eight), 2x2 pooling, and one linear layer on the averaged features, which gives bare
    logits. A hidden linear layer overfits small sets; see docs/assumptions.md. Figure A.3 says that linear layers
    are followed by ReLU and batch normalisation, too: ``hidden`` units of one that is. ``first``, one of :data:`FIRST`,
    takes the pooling's place, as large.

    ``weights`` "simulated", or a file of ``galutils pretrain``, is the third way: the network has learnt simulated
    galaxies before. ``start``: see :func:`galutils.models.weights.start_from`.
    """
    if first not in FIRST:
        raise GalutilsError(f"first is '{first}'; choose {', '.join(FIRST)}.")
    layers: list[nn.Module] = [FIRST[first](average_pool)] if average_pool > 1 else []
    width = 3
    for entry in CUSTOM_LAYOUT:
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(channels)]
            width = channels
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if hidden:
        layers += [nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.BatchNorm1d(hidden)]
    layers.append(nn.Linear(hidden or channels, num_classes))
    network = GalaxyNet(nn.Sequential(Normalize(GALAXY_MEAN, GALAXY_STD)), nn.Sequential(*layers))
    if weights != "random":
        network.source = start_from(network, weights, start)
    return network


def builders() -> dict[str, Callable[..., GalaxyNet]]:
    """Every constructor by its name."""
    from galutils.models.encoder import encoder  # which builds on this file

    return {constructor.__name__: constructor for constructor in (vgg_scratch, vgg_finetuned, custom_cnn, encoder)}


def build(name: str, **arguments) -> GalaxyNet:
    """Build a network by the name of its constructor and note how in its ``recipe``."""
    if name not in builders():
        raise GalutilsError(f"There is no network '{name}'; choose one of {', '.join(builders())}.")
    network = builders()[name](**arguments)
    # What the constructor decided itself ("auto") stands in the recipe as it was decided.
    network.recipe = {"name": name, **arguments, **network.recipe}
    return network


def build_from(name: str, names: Mapping[str, Any], num_classes: int) -> GalaxyNet:
    """:func:`build` with a notebook's ``globals()``: every argument of the constructor that has a name there."""
    arguments = signature(builders()[name]).parameters if name in builders() else ()
    given = {argument: names[argument] for argument in arguments if argument in names}
    return build(name, **given, num_classes=num_classes)
