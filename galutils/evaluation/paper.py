"""The approaches of the paper, with the numbers that it reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Approach:
    """A row of the comparison.

    Attributes:
        title: how tables and figures call it.
        built: whether its network is built from scratch.
        paper_accuracy, paper_roc_auc: from the paper's table; None where it has no such row.
        supervised: whether it learns from labels. A clustering is scored on all galaxies, after matching.
    """

    title: str
    built: bool
    paper_accuracy: float | None = None
    paper_roc_auc: float | None = None
    supervised: bool = True


APPROACHES = {
    "vgg_scratch": Approach("VGG, 32 channels, from scratch", True, 0.73, 0.924),
    "vgg11_deep": Approach("VGG11, deep fine-tuning, new later layers", False, 0.74, 0.924),
    "vgg11_deep_pretrained": Approach("VGG11, deep fine-tuning, pretrained later layers", False),
    "vgg11_shallow": Approach("VGG11, shallow fine-tuning", False, 0.58, 0.880),
    "custom_cnn": Approach("Custom CNN, average pooling first", True, 0.76, 0.929),
    "dino_kmeans": Approach("DINO and k-means", False, 0.16, 0.521, supervised=False),
    "dino_lora_kmeans": Approach("DINO with LoRA, scale 1/32, and k-means", False, 0.16, 0.522, supervised=False),
    "dino_lora_kmeans_scale1": Approach("DINO with LoRA, scale 1, and k-means", False, supervised=False),
}
