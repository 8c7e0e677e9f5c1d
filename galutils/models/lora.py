"""Low-rank adapters (Hu et al. 2022) on a vision transformer's attention.

As in the authors' fork of DINO: rank 32 on queries, values and output projection; the keys stay as they are.
timm computes queries, keys and values in one fused layer, on which an adapter would reach the keys too. So the
layer is taken apart into three for training, and put together again when the adapters are merged.

An adapter is a parametrisation of its layer's weight, the sum of what is frozen and a product that is trained. It is
computed once a batch, and each layer stays one product of matrices for all tokens.
"""

import math
from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils import parametrize

from galutils.device import seeded
from galutils.errors import GalutilsError
from galutils.models.vit import Backbone


class LowRank(nn.Module):
    """What an adapter makes of a weight (out, in): ``weight + scale * up @ down``, at first the weight itself."""

    def __init__(self, weight: torch.Tensor, rank: int, scale: float):
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight + self.scale * (self.up @ self.down)


class SplitQKV(nn.Module):
    """The three parts of a fused query-key-value layer, with its very weights and output."""

    def __init__(self, fused: nn.Linear):
        super().__init__()
        bias = fused.bias is not None
        for i, name in enumerate("qkv"):
            part = nn.Linear(fused.in_features, fused.out_features // 3, bias, fused.weight.device, fused.weight.dtype)
            part.load_state_dict({kind: tensor.chunk(3)[i] for kind, tensor in fused.state_dict().items()})
            setattr(self, name, part)

    def fused(self, kind: str) -> torch.Tensor | None:
        """Weight or bias of the three as one."""
        parts = [getattr(part, kind) for part in (self.q, self.k, self.v)]
        return None if parts[0] is None else torch.cat(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.fused("weight"), self.fused("bias"))


def add_lora(
    backbone: Backbone, rank: int = 32, alpha: float = 1.0, train_biases: bool = True, seed: int = 0
) -> Backbone:
    """A copy of a plain backbone with adapters that do nothing yet; only they (and biases) can be trained.

    The adapters' output is scaled by ``alpha / rank``, in the authors' fork 1 / 32. ``seed`` is that of their first
    factor; the second starts at zero. As in the fork all biases are trained too, but those of the keys: they shift
    all of a query's scores alike, so that they have no effect on attention.
    """
    if backbone.lora is not None:
        raise GalutilsError("The network has adapters already; merge them first.")
    if rank < 1 or alpha <= 0:
        raise GalutilsError("rank must be at least 1 and alpha greater than 0.")
    adapted = deepcopy(backbone)
    with seeded(seed):
        for block in adapted.vit.blocks:
            qkv = block.attn.qkv = SplitQKV(block.attn.qkv)
            for layer in (qkv.q, qkv.v, block.attn.proj):
                parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, alpha / rank))
    for name, parameter in adapted.vit.named_parameters():
        bias = train_biases and name.endswith("bias") and ".qkv.k." not in name
        parameter.requires_grad_(bias or name.endswith((".down", ".up")))
    adapted.lora = {"rank": rank, "alpha": alpha, "train_biases": train_biases}
    return adapted


@torch.no_grad()
def plain_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """State of the plain transformer that computes the same: adapters merged, layers fused.

    Tensors that no adapter touches are the network's own, not copies.
    """
    state = backbone.vit.state_dict()
    if backbone.lora is None:
        return state
    state = {name: state[name] for name in state if ".qkv." not in name and ".parametrizations." not in name}
    for i, block in enumerate(backbone.vit.blocks):
        state[f"blocks.{i}.attn.proj.weight"] = block.attn.proj.weight
        for kind in ("weight", "bias"):
            if (fused := block.attn.qkv.fused(kind)) is not None:
                state[f"blocks.{i}.attn.qkv.{kind}"] = fused
    return state


def merge_lora(backbone: Backbone) -> Backbone:
    """A plain, frozen backbone with equal output; the given one stays as it is."""
    plain = deepcopy(backbone)
    if backbone.lora is not None:
        for block in plain.vit.blocks:
            inner, bias = block.attn.proj.in_features, block.attn.proj.bias is not None
            # New layers: removing a parametrisation would remove it from the class that copies share.
            block.attn.proj = nn.Linear(inner, inner, bias)
            block.attn.qkv = nn.Linear(inner, 3 * inner, block.attn.qkv.k.bias is not None)
        plain.vit.load_state_dict(plain_state(backbone), strict=True)
        plain.lora = None
    return plain.to(next(backbone.parameters()).device).eval().requires_grad_(False)


def started_from(adapted: Backbone, base: Backbone) -> bool:
    """Whether all tensors of a merged network that LoRA and biases leave alone are the base's."""
    before, after = base.vit.state_dict(), adapted.vit.state_dict()
    kept = {name for name in before if not name.endswith(("bias", "attn.qkv.weight", "attn.proj.weight"))}
    return before.keys() == after.keys() and all(
        before[name].shape == after[name].shape and torch.equal(before[name], after[name]) for name in kept
    )


@torch.no_grad()
def drop_adapters(adapted: Backbone, base: Backbone) -> Backbone:
    """The base with the biases of a merged network that was trained from it: adapters are lost, biases are not.

    This is what the scripts of the authors' fork measure: loralib merges adapters into the weights when ``eval()`` is
    called and leaves them alone from then on, so that a checkpoint which is loaded afterwards is never merged.

    Raises:
        GalutilsError: the network did not start from this base.
    """
    if not started_from(adapted, base):
        raise GalutilsError("The adapted network did not start from this base; name the one that it was trained from.")
    before, after = base.vit.state_dict(), adapted.vit.state_dict()
    dropped = deepcopy(base)
    dropped.vit.load_state_dict({name: after[name] if name.endswith("bias") else before[name] for name in before})
    return dropped


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """What of a module can be trained, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
