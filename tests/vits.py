"""Vision transformers small enough for tests."""

import torch
from timm.models.vision_transformer import VisionTransformer

from galutils.dino import Backbone
from galutils.weights import WeightsSource


def tiny_backbone(seed: int = 0, **options) -> Backbone:
    """Four blocks of 32 numbers and two heads on patches of 8 pixels; made for 32 pixels, takes any whole patches."""
    torch.manual_seed(seed)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2} | options
    vit = VisionTransformer(**shape, num_classes=0, dynamic_img_size=True)
    # As initialised, the blocks hardly do anything; make them matter.
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Backbone(vit, "tiny", WeightsSource("random")).eval().requires_grad_(False)


def grey_levels(count: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    """(count, 3, size, size) uint8."""
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(seed))
