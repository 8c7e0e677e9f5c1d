"""The hyperparameters of supervised training."""

from dataclasses import dataclass

from galutils.errors import GalutilsError


class TrainingError(GalutilsError):
    """Training cannot go on; the message says where and why."""


@dataclass(frozen=True)
class Settings:
    """The hyperparameters of a training run; the defaults are the paper's."""

    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 5e-4
    min_learning_rate: float = 1e-6
    weight_decay: float = 0.01
    seed: int = 0
    image_size: int = 256
    crop: float = 1.0  # share of each side that is kept around the centre
    augment: bool = False  # turn and flip each training image anew in every epoch
    device: str = "auto"  # auto, cpu, cuda, mps
    devices: int = 1  # processes, each with a device of its own; every batch is shared out among them
    precision: str = "auto"  # auto: bf16-mixed on a CUDA device, 32-true elsewhere
    keep_images: bool | None = None  # on the device; decided by its free memory if None
    keep_frozen: bool | None = None  # compute the frozen layers once; if None, where that pays and fits
    compile: bool = False  # fuse the layers by torch.compile; on a CPU that is slower, see benchmarks/

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.image_size < 32:
            raise GalutilsError("epochs must be at least 1, batch_size at least 2 and image_size at least 32.")
        if not 0 < self.crop <= 1:
            raise GalutilsError("crop must lie above 0 and at most be 1.")
        if self.augment and self.keep_frozen:
            raise GalutilsError("Augmented images differ in every epoch; keep_frozen must not be true with augment.")
        if not 0 <= self.min_learning_rate <= self.learning_rate:
            raise GalutilsError("Learning rates must satisfy 0 <= min_learning_rate <= learning_rate.")
