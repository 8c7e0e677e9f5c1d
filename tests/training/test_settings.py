import math

import numpy as np
import pytest
import torch

from galutils.errors import GalutilsError
from galutils.training.schedule import cosine, epoch_batches
from galutils.training.settings import DinoSettings, Settings


def test_learning_rate_starts_full_and_ends_at_the_minimum():
    settings = Settings(epochs=5, learning_rate=1.0, min_learning_rate=0.2)
    rates = [settings.rate(epoch) for epoch in range(5)]
    assert rates == pytest.approx([1.0, 0.6 + 0.4 * math.sqrt(0.5), 0.6, 0.6 - 0.4 * math.sqrt(0.5), 0.2])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.2)
    for rate in rates:
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


def test_cosine_by_hand():
    assert [cosine(1.0, 0.0, step, 3) for step in range(3)] == pytest.approx([1, 0.5, 0])
    assert [cosine(1.0, 0.0, step, 5, warmup=2) for step in range(5)] == pytest.approx([0.5, 1, 1, 0.5, 0])
    assert cosine(0.996, 1.0, 9, 10) == pytest.approx(1.0)
    assert cosine(1.0, 0.1, 0, 1) == 1.0


def test_batches_cover_all_rows_once_and_leave_no_runt():
    rows = np.arange(100, 165)
    batches, again = (epoch_batches(rows, 64, seed=0, epoch=0) for _ in range(2))
    assert [len(batch) for batch in batches] == [33, 32]
    assert sorted(np.concatenate(batches)) == sorted(rows)
    assert np.array_equal(np.concatenate(batches), np.concatenate(again))
    for other in ({"seed": 0, "epoch": 1}, {"seed": 1, "epoch": 0}):
        assert not np.array_equal(np.concatenate(batches), np.concatenate(epoch_batches(rows, 64, **other)))


def test_settings_are_picked_by_name_from_what_a_notebook_holds():
    names = {"epochs": 7, "seed": 3, "augment": True, "rank": 4, "crop": 0.5, "data_path": "sky.h5", "np": np}
    assert Settings.pick(names) == Settings(epochs=7, seed=3, augment=True, crop=0.5)
    assert DinoSettings.pick(names) == DinoSettings(epochs=7, seed=3, rank=4, crop=0.5)
    assert Settings.pick(names, crop=0.75, device="cpu") == Settings(
        epochs=7, seed=3, augment=True, crop=0.75, device="cpu"
    )
    with pytest.raises(TypeError, match="rank"):
        Settings.pick(names, rank=4)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((Settings, wrong) for wrong in ({"batch_size": 1}, {"image_size": 8}, {"crop": 0}, {"crop": 1.5})),
        (Settings, {"augment": True, "cache_frozen": True}),
        *((kind, wrong) for kind in (Settings, DinoSettings) for wrong in ({"epochs": 0}, {"min_learning_rate": 1.0})),
        *((DinoSettings, wrong) for wrong in ({"momentum": 2.0}, {"warmup": 1}, {"student_temperature": 0.0})),
        *((DinoSettings, wrong) for wrong in ({"local_crops": -1}, {"prototypes": 1})),
    ],
)
def test_impossible_settings_are_refused(kind, wrong):
    with pytest.raises(GalutilsError, match="must"):
        kind(**wrong)
