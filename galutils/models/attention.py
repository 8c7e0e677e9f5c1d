"""Where networks look: attention of a vision transformer's CLS token, and Grad-CAM of convolutional ones.

The paper shows the CLS attention of the last block, plain and fine-tuned (its figures 3 and 5), and notices "a
significant difference" between the two. Beside the pictures stand numbers: how far maps change by fine-tuning, what
share of the attention falls on the galaxy, and what happens to the output if the galaxy is taken out.

Images are tensors (N, 3, H, W), grey levels 0 to 255, everywhere in this module; a ViT wants whole patches.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from torch import nn

from galutils.models.cnn import GalaxyNet
from galutils.models.encoder import Encoder
from galutils.models.vit import Backbone


@torch.no_grad()
def attention_weights(backbone: Backbone, images: torch.Tensor, blocks: Sequence[int] = (-1,)) -> list[torch.Tensor]:
    """Attention of each of the blocks, (N, heads, tokens, tokens) float32; rows sum to one, and CLS is token 0.

    Computed beside timm's fused path from the very same inputs. At 224 pixels and patches of 16 a block takes
    about a megabyte per image and six heads. Negative ``blocks`` count from the last.
    """
    weights: dict[int, torch.Tensor] = {}
    hooks = [
        backbone.vit.blocks[index].attn.register_forward_pre_hook(
            lambda module, inputs, i=index: weights.update({i: _weights(module, inputs[0])})
        )
        for index in blocks
    ]
    try:
        backbone(images)
    finally:
        for hook in hooks:
            hook.remove()
    return [weights[index] for index in blocks]


def _weights(attention: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    qkv = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = attention.q_norm(qkv[0]), attention.k_norm(qkv[1])
    return (query.float() * attention.scale @ key.float().transpose(-2, -1)).softmax(-1)


def cls_attention(backbone: Backbone, images: torch.Tensor, batch_size: int = 32) -> torch.Tensor:
    """What each head's CLS token gives to each patch in the last block: (N, heads, H / patch, W / patch) float32.

    With what goes to the CLS token itself, one in sum.
    """
    rows = [attention_weights(backbone, batch)[0][:, :, 0] for batch in images.split(batch_size)]
    return _grid(torch.cat(rows), backbone, images)


def attention_rollout(backbone: Backbone, images: torch.Tensor, batch_size: int = 32) -> torch.Tensor:
    """Attention followed through all blocks, from CLS in the last to the patches: (N, H / patch, W / patch) float32.

    Abnar & Zuidema 2020, equation 1: heads are averaged; half of a block's output is its input, by the residual
    connection. With what comes from the CLS token itself, one in sum.
    """
    rows = []
    for batch in images.split(batch_size):
        row = None  # CLS's, of the product over blocks, begun at the last, so that it stays one row
        for weights in reversed(attention_weights(backbone, batch, range(len(backbone.vit.blocks)))):
            mean = weights.mean(1)
            step = (mean + torch.eye(mean.shape[-1], device=mean.device)) / 2
            row = step[:, :1] if row is None else row @ step
        rows.append(row[:, 0])
    return _grid(torch.cat(rows), backbone, images)


def _grid(rows: torch.Tensor, backbone: Backbone, images: torch.Tensor) -> torch.Tensor:
    """(..., tokens) to (..., H / patch, W / patch), without CLS and registers."""
    height, width = (side // backbone.patch for side in images.shape[-2:])
    return rows[..., backbone.vit.num_prefix_tokens :].unflatten(-1, (height, width))


def galaxy_masks(images: torch.Tensor) -> np.ndarray:
    """The pixels of each image's central galaxy, (N, H, W) bool; nowhere true where nothing rises above the sky.

    The galaxy is photutils's segment nearest to the centre. A segment is ten or more connected pixels of the
    smoothed mean of the channels that lie 3 standard deviations of the sky above the sky, both sigma-clipped.
    """
    from astropy.stats import sigma_clipped_stats
    from photutils.segmentation import detect_sources
    from scipy.ndimage import gaussian_filter

    brightness = images.double().mean(1).cpu().numpy()
    masks, middle = np.zeros(brightness.shape, bool), (np.array(brightness.shape[1:]) - 1) / 2
    for i, image in enumerate(brightness):
        smooth = gaussian_filter(image, 1.0)
        _, sky, noise = sigma_clipped_stats(smooth, sigma=3.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # photutils warns where it finds nothing
            # A sky of whole grey levels may have no spread at all.
            segments = detect_sources(smooth, sky + 3 * max(noise, 0.5), 10)
        if segments is not None:
            pixels = np.argwhere(segments.data)
            nearest = pixels[np.argmin(((pixels - middle) ** 2).sum(1))]
            masks[i] = segments.data == segments.data[tuple(nearest)]
    return masks


def attention_on_galaxy(maps: np.ndarray | torch.Tensor, masks: np.ndarray) -> np.ndarray:
    """Share of the attention mass that falls on the galaxy: (N, ...) float64, NaN where a map is zero or a mask empty.

    Of ``maps`` (N, ..., h, w), none negative, only patches count, not CLS; a patch that the galaxy of ``masks``
    (N, H, W) covers in part counts in part. Attention spread evenly gives the galaxy's share of the frame,
    ``masks.mean((1, 2))``.
    """
    maps = torch.as_tensor(maps).double().cpu()
    covered = torch.from_numpy(np.asarray(masks)).double()[:, None]
    covered = nn.functional.adaptive_avg_pool2d(covered, maps.shape[-2:])[:, 0]
    covered = covered.reshape(len(maps), *[1] * (maps.ndim - 3), *maps.shape[-2:])
    share = (maps * covered).sum((-2, -1)) / maps.sum((-2, -1))
    empty = torch.from_numpy(~np.asarray(masks).any(axis=(1, 2))).reshape(-1, *[1] * (share.ndim - 1))
    return share.masked_fill(empty, float("nan")).numpy()


def control_maps(images: torch.Tensor, shape: tuple[int, int], width: float = 0.15) -> dict[str, torch.Tensor]:
    """Maps (N, h, w) float32 of two onlookers that know nothing of galaxies, to be measured beside attention.

    "a centred blob" is the same Gaussian for every image, with an SD of ``width`` sides, "a map of brightness" the
    mean grey level of each patch above that of the darkest.
    """
    bright = nn.functional.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), shape)[:, 0]
    y, x = torch.meshgrid(*((torch.arange(side) + 0.5) / side - 0.5 for side in shape), indexing="ij")
    blob = torch.exp(-(y**2 + x**2) / (2 * width**2))
    return {
        "a centred blob": blob.expand(len(images), -1, -1),
        "a map of brightness": bright - bright.amin((1, 2), keepdim=True),
    }


def map_distance(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Jensen-Shannon distance of maps (..., h, w), each scaled to a sum of one: (...) from 0, equal, to 1, apart.

    To base 2. NaN where a map is zero.
    """
    from scipy.spatial.distance import jensenshannon

    with np.errstate(invalid="ignore"):
        return jensenshannon(*(maps.flatten(-2).double().cpu().numpy() for maps in (first, second)), axis=-1, base=2)


def attention_changes(before: torch.Tensor, after: Sequence[torch.Tensor]) -> dict[str, np.ndarray]:
    """How far attention changes by training, and how far apart maps are without it: mean distances, (N,) each.

    "before and after" is between the same head's maps, "between heads" between two heads of the network before, and
    "between seeds" between the same head's maps after training with two seeds, if there are several.

    Args:
        before: (N, heads, h, w) of :func:`cls_attention`. after: the same for each seed of the training.
    """
    heads = [map_distance(before[:, a], before[:, b]) for a, b in combinations(range(before.shape[1]), 2)]
    seeds = [map_distance(one, other).mean(1) for one, other in combinations(after, 2)]
    found = {"before and after": [map_distance(before, own).mean(1) for own in after]}
    found |= {"between heads": heads, "between seeds": seeds}
    return {name: np.mean(distances, axis=0) for name, distances in found.items() if distances}


@torch.no_grad()
def deletion_effects(network: GalaxyNet | Backbone, images: torch.Tensor, masks: np.ndarray) -> pd.DataFrame:
    """What blanking the galaxy, or as much of the sky, does to a network's output: ``galaxy`` and ``sky``, N rows.

    Blanked pixels get the median of the pixels outside the galaxy. The sky's are the galaxy's mask moved by half a
    frame, but for what the galaxy covers. The effect is, for a classifier, how much probability the class loses that
    it gives to the whole image; for a transformer, one less the cosine of the CLS tokens. NaN where a mask is empty or
    full.
    """
    height, width = masks.shape[1:]
    moved = np.roll(masks, (height // 2, width // 2), axis=(1, 2)) & ~masks
    outside = np.where(masks[:, None], np.nan, images.double().cpu().numpy())
    usable = moved.any(axis=(1, 2))
    fill = np.nan_to_num(np.nanmedian(np.where(usable[:, None, None, None], outside, 0), axis=(2, 3), keepdims=True))
    outputs = []
    for mask in (np.zeros_like(masks), masks, moved):
        blanked = torch.where(torch.from_numpy(mask)[:, None], torch.from_numpy(fill).float(), images.float().cpu())
        outputs.append(torch.cat([network(batch) for batch in blanked.split(32)]).double())
    whole = outputs[0]
    if isinstance(network, Backbone):
        effects = [1 - nn.functional.cosine_similarity(whole, other) for other in outputs[1:]]
    else:
        chosen = whole.argmax(1, keepdim=True)
        effects = [(whole.softmax(1) - other.softmax(1)).gather(1, chosen)[:, 0] for other in outputs[1:]]
    return pd.DataFrame({"galaxy": effects[0], "sky": effects[1]}).where(np.repeat(usable[:, None], 2, axis=1))


def has_maps(network: GalaxyNet) -> bool:
    """Whether :func:`grad_cam` can draw a classifier: transformers have no maps of convolutions."""
    return not any(isinstance(layer, Encoder) and hasattr(layer.net, "patch_embed") for layer in network.modules())


def _apply(values: torch.Tensor, layer: Callable) -> torch.Tensor:
    return layer(values)


def grad_cam(network: GalaxyNet, images: torch.Tensor) -> np.ndarray:
    """Grad-CAM at the last convolution: (N, H, W) float32 from 0 to 1, each image on its own scale.

    Selvaraju et al. 2017, equations 1 and 2, for the predicted classes. The network stays as it is.
    """
    layers, encoders = [], [layer.maps for layer in network.modules() if isinstance(layer, Encoder)]
    for layer in (*network.frozen, *network.trained):
        layers += [layer.maps, layer.pool] if isinstance(layer, Encoder) else [layer]
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d) or layer in encoders)
    # Activations are taken after the rectifier, which may overwrite the convolution's output in place.
    while isinstance(layers[last + 1], nn.ReLU | nn.BatchNorm2d):
        last += 1
    was_training = network.training
    network.eval()
    with torch.no_grad():
        maps = reduce(_apply, layers[: last + 1], images)
    with torch.enable_grad():
        logits = reduce(_apply, layers[last + 1 :], maps.requires_grad_())
        (gradients,) = torch.autograd.grad(logits.amax(1).sum(), maps)
    network.train(was_training)
    cam = (gradients.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True).relu()
    cam = nn.functional.interpolate(cam, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    return ((cam - low) / (high - low).clamp(min=1e-7)).cpu().numpy()
