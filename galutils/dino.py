"""A vision transformer as an embedder of galaxies (the paper's section 4.5).

The embedding is DINO's own for linear evaluation (Caron et al. 2021, section 4.1): the CLS tokens of the last
four blocks, each after the final norm, side by side: 1536 numbers for ViT-S. The network never changes while
it embeds, so that an embedding is computed once and kept on disk.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from galutils.allocator import freed_memory_kept
from galutils.errors import GalutilsError
from galutils.files import atomic_path, sha256
from galutils.galaxy10 import Galaxies
from galutils.images import load_images, read_batch
from galutils.models import GALAXY_MEAN, GALAXY_STD, IMAGENET_MEAN, IMAGENET_STD, Normalize
from galutils.weights import WeightsSource, vit_weights

NORMALIZATIONS = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "galaxy": (GALAXY_MEAN, GALAXY_STD)}


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
    edge = min(round(side * (1 - crop) / 2), (side - 1) // 2)
    return images[..., edge : side - edge, edge : side - edge]


def read_prepared(galaxies: Galaxies, rows: Sequence[int], preprocessing: Preprocessing) -> torch.Tensor:
    """Images of some rows just as a backbone sees them: (n, 3, size, size) float32, grey levels 0 to 255."""
    return prepare_images(read_batch(galaxies, rows), preprocessing)


class Embedding(NamedTuple):
    """What :func:`embed` gives.

    Attributes:
        values: (N, blocks * dim) float32, in the file's order.
        seconds: that computing it took, whenever that was.
    """

    values: np.ndarray
    seconds: float


class Backbone(nn.Module):
    """A timm vision transformer with its normalisation in front.

    Attributes:
        vit: the transformer; its state is the backbone's whole state.
        arch: timm's name of it.
        source: where its weights came from.
        normalization: "imagenet", or "galaxy": mean and standard deviation of Galaxy10.
        recipe: arguments of :func:`load_backbone` that give it again, before anything was trained.
        lora: settings of adapters that are not merged, see :func:`galutils.lora.add_lora`; else None.
        patch: height and width of a patch in pixels.
        dim: length of a token.
    """

    def __init__(self, vit: nn.Module, arch: str, source: WeightsSource, normalization: str = "imagenet"):
        super().__init__()
        if normalization not in NORMALIZATIONS:
            raise GalutilsError(f"normalization is '{normalization}' but must be {' or '.join(NORMALIZATIONS)}.")
        self.normalize = Normalize(*NORMALIZATIONS[normalization])
        self.vit, self.arch, self.source, self.normalization = vit, arch, source, normalization
        self.recipe = {"arch": arch, "normalization": normalization}
        self.lora: dict | None = None
        self.patch, self.dim = vit.patch_embed.patch_size[0], vit.embed_dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images: (N, 3, H, W), grey levels 0 to 255; returns the last CLS token, normed, (N, dim)."""
        return self.vit.forward_features(self.normalize(images))[:, 0]

    def cls_tokens(self, images: torch.Tensor, blocks: int = 4, final_norm: bool = True) -> torch.Tensor:
        """CLS tokens of the last blocks side by side, the last block's last.

        Args:
            images: (N, 3, H, W), grey levels 0 to 255.

        Returns:
            (N, blocks * dim) float.
        """
        if blocks > len(self.vit.blocks):
            raise GalutilsError(f"{self.arch} has {len(self.vit.blocks)} blocks; blocks must not be {blocks}.")
        outputs = self.vit.forward_intermediates(
            self.normalize(images),
            indices=blocks,
            return_prefix_tokens=True,
            norm=final_norm,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat([prefix[:, 0] for _, prefix in outputs], dim=1)

    def check_size(self, size: int) -> None:
        """Refuse an image size that is not a whole number of patches."""
        if size % self.patch or size < self.patch:
            near = max(1, round(size / self.patch)) * self.patch
            raise GalutilsError(f"{size} pixels are not whole patches of {self.patch}; set image_size to {near}.")

    def copy(self) -> "Backbone":
        """A copy that shares no tensors."""
        return deepcopy(self)

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
    """A backbone in evaluation mode, its parameters frozen.

    Args:
        weights, arch: see :func:`galutils.weights.vit_weights`.
        normalization: "imagenet", DINO's; "galaxy"; or "auto": what :func:`save_backbone` wrote, else imagenet.
        seed: of random weights; the same seed gives the same network.

    Raises:
        WeightsError: see there.
    """
    with seeded(seed):
        vit, arch, source, metadata = vit_weights(arch, str(weights))
    if normalization == "auto":
        normalization = metadata.get("normalization", "imagenet")
    backbone = Backbone(vit, arch, source, normalization).eval().requires_grad_(False)
    # Of random weights, not of "auto": what was found today may be another file tomorrow.
    named = source.source if source.source in ("dino", "random") else str(Path(weights).expanduser().resolve())
    backbone.recipe = {"weights": named, "arch": arch, "normalization": normalization, "seed": seed}
    return backbone


def save_backbone(backbone: Backbone, path: str | Path, **metadata: str) -> None:
    """Write a plain network as safetensors that :func:`load_backbone` takes as ``weights``.

    Args:
        metadata: further entries of the file's metadata, text to text.

    Raises:
        GalutilsError: the network has LoRA adapters; merge them first.
    """
    from safetensors.torch import save_file

    if backbone.lora is not None:
        raise GalutilsError("The network has LoRA adapters; save merge_lora(backbone), or the adapters by save_lora.")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.vit.state_dict().items()}
    metadata = {"architecture": backbone.arch, "normalization": backbone.normalization, **metadata}
    if backbone.source.stand_in:
        metadata["stand_in"] = backbone.source.stand_in
    with atomic_path(path) as partial:
        save_file(state, partial, metadata=metadata)


def embed(
    backbone: Backbone,
    galaxies: Galaxies,
    preprocessing: Preprocessing | None = None,
    *,
    cache_dir: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 64,
) -> Embedding:
    """Embeddings of all rows of a file, in the file's order. Labels are not looked at.

    Args:
        cache_dir: a folder in which the embedding is kept under a key of data, weights and preprocessing;
            if it is there already, nothing is computed. None: neither looked for nor kept.
        device: "auto" is CUDA where there is one.

    Raises:
        GalutilsError: the image size is not a whole number of patches, or there are too few blocks.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    preprocessing = preprocessing or Preprocessing()
    backbone.check_size(preprocessing.image_size)
    path, key = None, ""
    if cache_dir is not None:
        key = embedding_key(backbone, galaxies, preprocessing)
        path = Path(cache_dir) / f"embedding-{hashlib.sha256(key.encode()).hexdigest()[:20]}.safetensors"
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") == key:
                    return Embedding(file.get_tensor("embedding"), float(metadata["seconds"]))
        except (OSError, SafetensorError):
            pass  # not there or damaged: computed again
    started = time.perf_counter()
    embedding = _compute(backbone, galaxies, preprocessing, pick_device(device), batch_size)
    seconds = time.perf_counter() - started
    if path is not None:
        with atomic_path(path) as partial:
            save_file({"embedding": embedding}, partial, metadata={"key": key, "seconds": str(seconds)})
    return Embedding(embedding.numpy(), seconds)


def embedding_key(backbone: Backbone, galaxies: Galaxies, preprocessing: Preprocessing) -> str:
    """Everything that an embedding depends on, as JSON."""
    key = {"data": sha256(galaxies.path), "weights": backbone.digest(), "preprocessing": asdict(preprocessing)}
    return json.dumps(key, sort_keys=True)


@freed_memory_kept()
def _compute(backbone, galaxies, preprocessing, device, batch_size) -> torch.Tensor:
    rows = np.arange(len(galaxies))
    # Every image is needed once: there is no point in holding them all.
    source = load_images(galaxies, rows, galaxies.image_size, device, resident=False)
    batches = np.array_split(rows, math.ceil(len(rows) / batch_size))
    home, was_training = next(backbone.parameters()).device, backbone.training
    backbone.eval().to(device)
    try:
        with torch.inference_mode():
            tokens = [
                backbone.cls_tokens(
                    prepare_images(images, preprocessing), preprocessing.blocks, preprocessing.final_norm
                ).cpu()
                for images in source.batches(batches)
            ]
    finally:
        backbone.train(was_training).to(home)
    embedding = torch.cat(tokens).float()
    return nn.functional.normalize(embedding, dim=1) if preprocessing.l2 else embedding


def raw_pixels(galaxies: Galaxies, size: int = 32, crop: float = 1.0) -> np.ndarray:
    """The images themselves as (N, 3 * size * size) float32 between 0 and 1: what an embedding must beat."""
    images = galaxies.read_images(np.arange(len(galaxies)), size, crop)
    return images.reshape(len(images), -1).astype(np.float32) / 255


def pick_device(device: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's CPU generator as if freshly seeded, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
