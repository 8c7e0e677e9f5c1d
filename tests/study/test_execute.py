"""Notebooks that fail, kernels that die, and kernels of somebody else."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from conftest import ROOT

from galutils.study import execute as module
from galutils.study.execute import ReportError, execute


def write_notebook(path, *cells):
    parameters = nbformat.v4.new_code_cell("x = 1  # a number", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, *(nbformat.v4.new_code_cell(cell) for cell in cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def test_executed_notebook_appears_only_when_it_is_complete(tmp_path):
    good = write_notebook(tmp_path / "good.ipynb", "print(x + 1)")
    execute(good, tmp_path / "out.ipynb", {"x": 41})
    outputs = [out for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells for out in cell.get("outputs", [])]
    assert outputs[0]["text"] == "42\n"
    bad = write_notebook(tmp_path / "bad.ipynb", "1 / 0")
    with pytest.raises(ReportError, match=r"bad\.ipynb, cell 2: ZeroDivisionError: division by zero"):
        execute(bad, tmp_path / "out.ipynb", {})
    assert not (tmp_path / "out.ipynb").exists()  # an older success does not pass for this failure
    assert (tmp_path / "out.failed.ipynb").exists()


@pytest.mark.parametrize("greedy", ["bytearray(1 << 60)", "numpy.ones(1 << 55)", "torch.ones(1 << 55)"])
def test_a_full_memory_is_told_as_that(tmp_path, greedy):
    earlier = tmp_path / "run" / "metrics.json"
    earlier.parent.mkdir()
    earlier.write_text("{}")
    notebook = write_notebook(tmp_path / "greedy.ipynb", f"import numpy, torch; {greedy}")
    with pytest.raises(
        ReportError, match=r"greedy\.ipynb, cell 2: the memory is full \(.*\); lower image_size"
    ) as told:
        execute(notebook, tmp_path / "run" / "out.ipynb", {})
    assert "\n" not in str(told.value)
    assert earlier.read_text() == "{}"
    assert not (tmp_path / "run" / "out.ipynb").exists()


def test_a_kernel_that_dies_is_named(tmp_path):
    dying = write_notebook(tmp_path / "dying.ipynb", "import os; os._exit(9)")
    with pytest.raises(ReportError, match=r"dying\.ipynb: its kernel died"):
        execute(dying, tmp_path / "out.ipynb", {})
    assert not (tmp_path / "out.ipynb").exists()


def outputs(path):
    return [out["text"] for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]


def test_notebooks_run_in_the_python_of_the_study(tmp_path, monkeypatch):
    """A kernel named python3 that belongs to another, deleted Python is not asked."""
    other = tmp_path / "home" / "kernels" / "python3"
    other.mkdir(parents=True)
    spec = {"argv": ["/gone/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "x"}
    (other / "kernel.json").write_text(json.dumps(spec | {"language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "home"))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    source = write_notebook(tmp_path / "which.ipynb", "import sys; print(sys.executable)")
    execute(source, tmp_path / "out.ipynb", {})
    assert outputs(tmp_path / "out.ipynb") == [f"{sys.executable}\n"]


def test_a_kernel_that_does_not_start_is_tried_again_and_named(tmp_path, monkeypatch):
    tried = []

    def start(*arguments, **options):
        tried.append(options["start_timeout"])
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr("papermill.execute_notebook", start)
    with pytest.raises(ReportError) as told:
        execute(write_notebook(tmp_path / "n.ipynb", "1"), tmp_path / "out.ipynb", {})
    assert tried == [300, 300]
    assert str(told.value) == (
        "n.ipynb: its kernel did not start (Kernel died before replying to kernel_info); "
        "run fewer notebooks at once (CORES=1)."
    )
    assert (tmp_path / f"out{module.FAILURE_SUFFIX}").read_text() == f"{told.value}\n"


def test_an_error_of_the_system_in_a_cell_is_not_a_full_disk(tmp_path):
    source = write_notebook(tmp_path / "n.ipynb", "open('/nowhere/at/all')")
    with pytest.raises(ReportError) as told:
        execute(source, tmp_path / "out.ipynb", {})
    assert str(told.value) == (
        "n.ipynb, cell 2: FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/at/all'"
    )


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


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_ends_its_kernel(tmp_path, sent):
    source = write_notebook(tmp_path / "slow.ipynb", SLOW)
    command = [sys.executable, "-m", "galutils.cli", "execute", source, tmp_path / "o.ipynb"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(sent, signal.SIG_DFL),  # ignored where the tests run in the background
    )
    wait_until((tmp_path / "started").exists)
    below = psutil.Process(process.pid).children(recursive=True)
    assert below
    process.send_signal(sent)
    assert process.wait(timeout=10) == (128 + signal.SIGTERM if sent == signal.SIGTERM else 130)
    assert psutil.wait_procs(below, timeout=5)[1] == []
    assert "Traceback" not in process.stderr.read()
    assert sorted(path.name for path in tmp_path.glob("o*")) == ["o.lock"]


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
