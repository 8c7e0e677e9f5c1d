"""A disk that refuses: one sentence, and what was there before stays."""

import os
import resource

import numpy as np
import pandas as pd
import pytest
import torch
from fakes import assert_said, refusal, write_layout
from safetensors.numpy import save_file

from galutils.files import WriteError, atomic_path, write_text

REFUSED = "{path}: could not be written (…); make room there, or mend the folder."
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
    assert_said(str(told.value), REFUSED, old)
    assert old.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.usefixtures("full_disk")
def test_full_disk_through_the_command_line(tmp_path, command):
    code, _, err = command("mock", tmp_path / "sky.h5", "--count", "20")
    assert_said(err, f"galutils: {REFUSED}\n", tmp_path / "sky.h5")
    assert (code, list(tmp_path.iterdir())) == (1, [])


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "inside.txt"
    assert_said(refusal(write_text, path, "x"), REFUSED, path)


def test_other_errors_pass_and_leave_nothing(tmp_path):
    """A programming error is not a full disk, also where it says "read-only"."""
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="assignment destination is read-only"), atomic_path(tmp_path / "new") as path:
        frozen[path.write_text("half") - 4] = 1
    assert list(tmp_path.iterdir()) == []


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
