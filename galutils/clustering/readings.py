"""Other readings of the paper's fifth and sixth row that need no training: embeddings prepared or networks changed.

``embed`` is :func:`galutils.models.embedding.embed` with all but the backbone given, and with the study's preprocessing
where no other is.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from galutils.clustering.diagnostics import assess_clusters, drift
from galutils.clustering.methods import reduce_dimensions
from galutils.data.galaxies import Galaxies
from galutils.models.attention import cls_attention, map_distance
from galutils.models.embedding import Embedding, Preprocessing
from galutils.models.lora import drop_adapters, started_from
from galutils.models.vit import Backbone, load_backbone


def references(
    embed: Callable[..., Embedding], frozen: Backbone, galaxies: Galaxies, pixels: int, seed: int
) -> dict[str, np.ndarray]:
    """Embeddings (N, D) that the frozen transformer's is held against, and its own as the last.

    Args:
        pixels: height and width of the raw images that stand in for an embedding.
        seed: of the weights of a transformer of the same kind that was never trained.
    """
    untrained = load_backbone("random", frozen.arch, frozen.normalization, seed)
    images = galaxies.read_images(np.arange(len(galaxies)), pixels)
    return {
        f"raw pixels, {pixels} by {pixels}": images.reshape(len(images), -1).astype(np.float32) / 255,
        "untrained transformer": embed(untrained).values,
        "frozen transformer": embed(frozen).values,
    }


def preparations(
    embed: Callable[..., Embedding], frozen: Backbone, preprocessing: Preprocessing, enlarged: float, smaller: float
) -> dict[str, np.ndarray]:
    """Embeddings (N, D) by the frozen transformer, each prepared otherwise in one thing.

    Args:
        enlarged: share of each side that is kept where the centre is enlarged.
        smaller: share of the input's side in pixels, in whole patches, where that is varied.
    """
    embedding = embed(frozen).values
    side = max(1, round(smaller * preprocessing.image_size / frozen.patch)) * frozen.patch
    spread = embedding.std(axis=0)
    cases = {
        "unit length": embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
        "standardised before PCA": (embedding - embedding.mean(axis=0)) / np.where(spread > 0, spread, 1),
    }
    changed = {
        f"central {enlarged:.0%} of each side enlarged": replace(preprocessing, crop=enlarged),
        f"input of {side} pixels": replace(preprocessing, image_size=side),
        f"final norm {'left out' if preprocessing.final_norm else 'put in'}": replace(
            preprocessing, final_norm=not preprocessing.final_norm
        ),
    }
    cases |= {name: embed(frozen, preprocessing=own).values for name, own in changed.items()}
    levels = {"unit": "grey levels 0 to 1, not normalised", "none": "grey levels 0 to 255, not normalised"}
    return cases | {name: embed(frozen.normalized(kind)).values for kind, name in levels.items()}


def assess_components(embedding: np.ndarray, labels: np.ndarray, variance: float) -> pd.DataFrame:
    """:func:`assess_clusters` with components that are not centred, and with the first 2 to 200 of those that are."""
    # All components of what a first PCA left only turn the features, which changes no distance.
    plain = assess_clusters(reduce_dimensions(embedding, variance, centered=False), labels, 1.0)
    few = [count for count in (2, 5, 10, 20, 50, 100, 200) if count < min(embedding.shape)]
    names = ["components not centred", *(f"first {count} components" for count in few)]
    leading = reduce_dimensions(embedding, few[-1]) if few else embedding
    return pd.DataFrame([plain, *(assess_clusters(leading[:, :count], labels, 1.0) for count in few)], names)


def lost_adapters(adapted: Mapping[str, Backbone], frozen: Backbone) -> dict[str, Backbone]:
    """The first adapted network that started from the frozen one, without its adapters; see :func:`drop_adapters`."""
    name = next((name for name, network in adapted.items() if started_from(network, frozen)), None)
    return {f"adapters lost at evaluation: {name}": drop_adapters(adapted[name], frozen)} if name else {}


def assess_readings(
    embed: Callable[..., Embedding],
    frozen: Backbone,
    networks: Mapping[str, Backbone],
    labels: np.ndarray,
    variance: float,
    images: torch.Tensor,
) -> pd.DataFrame:
    """Readings of the sixth row beside the fifth, one row each: :func:`assess_clusters`, :func:`drift` and changes.

    ``change`` is what accuracy has more than the frozen transformer's, ``auc_change`` the same of the hard ROC AUC,
    ``attention`` see :func:`attention_change`. The last reading is that nothing was trained.

    Args:
        networks: by name.
        images: (N, 3, H, W) as prepared, some of them, for attention.
    """
    embedding, maps = embed(frozen).values, cls_attention(frozen, images).mean(1)
    before, rows = assess_clusters(embedding, labels, variance), {}
    for name, network in networks.items():
        own = embed(network).values
        attention = {"attention": attention_change(maps, cls_attention(network, images).mean(1))}
        rows[name] = assess_clusters(own, labels, variance) | drift(embedding, own) | attention
    again = assess_clusters(embedding, labels, variance, seeds=range(10, 20))
    rows["nothing trained, k-means from other seeds"] = again | drift(embedding, embedding) | {"attention": 0.0}
    table = pd.DataFrame(list(rows.values()), list(rows))
    changes = {"change": "accuracy", "auc_change": "roc_auc_hard"}
    return table.assign(**{name: table[score] - before[score] for name, score in changes.items()})


def attention_change(before: torch.Tensor, after: torch.Tensor) -> float:
    """How far two networks' attention to the same images is apart, as a share of how far two galaxies are in the first.

    Means of the Jensen-Shannon distance between maps (N, h, w), such as what the last block's CLS token gives to the
    patches, heads averaged; neighbouring images are the two galaxies. NaN where the networks' patches have different
    sizes.
    """
    if before.shape != after.shape:
        return float("nan")
    return float(map_distance(before, after).mean() / map_distance(before[:-1], before[1:]).mean())
