import platform
import resource
from types import SimpleNamespace

import psutil
import pytest
import torch

from galutils import allocator

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told what to keep")

BLOCK = 16 << 20  # float32 values: 64 MB, which glibc always asks the system for


def faults_of_ten_blocks() -> int:
    """Pages that the system must bring for ten blocks, each freed before the next."""
    torch.ones(BLOCK)  # the first one is always brought
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(BLOCK)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@glibc
def test_within_the_block_memory_is_brought_once_and_not_ten_times():
    usual = faults_of_ten_blocks()
    with allocator.freed_memory_kept():
        kept = faults_of_ten_blocks()
    assert kept < usual / 4
    assert faults_of_ten_blocks() > usual / 2  # and after it all is as before


@glibc
def test_memory_goes_back_afterwards_also_after_an_error():
    process = psutil.Process()
    before = process.memory_info().rss

    @allocator.freed_memory_kept()
    def fail() -> None:
        torch.ones(4 * BLOCK)  # 256 MB, more than a heap keeps in reserve
        assert process.memory_info().rss > before + 8 * BLOCK
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert process.memory_info().rss < before + BLOCK


@pytest.mark.parametrize("lacking", ["glibc", "memory"])
def test_elsewhere_the_c_library_is_left_alone(monkeypatch, lacking):
    def loaded(*arguments):
        raise AssertionError("the C library must not be touched")

    if lacking == "glibc":
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=allocator.ROOM - 1))
    monkeypatch.setattr(allocator.ctypes, "CDLL", loaded)
    with allocator.freed_memory_kept():
        done = True
    assert done
