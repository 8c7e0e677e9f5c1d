"""Memory that stays with the process from batch to batch.

The GNU C library hands every block above 32 MB back to the system when it is freed and asks for it anew in the next
batch, when each of its pages must be zeroed again. Feature maps are such blocks: on a CPU at 256 pixels this took
longer than the arithmetic of the custom network.

What is kept serves the next batch as long as nothing small has settled between its blocks. So the Makefile starts
Python without the library's caches of small blocks, which only the environment can switch off.
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

import psutil

#: Bytes that must be free for any to be kept: a heap that only grows has gaps, of some hundred megabytes.
ROOM = 4 << 30

#: Parameters of mallopt, as numbered in malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4

#: Within the block: no memory outside the heap, and a heap that never shrinks.
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}

#: Afterwards: where the library's own adjustment of its thresholds ends in a program that uses large blocks.
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory while the block runs, and give it back after; also a decorator.

    Changes the time that work takes and no number. Where the C library is another, or memory short, nothing is done.
    """
    if platform.libc_ver()[0] != "glibc" or psutil.virtual_memory().available < ROOM:
        yield
        return
    libc = ctypes.CDLL(None)
    _set(libc, KEEP)
    try:
        yield
    finally:
        _set(libc, USUAL)
        libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, parameters: dict[int, int]) -> None:
    for parameter, value in parameters.items():
        libc.mallopt(parameter, value)
