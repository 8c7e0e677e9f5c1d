"""Every kind of bad input, through the command line: one sentence, a non-zero exit, nothing written."""

import json
import pickle
import sys

import h5py
import numpy as np
import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from galutils import cli

PAGE = "<!doctype html><html><body>Sign in to go on</body></html>"


def hdf5(**changes):
    """A writer of a small valid file with some datasets changed; None leaves one out."""

    def write(path):
        rng = np.random.default_rng(0)
        datasets = {
            "images": rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8),
            "ans": np.arange(20, dtype=np.uint8) % 10,
            "ra": rng.uniform(0, 360, 20),
            "dec": rng.uniform(-20, 30, 20),
        }
        with h5py.File(path, "w") as file:
            for name, values in (datasets | changes).items():
                if values is not None:
                    file[name] = values

    return write


def cut(write, share):
    """A writer of the first part of what ``write`` writes."""

    def write_part(path):
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return write_part


def group_for_images(path):
    hdf5(images=None)(path)
    with h5py.File(path, "a") as file:
        file.create_group("images")


GALAXIES = {
    "missing": (lambda path: None, "there is no such file"),
    "directory": (lambda path: path.mkdir(), "is a folder"),
    "empty": (lambda path: path.touch(), "is not an HDF5 file"),
    "text": (lambda path: path.write_text("ra,dec\n1,2\n"), "is not an HDF5 file"),
    "HTML": (lambda path: path.write_text(PAGE), "is not an HDF5 file"),
    "a tenth": (cut(hdf5(), 0.1), "cut short"),
    "half": (cut(hdf5(), 0.5), "cut short"),
    "all but the end": (cut(hdf5(), 0.98), "cut short"),
    "no images": (hdf5(images=None), "has no dataset 'images'"),
    "a group for images": (group_for_images, "has no dataset 'images'"),
    "no labels": (hdf5(ans=None), "has no dataset 'ans'"),
    "float images": (hdf5(images=np.zeros((20, 16, 16, 3))), "dtype float64"),
    "signed images": (hdf5(images=np.zeros((20, 16, 16, 3), np.int16)), "dtype int16"),
    "grey": (hdf5(images=np.zeros((20, 16, 16), np.uint8)), "(20, 16, 16)"),
    "one channel": (hdf5(images=np.zeros((20, 16, 16, 1), np.uint8)), "(20, 16, 16, 1)"),
    "channels first": (hdf5(images=np.zeros((20, 3, 16, 16), np.uint8)), "channels last"),
    "oblong": (hdf5(images=np.zeros((20, 16, 12, 3), np.uint8)), "(20, 16, 12, 3)"),
    "too small": (hdf5(images=np.zeros((20, 4, 4, 3), np.uint8)), "(20, 4, 4, 3)"),
    "no rows": (
        hdf5(images=np.zeros((0, 16, 16, 3), np.uint8), ans=np.zeros(0, np.uint8), ra=None, dec=None),
        "no rows",
    ),
    "label 10": (hdf5(ans=np.full(20, 10)), "labels from 10 to 10"),
    "label -1": (hdf5(ans=np.full(20, -1)), "labels from -1 to -1"),
    "float labels": (hdf5(ans=np.zeros(20)), "'ans' has dtype float64"),
    "text labels": (hdf5(ans=np.array([b"spiral"] * 20)), "'ans' has dtype"),
    "one-hot labels": (hdf5(ans=np.eye(20, 10, dtype=np.uint8)), "'ans' has shape (20, 10)"),
    "fewer labels": (hdf5(ans=np.zeros(19, np.uint8)), "there are 20 images"),
    "more labels": (hdf5(ans=np.zeros(21, np.uint8)), "there are 20 images"),
    "short ra": (hdf5(ra=np.zeros(3)), "'ra' is not a column of 20 numbers"),
    "text dec": (hdf5(dec=np.array([b"north"] * 20)), "'dec' is not a column of 20 numbers"),
}


class Evil:
    """Unpickling this would leave a file behind."""

    def __reduce__(self):
        return exec, ("open('unpickled', 'w').close()",)


def tensors(metadata=None, **state):
    return lambda path: save_file(state or {"a": torch.zeros(3)}, path, metadata=metadata)


WEIGHTS = {
    "missing": ("w.pth", lambda path: None, "there is no such weights file"),
    "directory": ("w.pth", lambda path: path.mkdir(), "there is no such weights file"),
    "empty": ("w.safetensors", lambda path: path.touch(), "not a readable weights file"),
    "empty pth": ("w.pth", lambda path: path.touch(), "not a readable weights file"),
    "text": ("w.safetensors", lambda path: path.write_text("weights"), "not a readable weights file"),
    "HTML": ("w.pth", lambda path: path.write_text(PAGE), "not a readable weights file"),
    "truncated": ("w.safetensors", cut(tensors(a=torch.zeros(999)), 0.5), "not a readable weights file"),
    "truncated pth": (
        "w.pth",
        cut(lambda p: torch.save({"a": torch.zeros(999)}, p), 0.5),
        "not a readable weights file",
    ),
    "a pickle with code": ("w.pth", lambda path: path.write_bytes(pickle.dumps(Evil())), "not a readable weights file"),
    "torch with code": ("w.pth", lambda path: torch.save({"a": Evil()}, path), "not a readable weights file"),
    "a whole module": ("w.pth", lambda path: torch.save(torch.nn.Linear(2, 2), path), "not a readable weights file"),
    "a checkpoint": ("w.pth", lambda path: torch.save({"epoch": 3}, path), "does not hold a plain table of tensors"),
    "another VGG": ("w.safetensors", tensors({"architecture": "vgg11"}), "does not fit vgg11"),
    "another ViT": ("w.safetensors", tensors({"architecture": "vit_tiny_patch16_224"}), "does not fit vit_tiny"),
    "no such network": ("w.safetensors", tensors({"architecture": "resnet9000"}), "not a vision transformer of timm"),
}

COMMANDS = {
    "unknown parameter": (
        ["execute", "{root}/notebooks/05_custom_cnn.ipynb", "o.ipynb", "-p", '{"epoch": 1}'],
        "'epoch'",
    ),
    "no JSON": (["execute", "{root}/notebooks/05_custom_cnn.ipynb", "o.ipynb", "-p", "epochs=1"], "is not JSON"),
    "no object": (["execute", "{root}/notebooks/05_custom_cnn.ipynb", "o.ipynb", "-p", "[1]"], "not a JSON object"),
    "no notebook": (["execute", "absent.ipynb", "o.ipynb"], "there is no such notebook"),
    "no profile": (["report", "huge", "--root", "{root}"], "no profile 'huge'"),
    "no run": (["report", "paper", "--root", "{root}"], "has not run"),
    "proportions": (["mock", "m.h5", "--proportions", "odd"], "'odd'"),
    "no copy": (["fetch", "data", "--from", "absent.h5", "--to", "d"], "there is no such file"),
    "another copy": (["fetch", "data", "--from", __file__, "--to", "d"], "by its checksum"),
}


def refuse(monkeypatch, capsys, folder, arguments, message):
    """Run the command in ``folder``: it must fail with one sentence and write nothing."""
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["galutils", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert message in said.err
    assert said.err.startswith("galutils: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert [path for path in sorted(folder.rglob("*")) if path.suffix != ".lock" and path.name != "d"] == before


@pytest.mark.parametrize(("write", "message"), GALAXIES.values(), ids=GALAXIES)
def test_galaxies(monkeypatch, capsys, tmp_path, write, message):
    write(tmp_path / "sky.h5")
    refuse(monkeypatch, capsys, tmp_path, ["check", "sky.h5"], message)


@pytest.mark.parametrize(("name", "write", "message"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(monkeypatch, capsys, tmp_path, name, write, message):
    write(tmp_path / name)
    refuse(monkeypatch, capsys, tmp_path, ["check", name], message)


READERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if "data_path = " in path.read_text())


def test_there_are_notebooks_that_read_galaxies():
    assert len(READERS) >= 7


@pytest.mark.parametrize("notebook", READERS)
@pytest.mark.parametrize(("write", "message"), GALAXIES.values(), ids=GALAXIES)
def test_galaxies_for_a_notebook(monkeypatch, capsys, tmp_path, write, message, notebook):
    write(tmp_path / "sky.h5")
    given = json.dumps({"data_path": str(tmp_path / "sky.h5")})
    source = str(ROOT / "notebooks" / f"{notebook}.ipynb")
    refuse(monkeypatch, capsys, tmp_path, ["execute", source, "out.ipynb", "-p", given], message)


def messages_for(notebook):
    """What each of WEIGHTS is refused with: a file of the other family is not of this one."""
    if notebook in ("03_vgg11_deep", "04_vgg11_shallow"):
        return {name: message for name, (_, _, message) in WEIGHTS.items()} | {
            "another ViT": "is not a VGG",
            "no such network": "is not a VGG",
        }
    return {name: message for name, (_, _, message) in WEIGHTS.items()} | {"another VGG": "not a vision transformer"}


@pytest.mark.parametrize("notebook", ["03_vgg11_deep", "04_vgg11_shallow", "06_dino_kmeans", "07_dino_lora_kmeans"])
@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_for_a_notebook(monkeypatch, capsys, tmp_path, case, notebook):
    name, write, _ = WEIGHTS[case]
    write(tmp_path / name)
    given = {"weights": str(tmp_path / name)}
    source = str(ROOT / "notebooks" / f"{notebook}.ipynb")
    arguments = ["execute", source, "out.ipynb", "-p", json.dumps(given)]
    refuse(monkeypatch, capsys, tmp_path, arguments, messages_for(notebook)[case])


TOO_FEW = {
    "a class is missing": (
        "05_custom_cnn",
        20,
        np.arange(20) % 9,
        "class 9 (Edge-on with bulge) has 0 usable galaxies",
    ),
    "fewer rows than classes": ("05_custom_cnn", 6, np.arange(6), "has 1 usable galaxies"),
    "fewer rows than clusters": ("06_dino_kmeans", 6, np.arange(6), "10 clusters"),
}


@pytest.mark.parametrize(("notebook", "rows", "labels", "message"), TOO_FEW.values(), ids=TOO_FEW)
def test_too_few_galaxies_for_a_notebook(monkeypatch, capsys, tmp_path, notebook, rows, labels, message):
    """Only the notebook itself can tell. What it had run stays to be looked at, under another name."""
    images = np.random.default_rng(0).integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
    hdf5(images=images, ans=labels.astype(np.uint8), ra=None, dec=None)(tmp_path / "sky.h5")
    given = {"data_path": str(tmp_path / "sky.h5"), "run_dir": str(tmp_path / "run"), "image_size": 32}
    if notebook == "06_dino_kmeans":
        given |= {"weights": "random", "arch": "vit_tiny_patch16_224", "cache_dir": str(tmp_path / "cache")}
    source = str(ROOT / "notebooks" / f"{notebook}.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["galutils", "execute", source, "out.ipynb", "-p", json.dumps(given)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 1
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "out.failed.ipynb").exists()
    assert not list(tmp_path.glob("run/metrics.json"))


@pytest.mark.parametrize(("arguments", "message"), COMMANDS.values(), ids=COMMANDS)
def test_commands(monkeypatch, capsys, tmp_path, arguments, message):
    refuse(monkeypatch, capsys, tmp_path, [argument.replace("{root}", str(ROOT)) for argument in arguments], message)


def test_odd_but_usable_files_are_read(monkeypatch, capsys, tmp_path):
    hdf5(ra=np.full(20, np.nan), ans=np.full(20, 3, np.uint8))(tmp_path / "sky.h5")
    monkeypatch.setattr(sys, "argv", ["galutils", "check", str(tmp_path / "sky.h5")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "3 In-between round smooth: 20" in said
    assert "Pairs of rows at the same position: 0" in said
