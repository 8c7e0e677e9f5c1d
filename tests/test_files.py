"""A disk that refuses: one sentence, and what was there before stays."""

import os
import re
import resource
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import refusal, write_layout
from safetensors.numpy import save_file

from galutils import cli
from galutils.files import WriteError, atomic_path, write_text

REFUSED = r"could not be written \(.+\); make room there, or mend the folder\."
LONG = np.ones(100_000)
WRITERS = {
    "text": lambda path: path.write_text("x" * 400_000),
    "csv": lambda path: pd.DataFrame({"x": LONG}).to_csv(path),
    "hdf5": lambda path: write_layout(path, {"x": LONG}),
    "torch": lambda path: torch.save(torch.from_numpy(LONG), path),
    "safetensors": lambda path: save_file({"x": LONG}, path),
}


@pytest.fixture
def full_disk():
    """No file can grow beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.usefixtures("full_disk")
def test_full_disk(tmp_path, write):
    old = tmp_path / "old"
    old.write_text("as it was")
    with pytest.raises(WriteError) as told, atomic_path(old) as path:
        write(path)
    assert re.fullmatch(rf"{old}: {REFUSED}", str(told.value))
    assert old.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.usefixtures("full_disk")
def test_full_disk_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["galutils", "mock", "sky.h5", "--count", "20"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert re.fullmatch(rf"galutils: sky\.h5: {REFUSED}\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("no folder")
    path = tmp_path / "file" / "inside.txt"
    assert re.fullmatch(f"{path}: {REFUSED}", refusal(write_text, path, "x"))


def test_other_errors_pass_and_leave_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "new") as partial:
        partial.write_text(f"half {1 / 0}")
    assert list(tmp_path.iterdir()) == []


def test_a_programming_error_is_not_a_full_disk(tmp_path):
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="assignment destination is read-only"), atomic_path(tmp_path / "new"):
        frozen[0] = 1


def test_colleagues_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "model.safetensors") as partial:
            save_file({"a": np.ones(3)}, partial)
    finally:
        os.umask(before)
    assert (tmp_path / "model.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="asks Linux which file a descriptor is")
def test_what_has_its_name_is_on_the_disk(tmp_path, monkeypatch):
    """The file is synchronised before it is renamed, and its folder after."""
    done = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    write_text(tmp_path / "kept.txt", "x")
    assert [path.rpartition("/")[2] for path in done] == [f".kept.{os.getpid()}.partial.txt", tmp_path.name]
    with atomic_path(tmp_path / "quick.txt", durable=False) as partial:
        partial.write_text("x")
    assert len(done) == 2
