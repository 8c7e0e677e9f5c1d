"""The benchmarks measure what they say; how fast anything is, is no matter of tests."""

import json
import subprocess
import sys
from types import SimpleNamespace

import full_size
import memory
import numpy as np
import precision
import pytest
import speed
import timing
import torch
import usual

from galutils.data.splits import split_rows
from galutils.models import cnn
from galutils.training.settings import Settings


def test_ways_take_turns_and_the_first_round_does_not_count():
    called = []

    def way(name, values):
        return lambda: called.append(name) or {"seconds": next(values)}

    ways = {"a": way("a", iter([99.0, 1.0, 2.0, 9.0])), "b": way("b", iter([99.0, 2.0, 8.0, 9.0]))}
    measured = timing.in_turn(ways, repeats=3)
    assert called == ["a", "b"] * 4
    assert timing.middle(measured["a"], "seconds") == 2.0
    assert timing.ratio(measured["b"], measured["a"], "seconds") == 2.0  # of 2, 4 and 1


def test_speeds_of_two_ways_are_told_by_their_names(capsys):
    ways = {"our": lambda: {"images_per_second": 300.0}, "bare": lambda: {"images_per_second": 400.0}}
    assert speed.compare_speeds("row", ways, 2) == {"our_speed": 300.0, "bare_speed": 400.0, "ratio": 0.75}
    assert "our    300, bare    400 images/s, ratio 0.75" in capsys.readouterr().out


def test_the_usual_notebook_learns_the_same_network(simulated):
    """Its images, normalised in the data set, give the logits that ours give from bytes."""
    network = cnn.build("custom_cnn").eval()
    images, labels = next(iter(usual.loader(simulated.path, np.arange(8), 8)))
    theirs = network.trained(network.frozen[1:](images))
    ours = network(torch.from_numpy(simulated.read_images(np.arange(8))).permute(0, 3, 1, 2))
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert labels.tolist() == simulated.labels[:8].tolist()


@pytest.mark.parametrize("row", speed.ROWS)
def test_both_sides_are_timed(simulated, row):
    split = split_rows(simulated)
    settings = Settings(epochs=1, image_size=32, batch_size=32, device="cpu")
    theirs = usual.usual_training(speed.ROWS[row], simulated.path, split, settings)
    ours = speed.our_training(row, simulated, split, settings)
    assert min(theirs["epoch"], ours["epoch"], ours["setup"]) > 0
    measured = {"usual": [theirs], "ours": [ours]}
    speed.add_totals(measured)
    assert ours["total"] == ours["setup"] + 30 * ours["epoch"]


def test_precisions_are_compared_pair_by_pair(simulated_path, monkeypatch):
    """Seeds 0 and 1 get 1 and 3 of 4 right in float32, 2 and 3 in bf16: differences 25 and 0 points."""
    right = {(0, "32-true"): 1, (1, "32-true"): 3, (0, "bf16-mixed"): 2, (1, "bf16-mixed"): 3}

    def train(network, galaxies, split, settings):
        hits = np.arange(len(split.test)) < len(split.test) * right[settings.seed, settings.precision] / 4
        labels = galaxies.labels[split.test]
        return SimpleNamespace(probabilities=np.eye(10)[np.where(hits, labels, (labels + 1) % 10)])

    monkeypatch.setattr(precision, "train", train)
    result = precision.measure_precision(simulated_path, Settings(image_size=32), seeds=2)
    assert result["accuracy"] == {"32-true": [0.25, 0.75], "bf16-mixed": [0.5, 0.75]}
    assert result["difference"] == 0.125
    margin = 12.706 * np.std([0.25, 0], ddof=1) / np.sqrt(2)  # Student's t for 95% and one degree of freedom
    np.testing.assert_allclose(result["interval"], [0.125 - margin, 0.125 + margin], rtol=1e-4)
    assert result["simulated"]


def test_memory_is_that_of_a_process_of_its_own(simulated_path):
    ballast = np.ones(2 << 30, np.uint8)  # of the parent's memory nothing may be counted
    command = [sys.executable, memory.__file__, simulated_path, "streamed", "--size", "32"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    case = json.loads(done.stdout.splitlines()[-1])
    assert (case["count"], case["resident"], case["image_bytes"]) == (100, False, 100 * 32 * 32 * 3)
    assert 0 < case["start_seconds"] < case["seconds"]
    assert 1e8 < case["peak_bytes"] < ballast.nbytes  # PyTorch alone takes more than the one


def test_a_subset_is_spread_evenly(simulated_path, tmp_path):
    full = tmp_path / "full.h5"
    full.write_bytes(simulated_path.read_bytes())
    import h5py

    with h5py.File(memory.subset(full, 10), "r") as file:
        assert file["ans"][:].tolist() == list(range(10))
        assert file.attrs["simulated"]


def test_operations_are_those_counted_by_hand():
    operations, moved = full_size.work_per_image(cnn.build("custom_cnn"), 64)
    # Output pixels of each 3x3 convolution after 2x2 averaging, times 9 * inputs * outputs; then the linear layer.
    pixels, inputs = (32**2, 16**2, 8**2, 8**2, 4**2, 4**2), (3, 32, 32, 32, 32, 32)
    forward = sum(2 * p * 9 * i * 32 for p, i in zip(pixels, inputs, strict=True)) + 2 * 32 * 10
    first = 2 * 32**2 * 9 * 3 * 32
    # Backward: once for the weights and once for the inputs, which the first layer does not need.
    assert operations == 3 * forward - first
    assert moved > 0
