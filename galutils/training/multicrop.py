"""Many views of each galaxy, as DINO wants them, made on the device in batches by kornia."""

import torch
from torch import nn

from galutils.models.embedding import central
from galutils.training.settings import DinoSettings


class MultiCrop:
    """Two large and several small crops of each image (Caron et al. 2020, "SwAV", section 3.3).

    A galaxy has no up: any rotation and flip shows a valid one. Crops keep the ratio of their axes, since
    ellipticity is part of the class. Where a turned frame has no sky to show, the frame is mirrored. Small crops
    are rounded to whole patches of ``patch`` pixels a side.
    """

    def __init__(self, settings: DinoSettings, patch: int):
        import kornia.augmentation as augment

        def view(size: int, scale: tuple[float, float]) -> nn.Module:
            jitter = settings.jitter
            return augment.AugmentationSequential(
                augment.RandomHorizontalFlip(p=settings.flip),
                augment.RandomAffine(settings.rotation, padding_mode="reflection", p=1.0),
                augment.RandomResizedCrop((size, size), scale, ratio=(1.0, 1.0), cropping_mode="resample"),
                augment.ColorJitter(jitter, jitter, jitter / 2, jitter / 10, p=0.8),
                augment.RandomGaussianBlur((5, 5), (0.1, 1.5), p=settings.blur),
                data_keys=["input"],
            )

        self.large = view(settings.image_size, settings.global_scale)
        self.small = view(max(1, round(settings.local_size / patch)) * patch, settings.local_scale)
        self.crop, self.local_crops = settings.crop, settings.local_crops

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Views of images (B, 3, H, W) uint8, as grey levels 0 to 255 in float32; draws from torch's global generator.

        [(2 * B, 3, image_size, image_size), (local_crops * B, 3, local_size, local_size)], one view of all images
        after another; the second is missing where there are no small crops.
        """
        images = central(images, self.crop).float() / 255
        views = [self.large(images.repeat(2, 1, 1, 1))]
        if self.local_crops:
            views.append(self.small(images.repeat(self.local_crops, 1, 1, 1)))
        return [view.clamp(0, 1) * 255 for view in views]
