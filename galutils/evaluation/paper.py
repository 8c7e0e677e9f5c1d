"""The approaches that have a name: titles, which weights they start from, and the numbers that the paper reports."""

from dataclasses import dataclass

#: What tables and figures add to the name of an approach whose pretrained part is not pretrained.
RANDOM_LABEL = "random weights"
#: The same, where it has learnt from simulated galaxies instead.
SIMULATED_LABEL = "from simulated galaxies"
#: And where it is tested on such.
AT_HOME_LABEL = "at home here"


@dataclass(frozen=True)
class Approach:
    """A row of the comparison."""

    title: str  # how tables and figures call it
    weights: str | None = None  # imagenet, dino, official, simulated, or random on purpose; None: built
    supervised: bool = True  # whether it learns from labels; a clustering is scored on all galaxies, after matching
    accuracy: float | None = None  # both from the paper's table, where it has such a row
    roc_auc: float | None = None


APPROACHES = {
    "vgg_scratch": Approach("VGG, 32 channels, from scratch", accuracy=0.73, roc_auc=0.924),
    "vgg11_deep": Approach("VGG11, deep fine-tuning, new later layers", "imagenet", accuracy=0.74, roc_auc=0.924),
    "vgg11_deep_pretrained": Approach("VGG11, deep fine-tuning, pretrained later layers", "imagenet"),
    "vgg11_shallow": Approach("VGG11, shallow fine-tuning", "imagenet", accuracy=0.58, roc_auc=0.880),
    "vgg11_scratch": Approach("VGG11, full width, from scratch"),
    "vgg11_random_frozen": Approach("VGG11, random frozen convolutions", "random"),
    "custom_cnn": Approach("Custom CNN, average pooling first", accuracy=0.76, roc_auc=0.929),
    "custom_cnn_simulated": Approach("Custom CNN, first trained on simulated galaxies", "simulated"),
    "dino_kmeans": Approach("DINO and k-means", "dino", False, 0.16, 0.521),
    "dino_lora_kmeans": Approach("DINO with LoRA, scale 1/32, and k-means", "dino", False, 0.16, 0.522),
    "dino_lora_kmeans_scale1": Approach("DINO with LoRA, scale 1, and k-means", "dino", False),
    "dino_lora_random_base": Approach("DINO with LoRA on a random base, and k-means", "random", False),
    "dino_lora_frozen_head": Approach("DINO with LoRA, frozen random head, and k-means", "dino", False),
    "dino_lora_fork": Approach("DINO with LoRA as in the authors' fork, and k-means", "dino", False),
    "lite0_frozen": Approach("EfficientNet-Lite0, frozen", "official"),
    "lite0_last": Approach("EfficientNet-Lite0, last block trained", "official"),
    "lite0_all": Approach("EfficientNet-Lite0, trained as a whole", "official"),
    "vit_frozen": Approach("DINO ViT-S, frozen", "dino"),
    "vit_lora": Approach("DINO ViT-S, LoRA", "dino"),
}


#: What was chosen by accuracy on galaxies among the first hundred of each class of Galaxy10, 200 test galaxies or, for
#: the simulator, all of them, and by whom it is used, names or how they begin; see docs/assumptions.md.
CHOSEN = {
    "the new head": ("vgg11_",),
    "batch normalisation in new layers": ("vgg11_deep",),
    "the custom network's layout": ("custom_cnn",),
    "the simulator": ("custom_cnn_simulated",),
    "the encoders' learning rate and batch statistics": ("lite0_", "vit_", "convnext_", "dinov", "zoobot"),
}


def starting_weights(notebook: str) -> str | None:
    """Which pretrained weights a notebook's approach takes: that of its name, such as ``03_vgg11_deep``."""
    name = notebook.partition("_")[2]
    approach = Approach("", "official") if name == "encoder" else APPROACHES.get(name)
    return approach.weights if approach else None
