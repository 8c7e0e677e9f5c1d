import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from fakes import refusal
from safetensors import safe_open

from galutils.data.galaxies import open_galaxies
from galutils.data.loader import read_batch
from galutils.data.sources import load_simulated
from galutils.data.splits import split_rows
from galutils.files import SIMULATED_CNN, SIMULATED_VIT
from galutils.models import cnn
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import GALAXY_VIT, describe_weights, read_state
from galutils.report import run_page
from galutils.training.pretrain import pretrain
from galutils.training.settings import Settings
from galutils.training.supervised import train


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoints of a few epochs on 300 galaxies: as it should be, and of shuffled labels. And the galaxies."""
    folder = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALUTILS_DATA", str(folder))
        paths = {control: folder / f"{control}.safetensors" for control in ("none", "labels")}
        for control, path in paths.items():
            said = pretrain(path, "abc", count=300, epochs=12, control=control)
            assert re.fullmatch(r"\d+\.\d% of simulated galaxies that were held out are classified correctly", said)
        return paths, load_simulated(300, size=64, crop=0.5, seed=100, version="U")


def test_a_file_says_how_it_was_made_and_leaves_nothing_beside_it(made):
    path = made[0]["none"]
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["recipe"]) == {
        "count": 300, "epochs": 12, "control": "none", "size": 64, "crop": 0.5, "seed": 100, "version": "U",
        "channels": 32, "commit": "abc", "precision": "32-true",
    }  # fmt: skip
    assert (metadata["architecture"], metadata["licence"]) == ("custom_cnn", "MIT")
    assert sorted(p.suffix for p in path.parent.iterdir() if p.is_file()) == [".h5", ".safetensors", ".safetensors"]
    _, architecture, stand_in, recipe, licence, _ = describe_weights(path).splitlines()
    assert architecture == "Architecture: custom_cnn, and it fits"
    assert (stand_in, licence) == ("Stand-in: no word of it", "Licence: MIT")
    assert recipe == f"Recipe: {metadata['recipe']}"


def test_classes_are_learnt_unless_they_are_shuffled(made):
    paths, galaxies = made
    images, right = read_batch(galaxies, np.arange(300)), {}
    for control, path in paths.items():
        with torch.inference_mode():
            predicted = cnn.build("custom_cnn", weights=str(path)).eval()(images).argmax(1).numpy()
        right[control] = np.mean(predicted == galaxies.labels)
    assert right["none"] > 0.35
    assert right["labels"] < 0.25


def test_a_network_starts_from_the_file(made):
    path = made[0]["none"]
    state, _ = read_state(path)
    whole = cnn.build("custom_cnn", weights=str(path))
    assert all(torch.equal(tensor, state[name]) for name, tensor in whole.state_dict().items())
    assert (whole.source.source, whole.recipe["weights"]) == ("none.safetensors", str(path))
    # With other classes the last layer is new.
    other = cnn.build("custom_cnn", weights=str(path), num_classes=4).state_dict()
    assert [name for name in other if not torch.equal(other[name], state[name])] == [*other][-2:]


def test_statistics_keep_scales_but_no_pattern(made):
    state, _ = read_state(made[0]["none"])
    drawn = cnn.build("custom_cnn", weights=str(made[0]["none"]), start="statistics").state_dict()
    for name, tensor in drawn.items():
        if tensor.ndim < 2:
            assert torch.equal(tensor, state[name])
        else:
            assert not torch.equal(tensor, state[name])
            assert tensor.std() == pytest.approx(state[name].std().item(), rel=0.15)


def test_the_transformer_learns_all_of_itself_without_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path / "data"))
    path = tmp_path / "vit.safetensors"
    said = pretrain(path, "abc", "vit", count=128, epochs=2)
    assert re.fullmatch(r"learnt without labels; the embedding's effective rank is \d+\.\d", said)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["vit.safetensors"]
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["recipe"])["commit"] == "abc"
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 (not a dict)
    backbone, start = load_backbone(str(path)), load_backbone("random", GALAXY_VIT, seed=100)
    assert (backbone.arch, backbone.patch, backbone.dim) == (GALAXY_VIT, 8, 192)
    before, after = start.vit.state_dict(), backbone.vit.state_dict()
    assert all(not torch.equal(before[name].half().float(), after[name]) for name in before if before[name].ndim > 1)
    assert describe_weights(path).splitlines()[1] == f"Architecture: {GALAXY_VIT}, and it fits"


def test_of_a_files_galaxies_those_tested_on_are_not_seen(tmp_path, monkeypatch, simulated_path):
    """However they look, and whatever labels they have within their classes, the same network comes out."""
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path / "data"))
    galaxies, other = open_galaxies(simulated_path), shutil.copy(simulated_path, tmp_path / "other.h5")
    tested = split_rows(galaxies, 0.2, 0).test
    with h5py.File(other, "r+") as file:
        file["images"][tested] = 255 - file["images"][tested]
    made = {path: tmp_path / f"{Path(path).stem}.safetensors" for path in (simulated_path, other)}
    for data, path in made.items():
        pretrain(path, "abc", "vit", epochs=1, data=data)
    states = [read_state(path)[0] for path in made.values()]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    with safe_open(made[simulated_path], framework="pt") as file:
        recipe, metadata = json.loads(file.metadata()["recipe"]), file.metadata()
    precision = recipe.pop("precision")
    assert precision in ("bf16-mixed", "32-true")
    assert recipe == {
        "data": "simulated.h5", "sha256": galaxies.sha256, "simulated": True, "count": 80, "part": "train",
        "split": {"test_size": 0.2, "seed": 0}, "labels": "none", "epochs": 1, "size": 64, "crop": 0.5, "seed": 100,
        "commit": "abc",
    }  # fmt: skip
    backbone = load_backbone(made[simulated_path])
    assert backbone.source.learnt_from == "the 80 training galaxies of simulated.h5, without their labels"
    assert "licence" not in metadata

    # What it has seen, and what is saved of it, is not tested on.
    save_backbone(backbone, again := tmp_path / "again.safetensors")
    settings = Settings(epochs=1, seed=0, image_size=64, device="cpu")
    for path in (made[simulated_path], again):
        network = cnn.build("encoder", arch=GALAXY_VIT, weights=str(path))
        assert len(train(network, galaxies, split_rows(galaxies), settings).probabilities) == len(tested)
        for choices in ({"seed": 1}, {"fold": 1}, {"test_size": 0.3}):
            split = split_rows(galaxies, **choices)
            seen = len(set(split.test) - set(tested))
            assert 0 < seen <= len(split.test)
            assert refusal(train, network, galaxies, split, settings) == (
                f"{seen} of the {len(split.test)} rows to test on are of galaxies that {path.name} has seen; test on "
                "those that it has not (test_size 0.2 or less, split_seed 0, fold 0, split_by galaxies), or start from "
                "other weights."
            )
        # Of another file nothing is known.
        train(network, open_galaxies(other), split_rows(open_galaxies(other), seed=1), settings)


def test_the_file_that_comes_with_the_package_is_of_the_network_and_says_how_it_was_made(capsys):
    network = cnn.build("custom_cnn", weights="simulated")
    assert network.source.source == "simulated"
    assert network.count_parameters() == (47850, 47850)
    assert '"version": "U"' in describe_weights(SIMULATED_CNN)
    assert (SIMULATED_CNN.parent / "README.md").exists()
    run_page.show_network(network, 64)
    assert "Pretrained weights: simulated, custom_cnn; licence: MIT\n" in capsys.readouterr().out


def test_the_transformer_that_comes_with_the_package_says_how_it_was_made_and_is_loaded_again():
    backbone = load_backbone("simulated")
    assert (backbone.source.source, backbone.source.licence, backbone.arch) == ("simulated", "MIT", GALAXY_VIT)
    assert load_backbone(**backbone.recipe).digest() == backbone.digest()
    assert '"version": "U"' in describe_weights(SIMULATED_VIT)
    assert SIMULATED_VIT.stat().st_size < 12e6


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"weights": "imagenet"}, "The custom network has no weights 'imagenet'; give simulated, random or a path."),
        ({"weights": "a.safetensors", "start": "odd"}, "start is 'odd'; choose whole or statistics."),
    ],
)
def test_other_starts_are_refused(arguments, sentence):
    assert refusal(cnn.build, "custom_cnn", **arguments) == sentence


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"network": "resnet"}, "network is 'resnet'; choose custom_cnn or vit."),
        (
            {"network": "vit", "control": "labels"},
            "vit looks at no labels, so that shuffling them is no control; choose another.",
        ),
        (
            {"control": "odd"},
            "control is 'odd'; choose none, labels, shapes, arms, bars, seeing, noise, neighbours.",
        ),
        ({"network": "vit", "channels": 8}, "channels are the custom network's; leave them out."),
        (
            {"data": "a.h5"},
            "custom_cnn learns simulated classes, and data gives none; choose vit, or leave data out.",
        ),
        *(
            (
                {"network": "vit", "data": "a.h5", name: value},
                f"{name} is about simulated galaxies, and data names others; leave one of the two out.",
            )
            for name, value in (("count", 20), ("version", "U"), ("control", "none"), ("processes", 1))
        ),
        ({"path": "a.pt"}, "a.pt: is no name for what is written; end it in .safetensors."),
    ],
)
def test_bad_choices_are_refused(arguments, sentence):
    assert refusal(pretrain, **{"path": "a.safetensors"} | arguments) == sentence
