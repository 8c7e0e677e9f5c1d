"""The eight symmetries of a square image: a galaxy has no up, and no side from which it has to be seen.

Quarter turns and flips move pixels without blending any, so that an augmented image is as sharp as the original.
"""

import torch

#: Four quarter turns, each with and without a flip.
COUNT = 8


def symmetry(images: torch.Tensor, number: int) -> torch.Tensor:
    """Square images (..., H, H) turned by ``number % 4`` quarters; flipped left to right before that from 4 on."""
    flipped = images.flip(-1) if number >= 4 else images
    return flipped.rot90(number % 4, (-2, -1))


def random_symmetries(images: torch.Tensor) -> torch.Tensor:
    """Each of the images (N, C, H, H) under a symmetry of its own, drawn by torch's generator on the CPU."""
    drawn = torch.randint(COUNT, (len(images),))
    augmented = torch.empty_like(images)
    for number in drawn.unique().tolist():
        chosen = (drawn == number).nonzero().squeeze(1).to(images.device)
        augmented[chosen] = symmetry(images[chosen], number)
    return augmented
