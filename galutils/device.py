"""Which device computes and in what precision, and random numbers that leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def pick_device(device: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else the CPU."""
    found = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(found if device == "auto" else device)


def pick_precision(precision: str, device: torch.device) -> str:
    """ "32-true" or "bf16-mixed"; "auto" is the second on a CUDA device, where it is fast, and the first elsewhere."""
    if precision == "auto":
        return "bf16-mixed" if device.type == "cuda" else "32-true"
    return precision


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which PyTorch computes in bf16 what it safely can; in "32-true" it changes nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16-mixed")


def device_name(device: torch.device) -> str:
    """ "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's CPU generator as if freshly seeded, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
