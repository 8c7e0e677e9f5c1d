"""Low-rank adapters (Hu et al. 2022) on a vision transformer's attention, by peft.

As in the authors' fork of DINO: rank 32 on queries, values and output projection; the keys stay as they are.
timm computes queries, keys and values in one fused layer, on which an adapter would reach the keys too. So the
layer is taken apart into three for training, and put together again when the adapters are merged.
"""

import torch
from torch import nn

from galutils.device import seeded
from galutils.errors import GalutilsError
from galutils.models.vit import Backbone

#: peft matches this against the names of a transformer's layers.
_ADAPTED = r"blocks\.\d+\.attn\.(qkv\.[qv]|proj)"


class SplitQKV(nn.Module):
    """The three parts of a fused query-key-value layer, with its very weights and output."""

    def __init__(self, fused: nn.Linear):
        super().__init__()
        bias = fused.bias is not None
        for i, name in enumerate("qkv"):
            part = nn.Linear(fused.in_features, fused.out_features // 3, bias, fused.weight.device, fused.weight.dtype)
            part.load_state_dict({kind: tensor.chunk(3)[i] for kind, tensor in fused.state_dict().items()})
            setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.q(x), self.k(x), self.v(x)], dim=-1)


def add_lora(
    backbone: Backbone, rank: int = 32, alpha: float = 1.0, train_biases: bool = True, seed: int = 0
) -> Backbone:
    """A copy of a plain backbone with adapters that do nothing yet; only they (and biases) can be trained.

    The adapters' output is scaled by ``alpha / rank``, in the authors' fork 1 / 32. ``seed`` is that of their first
    factor; the second starts at zero. As in the fork all biases are trained too, but those of the keys: they shift
    all of a query's scores alike, so that they have no effect on attention.
    """
    from peft import LoraConfig, inject_adapter_in_model

    if backbone.lora is not None:
        raise GalutilsError("The network has adapters already; merge them first.")
    if rank < 1 or alpha <= 0:
        raise GalutilsError("rank must be at least 1 and alpha greater than 0.")
    adapted = backbone.copy()
    for block in adapted.vit.blocks:
        block.attn.qkv = SplitQKV(block.attn.qkv)
    bias = "all" if train_biases else "none"
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=_ADAPTED, lora_dropout=0.0, bias=bias)
    with seeded(seed):
        inject_adapter_in_model(config, adapted.vit)
    for block in adapted.vit.blocks:
        block.attn.qkv.k.requires_grad_(False)
    adapted.lora = {"rank": rank, "alpha": alpha, "train_biases": train_biases}
    return adapted


@torch.no_grad()
def plain_state(backbone: Backbone) -> dict[str, torch.Tensor]:
    """State of the plain transformer that computes the same: adapters merged, layers fused.

    Tensors that no adapter touches are the network's own, not copies.
    """
    whole = backbone.vit.state_dict()
    state = {name.replace("base_layer.", ""): tensor for name, tensor in whole.items() if "lora_" not in name}
    for name, module in backbone.vit.named_modules():
        if hasattr(module, "lora_A"):
            # As peft's get_delta_weight, whose checks take longer than the arithmetic, at every step of the training.
            down, up, scaling = (part["default"] for part in (module.lora_A, module.lora_B, module.scaling))
            state[f"{name}.weight"] = state[f"{name}.weight"] + scaling * (up.weight @ down.weight)
    for name in [name for name in state if ".qkv.q." in name]:
        before, after = name.split(".qkv.q.")
        state[f"{before}.qkv.{after}"] = torch.cat([state.pop(f"{before}.qkv.{part}.{after}") for part in "qkv"])
    return state


def merge_lora(backbone: Backbone) -> Backbone:
    """A plain, frozen backbone with equal output; the given one stays as it is."""
    plain = backbone.copy()
    if backbone.lora is not None:
        for block in plain.vit.blocks:
            attention, part = block.attn, block.attn.qkv.k
            attention.proj = attention.proj.base_layer
            attention.qkv = nn.Linear(part.in_features, 3 * part.out_features, part.bias is not None)
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
    dropped = base.copy()
    dropped.vit.load_state_dict({name: after[name] if name.endswith("bias") else before[name] for name in before})
    return dropped


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """What of a module can be trained, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
