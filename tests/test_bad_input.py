"""Every kind of bad input, through the command line: one sentence, a non-zero exit, nothing written.

In the sentences {path} stands for the file as it was named, and … for the words of another library.
"""

import json
import pickle
import shlex

import h5py
import numpy as np
import pytest
import torch
from conftest import ROOT
from fakes import assert_said, cut, refusal, run_cells, small_layout, write_layout
from safetensors.torch import save_file

PAGE = "<!doctype html><html><body>Sign in to go on</body></html>"


def hdf5(**changes):
    """A writer of a small valid file with some datasets changed; None leaves one out."""

    return lambda path: write_layout(path, small_layout() | changes)


def group_for_images(path):
    with h5py.File(hdf5(images=None)(path), "a") as file:
        file.create_group("images")


GET_IT = "galutils pack makes such a file, and Galaxy10_DECals.h5 from https://zenodo.org/records/10845026 is one."
NO_HDF5 = "{path}: is not an HDF5 file; " + GET_IT
CUT_SHORT = "{path}: cannot be read as HDF5, perhaps cut short (…); get it again."
NO_IMAGES = "{path}: has no dataset 'images'; " + GET_IT
VOTES = (
    "{path}: 'votes' is not a table of 20 rows and 10 shares from 0 to 1; "
    "give one for each image and class, or leave it out."
)
NO_COLUMN = "{path}: '%s' is not a column of 20 numbers; give one for each image or leave it out."
IMAGE_DTYPE = "{path}: 'images' has dtype %s, not uint8; store grey levels from 0 to 255 as uint8."
IMAGE_SHAPE = "{path}: 'images' has shape %s, not (N, size, size, 3) with a size of 8 or more; "
IMAGE_SHAPE += "store square RGB images with the channels last."
LABEL_DTYPE = "{path}: 'ans' has dtype %s, not an integer; store the classes as uint8."
LABEL_SHAPE = "{path}: 'ans' has shape %s but there are 20 images; store one label for each image."
LABEL_RANGE = "{path}: 'ans' has labels from %s to %s, not 0 to 999; number the classes from 0."
DEGREES = "{path}: '%s' goes from %s; give degrees from %s, or NaN where they are unknown."

GALAXIES = {
    "missing": (lambda path: None, "{path}: there is no such file; " + GET_IT),
    "directory": (lambda path: path.mkdir(), "{path}: is a folder, not an HDF5 file; name the file inside it."),
    "HTML": (lambda path: path.write_text(PAGE), NO_HDF5),
    "a tenth": (cut(hdf5(), 0.1), CUT_SHORT),
    "no images": (hdf5(images=None), NO_IMAGES),
    "a group for images": (group_for_images, NO_IMAGES),
    "no labels": (hdf5(ans=None), "{path}: has no dataset 'ans'; " + GET_IT),
    "float images": (hdf5(images=np.zeros((20, 16, 16, 3))), IMAGE_DTYPE % "float64"),
    "grey": (hdf5(images=np.zeros((20, 16, 16), np.uint8)), IMAGE_SHAPE % "(20, 16, 16)"),
    "one channel": (hdf5(images=np.zeros((20, 16, 16, 1), np.uint8)), IMAGE_SHAPE % "(20, 16, 16, 1)"),
    "oblong": (hdf5(images=np.zeros((20, 16, 12, 3), np.uint8)), IMAGE_SHAPE % "(20, 16, 12, 3)"),
    "too small": (hdf5(images=np.zeros((20, 4, 4, 3), np.uint8)), IMAGE_SHAPE % "(20, 4, 4, 3)"),
    "no rows": (
        hdf5(images=np.zeros((0, 16, 16, 3), np.uint8), ans=np.zeros(0, np.uint8), ra=None, dec=None),
        "{path}: 'images' has no rows; " + GET_IT,
    ),
    "label 1000": (hdf5(ans=np.full(20, 1000)), LABEL_RANGE % (1000, 1000)),
    "label -1": (hdf5(ans=np.full(20, -1)), LABEL_RANGE % (-1, -1)),
    "float labels": (hdf5(ans=np.zeros(20)), LABEL_DTYPE % "float64"),
    "one-hot labels": (hdf5(ans=np.eye(20, 10, dtype=np.uint8)), LABEL_SHAPE % "(20, 10)"),
    "short ra": (hdf5(ra=np.zeros(3)), NO_COLUMN % "ra"),
    "ra 400": (hdf5(ra=np.r_[np.nan, np.arange(19), 400][:20] * 1.0 + 382), DEGREES % ("ra", "382 to 400", "0 to 360")),
    "dec -91": (hdf5(dec=np.r_[-91.0, np.zeros(19)]), DEGREES % ("dec", "-91 to 0", "-90 to 90")),
    "votes of one class": (hdf5(votes=np.ones((20, 1), np.float32)), VOTES),
    "counts of votes": (hdf5(votes=np.full((20, 10), 3)), VOTES),
    "text dec": (hdf5(dec=np.array([b"north"] * 20)), NO_COLUMN % "dec"),
}


class Evil:
    """Unpickling this would leave a file behind."""

    def __reduce__(self):
        return exec, ("open('unpickled', 'w').close()",)


def tensors(metadata=None, **state):
    return lambda path: save_file(state or {"a": torch.zeros(3)}, path, metadata=metadata)


def no_fit(arch, tensors, more):
    return (
        f"{{path}}: does not fit {arch} (of its {tensors} tensors {tensors} are missing and 0 have another shape, "
        f"{more} more belong to no layer); give a file of {arch} or set arch to match the file."
    )


def no_vit(arch):
    return f"'{arch}' is not a vision transformer of timm; choose one such as vit_small_patch16_224.dino."


FOLDER = "is a folder, not a file"
NO_WEIGHTS = "{path}: there is no such file; give the path of a weights file."
UNREADABLE = "{path}: is no weights file, or not a whole one; get it again."
NO_TENSORS = "{path}: holds more than tensors; save the network's state_dict()."
NO_NET = "'ARCH' is no network of timm; choose one such as convnext_nano, or hf_hub:owner/name."
NO_VGG = "'ARCH' is not a VGG; choose vgg11, vgg13, vgg16, vgg19."
TINY = "vit_tiny_patch16_224"

WEIGHTS = {
    "missing": ("w.pth", lambda path: None, NO_WEIGHTS),
    "directory": ("w.pth", lambda path: path.mkdir(), NO_WEIGHTS.replace("there is no such file", FOLDER)),
    "empty": ("w.safetensors", lambda path: path.touch(), UNREADABLE),
    "truncated": ("w.safetensors", cut(tensors(a=torch.zeros(999)), 0.5), UNREADABLE),
    "truncated pth": ("w.pth", cut(lambda path: torch.save({"a": torch.zeros(999)}, path), 0.5), UNREADABLE),
    "a pickle with code": ("w.pth", lambda path: path.write_bytes(pickle.dumps(Evil())), UNREADABLE),
    "torch with code": ("w.pth", lambda path: torch.save({"a": Evil()}, path), NO_TENSORS),
    "a whole module": ("w.pth", lambda path: torch.save(torch.nn.Linear(2, 2), path), NO_TENSORS),
    "a checkpoint": ("w.pth", lambda path: torch.save({"epoch": 3}, path), NO_TENSORS),
    "another VGG": ("w.safetensors", tensors({"architecture": "vgg11"}), no_fit("vgg11", 16, 0)),
    "another ViT": ("w.safetensors", tensors({"architecture": TINY}), no_fit(TINY, 150, 1)),
    "an unknown kind of ViT": (
        "w.safetensors",
        tensors({"architecture": TINY + ".no"}),
        NO_NET.replace("ARCH", TINY + ".no"),
    ),
    "no such network": ("w.safetensors", tensors({"architecture": "resnet9000"}), NO_NET.replace("ARCH", "resnet9000")),
}

FOREIGN = "real.h5: is there, and galutils did not write it; choose another name, or delete it."
EXAMPLE = "write for example '{\"epochs\": 2}'."
#: {notebook} stands for one that is there, {root} for the checkout; real.h5 is a file that no command here wrote.
COMMANDS = {
    "execute {notebook} o.ipynb -p '{\"epoch\": 1}'": (
        "05_custom_cnn.ipynb has no parameter 'epoch'; it declares …, epochs, …."
    ),
    "execute {notebook} o.ipynb -p epochs=1": "--parameters is not JSON (…); " + EXAMPLE,
    "execute {notebook} o.ipynb -p [1]": "--parameters is not a JSON object; " + EXAMPLE,
    "execute {notebook} {root}/README.md": "{root}/README.md: is no name for what is written; end it in .ipynb.",
    "simulate {root}/README.md": "{root}/README.md: is no name for what is written; end it in .h5 or .hdf5.",
    "simulate real.h5": FOREIGN,
    "pack {root}/README.md real.h5": FOREIGN,
    "train real.h5 --to {root}/README.md": (
        "{root}/README.md: is a file, but a run is a folder; give --to another name."
    ),
    "simulate /proc/x.h5": (
        "/proc/x.h5: could not be written (No such file or directory); make room there, or mend the folder."
    ),
    "train real.h5 --to d --device tpu": "05_custom_cnn.ipynb: device is 'tpu'; choose auto, cpu, cuda.",
    "train real.h5 --to d --weights nope.pth": (
        "nope.pth: there is no such file; give simulated, random or the path of a weights file."
    ),
    "train real.h5 --to d --weights auto": (
        "auto: there is no such file; give simulated, random or the path of a weights file."
    ),
    "train real.h5 --to d --approach vgg11_deep --weights .": (
        f".: {FOLDER}; give imagenet, random, auto or the path of a weights file."
    ),
    'execute {root}/notebooks/06_dino_kmeans.ipynb o.ipynb -p \'{"weights": "nope.pth"}\'': (
        "nope.pth: there is no such file in {root}/notebooks; "
        "give dino, simulated, random, auto or the path of a weights file."
    ),
    'execute {notebook} o.ipynb -p \'{"weights": "/nope.pth"}\'': (
        "/nope.pth: there is no such file; give simulated, random or the path of a weights file."
    ),
    "plan quick --root {root}/docs": (
        "{root}/docs: is no checkout of this study, as it has no config/*.yaml; name one by --root."
    ),
    "execute absent.ipynb o.ipynb": "absent.ipynb: there is no such file; name one of notebooks/.",
    "execute {root}/README.md o.ipynb": "{root}/README.md: is not a notebook, by its name; name one of notebooks/.",
    "execute {root}/notebooks o.ipynb": f"{{root}}/notebooks: {FOLDER}; name one of notebooks/.",
    "report huge --root {root}": (
        "There is no profile 'huge'; "
        "choose one of encoders, full, labels, labels_full, labels_small, own, paper, quick, small, smoke."
    ),
    "report paper --root {root}": "01_data_exploration has not run ({root}/runs/… is missing); run make report.",
    "simulate m.h5 --proportions odd": "proportions is 'odd'; choose balanced or galaxy10.",
    "fetch data --from {root}/tests --to d": (
        f"{{root}}/tests: {FOLDER}; give the path of your copy of Galaxy10_DECals.h5."
    ),
    "train {root}/tests --approach custom_cnn --to d": f"{{root}}/tests: {FOLDER}; give the path of an HDF5 file.",
    "predict {root}/README.md {root}/README.md": "{root}/README.md: has no complete run; run its notebook first.",
}


@pytest.fixture
def refused(command, monkeypatch, tmp_path):
    """Run the command in a folder: it must fail with this sentence alone and write nothing."""
    monkeypatch.chdir(tmp_path)

    def refused(arguments, sentence, path=""):
        before = sorted(tmp_path.rglob("*"))
        code, out, err = command(*arguments)
        assert_said(err, f"galutils: {sentence}\n", path)
        assert (out, code) == ("", 1)
        assert [path for path in sorted(tmp_path.rglob("*")) if path.suffix != ".lock" and path.name != "d"] == before

    return refused


def execution(notebook, **given):
    return ["execute", str(ROOT / "notebooks" / f"{notebook}.ipynb"), "out.ipynb", "-p", json.dumps(given)]


@pytest.mark.parametrize(("write", "sentence"), GALAXIES.values(), ids=GALAXIES)
def test_galaxies(refused, tmp_path, write, sentence):
    write(tmp_path / "sky.h5")
    refused(["check", "sky.h5"], sentence, "sky.h5")


@pytest.mark.parametrize(("name", "write", "sentence"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights(refused, tmp_path, name, write, sentence):
    write(tmp_path / name)
    refused(["check", name], sentence, name)


READERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if "data_path = " in path.read_text())


def test_there_are_notebooks_that_read_galaxies():
    assert len(READERS) >= 7


@pytest.mark.parametrize("notebook", READERS)
def test_galaxies_for_a_notebook(refused, tmp_path, notebook):
    path, (write, sentence) = tmp_path / "sky.h5", GALAXIES["label 1000"]
    write(path)
    refused(execution(notebook, data_path=str(path)), sentence, path)


VGG, VIT = ("03_vgg11_deep", "04_vgg11_shallow"), ("06_dino_kmeans", "07_dino_lora_kmeans")
WEIGHTS_FOR_A_NOTEBOOK = [
    *((notebook, "empty", UNREADABLE) for notebook in (*VGG, *VIT, "05b_encoder")),
    *((notebook, "another VGG", no_vit("vgg11")) for notebook in VIT),
    *((notebook, "another ViT", NO_VGG.replace("ARCH", TINY)) for notebook in VGG),
    *((notebook, "no such network", NO_VGG.replace("ARCH", "resnet9000")) for notebook in VGG),
]


@pytest.mark.parametrize(("notebook", "case", "sentence"), WEIGHTS_FOR_A_NOTEBOOK)
def test_weights_for_a_notebook(refused, tmp_path, notebook, case, sentence):
    name, write, _ = WEIGHTS[case]
    write(path := tmp_path / name)
    refused(execution(notebook, weights=str(path)), sentence, path)


TOO_FEW = "{path}: has 1 class of two or more usable galaxies; give at least two such classes, so that there is "
TOO_FEW += "something to tell apart."
NO_CLUSTERS = "6 rows cannot be put into 10 clusters; set clusters to fewer."


@pytest.fixture
def sky(tmp_path):
    """A file of galaxies with these labels, and what a notebook is given with it."""

    def write(labels, **given):
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        hdf5(images=images, ans=labels.astype(np.uint8), ra=None, dec=None)(path := tmp_path / "sky.h5")
        return path, {"data_path": str(path), "run_dir": str(tmp_path / "run"), "image_size": 32} | given

    return write


def test_what_only_a_notebook_can_refuse(command, monkeypatch, tmp_path, sky):
    """What it had run stays to be looked at, under another name."""
    _, given = sky(np.arange(20) // 10, image_size=7)
    monkeypatch.chdir(tmp_path)
    assert command(*execution("05_custom_cnn", **given))[::2] == (
        1, "galutils: 05_custom_cnn.ipynb, cell 5: GalutilsError: image_size must be at least 32.\n"
    )  # fmt: skip
    assert not (tmp_path / "out.ipynb").exists()
    assert (tmp_path / "out.failed.ipynb").exists()
    assert not list(tmp_path.glob("run/metrics.json"))


def test_what_a_notebook_refuses_is_said_in_its_cell(tmp_path, sky):
    path, given = sky(np.arange(20) // 19)
    assert refusal(run_cells, ROOT / "notebooks/05_custom_cnn.ipynb", given) == TOO_FEW.format(path=path)
    _, given = sky(np.arange(6), clusters=10, weights="random", arch=TINY, cache_dir=str(tmp_path / "cache"))
    assert refusal(run_cells, ROOT / "notebooks/06_dino_kmeans.ipynb", given) == NO_CLUSTERS
    assert not list(tmp_path.glob("run/metrics.json"))


@pytest.mark.parametrize(("line", "sentence"), COMMANDS.items(), ids=COMMANDS)
def test_commands(refused, tmp_path, line, sentence):
    hdf5()(tmp_path / "real.h5")
    line = line.replace("{notebook}", "{root}/notebooks/05_custom_cnn.ipynb").replace("{root}", str(ROOT))
    refused(shlex.split(line), sentence.replace("{root}", str(ROOT)))


def test_odd_but_usable_files_are_read(command, tmp_path):
    hdf5(ra=np.full(20, np.nan), ans=np.full(20, 3, np.uint8))(tmp_path / "sky.h5")
    code, out, _ = command("check", tmp_path / "sky.h5")
    assert code == 0
    assert {"  3 class 3: 20", "Pairs of rows at the same position: 0"} <= {*out.splitlines()}
