"""Memory that stays with the process from batch to batch.

The GNU C library hands every block above 32 MB back to the system when it is freed and asks for it anew in the next
batch, when each of its pages must be zeroed again. Feature maps are such blocks: on a CPU at 256 pixels this takes
longer than the arithmetic of the custom network.
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

import psutil
import torch
from torch import nn

#: What a step wants kept for each byte that its backward pass needs: gradients come on top, and a heap has gaps.
SHARE = 2.6

#: Beside its images a process shall take 2 GB at most, and PyTorch with the libraries around it takes half of that.
#: A step that wants no more than the other half gets it, and one that wants more a reserve in which the larger part
#: of its blocks finds room. From the larger bound on it breaks the 2 GB in any case, and gets all that it wants.
FITS, LARGE = 1 << 30, 2 << 30
RESERVE = 450 << 20

#: Parameters of mallopt, as numbered in malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4

#: The heap grows for blocks of any size, and never shrinks.
GROW = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}

#: Large blocks lie in the heap where it has room for them, and outside where not.
FILL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20}

#: Afterwards: where the library's own adjustment of its thresholds ends in a program that uses large blocks.
USUAL = {TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def freed_memory_kept(reserve: int = RESERVE) -> Iterator[None]:
    """Keep up to ``reserve`` bytes of freed memory while the block runs, and give them back after; also a decorator.

    Changes the time that work takes and no number. Where the C library is another, or memory short, nothing is done.
    """
    if not reserve or platform.libc_ver()[0] != "glibc" or psutil.virtual_memory().available < 2 * reserve:
        yield
        return
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    _set(libc, GROW)
    libc.free(libc.malloc(ctypes.c_size_t(reserve)))  # untouched, so that only what is used later counts
    _set(libc, FILL)
    try:
        yield
    finally:
        _set(libc, USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        libc.mallopt(parameter, value)


def worth_keeping(stage: nn.Module, inputs: torch.Tensor, batch_size: int) -> int:
    """Bytes to keep for training steps, from what a forward pass saves for the backward pass; 0 on other devices.

    Args:
        stage: is in evaluation mode afterwards; its buffers stay as they are.
        inputs: (1, ...) one entry of a batch.
    """
    if inputs.device.type != "cpu":
        return 0
    saved = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = stage.eval()(inputs)  # holds what was saved, so that no address is used twice
    weights = {weight.untyped_storage().data_ptr() for weight in stage.parameters()}
    del result
    wanted = SHARE * batch_size * sum(size for address, size in saved.items() if address not in weights)
    return RESERVE if FITS < wanted < LARGE else int(wanted)
