from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import torch

from galutils.training import checkpoints
from galutils.training.checkpoints import Checkpoint, run_identity


@dataclass(frozen=True)
class Settings:
    epochs: int = 3


PLAIN = Settings()


@pytest.fixture
def galaxies(tmp_path):
    path = tmp_path / "galaxies.h5"
    path.write_bytes(b"galaxies")
    return SimpleNamespace(path=path)


def test_state_comes_back_to_its_own_run_alone(tmp_path):
    own = Checkpoint(tmp_path / "c.pt", "a")
    assert own.load() is None
    state = {"weights": torch.arange(3.0), "history": [{"epoch": 1, "loss": 0.5}], "optimizer": None}
    own.save(**state)
    loaded = own.load()
    assert torch.equal(loaded["weights"], state["weights"])
    assert loaded["history"] == state["history"]
    assert Checkpoint(tmp_path / "c.pt", "b").load() is None


def test_a_run_without_a_file_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Checkpoint(None, "a").save(history=[])
    assert Checkpoint(None, "a").load() is None
    assert not list(tmp_path.iterdir())


def test_whatever_the_numbers_depend_on_makes_another_run(galaxies, monkeypatch):
    def identity(settings=PLAIN, start=b"rows"):
        return run_identity(settings, galaxies, [start])

    seen = [identity()]
    assert identity() == seen[0]
    seen += [identity(replace(PLAIN, epochs=4)), identity(start=b"other rows")]
    monkeypatch.setattr(checkpoints, "code_digest", lambda *parts: "other code")
    seen.append(identity())
    galaxies.path.write_bytes(b"other galaxies")
    seen.append(identity())
    assert len(set(seen)) == 5
