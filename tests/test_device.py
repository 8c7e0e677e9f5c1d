import os
import subprocess
import sys

import pytest
import torch
from fakes import refusal

from galutils import device

NO_GPU = "PyTorch cannot compute on device 'cuda' here; choose auto or cpu."


def test_a_gpu_that_cannot_compute_is_not_taken(monkeypatch):
    """PyTorch sees a GPU that is too old for it, and has no code for it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "_computes", lambda name: name == "cpu")
    assert device.pick_device("auto") == torch.device("cpu")
    assert refusal(device.pick_device, "cuda") == NO_GPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_the_cpu_is_taken_and_cuda_refused():
    assert device.pick_device("auto") == torch.device("cpu")
    assert refusal(device.pick_device, "cuda") == NO_GPU


def test_bf16_is_chosen_where_the_gpu_computes_so_itself(monkeypatch):
    for fast in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, fast=fast: fast)
        expected = "bf16-mixed" if fast else "32-true"
        assert device.pick_precision("auto", torch.device("cuda")) == expected
    assert device.pick_precision("auto", torch.device("cpu")) == "32-true"
    assert device.pick_precision("bf16-mixed", torch.device("cpu")) == "bf16-mixed"


@pytest.mark.parametrize(("given", "taken"), [({}, "30000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_waiting_threads_spin_for_a_short_time_only(given, taken):
    script = "import os, galutils.cli; print(os.environ['GOMP_SPINCOUNT'])"
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | given
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{taken}\n"
