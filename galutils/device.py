"""Which device computes and in what precision, and random numbers that leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from galutils.errors import GalutilsError

#: In which networks compute: all in float32, or in bf16 what stands it.
PRECISIONS = ("auto", "32-true", "bf16-mixed")


def pick_device(device: str) -> torch.device:
    """The device of that name; "auto" is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _computes("cuda") else "cpu")
    if device != "cpu" and not _computes(device):
        raise GalutilsError(f"PyTorch cannot compute on device '{device}' here; choose auto or cpu.")
    return torch.device(device)


def _computes(device: str) -> bool:
    """Whether it does so at all: a GPU may be there and too old for this PyTorch, which then has no code for it."""
    try:
        return bool((torch.zeros(1, device=device) + 1).item() == 1)
    except (RuntimeError, AssertionError):  # the second where PyTorch was built without CUDA
        return False


def pick_precision(precision: str, device: torch.device) -> str:
    """ "32-true" or "bf16-mixed"; "auto" is the second on a CUDA device that computes so itself, else the first."""
    if precision not in PRECISIONS:
        raise GalutilsError(f"precision is '{precision}'; choose {', '.join(PRECISIONS)}.")
    if precision == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if fast else "32-true"
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
