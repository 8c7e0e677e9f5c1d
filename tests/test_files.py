"""A disk that refuses: one sentence, and what was there before stays."""

import subprocess
import sys

import pytest

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
