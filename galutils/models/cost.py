"""What an image costs a network."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(network: nn.Module, image_size: int) -> int:
    """Multiply-adds of convolutions and matrix products for one image (1, 3, image_size, image_size) uint8.

    Counted by PyTorch's own counter while an image passes, as half of the floating-point operations. What is not a
    product (normalisation, activations, pooling) is not counted, as is the custom.
    """
    device = next(network.parameters()).device
    image = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8, device=device)
    was_training = network.training
    network.eval()
    # The plain way of attention, made of matrix products that the counter knows on every device.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(image)
    network.train(was_training)
    return counter.get_total_flops() // 2
