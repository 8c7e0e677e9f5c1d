"""A disk that refuses: one sentence, and what was there before stays."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from galutils.files import WriteError, atomic_path, write_text

WRITERS = {
    "text": "path.write_text('x' * 400_000)",
    "csv": "import pandas as pd; pd.DataFrame({'x': range(100_000)}).to_csv(path)",
    "hdf5": "import h5py\nwith h5py.File(path, 'w') as file: file['x'] = [1.0] * 100_000",
    "torch": "import torch; torch.save({'x': torch.zeros(100_000)}, path)",
    "safetensors": "import numpy; from safetensors.numpy import save_file; save_file({'x': numpy.ones(100_000)}, path)",
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_full_disk(tmp_path, writer):
    (tmp_path / "old").write_text("as it was")
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from galutils.files import WriteError, atomic_path
try:
    with atomic_path("old") as path:
        {writer.replace(chr(10), chr(10) + " " * 8)}
except WriteError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert "old: could not be written (" in done.stdout, done.stderr
    assert done.stdout.count("\n") == 1
    assert (tmp_path / "old").read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_full_disk_through_the_command_line(tmp_path):
    program = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    program += "from galutils.cli import main; main()"
    command = [sys.executable, "-c", program, "mock", "sky.h5", "--count", "20"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("galutils: sky.h5: could not be written (")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match="could not be written"):
        write_text(tmp_path / "file" / "inside.txt", "x")


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
