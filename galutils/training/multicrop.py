"""Many views of each galaxy, as DINO wants them, made on the device in batches by kornia."""

import torch
from torch import nn

from galutils.models.embedding import central


class MultiCrop:
    """Two large and several small crops of each image (Caron et al. 2020, "SwAV", section 3.3).

    A galaxy has no up: any rotation and flip shows a valid one. Crops keep the ratio of their axes, since
    ellipticity is part of the class. Where a turned frame has no sky to show, the frame is mirrored.

    Args:
        image_size, local_size: of large and small crops in pixels; the second is rounded to whole patches.
        local_crops: how many small crops; 0 for none.
        patch: height and width of a patch in pixels.
        crop: share of each side of the image that is kept around the centre, before all else.
        global_scale, local_scale: smallest and largest share of the image's area in a crop.
        rotation: degrees to either side.
        flip: probability.
        jitter: of brightness and contrast; saturation has half of it, hue a tenth.
        blur: probability.
    """

    def __init__(
        self,
        image_size: int = 224,
        local_size: int = 96,
        local_crops: int = 8,
        *,
        patch: int = 16,
        crop: float = 1.0,
        global_scale: tuple[float, float] = (0.4, 1.0),
        local_scale: tuple[float, float] = (0.05, 0.4),
        rotation: float = 180.0,
        flip: float = 0.5,
        jitter: float = 0.2,
        blur: float = 0.2,
    ):
        import kornia.augmentation as augment

        def view(size: int, scale: tuple[float, float]) -> nn.Module:
            return augment.AugmentationSequential(
                augment.RandomHorizontalFlip(p=flip),
                augment.RandomAffine(rotation, padding_mode="reflection", p=1.0),
                augment.RandomResizedCrop((size, size), scale, ratio=(1.0, 1.0), cropping_mode="resample"),
                augment.ColorJitter(jitter, jitter, jitter / 2, jitter / 10, p=0.8),
                augment.RandomGaussianBlur((5, 5), (0.1, 1.5), p=blur),
                data_keys=["input"],
            )

        self.local_size = max(1, round(local_size / patch)) * patch
        self.large, self.small = view(image_size, global_scale), view(self.local_size, local_scale)
        self.crop, self.local_crops = crop, local_crops

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Views of images (B, 3, H, W) uint8, as grey levels 0 to 255 in float32.

        Draws from torch's global generator.

        Returns:
            [(2 * B, 3, image_size, image_size), (local_crops * B, 3, local_size, local_size)], one view of
            all images after another; the second is missing where there are no small crops.
        """
        images = central(images, self.crop).float() / 255
        views = [self.large(images.repeat(2, 1, 1, 1))]
        if self.local_crops:
            views.append(self.small(images.repeat(self.local_crops, 1, 1, 1)))
        return [view.clamp(0, 1) * 255 for view in views]
