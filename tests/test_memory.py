import contextlib
import platform
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import SimpleNamespace

import psutil
import pytest
import torch

from galutils import memory

BLOCK = 9 << 20  # float32 values: 38 MB, which glibc always asks the system for


def faults(values: int, blocks: int) -> int:
    """Pages that the system must bring for ``blocks`` blocks of float32 ``values``, each freed before the next."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        torch.ones(values)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return psutil.Process().memory_info().rss


def measure() -> dict[str, tuple[int, int, int]]:
    """Before the block, within and after it: pages brought, and, where it ends with an error, bytes held."""
    memory.ROOM = 0  # so little is needed here that any machine has it
    before = faults(BLOCK, 10)
    with memory.freed_memory_kept():
        faults(BLOCK, 8)  # small objects split the first blocks that are freed, until the heap has room beside them
        within = faults(BLOCK, 10)
    measured = {"pages": (before, within, faults(4 * BLOCK, 4))}  # larger than any gap that the blocks have left
    held = [resident()]
    with contextlib.suppress(KeyError), memory.freed_memory_kept():
        torch.ones(3 * BLOCK)  # more than a heap keeps in reserve
        held.append(resident())
        raise KeyError
    return measured | {"bytes": (*held, resident())}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told what to keep")
def test_within_the_block_memory_is_brought_once_and_goes_back_afterwards_also_after_an_error():
    """In a new process, in which no earlier test has left gaps in the heap, which the library fills first."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        measured = pool.submit(measure).result()
    before, within, after = measured["pages"]
    assert within < before / 4  # of ten blocks one or two may have had to be brought
    assert after > before  # the pages of sixteen blocks, not of ten: nothing is kept any more
    before, within, after = measured["bytes"]
    assert within > before + 2 * 4 * BLOCK
    assert after < before + 2 * BLOCK


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


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_a_container_has_no_more_than_its_limit(tmp_path, limit, used):
    (tmp_path / "memory").mkdir()
    machine = psutil.virtual_memory().available
    assert memory.available_memory(tmp_path) > machine / 2  # no limit is given
    (tmp_path / limit).write_text("max\n")
    (tmp_path / used).write_text("3000000\n")
    assert memory.available_memory(tmp_path) > machine / 2
    (tmp_path / limit).write_text("8000000\n")
    assert memory.available_memory(tmp_path) == 5_000_000
    (tmp_path / used).write_text("9000000\n")
    assert memory.available_memory(tmp_path) == 0
