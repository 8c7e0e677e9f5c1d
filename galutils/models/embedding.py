"""From images to embeddings: preparation, the network's pass over a whole file, and what is kept on disk."""

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from galutils.data.galaxies import Galaxies, margin
from galutils.data.loader import load_images, read_batch
from galutils.device import device_name, pick_device
from galutils.errors import GalutilsError
from galutils.files import atomic_path, code_digest
from galutils.memory import freed_memory_kept
from galutils.models.vit import Backbone


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an embedding; the defaults are DINO's own evaluation of ViT-S.

    DINO resizes to 256 pixels and keeps the central 224: 7/8 of each side at 224 pixels, which is how it is
    said here. Most of a Galaxy10 frame is sky: ``crop=0.5`` enlarges the central half.
    """

    image_size: int = 224  # height and width that the network sees; whole patches
    crop: float = 0.875  # share of each side that is kept around the centre
    interpolation: str = "bicubic"  # or bilinear; antialiased
    blocks: int = 4  # CLS tokens of this many last blocks, side by side
    final_norm: bool = True  # pass each of them through the network's final norm
    l2: bool = False  # scale the embedding to unit length

    def __post_init__(self) -> None:
        if not 0 < self.crop <= 1 or self.image_size < 1 or self.blocks < 1:
            raise GalutilsError("crop must lie above 0 and at most be 1; image_size and blocks must be at least 1.")
        if self.interpolation not in ("bicubic", "bilinear"):
            raise GalutilsError(f"interpolation is '{self.interpolation}' but must be bicubic or bilinear.")


def prepare_images(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Crop and resize: (N, 3, H, W) uint8 or float to (N, 3, size, size) float32, grey levels 0 to 255."""
    size, images = preprocessing.image_size, central(images, preprocessing.crop).float()
    if images.shape[-1] == size:
        return images
    images = nn.functional.interpolate(images, (size, size), mode=preprocessing.interpolation, antialias=True)
    return images.clamp_(0, 255)  # bicubic interpolation overshoots at edges


def central(images: torch.Tensor, crop: float) -> torch.Tensor:
    """The central part of square images (..., H, H) that is ``crop`` of each side, at least a pixel or two."""
    side = images.shape[-1]
    edge = margin(side, crop)
    return images[..., edge : side - edge, edge : side - edge]


def read_prepared(galaxies: Galaxies, rows: Sequence[int], preprocessing: Preprocessing) -> torch.Tensor:
    """Images of some rows just as a backbone sees them: (n, 3, size, size) float32, grey levels 0 to 255."""
    return prepare_images(read_batch(galaxies, rows), preprocessing)


class Embedder(nn.Module):
    """A backbone with what comes before and after it: images (N, 3, H, W) uint8 in, (N, blocks * dim) float32 out."""

    def __init__(self, backbone: Backbone, preprocessing: Preprocessing):
        super().__init__()
        self.backbone, self.preprocessing = backbone, preprocessing

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        wanted = self.preprocessing
        tokens = self.backbone.cls_tokens(prepare_images(images, wanted), wanted.blocks, wanted.final_norm).float()
        return nn.functional.normalize(tokens, dim=1) if wanted.l2 else tokens


class Embedding(NamedTuple):
    """What :func:`embed` gives."""

    values: np.ndarray  # (N, blocks * dim) float32, in the file's order
    device: str  # on which it was computed
    seconds: float | None  # that computing it took; None where it was kept from before, perhaps by another machine


def embed(
    backbone: Backbone,
    galaxies: Galaxies,
    preprocessing: Preprocessing,
    *,
    cache_dir: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
) -> Embedding:
    """Embeddings of all rows of a file, in the file's order. Labels are not looked at.

    In the folder ``cache_dir``, if given, the embedding is kept under a key of all that it depends on; if it is
    there already, nothing is computed. ``device`` "auto" is CUDA where there is one.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    backbone.check_size(preprocessing.image_size)
    place = pick_device(device)
    path, key = None, ""
    if cache_dir is not None:
        parts = {
            "data": galaxies.sha256,
            "weights": backbone.digest(),
            "preprocessing": asdict(preprocessing),
            "code": code_digest("data", "models"),
            "torch": torch.__version__,
            "device": place.type,
        }
        key = json.dumps(parts, sort_keys=True)
        path = Path(cache_dir) / f"embedding-{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
        try:
            with safe_open(path, framework="np") as file:
                if (file.metadata() or {}).get("key") == key:
                    return Embedding(file.get_tensor("embedding"), device_name(place), None)
        except (OSError, SafetensorError):
            pass  # not there or damaged: computed again
    started = time.perf_counter()
    embedding = _compute(backbone, galaxies, preprocessing, place, batch_size)
    seconds = time.perf_counter() - started
    if path is not None:
        with atomic_path(path) as partial:
            save_file({"embedding": embedding}, partial, metadata={"key": key})
    return Embedding(embedding.numpy(), device_name(place), seconds)


@freed_memory_kept()
def _compute(backbone, galaxies, preprocessing, device, batch_size) -> torch.Tensor:
    rows = np.arange(len(galaxies))
    # Every image is needed once: there is no point in holding them all.
    source = load_images(galaxies, rows, galaxies.image_size, device, resident=False, once=True)
    batches = np.array_split(rows, math.ceil(len(rows) / batch_size))
    home, was_training = next(backbone.parameters()).device, backbone.training
    embedder = Embedder(backbone, preprocessing).eval().to(device)
    try:
        with torch.inference_mode():
            return torch.cat([embedder(images).cpu() for images in source.batches(batches)])
    finally:
        backbone.train(was_training).to(home)
