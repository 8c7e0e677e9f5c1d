import numpy as np
import pytest
from fakes import refusal

from galutils.training.schedule import cosine, epoch_batches
from galutils.training.settings import DinoSettings, Settings


def test_cosine_by_hand():
    """Of five epochs' rates, from 1 to 0.2, the second and fourth are 0.6 ± 0.4 times the root of a half."""
    settings = Settings(epochs=5, learning_rate=1.0, min_learning_rate=0.2)
    expected = [1, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.6 - 0.4 * 0.5**0.5, 0.2]
    assert [settings.rate(epoch) for epoch in range(5)] == pytest.approx(expected)
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
    given = {"epochs": 7, "seed": 3, "augment": True}
    assert Settings.pick(names, crop=0.75, device="cpu") == Settings(**given, crop=0.75, device="cpu")
    assert DinoSettings.pick(names) == DinoSettings(epochs=7, seed=3, rank=4, crop=0.5)
    with pytest.raises(TypeError, match="rank"):
        Settings.pick(names, rank=4)


AUGMENTED = "Augmented images differ in every epoch; cache_frozen must not be true with augment."
RATES = "Learning rates must satisfy 0 <= min_learning_rate <= learning_rate."
CROPS = "crop must lie above 0 and at most be 1."
STEPS = "momentum must lie between 0 and 1, and warmup at least be 0 and below 1."
REFUSED = [
    (Settings, {"batch_size": 1}, "epochs must be at least 1 and batch_size at least 2."),
    (Settings, {"image_size": 8}, "image_size must be at least 32."),
    (Settings, {"crop": 0}, CROPS),
    (Settings, {"crop": 1.5}, CROPS),
    (Settings, {"augment": True, "cache_frozen": True}, AUGMENTED),
    (
        Settings,
        {"weight_decay": 0.0, "last_weight_decay": 0.4},
        "last_weight_decay wants a weight_decay above 0 to start from.",
    ),
    (DinoSettings, {"epochs": 0}, "epochs must be at least 1 and batch_size at least 2."),
    (DinoSettings, {"min_learning_rate": 1.0}, RATES),
    (DinoSettings, {"momentum": 2.0}, STEPS),
    (DinoSettings, {"warmup": 1}, STEPS),
    (DinoSettings, {"student_temperature": 0.0}, "Temperatures must be greater than 0."),
    (DinoSettings, {"local_crops": -1}, "local_crops must be at least 0 and prototypes at least 2."),
    (DinoSettings, {"prototypes": 1}, "local_crops must be at least 0 and prototypes at least 2."),
    (DinoSettings, {"drop_path": 1.0}, "drop_path must be at least 0 and below 1."),
    (DinoSettings, {"augmentation": "simclr"}, "augmentation is 'simclr'; choose galaxy or dino."),
]


@pytest.mark.parametrize(("kind", "wrong", "sentence"), REFUSED)
def test_impossible_settings_are_refused(kind, wrong, sentence):
    assert refusal(kind, **wrong) == sentence
