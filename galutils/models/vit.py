"""A vision transformer as an embedder of galaxies (the paper's section 4.5).

The embedding is DINO's own for linear evaluation (Caron et al. 2021, section 4.1): the CLS tokens of the last
four blocks, each after the final norm, side by side: 1536 numbers for ViT-S.
"""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from galutils.device import seeded
from galutils.errors import GalutilsError
from galutils.files import atomic_path
from galutils.models.cnn import GALAXY_MEAN, GALAXY_STD, IMAGENET_MEAN, IMAGENET_STD, Normalize
from galutils.models.weights import WeightsSource, vit_weights

#: Mean and standard deviation of each channel, of grey levels from 0 to 1. The last two are mistakes to be studied.
NORMALIZATIONS = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "galaxy": (GALAXY_MEAN, GALAXY_STD),
    "unit": ((0.0,) * 3, (1.0,) * 3),  # grey levels from 0 to 1, not normalised
    "none": ((0.0,) * 3, (1 / 255,) * 3),  # from 0 to 255
}


class Backbone(nn.Module):
    """A timm vision transformer with its normalisation in front; takes images (N, 3, H, W), grey levels 0 to 255.

    Attributes:
        vit: the transformer; its state is the backbone's whole state.
        normalization: one of :data:`NORMALIZATIONS`; "galaxy": mean and standard deviation of Galaxy10.
        recipe: arguments of :func:`load_backbone` that give it again, before anything was trained.
        lora: settings of adapters that are not merged, see :func:`galutils.models.lora.add_lora`; else None.
        patch, dim: side of a patch in pixels, and length of a token.
    """

    def __init__(self, vit: nn.Module, arch: str, source: WeightsSource, normalization: str = "imagenet"):
        super().__init__()
        if normalization not in NORMALIZATIONS:
            raise GalutilsError(f"normalization is '{normalization}'; choose {', '.join(NORMALIZATIONS)}.")
        self.normalize = Normalize(*NORMALIZATIONS[normalization])
        self.vit, self.arch, self.source, self.normalization = vit, arch, source, normalization
        self.recipe = {"arch": arch, "normalization": normalization}
        self.lora: dict | None = None
        self.patch, self.dim = vit.patch_embed.patch_size[0], vit.embed_dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The last CLS token, normed, (N, dim)."""
        return self.vit.forward_features(self.normalize(images))[:, 0]

    def cls_tokens(self, images: torch.Tensor, blocks: int = 4, final_norm: bool = True) -> torch.Tensor:
        """CLS tokens of the last blocks side by side, the last block's last: (N, blocks * dim) float."""
        if blocks > len(self.vit.blocks):
            raise GalutilsError(f"{self.arch} has {len(self.vit.blocks)} blocks; blocks must not be {blocks}.")
        inputs = self.normalize(images)
        outputs = self.vit.forward_intermediates(
            inputs, blocks, return_prefix_tokens=True, norm=final_norm, output_fmt="NLC", intermediates_only=True
        )
        return torch.cat([prefix[:, 0] for _, prefix in outputs], dim=1)

    def check_size(self, size: int) -> None:
        """Refuse an image size that is not a whole number of patches."""
        if size % self.patch or size < self.patch:
            near = max(1, round(size / self.patch)) * self.patch
            raise GalutilsError(f"{size} pixels are not whole patches of {self.patch}; set image_size to {near}.")

    def normalized(self, normalization: str) -> "Backbone":
        """The same transformer with another normalisation in front; shares its tensors."""
        other = Backbone(self.vit, self.arch, self.source, normalization)
        other.recipe, other.lora = self.recipe | {"normalization": normalization}, self.lora
        return other.train(self.training)

    def count_parameters(self) -> int:
        return sum(p.numel() for p in self.vit.parameters())

    def digest(self) -> str:
        """SHA-256 over all that the output depends on, so that equal networks have equal digests."""
        digest = hashlib.sha256(f"{self.arch} {self.normalization} ".encode())
        for name, tensor in sorted(self.vit.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()


def load_backbone(
    weights: str | Path = "dino", arch: str = "auto", normalization: str = "auto", seed: int = 0
) -> Backbone:
    """A backbone in evaluation mode, its parameters frozen; ``seed`` is that of random weights.

    ``normalization`` is "imagenet", DINO's; "galaxy"; or "auto": what :func:`save_backbone` wrote, else imagenet.
    """
    with seeded(seed):
        vit, arch, source, metadata = vit_weights(arch, str(weights))
    if normalization == "auto":
        normalization = metadata.get("normalization", "imagenet")
    backbone = Backbone(vit, arch, source, normalization).eval().requires_grad_(False)
    # Of random weights, not of "auto": what was found today may be another file tomorrow.
    known = source.source in ("dino", "random", "simulated")
    named = source.source if known else str(Path(weights).expanduser().resolve())
    backbone.recipe = {"weights": named, "arch": arch, "normalization": normalization, "seed": seed}
    return backbone


def save_backbone(backbone: Backbone, path: str | Path, **metadata: str) -> None:
    """Write a plain network as safetensors that :func:`load_backbone` takes as ``weights``.

    ``metadata`` are further entries of the file's own. A network with LoRA adapters is refused.
    """
    from safetensors.torch import save_file

    if backbone.lora is not None:
        raise GalutilsError("The network has LoRA adapters; save merge_lora(backbone).")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.vit.state_dict().items()}
    metadata = {"architecture": backbone.arch, "normalization": backbone.normalization, **metadata}
    kept = ("stand_in", "licence", "learnt_from")
    metadata |= {name: known for name in kept if (known := getattr(backbone.source, name))}
    if backbone.source.seen:
        metadata["seen"] = json.dumps(backbone.source.seen)
    with atomic_path(path) as partial:
        save_file(state, partial, metadata=metadata)
