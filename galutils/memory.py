"""Memory that stays with the process from batch to batch.

The GNU C library hands every block above 32 MB back to the system when it is freed, and zeroes each of its pages anew
in the next batch. Feature maps are such blocks: on a CPU at 256 pixels this took longer than the custom network's
arithmetic. What is kept serves the next batch as long as nothing small has settled between its blocks, so the
Makefile starts Python without the library's caches of small blocks, which only the environment can switch off.
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

#: Bytes that must be free for any to be kept: a heap that only grows has gaps, of some hundred megabytes.
ROOM = 4 << 30

#: Parameters of mallopt, as numbered in malloc.h.
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
#: Within the block: no memory outside the heap, and a heap that never shrinks.
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
#: Afterwards: where the library's own adjustment of its thresholds ends in a program that uses large blocks.
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take: the machine's free memory, or the container's where that is less."""
    free = psutil.virtual_memory().available
    # Version 2 of Linux's control groups, then version 1.
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            free = min(free, int((groups / limit).read_text()) - int((groups / used).read_text()))
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
    return max(0, free)


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory while the block runs, and give it back after; also a decorator. It changes no number.

    Where the C library is another, or memory short, nothing is done.
    """
    if platform.libc_ver()[0] != "glibc" or available_memory() < ROOM:
        yield
        return
    libc = ctypes.CDLL(None)
    try:
        for parameter, value in KEEP.items():
            libc.mallopt(parameter, value)
        yield
    finally:
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)
