"""The hyperparameters of training."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from galutils.errors import GalutilsError
from galutils.training.schedule import cosine

#: Ways in which crops are changed for self-distillation.
AUGMENTATIONS = ("galaxy", "dino")

#: What self-distillation trains: adapters, or the whole network.
ADAPTED = ("lora", "all")


class TrainingError(GalutilsError):
    """Training cannot go on; the message says where and why."""


@dataclass(frozen=True)
class Common:
    """What both ways of training have; the defaults are the paper's (section 4)."""

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 5e-4
    min_learning_rate: float = 1e-6
    seed: int = 0
    crop: float = 1.0  # share of each side that is kept around the centre, before all else
    device: str = "auto"  # auto, cpu or cuda
    precision: str = "auto"  # auto: bf16-mixed on a CUDA device, 32-true elsewhere
    keep_images: bool | None = None  # on the device; decided by its free memory if None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2:
            raise GalutilsError("epochs must be at least 1 and batch_size at least 2.")
        if not 0 < self.crop <= 1:
            raise GalutilsError("crop must lie above 0 and at most be 1.")
        if not 0 <= self.min_learning_rate <= self.learning_rate:
            raise GalutilsError("Learning rates must satisfy 0 <= min_learning_rate <= learning_rate.")

    @classmethod
    def pick(cls, names: Mapping[str, Any], **others: Any) -> Self:
        """Settings from a notebook's ``globals()``: every field that has a name there, then ``others``."""
        return cls(**{field.name: names[field.name] for field in fields(cls) if field.name in names} | others)


@dataclass(frozen=True)
class Settings(Common):
    """The hyperparameters of supervised training."""

    weight_decay: float = 0.01
    last_weight_decay: float = 0.0  # at the last epoch, along a cosine; 0: the same throughout
    image_size: int = 256  # height and width in pixels
    augment: bool = False  # turn and flip each training image anew in every epoch
    cache_frozen: bool | None = None  # compute the frozen layers once; if None, where that pays and fits
    warmup: float = 0.0  # share of the epochs in which the learning rate rises from zero
    encoder_rate: float = 1.0  # an encoder's learning rate as a share of the head's
    layer_decay: float = 1.0  # of that from one block of an encoder to the one before

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 32:
            raise GalutilsError("image_size must be at least 32.")
        if self.augment and self.cache_frozen:
            raise GalutilsError("Augmented images differ in every epoch; cache_frozen must not be true with augment.")
        if self.last_weight_decay and not self.weight_decay:
            raise GalutilsError("last_weight_decay wants a weight_decay above 0 to start from.")
        if not (0 <= self.warmup < 1 and 0 < self.encoder_rate <= 1 and 0 < self.layer_decay <= 1):
            raise GalutilsError(
                "warmup must be at least 0 and below 1; encoder_rate and layer_decay above 0, at most 1."
            )

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, from 0."""
        return cosine(self.learning_rate, self.min_learning_rate, epoch, self.epochs, round(self.warmup * self.epochs))

    def decay(self, epoch: int) -> float:
        """The weight decay of an epoch, from 0."""
        return cosine(self.weight_decay, self.last_weight_decay or self.weight_decay, epoch, self.epochs)


@dataclass(frozen=True)
class DinoSettings(Common):
    """The hyperparameters of self-distillation.

    Optimiser, rates, batch and epochs are the paper's, adapters and the teacher's momentum the authors' fork's, loss,
    head, temperatures and sizes of crops DINO's own for ViT-S; ``augmentation`` "galaxy" is this study's.
    """

    warmup: float = 0.1  # share of the steps in which the learning rate rises from zero
    weight_decay: float = 0.04
    last_weight_decay: float = 0.4
    clip_gradient: float = 3.0  # largest norm of all gradients together
    momentum: float = 0.9995  # the teacher's at the first step; 1 at the last
    adapt: str = "lora"  # or all: the whole network learns, and the next three have no say
    rank: int = 32
    alpha: float = 1.0  # adapters are scaled by alpha / rank
    train_biases: bool = True
    train_head: bool = True  # the authors' fork leaves the projection head as it was initialised, but for its biases
    drop_path: float = 0.0  # probability of leaving out a residual branch of the last block, less in earlier ones
    prototypes: int = 65536  # outputs of the head
    head_width: int = 2048
    freeze_prototypes: int = 1  # epochs in which the head's last layer stays as it is
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    center_momentum: float = 0.9
    image_size: int = 224  # of large crops, in pixels; whole patches
    local_size: int = 96  # of small crops, in pixels; rounded to whole patches
    local_crops: int = 8
    global_scale: tuple[float, float] = (0.4, 1.0)  # smallest and largest share of the image's area in a large crop
    local_scale: tuple[float, float] = (0.05, 0.4)
    augmentation: str = "galaxy"  # galaxy: by the four numbers below; dino: DINO's own, for photographs
    rotation: float = 180.0  # degrees to either side
    flip: float = 0.5  # probability
    jitter: float = 0.2  # of brightness and contrast; saturation has half of it, hue a tenth
    blur: float = 0.2  # probability

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.local_crops < 0 or self.prototypes < 2:
            raise GalutilsError("local_crops must be at least 0 and prototypes at least 2.")
        if not 0 <= self.momentum <= 1 or not 0 <= self.warmup < 1:
            raise GalutilsError("momentum must lie between 0 and 1, and warmup at least be 0 and below 1.")
        if not 0 <= self.drop_path < 1:
            raise GalutilsError("drop_path must be at least 0 and below 1.")
        if self.adapt not in ADAPTED:
            raise GalutilsError(f"adapt is '{self.adapt}'; choose {' or '.join(ADAPTED)}.")
        if self.augmentation not in AUGMENTATIONS:
            raise GalutilsError(f"augmentation is '{self.augmentation}'; choose {' or '.join(AUGMENTATIONS)}.")
        if min(self.student_temperature, self.teacher_temperature) <= 0:
            raise GalutilsError("Temperatures must be greater than 0.")
