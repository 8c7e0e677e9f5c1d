import math
from dataclasses import replace
from shutil import which

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED
from torch import nn

from galutils.data.galaxies import open_galaxies
from galutils.data.loader import Streamed, load_images
from galutils.data.splits import Split, split_rows
from galutils.models import cnn
from galutils.training import schedule, supervised
from galutils.training.settings import Settings, TrainingError
from galutils.training.supervised import train

QUICK = Settings(epochs=3, batch_size=16, image_size=32, device="cpu")


@pytest.fixture(scope="module")
def split(simulated):
    return split_rows(simulated)


def fresh(name="custom_cnn", seed=0, **arguments):
    torch.manual_seed(seed)
    return cnn.build(name, **arguments)


def numbers(result):
    return result.history.drop(columns=["seconds", "images_per_second"])


def test_learning_rate_starts_full_and_ends_at_the_minimum():
    settings = Settings(epochs=5, learning_rate=1.0, min_learning_rate=0.2)
    rates = [schedule.learning_rate_at(epoch, settings) for epoch in range(5)]
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.2)
    for rate in rates:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_batches_cover_all_rows_once_and_leave_no_runt():
    rows = np.arange(100, 165)
    batches = schedule.epoch_batches(rows, Settings(batch_size=64), epoch=0)
    assert [len(batch) for batch in batches] == [33, 32]
    assert sorted(np.concatenate(batches)) == sorted(rows)
    again = schedule.epoch_batches(rows, Settings(batch_size=64), epoch=0)
    later = schedule.epoch_batches(rows, Settings(batch_size=64), epoch=1)
    assert np.array_equal(np.concatenate(batches), np.concatenate(again))
    assert not np.array_equal(np.concatenate(batches), np.concatenate(later))


def test_twenty_images_are_learnt_by_heart(simulated):
    rows = np.arange(0, 100, 5)
    part = np.full(100, "unused", dtype=object)
    part[rows] = "train"
    part[rows[:10] + 1] = "test"
    settings = replace(QUICK, epochs=40, learning_rate=5e-3, batch_size=10)
    result = train(fresh(), simulated, Split(part, np.arange(100)), settings)
    assert result.history["train_accuracy"].iloc[-1] == 1.0


def test_same_seed_same_numbers(simulated, split):
    first, second = (train(fresh(), simulated, split, QUICK) for _ in range(2))
    pd.testing.assert_frame_equal(numbers(first), numbers(second), check_exact=True)
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    other = train(fresh(seed=1), simulated, split, replace(QUICK, seed=1))
    assert not np.array_equal(first.probabilities, other.probabilities)


def test_probabilities_are_rows_of_the_test_part(simulated, split):
    result = train(fresh(), simulated, split, QUICK)
    assert result.probabilities.shape == (len(split.test), 10)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-12)
    accuracy = np.mean(result.probabilities.argmax(1) == simulated.labels[split.test])
    assert accuracy == pytest.approx(result.history["test_accuracy"].iloc[-1])


@pytest.mark.parametrize("name", ["custom_cnn", "vgg_finetuned"])
def test_interrupted_and_resumed_equals_uninterrupted(simulated, split, tmp_path, monkeypatch, name):
    arguments = {"weights": "random", "frozen_convs": 7} if name == "vgg_finetuned" else {}
    whole = train(fresh(name, **arguments), simulated, split, QUICK, tmp_path / "whole.pt")
    original = supervised._train_epoch

    def cut_at_epoch_2(*args):
        if args[-1] == 2:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(supervised, "_train_epoch", cut_at_epoch_2)
    with pytest.raises(KeyboardInterrupt):
        train(fresh(name, **arguments), simulated, split, QUICK, tmp_path / "cut.pt")
    epochs = []
    monkeypatch.setattr(supervised, "_train_epoch", lambda *args: epochs.append(args[-1]) or original(*args))
    resumed = train(fresh(name, **arguments), simulated, split, QUICK, tmp_path / "cut.pt")
    assert epochs == [2]  # finished epochs are not repeated
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)


def test_a_checkpoint_of_another_run_is_not_used(simulated, split, tmp_path):
    train(fresh(), simulated, split, QUICK, tmp_path / "c.pt")
    changed = replace(QUICK, learning_rate=1e-3)
    with_checkpoint = train(fresh(), simulated, split, changed, tmp_path / "c.pt")
    pd.testing.assert_frame_equal(numbers(with_checkpoint), numbers(train(fresh(), simulated, split, changed)))


@pytest.mark.parametrize("frozen", [3, "all"])
def test_frozen_layers_computed_once_give_the_plain_result(simulated, split, frozen):
    results = [
        train(
            fresh("vgg_finetuned", weights="random", frozen_convs=frozen),
            simulated,
            split,
            replace(QUICK, epochs=2, keep_frozen=keep),
        )
        for keep in (True, False)
    ]
    np.testing.assert_allclose(results[0].history["train_loss"], results[1].history["train_loss"], rtol=1e-4)
    np.testing.assert_allclose(results[0].probabilities, results[1].probabilities, rtol=1e-3, atol=1e-5)


def test_augmentation_runs_the_frozen_layers_on_the_augmented_images(simulated, split):
    """Frozen layers computed once would not see the turned images: with augmentation they never are."""
    network = fresh("vgg_finetuned", weights="random", frozen_convs="all")
    plain, augmented = QUICK, replace(QUICK, augment=True)
    cpu = torch.device("cpu")
    assert supervised._frozen_pays(network, plain, 100, cpu)
    assert not supervised._frozen_pays(network, augmented, 100, cpu)
    results = [
        train(fresh("vgg_finetuned", weights="random", frozen_convs="all"), simulated, split, settings)
        for settings in (replace(plain, keep_frozen=False), augmented, replace(augmented, keep_frozen=False))
    ]
    assert not np.allclose(results[0].history["train_loss"], results[1].history["train_loss"], rtol=1e-4)
    pd.testing.assert_frame_equal(numbers(results[1]), numbers(results[2]), check_exact=True)
    with pytest.raises(ValueError, match="keep_frozen must not be true with augment"):
        replace(augmented, keep_frozen=True)


def test_augmented_training_resumes_with_the_same_turns(simulated, split, tmp_path, monkeypatch):
    settings = replace(QUICK, augment=True)
    whole = train(fresh(), simulated, split, settings)
    original = supervised._train_epoch

    def cut_at_epoch_1(*args):
        if args[-1] == 1:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(supervised, "_train_epoch", cut_at_epoch_1)
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), simulated, split, settings, tmp_path / "cut.pt")
    monkeypatch.setattr(supervised, "_train_epoch", original)
    resumed = train(fresh(), simulated, split, settings, tmp_path / "cut.pt")
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)


def test_streamed_equals_resident(simulated, split):
    results = [train(fresh(), simulated, split, replace(QUICK, keep_images=keep)) for keep in (True, False)]
    np.testing.assert_array_equal(results[0].probabilities, results[1].probabilities)


@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_give_the_same_result(simulated, split):
    """To within rounding, which training amplifies; the compiled layers are saved under the same names."""
    networks = [fresh(), fresh()]
    plain, compiled = (
        train(network, simulated, split, replace(QUICK, compile=compile))
        for network, compile in zip(networks, (False, True), strict=True)
    )
    np.testing.assert_allclose(plain.history["train_loss"], compiled.history["train_loss"], rtol=1e-2)
    assert compiled.history["train_loss"].iloc[0] == pytest.approx(plain.history["train_loss"].iloc[0], rel=1e-4)
    assert list(networks[0].state_dict()) == list(networks[1].state_dict())


def test_streaming_reads_ahead_in_blocks_and_keeps_the_order(simulated):
    batches = [np.array([5, 3, 99]), np.array([0, 0]), np.array([42]), np.array([7, 8, 9])]
    streamed = Streamed(simulated, 32, 1.0, torch.device("cpu"), read_ahead=4)
    resident = load_images(simulated, np.arange(100), 32, torch.device("cpu"), resident=True)
    for one, other, rows in zip(streamed.batches(batches), resident.batches(batches), batches, strict=True):
        assert torch.equal(one, other)
        np.testing.assert_array_equal(one.permute(0, 2, 3, 1).numpy(), simulated.read_images(rows))
    assert list(streamed.batches([])) == []


def test_a_loss_that_is_not_finite_says_where(simulated, split):
    network = fresh()
    with torch.no_grad():
        network.trained[-1].bias[0] = math.nan
    with pytest.raises(TrainingError, match=r"The loss is nan in epoch 1, batch 1 of 5"):
        train(network, simulated, split, QUICK)


def test_two_processes_share_every_batch_and_give_the_result_of_one(simulated, split):
    """Gradients are averaged over processes; batches of 20 halve evenly, and nothing here is random."""

    def linear():
        torch.manual_seed(0)
        frozen = nn.Sequential(cnn.Normalize(cnn.GALAXY_MEAN, cnn.GALAXY_STD))
        return cnn.GalaxyNet(frozen, nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)))

    settings = replace(QUICK, batch_size=20, learning_rate=1e-3)
    networks = [linear(), linear()]
    one, two = (
        train(network, simulated, split, replace(settings, devices=devices))
        for network, devices in zip(networks, (1, 2), strict=True)
    )
    np.testing.assert_allclose(one.history["train_loss"], two.history["train_loss"], rtol=1e-4)
    np.testing.assert_allclose(one.probabilities, two.probabilities, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(networks[0].trained[1].weight, networks[1].trained[1].weight, rtol=1e-3, atol=1e-5)
    assert not torch.equal(networks[1].trained[1].weight, linear().trained[1].weight)


def test_impossible_settings_are_refused():
    for wrong in ({"epochs": 0}, {"batch_size": 1}, {"image_size": 8}, {"min_learning_rate": 1.0}, {"crop": 0}):
        with pytest.raises(ValueError, match="must"):
            Settings(**wrong)


@pytest.mark.skipif(not SHARED.exists(), reason="the real images are not here")
def test_custom_cnn_learns_real_galaxies(tmp_path):
    """Chance is 10%; a binomial standard error on 200 images is 3%."""
    import runpy

    packer = runpy.run_path(str(SHARED / "data" / "make_galaxy10_subset.py"))
    packer["main"](tmp_path / "real.h5")
    galaxies = open_galaxies(tmp_path / "real.h5")
    result = train(fresh(), galaxies, split_rows(galaxies), Settings(epochs=20, image_size=96, crop=0.75, device="cpu"))
    assert result.history["test_accuracy"].iloc[-1] > 0.30
