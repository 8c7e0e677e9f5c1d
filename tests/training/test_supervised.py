import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SHARED
from fakes import interrupted_at, refusal, write_layout
from PIL import Image
from torch import nn

from galutils.data.galaxies import open_galaxies
from galutils.data.loader import Streamed, load_images
from galutils.data.splits import Split, split_rows
from galutils.models import cnn
from galutils.training import supervised
from galutils.training.settings import Settings
from galutils.training.supervised import predict_probabilities, train

QUICK = Settings(epochs=3, batch_size=16, image_size=32, device="cpu")


@pytest.fixture(scope="module")
def split(simulated):
    return split_rows(simulated)


def fresh(seed=0):
    torch.manual_seed(seed)
    return cnn.build("custom_cnn")


def half_frozen(seed=0):
    """Two frozen convolutions, one trained, and what VGG's new head has: batch normalisation and dropout."""
    torch.manual_seed(seed)
    frozen = [cnn.Normalize(cnn.GALAXY_MEAN, cnn.GALAXY_STD)]
    frozen += [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    frozen += [nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    trained = [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    trained += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 10)]
    return cnn.GalaxyNet(nn.Sequential(*frozen), nn.Sequential(*trained))


@pytest.mark.parametrize(
    ("given", "seen"), [({}, [0.01] * 3), ({"weight_decay": 0.04, "last_weight_decay": 0.4}, [0.04, 0.22, 0.4])]
)
def test_weight_decay_by_epoch(simulated, split, monkeypatch, given, seen):
    decays, stepped = [], torch.optim.AdamW.step

    def step(optimizer, *arguments):
        decays.extend(group["weight_decay"] for group in optimizer.param_groups)
        return stepped(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    train(fresh(), simulated, split, replace(QUICK, batch_size=100, **given))
    assert decays == pytest.approx(seen)


def numbers(result):
    return result.history.drop(columns=["seconds", "images_per_second"])


def test_twenty_images_are_learnt_by_heart(simulated):
    part = np.full(100, "unused", dtype=object)
    part[::5], part[1:50:5] = "train", "test"
    settings = replace(QUICK, epochs=40, learning_rate=5e-3, batch_size=10)
    result = train(fresh(), simulated, Split(part, np.arange(100)), settings)
    assert result.history["train_accuracy"].iloc[-1] == 1.0


@pytest.fixture(scope="module")
def trained(simulated, split):
    return train(fresh(), simulated, split, QUICK)


def test_same_seed_same_numbers_and_other_seed_others(simulated, split, trained):
    again = train(fresh(), simulated, split, replace(QUICK, keep_images=False))  # from the disk as from memory
    pd.testing.assert_frame_equal(numbers(again), numbers(trained), check_exact=True)
    np.testing.assert_array_equal(again.probabilities, trained.probabilities)
    other = train(fresh(), simulated, split, replace(QUICK, seed=1))
    assert not np.array_equal(other.probabilities, trained.probabilities)


def test_probabilities_are_rows_of_the_test_part(simulated, split, trained):
    labels = simulated.labels[split.test]
    np.testing.assert_allclose(trained.probabilities.sum(axis=1), np.ones(len(labels)), rtol=1e-12)
    accuracy = np.mean(trained.probabilities.argmax(1) == labels)
    assert accuracy == pytest.approx(trained.history["test_accuracy"].iloc[-1])
    assert trained.calibration is None, "no rows were set aside"


def test_rows_set_aside_are_predicted_and_not_learnt_from(simulated):
    """Other labels of theirs change nothing."""
    aside = split_rows(simulated, calibration_fraction=0.25)
    labels = simulated.labels.copy()
    labels[aside.calibration] = 9 - labels[aside.calibration]
    network = fresh()
    result = train(network, simulated, aside, QUICK)
    other = train(fresh(), replace(simulated, labels=labels), aside, QUICK)
    images = load_images(simulated, aside.calibration, 32, torch.device("cpu"))
    assert len(aside.calibration) == 20
    np.testing.assert_array_equal(result.calibration, predict_probabilities(network, images, aside.calibration))
    np.testing.assert_array_equal(result.calibration, other.calibration)
    pd.testing.assert_frame_equal(numbers(result), numbers(other), check_exact=True)


@pytest.mark.parametrize(("build", "augment"), [(fresh, False), (fresh, True), (half_frozen, False)])
def test_interrupted_and_resumed_equals_uninterrupted(simulated, split, tmp_path, monkeypatch, capsys, build, augment):
    settings = replace(QUICK, augment=augment)
    whole = train(build(), simulated, split, settings, tmp_path / "whole.pt")
    epochs = interrupted_at(monkeypatch, supervised, 2)
    with pytest.raises(KeyboardInterrupt):
        train(build(), simulated, split, settings, tmp_path / "cut.pt")
    resumed = train(build(), simulated, split, settings, tmp_path / "cut.pt")
    assert epochs == [0, 1, 2], "finished epochs were repeated"
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    np.testing.assert_array_equal(whole.probabilities, resumed.probabilities)
    capsys.readouterr()
    again = train(build(), simulated, split, settings, tmp_path / "cut.pt")
    assert capsys.readouterr().out == (
        "Trained before with these very settings, and taken from disk; change a parameter to train anew.\n"
    )
    np.testing.assert_array_equal(whole.probabilities, again.probabilities)
    train(build(), simulated, split, replace(settings, learning_rate=1e-3, epochs=1), tmp_path / "cut.pt")
    assert epochs == [0, 1, 2, 0], "another run's checkpoint was used"


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_frozen_layers_computed_once_give_the_plain_result(simulated, split, precision):
    once, plain = (
        train(half_frozen(), simulated, split, replace(QUICK, precision=precision, cache_frozen=cache))
        for cache in (True, False)
    )
    assert once.precision == precision
    np.testing.assert_allclose(once.history["train_loss"], plain.history["train_loss"], rtol=1e-5)
    np.testing.assert_allclose(once.probabilities, plain.probabilities, rtol=1e-4)


def test_augmentation_runs_the_frozen_layers_on_the_augmented_images(simulated, split):
    """Frozen layers computed once would not see the turned images: with augmentation they never are."""
    plain, augmented = QUICK, replace(QUICK, augment=True)
    cases = ((half_frozen(), plain), (half_frozen(), augmented), (fresh(), plain))  # the last's is normalisation alone
    assert [supervised._caching_pays(*case, 100, torch.device("cpu")) for case in cases] == [True, False, False]
    results = [
        train(half_frozen(), simulated, split, settings)
        for settings in (replace(plain, cache_frozen=False), augmented, replace(augmented, cache_frozen=False))
    ]
    assert not np.allclose(results[0].history["train_loss"], results[1].history["train_loss"], rtol=1e-4)
    pd.testing.assert_frame_equal(numbers(results[1]), numbers(results[2]), check_exact=True)


def test_streaming_reads_ahead_in_blocks_and_keeps_the_order(simulated):
    batches = [np.array([5, 3, 99]), np.array([0, 0]), np.array([42]), np.array([7, 8, 9])]
    streamed = Streamed(simulated.read_images, torch.device("cpu"), read_ahead=4)
    resident = load_images(simulated, np.arange(100), 32, torch.device("cpu"), resident=True)
    for one, other, rows in zip(streamed.batches(batches), resident.batches(batches), batches, strict=True):
        assert torch.equal(one, other)
        np.testing.assert_array_equal(one.permute(0, 2, 3, 1).numpy(), simulated.read_images(rows))
    assert list(streamed.batches([])) == []


def test_a_loss_that_is_not_finite_says_where(simulated, split):
    network = fresh()
    with torch.no_grad():
        network.trained[-1].bias[0] = math.nan
    assert refusal(train, network, simulated, split, QUICK) == (
        "The loss is nan in epoch 1, batch 1 of 5, at learning rate 0.0005; "
        "lower learning_rate or use precision '32-true'."
    )


@pytest.mark.skipif(not SHARED.exists(), reason="the real images are not here")
def test_custom_cnn_learns_real_galaxies(tmp_path):
    """Chance is 10%; a binomial standard error on 200 images is 3%."""
    folder = SHARED / "data" / "galaxy10_subset"
    table = pd.read_csv(folder / "labels.csv")
    images = np.stack([Image.open(folder / "images" / name).convert("RGB").reduce(4) for name in table["file"]])
    galaxies = open_galaxies(write_layout(tmp_path / "real.h5", {"images": images, "ans": table["ans"].to_numpy()}))
    settings = replace(QUICK, epochs=4, batch_size=32, crop=0.75, learning_rate=2e-3)
    result = train(fresh(), galaxies, split_rows(galaxies), settings)
    assert result.history["test_accuracy"].iloc[-1] > 0.30
