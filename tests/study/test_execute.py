"""Notebooks that fail, kernels that die, and kernels of somebody else."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT
from fakes import assert_said, refusal, wait_until, write_notebook
from papermill.exceptions import PapermillExecutionError

from galutils.models.weights import WeightsError, read_state
from galutils.study import execute as module
from galutils.study.execute import execute


def outputs(path):
    return [out["text"] for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]


MEMORY = "lower image_size or batch_size, run fewer notebooks at once (make report CORES=1), or free some."
#: What a cell does, and the sentence.
FAILING = {
    "1 / 0": ", cell 2: ZeroDivisionError: division by zero",
    "import os; os._exit(9)": f": its kernel died, most often because the memory was full; {MEMORY}",
}


@pytest.mark.parametrize(("cell", "sentence"), FAILING.items(), ids=FAILING)
def test_a_failure_is_one_sentence_and_leaves_no_notebook_that_looks_executed(tmp_path, cell, sentence):
    target = tmp_path / "run" / "out.ipynb"
    target.parent.mkdir()
    target.write_text("an older success, which must not pass for this failure")
    (target.parent / "metrics.json").write_text("{}")
    assert refusal(execute, write_notebook(tmp_path / "n.ipynb", cell), target, {}) == f"n.ipynb{sentence}"
    left = {path.name for path in target.parent.iterdir()} - {"out.lock"}
    looked_at = {"out.failed.ipynb"} if "cell" in sentence else set()  # a kernel that died says nothing
    assert left == {"metrics.json", f"out{module.FAILURE_SUFFIX}"} | looked_at


@pytest.fixture
def told_of(tmp_path, monkeypatch):
    """What is said of a notebook whose second cell does this, without a kernel for it."""

    def told_of(fails, **parameters):
        def execute_notebook(*arguments, **options):
            with pytest.raises((MemoryError, RuntimeError, WeightsError)) as error:
                fails()
            raise PapermillExecutionError(2, 2, "", error.type.__name__, str(error.value), [])

        monkeypatch.setattr("papermill.execute_notebook", execute_notebook)
        return refusal(
            execute, write_notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb", {"x": 2} | parameters
        )

    return told_of


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (lambda: bytearray(1 << 60), "MemoryError"),
        (lambda: np.ones(1 << 55), "Unable to allocate …"),
        (lambda: torch.ones(1 << 55), "… can't allocate memory…"),
    ],
)
def test_whatever_says_that_the_memory_is_full_is_understood(told_of, allocate, said):
    assert_said(told_of(allocate), f"n.ipynb, cell 2: the memory is full ({said}); {MEMORY}")


def test_a_row_whose_weights_cannot_be_had_names_its_line(told_of):
    assert told_of(lambda: read_state(Path("/gone.pth")), experiment="zoobot_all") == (
        "n.ipynb, cell 2: WeightsError: /gone.pth: there is no such file; give imagenet, random, auto or the "
        "path of a weights file. To go on without this row, delete the line of zoobot_all from the profile."
    )


def test_notebooks_run_in_the_python_of_the_study(tmp_path, monkeypatch):
    """With its parameters; a kernel named python3 that belongs to another, deleted Python is not asked."""
    other = tmp_path / "home" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/gone/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "x"}
    (other / "kernel.json").write_text(json.dumps(spec | {"language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    source = write_notebook(tmp_path / "which.ipynb", "import sys; print(sys.executable, x)")
    execute(source, tmp_path / "out.ipynb", {"x": 42})
    assert outputs(tmp_path / "out.ipynb") == [f"{sys.executable} 42\n"]


def test_a_kernel_that_does_not_start_is_tried_again_and_named(tmp_path, monkeypatch):
    tried = []

    def start(*arguments, **options):
        tried.append(options["start_timeout"])
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr("papermill.execute_notebook", start)
    told = refusal(execute, write_notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb", {})
    assert tried == [300, 300]
    assert told == (
        "n.ipynb: its kernel did not start (Kernel died before replying to kernel_info); "
        "run fewer notebooks at once (CORES=1)."
    )
    assert (tmp_path / f"out{module.FAILURE_SUFFIX}").read_text() == f"{told}\n"


def test_no_gpu_is_shared_and_all_are_used(tmp_path, monkeypatch):
    """Three notebooks on two GPUs: the third waits until the first gives its own back."""
    monkeypatch.setattr(module, "find_gpus", lambda: ["one", "two"])
    monkeypatch.setattr(module.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(module.time, "sleep", lambda seconds: (_ for _ in ()).throw(InterruptedError))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")  # what the cluster gave
    with module._own_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")
        with module._own_gpu():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7"
            with pytest.raises(InterruptedError), module._own_gpu():
                pass
        with module._own_gpu():
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-7"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,GPU-7"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with module._own_gpu():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_without_a_gpu_nothing_is_waited_for(monkeypatch):
    monkeypatch.setattr(module, "find_gpus", list)
    monkeypatch.setattr(module, "FileLock", None)
    with module._own_gpu():
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


SLOW = "import time\nopen('started', 'w').close()\ntime.sleep(600)"


def test_a_run_that_is_asked_to_stop_ends_its_kernel(tmp_path):
    """By SIGTERM, and as Ctrl-C does it; the two runs side by side."""
    runs = {}
    for sent in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / sent.name
        folder.mkdir()
        command = [sys.executable, "-m", "galutils.cli", "execute", write_notebook(folder / "slow.ipynb", SLOW)]
        runs[sent] = subprocess.Popen(
            [*command, folder / "o.ipynb"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda sent=sent: signal.signal(sent, signal.SIG_DFL),  # ignored where tests run in background
        )
    for sent, process in runs.items():
        wait_until((tmp_path / sent.name / "started").exists)
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        process.send_signal(sent)
        assert process.wait(timeout=10) == (128 + signal.SIGTERM if sent == signal.SIGTERM else 130)
        assert psutil.wait_procs(below, timeout=5)[1] == []
        assert "Traceback" not in process.stderr.read()
        assert sorted(path.name for path in (tmp_path / sent.name).glob("o*")) == ["o.lock"]


#: Starts its processes late, as a notebook does its kernel while libraries are imported, and anew where they are ended.
LATE = """
import subprocess, time
from galutils.study.execute import _stoppable

def work():
    print("ready", flush=True)
    time.sleep(1)
    for _ in range(2):
        subprocess.run(["sleep", "600"])

_stoppable(work)
"""


def test_what_starts_while_a_run_is_stopped_is_ended_too():
    process = subprocess.Popen([sys.executable, "-c", LATE], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True)
    try:
        process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
