"""The benchmarks measure what they say; how fast anything is, is no matter of tests."""

import contextlib
import io
import itertools
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import full_size
import h5py
import memory
import numpy as np
import pandas as pd
import precision
import pytest
import reading
import realism
import run
import speed
import timing
import torch
import usual
from PIL import Image
from torchvision.models.vgg import make_layers

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


@pytest.fixture
def ticks(monkeypatch):
    """Every look at the stopwatch is a second after the one before, and no other time passes."""

    @contextlib.contextmanager
    def stopwatch(device):
        numbers = itertools.count(1)
        yield lambda: next(numbers)

    monkeypatch.setattr(usual, "stopwatch", stopwatch)
    monkeypatch.setattr(speed, "stopwatch", stopwatch)


@pytest.fixture
def built(monkeypatch):
    """The networks that are built, each with its weights from before training."""
    networks, build = [], cnn.build

    def building(**recipe):
        network = build(**recipe)
        networks.append((network, {name: tensor.clone() for name, tensor in network.named_parameters()}))
        return network

    monkeypatch.setattr(cnn, "build", building)
    return networks


def test_a_ratio_says_how_many_times_faster_the_study_is_and_what_share_of_the_bare_networks_speed(monkeypatch):
    """Thirty epochs: 0 + 30 * 2 = 60 s against 10 + 30 * 1 = 40 s."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # which draws the galaxies in this process
    monkeypatch.setattr(speed, "usual_training", lambda *_: {"setup": 0, "epoch": 2, "images_per_second": 40})
    monkeypatch.setattr(speed, "our_training", lambda *_: {"setup": 10, "epoch": 1, "images_per_second": 90})
    monkeypatch.setattr(speed, "bare_training", lambda *_: {"images_per_second": 120})
    measured = speed.measure_usual(2, {32: 20}, "cpu")
    assert [case["row"] for case in measured["cases"]] == list(speed.ROWS)
    for case in measured["cases"]:
        assert (case["size"], case["images"], case["usual_seconds"], case["our_seconds"]) == (32, 20, 60, 40)
        assert (case["usual_images_per_second"], case["our_images_per_second"], case["ratio"]) == (40, 90, 1.5)
    for case in speed.measure_bare(2, {32: 20}, "cpu")["cases"]:
        assert (case["our_speed"], case["bare_speed"], case["ratio"]) == (90, 120, 0.75)


def test_the_usual_notebook_learns_the_same_network(simulated):
    """Its images, normalised in the data set, give the logits that ours give from bytes."""
    network = cnn.build("custom_cnn").eval()
    images, labels = next(iter(usual.loader(simulated.path, np.arange(8), 8)))
    theirs = network.trained(network.frozen[1:](images))
    ours = network(torch.from_numpy(simulated.read_images(np.arange(8))).permute(0, 3, 1, 2))
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert labels.tolist() == simulated.labels[:8].tolist()


def test_the_usual_notebook_trains_the_study_s_layers_and_counts_its_images(simulated, ticks, built, monkeypatch):
    """Two epochs of two whole batches, a second each, and one second for each test: five looks at the watch."""
    settings = Settings(epochs=2, image_size=32, batch_size=32, device="cpu")
    narrow = make_layers([8, "M", 8, "M", 8, 8, "M", 8, 8, "M", 8, 8, "M"])  # VGG11 but for its channels
    monkeypatch.setattr("torchvision.models.get_model", lambda arch, weights: SimpleNamespace(features=narrow))
    split = split_rows(simulated)
    assert 64 < len(split.train) < 96
    measured = usual.usual_training(speed.ROWS["vgg11_deep"], simulated.path, split, settings)
    assert measured == {"setup": 0.0, "epoch": 5 / 2, "images_per_second": 2 * 64 / 2}
    ((network, before),) = built
    changed = {name for name, tensor in network.named_parameters() if not tensor.equal(before[name])}
    assert changed == {name for name in before if name.startswith("trained.")}


def test_neither_set_up_nor_the_last_prediction_counts_as_an_epoch(simulated, monkeypatch):
    """Of ten seconds three are set-up and one is the prediction, so that each of two epochs took three."""
    split = split_rows(simulated)

    def train(*_):
        history = pd.DataFrame({"images_per_second": [1.0, 5.0, 6.0]})
        return SimpleNamespace(setup_seconds=3.0, predict_images_per_second=len(split.test), history=history)

    monkeypatch.setattr(speed, "train", train)
    monkeypatch.setattr(speed, "stopwatch", lambda device: contextlib.nullcontext(lambda: 10.0))
    measured = speed.our_training("custom_cnn", simulated, split, Settings(epochs=2, image_size=32, device="cpu"))
    assert measured == {"setup": 3.0, "epoch": 3.0, "images_per_second": 5.0}


def test_the_bare_network_learns_from_as_many_batches_as_the_trainer(ticks, built, monkeypatch):
    lengths, forward = [], torch.nn.functional.cross_entropy

    def cross_entropy(logits, labels):
        lengths.append(len(logits))
        return forward(logits, labels)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", cross_entropy)
    settings = Settings(epochs=2, image_size=32, batch_size=32, device="cpu")
    assert speed.bare_training("custom_cnn", 32, 80, settings) == {"images_per_second": 2 * 80}
    assert lengths == [27, 27, 26] * 2
    ((network, before),) = built
    assert not any(tensor.equal(before[name]) for name, tensor in network.named_parameters())


def test_a_part_that_is_not_measured_keeps_what_was_measured_before(tmp_path, monkeypatch, capsys):
    target = tmp_path / "measured.json"
    target.write_text(json.dumps({"usual": {"repeats": 3}, "bare": {"repeats": 3}}))
    monkeypatch.setattr(run, "measure_bare", lambda repeats, counts, device: {"repeats": repeats})
    monkeypatch.setattr(sys, "argv", ["run.py", "--quick", "--parts", "bare", "--json", str(target)])
    run.main()
    stored = json.loads(target.read_text())
    assert (stored["usual"], stored["bare"]["repeats"]) == ({"repeats": 3}, 1)
    assert stored["bare"]["environment"]["device"] == "cpu"
    monkeypatch.setattr(sys, "argv", ["run.py", "--parts", "precision"])
    with pytest.raises(SystemExit):
        run.main()
    assert "name their file with --data" in capsys.readouterr().err


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
    ballast = np.ones(1 << 30, np.uint8)  # of the parent's memory nothing may be counted
    command = [sys.executable, memory.__file__, simulated_path, "streamed", "--size", "32"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    case = json.loads(done.stdout.splitlines()[-1])
    assert (case["count"], case["resident"], case["image_bytes"]) == (100, False, 100 * 32 * 32 * 3)
    assert 0 < case["start_seconds"] < case["seconds"]
    assert 1e8 < case["peak_bytes"] < ballast.nbytes  # PyTorch alone takes more than the one


def test_a_subset_is_spread_evenly(simulated_path, tmp_path):
    full = tmp_path / "full.h5"
    full.write_bytes(simulated_path.read_bytes())
    with h5py.File(memory.subset(full, 10), "r") as file:
        assert file["ans"][:].tolist() == list(range(10))
        assert file.attrs["simulated"]


def test_what_an_embedding_knows_is_told_beside_pixels_and_an_untrained_network(simulated, capsys):
    realism.tell_embedding(simulated, "simulated", 1.0)
    told = [re.fullmatch(r"(.+): k-means (.+)%, ten nearest neighbours (.+)%, linear (.+)%", line)
            for line in capsys.readouterr().out.splitlines()]  # fmt: skip
    assert [line[1] for line in told] == ["raw pixels, 32 by 32", "untrained transformer", "frozen transformer"]
    assert all(0 <= float(line[number]) <= 100 for line in told for number in (2, 3, 4))


def test_operations_are_those_counted_by_hand():
    operations, moved = full_size.work_per_image(cnn.build("custom_cnn"), 64)
    # Output pixels of each 3x3 convolution after 2x2 averaging, times 9 * inputs * outputs; then the linear layer.
    pixels, inputs = (32**2, 16**2, 8**2, 8**2, 4**2, 4**2), (3, 32, 32, 32, 32, 32)
    forward = sum(2 * p * 9 * i * 32 for p, i in zip(pixels, inputs, strict=True)) + 2 * 32 * 10
    first = 2 * 32**2 * 9 * 3 * 32
    # Backward: once for the weights and once for the inputs, which the first layer does not need.
    assert operations == 3 * forward - first
    # Each layer reads and writes once in the forward pass, and twice as much in the backward pass, two bytes a value.
    values = 3 * 64**2 + 3 * 32**2  # the averaging
    values += sum((i + 32) * p + 2 * 64 * p for p, i in zip(pixels, inputs, strict=True))  # with ReLU and batch norm
    values += sum(32 * (p + p // 4) for p in (32**2, 16**2, 8**2, 4**2))  # the pools
    values += 32 * (2**2 + 1) + 2 * 32 + (32 + 10)  # average, flatten, linear layer
    assert moved == 3 * 2 * values


def test_processes_read_and_see_images_side_by_side(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # which draws the galaxies in this process
    files = reading.simulated_files(3, 32)
    assert [np.asarray(Image.open(io.BytesIO(file))).shape for file in files] == [(32, 32, 3)] * 3
    # A block at least in each fifth of a second, by each.
    assert reading.time_case(reading.Case(2, 1, 1), "cpu", files, 0.2) > 2 * 64
    monkeypatch.setattr(reading, "time_case", lambda case, *given: 10.0 * case.processes)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    measured = reading.measure_reading("cpu", 2, 32)
    assert [case["images_per_second"] for case in measured["cases"]] == [10, 10, 10, 30, 30]
    assert [case["threads"] for case in measured["cases"]] == [1, 1, 3, 1, 1]
