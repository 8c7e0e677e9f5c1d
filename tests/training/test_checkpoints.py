import re
from dataclasses import replace

import h5py
import pytest
import torch

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import split_rows
from galutils.models import cnn
from galutils.training import checkpoints
from galutils.training.checkpoints import Checkpoint, run_identity
from galutils.training.settings import Settings
from galutils.training.supervised import train

PLAIN = Settings(epochs=3, device="cpu")


def test_state_comes_back_to_its_own_run_alone(tmp_path):
    own = Checkpoint(tmp_path / "c.pt", "a")
    assert own.load() is None
    state = {"weights": torch.arange(3.0), "history": [{"epoch": 1, "loss": 0.5}], "optimizer": None}
    own.save(**state)
    loaded = own.load()
    assert torch.equal(loaded["weights"], state["weights"])
    assert loaded["history"] == state["history"]
    assert Checkpoint(tmp_path / "c.pt", "b").load() is None


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: b"x" * 99])
def test_a_damaged_checkpoint_is_none(tmp_path, capsys, damage):
    path = tmp_path / "c.pt"
    own = Checkpoint(path, "a")
    own.save(weights=torch.arange(999.0))
    path.write_bytes(damage(path.read_bytes()))
    assert own.load() is None
    said = capsys.readouterr().err
    assert re.fullmatch(rf"{path}: is damaged \(.+\); training starts anew\.\n", said)


def test_whatever_the_numbers_depend_on_makes_another_run(simulated_path, tmp_path, monkeypatch):
    path = tmp_path / "sky.h5"
    path.write_bytes(simulated_path.read_bytes())

    def identity(settings=PLAIN, start=b"rows"):
        return run_identity(settings, open_galaxies(path), [start])

    seen = [identity()]
    path.touch()
    assert identity() == seen[0]
    assert torch.cuda.is_available() or identity(replace(PLAIN, device="auto")) == seen[0]
    seen += [identity(replace(PLAIN, epochs=4)), identity(start=b"other rows")]
    seen.append(identity(replace(PLAIN, precision="bf16-mixed")))
    for name, value in (("code_digest", lambda *parts: "other code"), ("device_name", lambda device: "NVIDIA")):
        monkeypatch.setattr(checkpoints, name, value)
        seen.append(identity())
    monkeypatch.setattr(torch, "__version__", "0.0")
    seen.append(identity())
    with h5py.File(path, "a") as file:
        file["ans"][0] = 9
    seen.append(identity())
    assert len(set(seen)) == len(seen) == 8


def test_networks_whose_layers_differ_are_other_runs(simulated, tmp_path):
    """Pooling has no weights by which two networks could be told apart."""
    split, settings = split_rows(simulated), Settings(epochs=1, batch_size=32, image_size=32, device="cpu")
    found = []
    for pool in (2, 1):
        torch.manual_seed(0)
        network = cnn.build("custom_cnn", average_pool=pool)
        found.append(train(network, simulated, split, settings, tmp_path / "c.pt").history["train_loss"][0])
    assert found[0] != found[1]
