import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import nn

from galutils import allocator, models

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told what to keep")

BLOCK = 16 << 20  # float32 values: 64 MB, which glibc always asks the system for
BLOCK_BYTES = 4 * BLOCK


def faults(values: int, blocks: int) -> int:
    """Pages that the system must bring for ``blocks`` blocks of float32 ``values``, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(values)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def in_a_new_process(measure: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
    """What ``measure`` returns where no earlier test has left gaps in the heap, which the library fills first."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure).result()


def faults_before_within_and_after() -> tuple[int, int, int]:
    before = faults(BLOCK, 10)
    with allocator.freed_memory_kept(3 * BLOCK_BYTES):
        faults(BLOCK, 20)  # small objects split the first blocks that are freed, until the heap has room beside them
        within = faults(BLOCK, 10)
    return before, within, faults(10 * BLOCK, 2)  # larger than any gap that the blocks have left


def resident_before_within_and_after_an_error() -> tuple[int, int, int]:
    resident = [psutil.Process().memory_info().rss]

    @allocator.freed_memory_kept(5 * BLOCK_BYTES)
    def fail() -> None:
        torch.ones(4 * BLOCK)  # more than a heap keeps in reserve
        resident.append(psutil.Process().memory_info().rss)
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    return *resident, psutil.Process().memory_info().rss


def resident_before_and_within_a_reserve_too_small() -> tuple[int, int]:
    before = psutil.Process().memory_info().rss
    with allocator.freed_memory_kept(BLOCK_BYTES):
        faults(4 * BLOCK, 3)
        return before, psutil.Process().memory_info().rss


@glibc
def test_within_the_block_memory_is_brought_once_and_not_ten_times():
    before, within, after = in_a_new_process(faults_before_within_and_after)
    assert within < before / 10
    assert after > before  # twenty times a block's pages: nothing is kept any more


@glibc
def test_memory_goes_back_afterwards_also_after_an_error():
    before, within, after = in_a_new_process(resident_before_within_and_after_an_error)
    assert within > before + 2 * BLOCK_BYTES
    assert after < before + BLOCK_BYTES / 4


@glibc
def test_no_more_than_the_reserve_is_kept():
    before, within = in_a_new_process(resident_before_and_within_a_reserve_too_small)
    assert within < before + 1.5 * BLOCK_BYTES


def test_what_is_worth_keeping_by_hand():
    """Of 10 inputs and 20 hidden units, float32, a batch of 64 saves 7680 bytes; the weights are there anyway."""
    hidden = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    one = torch.zeros(1, 10)
    assert allocator.worth_keeping(hidden, one, 64) == int(2.6 * 7680)
    # At 120 bytes each: 3.1 GB wanted for ten million, which are more than 2 GB anyway; 1.6 GB for five million.
    assert allocator.worth_keeping(hidden, one, 10_000_000) == int(2.6 * 1_200_000_000)
    assert allocator.worth_keeping(hidden, one, 5_000_000) == allocator.RESERVE
    assert allocator.worth_keeping(hidden.to("meta"), one.to("meta"), 64) == 0


def test_finding_what_is_worth_keeping_changes_no_number():
    network = models.build("custom_cnn")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    allocator.worth_keeping(network, torch.ones(1, 3, 32, 32, dtype=torch.uint8), 64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("lacking", ["glibc", "memory"])
def test_elsewhere_the_c_library_is_left_alone(monkeypatch, lacking):
    def loaded(*arguments):
        raise AssertionError("the C library must not be touched")

    if lacking == "glibc":
        monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=2 * allocator.RESERVE - 1))
    monkeypatch.setattr(allocator.ctypes, "CDLL", loaded)
    with allocator.freed_memory_kept():
        done = True
    assert done
