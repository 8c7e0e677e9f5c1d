"""Many views of each galaxy, as DINO wants them, made on the device in batches: cut here, changed by kornia."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from galutils.models.embedding import central
from galutils.training.settings import DinoSettings


class TurnedCrop(nn.Module):
    """A square of each image, turned by any angle and flipped or not: (B, 3, H, H) to (B, 3, size, size).

    Its share of the image's area lies within ``scale``, its centre where the upright square would not leave the frame;
    ``rotation`` is the largest angle to either side, in degrees, ``flip`` a probability. What lies outside is mirrored.
    """

    def __init__(self, size: int, scale: tuple[float, float], rotation: float, flip: float):
        super().__init__()
        self.size, self.scale, self.rotation, self.flip = size, scale, rotation, flip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        count = len(images)
        side = torch.empty(count).uniform_(*self.scale).sqrt()
        x, y = (2 * torch.rand(2, count) - 1) * (1 - side)  # of the centre, from -1 to 1 across the turned frame
        angle = math.radians(self.rotation) * (2 * torch.rand(count) - 1)
        mirror = 1 - 2 * (torch.rand(count) < self.flip).float()
        cos, sin = angle.cos(), angle.sin()
        # From a pixel of the square to the turned frame, and from there to the image.
        rows = [mirror * cos * side, -mirror * sin * side, mirror * (cos * x - sin * y)]
        rows += [sin * side, cos * side, sin * x + cos * y]
        theta = torch.stack(rows, dim=1).view(count, 2, 3).to(images.device)
        grid = nn.functional.affine_grid(theta, (count, 3, self.size, self.size), align_corners=False)
        return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


class MultiCrop:
    """Two large and several small crops of each image (Caron et al. 2020, "SwAV", section 3.3).

    With augmentation "galaxy": a galaxy has no up, so any rotation and flip shows a valid one; crops keep the ratio of
    their axes, since ellipticity is part of the class; where a turned frame has no sky to show, it is mirrored. With
    "dino", as in the authors' fork: DINO's own (Caron et al. 2021, section 3.2, after Grill et al. 2020, "BYOL"), by
    which axes are stretched and colours go, and the two large crops differ in blur and solarisation.

    Small crops are rounded to whole patches of ``patch`` pixels a side.
    """

    def __init__(self, settings: DinoSettings, patch: int):
        import kornia.augmentation as augment

        def view(size: int, scale: tuple[float, float]) -> nn.Module:
            jitter = settings.jitter
            return nn.Sequential(
                TurnedCrop(size, scale, settings.rotation, settings.flip),
                augment.ColorJitter(jitter, jitter, jitter / 2, jitter / 10, p=0.8),
                augment.RandomGaussianBlur((5, 5), (0.1, 1.5), p=settings.blur),
            )

        def dino_view(size: int, scale: tuple[float, float], blur: float, solarize: float) -> nn.Module:
            return augment.AugmentationSequential(
                augment.RandomResizedCrop((size, size), scale, resample="bicubic", cropping_mode="resample"),
                augment.RandomHorizontalFlip(p=0.5),
                augment.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
                augment.RandomGrayscale(p=0.2),
                augment.RandomGaussianBlur((13, 13), (0.1, 2.0), p=blur),
                augment.RandomSolarize((0.5, 0.5), (0.0, 0.0), p=solarize),
                data_keys=["input"],
            )

        large, small = settings.image_size, max(1, round(settings.local_size / patch)) * patch
        of_large, of_small = settings.global_scale, settings.local_scale
        # For large and small crops: what makes them, and how many of it.
        if settings.augmentation == "galaxy":
            makers = [[(view(large, of_large), 2)], [(view(small, of_small), settings.local_crops)]]
        else:
            pair = [(dino_view(large, of_large, 1.0, 0.0), 1), (dino_view(large, of_large, 0.1, 0.2), 1)]
            makers = [pair, [(dino_view(small, of_small, 0.5, 0.0), settings.local_crops)]]
        self.makers, self.crop = makers if settings.local_crops else makers[:1], settings.crop

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Views of images (B, 3, H, W) uint8, as grey levels 0 to 255 in float32; draws from torch's global generator.

        [(2 * B, 3, image_size, image_size), (local_crops * B, 3, local_size, local_size)], one view of all images
        after another; the second is missing where there are no small crops.
        """
        images = central(images, self.crop).float() / 255
        views = [torch.cat([make(images.repeat(count, 1, 1, 1)) for make, count in makes]) for makes in self.makers]
        return [view.clamp(0, 1) * 255 for view in views]

    def ahead(self, batches: Iterable[torch.Tensor], device: torch.device) -> Iterator[list[torch.Tensor]]:
        """The views of each batch in turn; a GPU makes them while it still trains on those before.

        Making them waits for the GPU several times: in a stream of their own, for this work alone.
        """
        views_of = map(self, batches)
        if device.type != "cuda":
            yield from views_of
            return
        training, making = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        making.wait_stream(training)
        while True:
            with torch.cuda.stream(making):
                views = next(views_of, None)
            if views is None:
                return
            training.wait_stream(making)
            for view in views:
                view.record_stream(training)  # else its memory would be used anew too early
            yield views
