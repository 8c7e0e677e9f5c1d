"""``galutils predict``, ``similar`` and ``runs``, through the command line."""

import json
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits
from PIL import Image

from galutils import cli
from galutils.data.classes import GALAXY10, class_columns
from galutils.data.galaxies import open_galaxies
from galutils.data.image_files import read_picture
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import split_rows
from galutils.data.stretch import BAND_SCALES, NATIVE_PIXEL, combine
from galutils.models import cnn
from galutils.study.runs import Run, write_run
from galutils.training.settings import Settings
from galutils.training.supervised import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A profile's runs with one small classifier, trained at another size and crop than the file's, and its data."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_simulated(folder / "sky.h5", 120, 48, seed=0)
    galaxies = open_galaxies(folder / "sky.h5")
    split, settings = split_rows(galaxies), Settings(epochs=5, batch_size=32, image_size=32, crop=0.75, device="cpu")
    torch.manual_seed(0)
    network = cnn.build("custom_cnn")
    result = train(network, galaxies, split, settings)
    write_run(
        folder / "custom_cnn" / "seed0", experiment="custom_cnn", network=network, galaxies=galaxies, split=split,
        settings=settings, result=result,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def run_dir(folder):
    return folder / "custom_cnn" / "seed0"


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command; returns exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["galutils", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return call


def save_rows(folder, galaxies, rows):
    """Some galaxies as PNG files."""
    paths = [folder / f"{row}.png" for row in rows]
    for path, image in zip(paths, galaxies.read_images(rows), strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_test_rows_get_the_probabilities_of_the_run(call, folder, run_dir, tmp_path):
    known = Run(run_dir).predictions
    paths = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), known["row"])
    code, out, _ = call("predict", run_dir, *paths, "--json")
    found = json.loads(out)
    assert code == 0
    assert [one["path"] for one in found] == list(map(str, paths))
    np.testing.assert_allclose([one["probabilities"] for one in found], known[class_columns(GALAXY10)], atol=1e-5)
    assert [one["class_id"] for one in found] == known["y_pred"].tolist()
    assert [one["class_name"] for one in found] == [GALAXY10[label] for label in known["y_pred"]]


def test_a_file_without_labels_is_predicted_row_by_row(call, folder, run_dir, tmp_path):
    known = Run(run_dir).predictions
    with h5py.File(tmp_path / "new.h5", "w") as file:
        file["images"] = open_galaxies(folder / "sky.h5").read_images(known["row"])
    code, out, _ = call("predict", run_dir, tmp_path / "new.h5", "--csv")
    (tmp_path / "out.csv").write_text(out)
    table = pd.read_csv(tmp_path / "out.csv")
    assert code == 0
    assert table["path"].tolist() == [f"{tmp_path / 'new.h5'}[{i}]" for i in range(len(known))]
    np.testing.assert_allclose(table[class_columns(GALAXY10)], known[class_columns(GALAXY10)], atol=1e-5)


def test_what_is_no_galaxy_is_marked_and_training_galaxies_are_not(call, folder, run_dir, tmp_path):
    Image.fromarray(np.indices((48, 48)).sum(0) // 6 % 2 == 1).save(tmp_path / "board.png")  # of chess
    rows = Run(run_dir).split.train
    paths = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), rows)
    _, out, _ = call("predict", run_dir, tmp_path / "board.png", *paths, "--json")
    board, *known = json.loads(out)
    assert "unlike the training galaxies" in board["warning"]
    marked = np.mean(["unlike" in (one["warning"] or "") for one in known])
    assert marked <= 0.03  # one in a hundred by construction, and each has itself as its nearest
    assert not any(np.isnan(one["distance"]) for one in known)


def test_a_low_probability_is_marked(call, folder, run_dir, tmp_path, monkeypatch):
    known = Run(run_dir).predictions
    top = known[class_columns(GALAXY10)].max(axis=1)
    lowest = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), known["row"][[top.idxmin(), top.idxmax()]])
    _, out, _ = call("predict", run_dir, *lowest, "--json")
    low, high = ((one["warning"] or "") for one in json.loads(out))
    assert "low probability" in low
    assert "low probability" not in high


def test_without_the_data_it_classifies_and_says_what_was_not_checked(call, run_dir, folder, tmp_path):
    galaxies = open_galaxies(folder / "sky.h5")
    (path,) = save_rows(tmp_path, galaxies, [5])
    (folder / "sky.h5").rename(folder / "moved.h5")
    try:
        code, out, err = call("predict", run_dir, path, "--json")
        assert code == 0
        assert json.loads(out)[0]["distance"] is None
        assert "was not checked" in err
        code, out, err = call("predict", run_dir, path, "--json", "--data", folder / "moved.h5")
        assert (code, err) == (0, "")
        assert json.loads(out)[0]["distance"] > 0
    finally:
        (folder / "moved.h5").rename(folder / "sky.h5")


def test_the_table_names_class_and_runner_up(call, folder, run_dir, tmp_path):
    (path,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [7])
    code, out, _ = call("predict", run_dir, path)
    assert code == 0
    header, line = out.splitlines()
    assert header.split()[:4] == ["image", "class", "probability", "next"]
    assert str(path) in line
    assert sum(name in line for name in GALAXY10) >= 2


def test_fits_is_stretched_as_the_simulator_does_it(tmp_path):
    rng = np.random.default_rng(0)
    native = rng.normal(0.02, 0.02, (3, 40, 40)).astype(np.float32)
    fits.writeto(tmp_path / "cutout.fits", native)
    expected = np.rint(combine(native * BAND_SCALES[:, None, None])).astype(np.uint8)[::-1]
    np.testing.assert_array_equal(read_picture(tmp_path / "cutout.fits"), expected)
    # Twice the pixel side at the same surface brightness is four times the flux, and the same picture.
    header = fits.Header({"CDELT1": -2 * NATIVE_PIXEL / 3600, "CDELT2": 2 * NATIVE_PIXEL / 3600, "BANDS": "griz"})
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    four = 4 * np.stack([native[0], native[1], np.full((40, 40), np.nan, np.float32), native[2]])
    fits.writeto(tmp_path / "four.fits", four, header)
    found = read_picture(tmp_path / "four.fits").astype(int)
    assert np.abs(found - expected).max() <= 1


def test_similar_finds_the_galaxy_itself_and_draws_a_sheet(call, folder, run_dir, tmp_path):
    (path,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [33])
    code, out, _ = call("similar", run_dir, path, "--count", 4, "--to", tmp_path / "sheet.png")
    assert code == 0
    assert out.splitlines()[1].split()[0] == "33"
    assert len(out.splitlines()) == 6
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 200


def test_runs_are_listed_with_their_scores(call, folder, run_dir):
    for place in (folder, folder.parent):
        code, out, _ = call("runs", place)
        assert code == 0
        assert str(run_dir) in out
        assert f"{Run(run_dir).metrics['scores']['accuracy']:.3f}" in out


def picture(mode="RGB", size=(48, 48), suffix="png"):
    return lambda path: Image.new(mode, size).save(path, format=suffix)


def cut_jpeg(path):
    Image.effect_noise((200, 200), 90).convert("RGB").save(path, format="jpeg")
    path.write_bytes(path.read_bytes()[:3000])


def hdf5(**datasets):
    def write(path):
        with h5py.File(path, "w") as file:
            for name, content in datasets.items():
                file[name] = content

    return write


def cut_fits(path):
    cutout((3, 64, 64))(path)
    path.write_bytes(path.read_bytes()[:9000])


def cutout(shape, value=0.0, **header):
    return lambda path: fits.writeto(path, np.full(shape, value, np.float32), fits.Header(header))


BAD = {
    "missing": ("x.jpg", lambda path: None, "there is no such file"),
    "a folder": ("x.jpg", lambda path: path.mkdir(), "is a folder"),
    "empty": ("x.jpg", lambda path: path.touch(), "is empty"),
    "text": ("x.png", lambda path: path.write_text("<html>not found</html>"), "is not an image"),
    "cut short": ("x.jpg", cut_jpeg, "is a damaged image"),
    "16 bits": ("x.png", picture("I;16"), "8 bits for each colour"),
    "too small": ("x.png", picture(size=(48, 5)), "is 48 by 5 pixels"),
    "too large": ("x.png", picture("1", (20_000, 6_000)), "cut the galaxy out first"),
    "text as FITS": ("x.fits", lambda path: path.write_text("SIMPLE"), "cannot be read as FITS"),
    "FITS cut short": ("x.fits", cut_fits, "FITS"),
    "FITS table": ("x.fits", lambda path: fits.BinTableHDU.from_columns([]).writeto(path), "holds no image"),
    "one band": ("x.fits", cutout((48, 48)), "give a cutout with g, r and z"),
    "other bands": ("x.fits", cutout((3, 48, 48), BANDS="ugr"), "give a cutout with g, r and z"),
    "FITS of NaN": ("x.fits", cutout((3, 48, 48), np.nan), "has no finite pixel"),
    "HDF5 without images": ("x.h5", hdf5(ans=np.zeros(3, np.uint8)), "has no dataset 'images'"),
    "HDF5 of floats": ("x.h5", hdf5(images=np.zeros((3, 16, 16, 3))), "not uint8"),
    "HDF5 in name only": ("x.h5", lambda path: path.write_text("hello"), "is not an HDF5 file"),
}  # fmt: skip


def refused(result, message):
    code, out, err = result
    assert code == 1
    assert out == ""
    assert message in err
    assert err.startswith("galutils: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(("name", "write", "message"), BAD.values(), ids=BAD)
def test_bad_images(call, run_dir, tmp_path, name, write, message):
    write(tmp_path / name)
    refused(call("predict", run_dir, tmp_path / name), message)
    if not name.endswith(".h5"):
        refused(call("similar", run_dir, tmp_path / name, "--to", tmp_path / "s.png"), message)
        assert not (tmp_path / "s.png").exists()


def spoil(name, content):
    return lambda run: (run / name).write_bytes(content)


RUNS = {
    "no run": (lambda run: (run / "metrics.json").unlink(), "has no complete run"),
    "metrics cut short": (spoil("metrics.json", b'{"a'), "is not JSON"),
    "metrics of something else": (spoil("metrics.json", b'{"format": 2, "model": {}}'), "its network cannot be read"),
    "an earlier version": (spoil("metrics.json", b'{"model": {}}'), "was made by another version of this study"),
    "no model": (lambda run: (run / "model.safetensors").unlink(), "has no model.safetensors"),
    "model cut short": (spoil("model.safetensors", b"\x10\0\0\0\0\0\0\0{}"), "its network cannot be read"),
    "another recipe": (
        spoil("metrics.json", b'{"format": 2, "model": {"name": "custom_cnn", "channels": 3}}'),
        "its network cannot be read",
    ),
    "no labels": (spoil("metrics.json", b'{"format": 2, "model": {"clusters": 10}}'), "learnt from no labels"),
}


@pytest.mark.parametrize(("damage", "message"), RUNS.values(), ids=RUNS)
def test_bad_runs(call, run_dir, tmp_path, damage, message):
    copy = tmp_path / "run"
    copy.mkdir()
    for path in run_dir.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    Image.new("RGB", (48, 48)).save(tmp_path / "x.png")
    refused(call("predict", copy, tmp_path / "x.png"), message)


def test_other_wrong_choices(call, folder, run_dir, tmp_path):
    Image.new("RGB", (48, 48)).save(tmp_path / "x.png")
    write_simulated(tmp_path / "other.h5", 20, 16)
    refused(call("predict", run_dir, tmp_path / "x.png", "--data", tmp_path / "other.h5"), "is not sky.h5")
    refused(call("predict", run_dir, tmp_path / "x.png", "--data", "absent.h5"), "there is no such file")
    refused(call("similar", run_dir, tmp_path / "x.png", "--to", "sheet.txt"), "cannot be drawn")
    refused(call("similar", run_dir, tmp_path / "other.h5"), "give one image")
    refused(call("runs", tmp_path), "has no complete run")
    assert call("predict", run_dir, tmp_path / "x.png", "--json", "--csv")[0] == 2
    assert call("predict", run_dir)[0] == 2
