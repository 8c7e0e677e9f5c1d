import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import psutil
import pytest
import torch

from galutils import memory

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told what to keep")

BLOCK = 16 << 20  # float32 values: 64 MB, which glibc always asks the system for


def faults(values: int, blocks: int) -> int:
    """Pages that the system must bring for ``blocks`` blocks of float32 ``values``, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(values)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def in_a_new_process(measure: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int]:
    """What ``measure`` returns where no earlier test has left gaps in the heap, which the library fills first."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure).result()


def faults_before_within_and_after() -> tuple[int, int, int]:
    before = faults(BLOCK, 10)
    with memory.freed_memory_kept():
        faults(BLOCK, 20)  # small objects split the first blocks that are freed, until the heap has room beside them
        within = faults(BLOCK, 10)
    return before, within, faults(10 * BLOCK, 2)  # larger than any gap that the blocks have left


def resident_before_within_and_after_an_error() -> tuple[int, int, int]:
    resident = [psutil.Process().memory_info().rss]

    @memory.freed_memory_kept()
    def fail() -> None:
        torch.ones(4 * BLOCK)  # 256 MB, more than a heap keeps in reserve
        resident.append(psutil.Process().memory_info().rss)
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    return *resident, psutil.Process().memory_info().rss


@glibc
def test_within_the_block_memory_is_brought_once_and_not_ten_times():
    before, within, after = in_a_new_process(faults_before_within_and_after)
    assert within < before / 10
    assert after > before  # twenty times a block's pages: nothing is kept any more


@glibc
def test_memory_goes_back_afterwards_also_after_an_error():
    before, within, after = in_a_new_process(resident_before_within_and_after_an_error)
    assert within > before + 8 * BLOCK
    assert after < before + BLOCK


@pytest.mark.parametrize("lacking", ["glibc", "memory"])
def test_elsewhere_the_c_library_is_left_alone(monkeypatch, lacking):
    def loaded(*arguments):
        raise AssertionError("the C library must not be touched")

    if lacking == "glibc":
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=memory.ROOM - 1))
    monkeypatch.setattr(memory.ctypes, "CDLL", loaded)
    with memory.freed_memory_kept():
        done = True
    assert done
