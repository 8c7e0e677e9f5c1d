"""``galutils predict``, ``similar`` and ``runs``, through the command line."""

import datetime
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from fakes import assert_said, cut, train_run, write_layout, write_run
from PIL import Image

from galutils.data.classes import GALAXY10, class_columns
from galutils.data.galaxies import open_galaxies
from galutils.data.image_files import read_picture
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import split_rows
from galutils.data.stretch import FIELD
from galutils.predict import commands
from galutils.study.runs import Run
from galutils.training.settings import Settings

NO_FIELD = "galutils: the field of view of %d of %d images is not known; they are taken to show 67 arcsec, as the "
NO_FIELD += "training images do (--field and --pixel-scale say otherwise).\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A profile's runs with one small classifier, trained at another size and crop than the file's, and its data."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_simulated(folder / "sky.h5", 120, 48, seed=0)
    galaxies = open_galaxies(folder / "sky.h5")
    split, settings = split_rows(galaxies), Settings(epochs=5, batch_size=32, image_size=32, crop=0.75, device="cpu")
    train_run(folder, galaxies, split, settings)
    return folder


@pytest.fixture(scope="module")
def run_dir(folder):
    return folder / "custom_cnn" / "seed0"


@pytest.fixture
def call(command):
    """Run the command; returns exit code, output and errors, without the line on what the run is worth."""

    def call(*arguments):
        code, out, err = command(*arguments)
        return code, out, re.sub(r"galutils: .*, trained on .* classes\.\n", "", err)

    return call


@pytest.fixture
def records(call, run_dir):
    """What ``predict --json`` says of each galaxy."""
    return lambda *arguments: json.loads(call("predict", run_dir, *arguments, "--json")[1])


def save_rows(folder, galaxies, rows):
    """Some galaxies as PNG files."""
    paths = [folder / f"{row}.png" for row in rows]
    for path, image in zip(paths, galaxies.read_images(rows), strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_test_rows_get_the_probabilities_of_the_run(call, records, folder, run_dir, tmp_path):
    """As files, and as rows of a file without labels."""
    known = Run(run_dir).predictions
    paths = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), known["row"])
    found = records(*paths)
    assert [one["path"] for one in found] == list(map(str, paths))
    np.testing.assert_allclose(
        [[*one["probabilities"].values()] for one in found], known[class_columns(GALAXY10)], atol=1e-5
    )
    assert all(tuple(one["probabilities"]) == tuple(GALAXY10) for one in found)
    assert [one["class_id"] for one in found] == known["y_pred"].tolist()
    assert [one["class_name"] for one in found] == [GALAXY10[label] for label in known["y_pred"]]

    path = write_layout(tmp_path / "new.h5", {"images": open_galaxies(folder / "sky.h5").read_images(known["row"])})
    code, out, _ = call("predict", run_dir, path, "--csv")
    table = pd.read_csv(io.StringIO(out))
    assert code == 0
    assert table["path"].tolist() == [f"{path}[{i}]" for i in range(len(known))]
    np.testing.assert_allclose(table[class_columns(GALAXY10)], known[class_columns(GALAXY10)], atol=1e-5)


def test_what_is_unlike_and_what_is_unsure_is_marked(records, folder, run_dir, tmp_path):
    Image.fromarray(np.indices((48, 48)).sum(0) // 6 % 2 == 1).save(tmp_path / "board.png")  # of chess
    run, galaxies = Run(run_dir), open_galaxies(folder / "sky.h5")
    board, *known = records(tmp_path / "board.png", *save_rows(tmp_path, galaxies, run.split.train))
    assert "unlike the training galaxies" in board["warning"]
    marked = np.mean(["unlike" in (one["warning"] or "") for one in known])
    assert marked <= 0.03  # one in a hundred by construction, and each has itself as its nearest
    assert not any(np.isnan(one["distance"]) for one in known)
    top = run.predictions[class_columns(GALAXY10)].max(axis=1)
    ends = save_rows(tmp_path, galaxies, run.predictions["row"][[top.idxmin(), top.idxmax()]])
    assert ["low probability" in (one["warning"] or "") for one in records(*ends)] == [True, False]


def test_without_the_data_it_classifies_and_says_what_was_not_checked(call, run_dir, folder, tmp_path):
    galaxies = open_galaxies(folder / "sky.h5")
    (path,) = save_rows(tmp_path, galaxies, [5])
    (folder / "sky.h5").rename(folder / "moved.h5")
    try:
        code, out, err = call("predict", run_dir, path, "--json")
        assert code == 0
        assert json.loads(out)[0]["distance"] is None
        unchecked = "galutils: likeness to the training galaxies was not checked: sky.h5, which the run in "
        unchecked += f"{run_dir} read, was not found; name it by --data.\n"
        assert err == unchecked + NO_FIELD % (1, 1)
        code, out, err = call("predict", run_dir, path, "--json", "--data", folder / "moved.h5", "--field", FIELD)
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


def header(scale):
    stated = {"BANDS": "grz", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    return fits.Header(stated | {"CD1_1": -scale / 3600, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": scale / 3600})


def test_inputs_are_named_in_every_way_and_bad_ones_cost_only_themselves(call, folder, run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    deep = tmp_path / "all" / "deep"
    deep.mkdir(parents=True)
    paths = save_rows(deep, open_galaxies(folder / "sky.h5"), [3, 5, 7, 9, 11])
    paths[0].rename(tmp_path / "all" / "a.png")
    for name in ("all/deep/labels.csv", "all/deep/.hidden.png", "empty"):
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("all/a.png\n\nall/deep/11.png\n")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "list.txt").write_text("all/a.png\nall/gone.png\n")
    cut_jpeg(tmp_path / "all" / "b.jpg")
    inside = ["all/a.png", "all/deep/11.png", "all/deep/5.png", "all/deep/7.png", "all/deep/9.png"]
    damaged = "galutils: all/b.jpg: is a damaged image (…); get it again.\n"
    gone = "galutils: all/gone.png: there is no such file; give JPEG, PNG or FITS images, or an HDF5 file.\n"
    for named, found, said in (
        (["all"], inside, damaged),
        (["all/deep"], inside[1:], ""),
        (["*/*.png"], inside[:1], ""),
        (["**/*.png"], inside, ""),
        (["@list.txt", "all/deep/5.png"], inside[:3], ""),
        (["@none/list.txt"], inside[:1], gone),
        (["all/gone.png", "all/a.png"], inside[:1], gone),
    ):
        code, out, err = call("predict", run_dir, *named, "--json", "--field", FIELD)
        assert (code, [one["path"] for one in json.loads(out)]) == (1 if said else 0, found)
        assert_said(err, said)
    (tmp_path / "none" / "list.txt").unlink()
    for named, said in (
        (["x.png", "y.png"],
         "x.png, y.png: there are no such files; give JPEG, PNG or FITS images, or an HDF5 file."),
        (["none"], "none: is a folder without images; name one that holds some, at any depth."),
        (["@list"], "@list: there is no such list; give a file with the name of an image on each line."),
        (["@empty"], "@empty: is empty; write the name of an image on each line."),
        (["@all/a.png"], "@all/a.png: is no list of names; write the name of an image on each line."),
    ):  # fmt: skip
        refused(call("predict", run_dir, *named), said)


def test_a_catalogue_names_its_images(call, records, folder, run_dir, tmp_path):
    (tmp_path / "images").mkdir()
    paths = save_rows(tmp_path / "images", open_galaxies(folder / "sky.h5"), [3, 5])
    (tmp_path / "cat.csv").write_text("picture,pxscale\n3,{0}\n5,{0}\n7,{0}\n".format(FIELD / 48))
    table = fits.BinTableHDU.from_columns([fits.Column("file", "5A", array=["3.png", "5.png"])])
    table.writeto(tmp_path / "cat.fits")
    expected = [[*one["probabilities"].values()] for one in records(*paths)]
    gone = "galutils: {path}: there is no such file; give JPEG, PNG or FITS images, or an HDF5 file.\n"
    for name, ending, said in (("cat.csv", 1, gone), ("cat.fits", 0, NO_FIELD % (2, 2))):
        code, out, err = call("predict", run_dir, tmp_path / name, "--json")
        np.testing.assert_allclose([[*one["probabilities"].values()] for one in json.loads(out)], expected, atol=1e-6)
        assert code == ending
        assert_said(err, said, tmp_path / "images" / "7.png")
    (tmp_path / "none.csv").write_text("a,b\n3.png,2\n")
    none = "{path}: has no obvious image column; name it with --image-column, of a, b."
    refused(call("predict", run_dir, tmp_path / "none.csv"), none, tmp_path / "none.csv")
    assert call("predict", run_dir, tmp_path / "none.csv", "--image-column", "a", "--field", FIELD)[0] == 0
    near = call("similar", run_dir, tmp_path / "cat.fits", "--count", 1, "--csv")[1].splitlines()
    assert [line.split(",")[1] for line in near] == ["row", "3", "5"]


def test_what_is_odd_about_a_picture_is_said(call, folder, run_dir, tmp_path):
    (galaxy,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [5])
    with Image.open(galaxy) as image:
        image.convert("L").save(tmp_path / "a_grey.png")
    Image.new("RGB", (48, 48), (32, 32, 32)).save(tmp_path / "b_blank.png")
    noise = np.random.default_rng(0).normal(0, 0.02, (3, 48, 48)).astype(np.float32)
    fits.writeto(tmp_path / "c_sky.fits", noise, header(FIELD / 48))
    fits.writeto(tmp_path / "d_small.fits", noise[:, :24, :24], header(FIELD / 48))
    code, out, err = call("predict", run_dir, tmp_path, "--json")
    said = [(one["warning"] or "").split("; ") for one in json.loads(out)]
    assert (code, err) == (0, NO_FIELD % (3, 5))
    assert not {"grey", "blank", "empty sky"} & {*said[0]}
    assert [words[0] for words in said[1:]] == ["grey", "blank", "empty sky", "shows 33.5 of 67.1 arcsec"]


def test_the_same_field_gives_the_same_answer_at_any_scale_and_in_any_file(records, folder, tmp_path):
    """A frame of twice the field, and FITS at two pixel scales, against the very picture of the file."""
    sky, rows = open_galaxies(folder / "sky.h5"), np.arange(8)
    wide = np.full((8, 96, 96, 3), 32, np.uint8)
    wide[:, 24:72, 24:72] = sky.read_images(rows)
    write_layout(tmp_path / "wide.h5", {"images": wide, "pxscale": sky.pxscale[rows]})
    pairs = [(records(*save_rows(tmp_path, sky, rows), "--field", FIELD), records(tmp_path / "wide.h5"))]
    flux = np.random.default_rng(1).normal(0.02, 0.01, (3, 64, 64)).astype(np.float32)
    flux[:, 24:40, 20:44] += 0.3
    for part in (1, 2):
        path = tmp_path / f"{part}.fits"
        fits.writeto(path, flux.repeat(part, axis=1).repeat(part, axis=2), header(FIELD / 64 / part))
        image = read_picture(path).image
        np.testing.assert_array_equal(image[::part, ::part], read_picture(tmp_path / "1.fits").image)
        Image.fromarray(image).save(tmp_path / f"{part}.png")
        pairs.append((records(path), records(tmp_path / f"{part}.png")))
    for pair in pairs:
        np.testing.assert_allclose(*([[*one["probabilities"].values()] for one in found] for found in pair), atol=1e-6)


def test_similar_finds_the_galaxy_itself_and_draws_a_sheet(call, folder, run_dir, tmp_path):
    (path,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [33])
    code, out, _ = call("similar", run_dir, path, "--count", 4, "--to", tmp_path / "sheet.png")
    assert code == 0
    assert out.splitlines()[1].split()[1] == "33"
    assert len(out.splitlines()) == 6
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 200
    several = call("similar", run_dir, path, folder / "sky.h5", "--count", 2, "--json", "--to", tmp_path / "no.png")
    near = pd.DataFrame(json.loads(several[1]))
    assert near["image"].tolist()[::2] == [str(path), *(f"{folder / 'sky.h5'}[{row}]" for row in range(120))]
    assert near["row"].tolist()[::2] == [33, *range(120)]  # each galaxy is most like itself
    assert not (tmp_path / "no.png").exists()


def test_predictions_and_features_are_written_as_parquet(call, folder, run_dir, tmp_path):
    sky, known = folder / "sky.h5", open_galaxies(folder / "sky.h5")
    assert call("predict", run_dir, sky, "--parquet", tmp_path / "p.parquet")[:2] == (0, f"{tmp_path}/p.parquet\n")
    table = pd.read_parquet(tmp_path / "p.parquet")
    np.testing.assert_array_equal(table[["ra", "dec"]], np.stack([known.ra, known.dec], axis=1))
    assert call("features", run_dir, sky, "--to", tmp_path / "f.parquet")[0] == 0
    seen = pd.read_parquet(tmp_path / "f.parquet")
    np.testing.assert_allclose(seen[class_columns(GALAXY10)], table[class_columns(GALAXY10)])
    assert np.stack(seen["features"]).shape == (120, 32)


def test_what_is_read_is_not_written_over(call, folder, run_dir, tmp_path, monkeypatch):
    """Nor is a picture that happens to be called as the sheet is; an earlier sheet is."""
    monkeypatch.chdir(tmp_path)
    (galaxy,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [33])
    pd.DataFrame({"image": [galaxy.name]}).to_parquet("cat.parquet")
    galaxy.rename("similar.jpg")
    shutil.copy("similar.jpg", "similar.png")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    read = "%s: is one of the files to read; choose another name for what is written."
    for arguments, said in (
        (["similar", run_dir, "similar.jpg", "--to", tmp_path / "similar.jpg"], read % (tmp_path / "similar.jpg")),
        (["similar", run_dir, "."], read % "similar.png"),
        (["predict", run_dir, "cat.parquet", "--parquet", "cat.parquet"], read % "cat.parquet"),
        (["features", run_dir, "cat.parquet", "--to", "cat.parquet"], read % "cat.parquet"),
        (["similar", run_dir, "similar.jpg"],
         "similar.png: is there, and is no sheet of galutils; name another with --to, or remove it."),
    ):  # fmt: skip
        refused(call(*arguments), said)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert call("similar", run_dir, "similar.jpg", "--csv")[0] == 0
    (tmp_path / "similar.png").unlink()
    for name in ("similar.jpg", "cat.parquet"):
        shutil.move(name, tmp_path / f"own-{name}")
    for _ in range(2):
        assert call("similar", run_dir, "own-similar.jpg")[0] == 0
    refused(call("similar", run_dir, "own-similar.jpg", "similar.png"), read % "similar.png")


def test_a_labelled_file_is_scored_and_what_the_run_is_worth_is_said_before(command, records, folder, run_dir):
    code, out, err = command("predict", run_dir, folder / "sky.h5", "--score")
    run, labels = Run(run_dir), open_galaxies(folder / "sky.h5").labels
    right = np.mean([one["class_id"] for one in records(folder / "sky.h5")] == labels)
    said = re.fullmatch(
        r"120 galaxies: accuracy (\S+)% \(95% .*; the largest class alone would give 10.0%\.", out.split("\n")[0]
    )
    assert code == 0
    assert float(said[1]) == pytest.approx(100 * right, abs=0.05)
    share = run.metrics["scores"]["accuracy"]
    trained = f"trained on {run.metrics['rows']['train']} of 120 simulated galaxies in sky.h5: accuracy {share:.1%}"
    assert_said(err, f"galutils: …, {trained} (95% interval … on 20 test galaxies, 10 classes.\n")


SIMULATED = "Learnt from simulated galaxies alone: its accuracy says nothing of real ones. "
WARNED = {
    "simulated": ({}, SIMULATED + "Custom CNN, average pooling first"),
    "random": (
        {"experiment": "vgg11_shallow", "weights": {"source": "random"}, "data": {"simulated": False}},
        "Started from random weights, not from pretrained ones. VGG11, shallow fine-tuning (random weights)",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), WARNED.values(), ids=WARNED)
def test_every_command_says_first_what_a_run_does_not_bear_on(
    command, folder, run_dir, tmp_path, monkeypatch, changes, sentence
):
    """In one line with what it is worth."""
    copy, (galaxy,) = tmp_path / "run", save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [5])
    shutil.copytree(run_dir, copy)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics |= changes | {"data": metrics["data"] | changes.get("data", {})}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    monkeypatch.setattr("galutils.predict.survey.classify_survey", lambda *given, **options: "out")
    data = ["--data", folder / "sky.h5"]
    for arguments in (
        ["predict", copy, galaxy, "--field", FIELD, *data],
        ["features", copy, galaxy, "--to", tmp_path / "f.parquet"],
        ["similar", copy, galaxy, "--csv", *data],
        ["classify", copy, galaxy, "--to", tmp_path / "out"],
        ["classify", copy, folder / "sky.h5", "--to", tmp_path / "out", "--dry-run"],
    ):
        code, _, err = command(*arguments)
        assert code == 0
        assert_said(err, f"galutils: {sentence}, trained on 100 of 120 … classes.\n")


def test_of_pretrained_weights_it_is_not_said_that_they_learnt_from_simulated_galaxies_alone(tmp_path, capsys):
    data = {"sha256": "0" * 64, "file": "sky.h5", "rows": 90, "simulated": True}
    changed = {"weights": {"source": "dino"}, "data": data, "rows": {"train": 50, "test": 40}}
    write_run(tmp_path, "vit_frozen", 0, 20, **changed)
    commands._introduce(Run(tmp_path / "vit_frozen" / "seed0"))
    assert_said(
        capsys.readouterr().err,
        "galutils: Learnt from simulated galaxies: its accuracy says nothing of real ones. DINO ViT-S, frozen, trained "
        "on 50 of 90 simulated galaxies in sky.h5: accuracy 50.0% (…) on 40 test galaxies, 10 classes.\n",
    )


def test_a_run_that_says_one_class_of_all_is_called_collapsed(command, folder, run_dir, tmp_path):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    known = pd.read_csv(copy / "predictions.csv")
    known.assign(y_pred=0).to_csv(copy / "predictions.csv", index=False)
    (galaxy,) = save_rows(tmp_path, open_galaxies(folder / "sky.h5"), [5])
    _, _, err = command("features", copy, galaxy, "--to", tmp_path / "f.parquet")
    collapsed = "Collapsed: nearly all galaxies are given one class. Custom CNN, average pooling first (collapsed)"
    assert_said(err, f"galutils: {SIMULATED}{collapsed}, trained on 100 of … classes.\n")


def test_runs_are_listed_with_their_scores(call, folder, run_dir):
    for place in (folder, folder.parent, folder.parent.parent, run_dir.parent, run_dir):
        code, out, _ = call("runs", place)
        assert code == 0
        named = run_dir if place == run_dir else run_dir.relative_to(place)
        made = datetime.date.fromtimestamp((run_dir / "metrics.json").stat().st_mtime)
        listed = [line.split()[:2] for line in out.splitlines()[1:]]
        assert [str(named), str(made)] in listed
        assert len(listed) == 1 or place == folder.parent.parent  # where other tests have runs of their own
        assert out.splitlines()[0].split()[:2] == ["run", "made"]
        assert re.search(rf"{Run(run_dir).metrics['scores']['accuracy']:.1%} \([\d.]+% to [\d.]+%\)", out)


def picture(mode="RGB", size=(48, 48)):
    return lambda path: Image.new(mode, size).save(path, format="png")


def cut_jpeg(path):
    cut(lambda path: Image.effect_noise((200, 200), 90).convert("RGB").save(path, format="jpeg"))(path)


NO_LAYOUT = "galutils pack makes such a file, and Galaxy10_DECals.h5 from https://zenodo.org/records/10845026 is one."
BAD = {
    "missing": (
        "x.jpg", lambda path: None,
        "{path}: there is no such file; give JPEG, PNG or FITS images, or an HDF5 file.",
    ),
    "empty": ("x.jpg", lambda path: path.touch(), "{path}: is empty; get it again."),
    "text": (
        "x.png", lambda path: path.write_text("<html>not found</html>"),
        "{path}: is not an image that can be read; give JPEG, PNG, FITS or HDF5.",
    ),
    "too small": ("x.png", picture(size=(48, 5)), "{path}: is 48 by 5 pixels; 8 by 8 is the least."),
    "too large": (
        "x.png", picture("1", (20_000, 6_000)), "{path}: has 20000 by 6000 pixels; cut the galaxy out first.",
    ),
    "far too large": (
        "x.png", picture("1", (20_000, 20_000)),
        "{path}: has far more than 100,000,000 pixels; cut the galaxy out first.",
    ),
    "HDF5 in name only": ("x.h5", lambda path: path.write_text("hello"), "{path}: is not an HDF5 file; " + NO_LAYOUT),
}  # fmt: skip


def refused(result, sentence, path=""):
    """The command said this sentence alone and failed."""
    code, out, err = result
    assert (code, out) == (1, "")
    assert_said(err, f"galutils: {sentence}\n", path)


@pytest.mark.parametrize(("name", "write", "sentence"), BAD.values(), ids=BAD)
def test_bad_images(call, run_dir, tmp_path, name, write, sentence):
    write(path := tmp_path / name)
    refused(call("predict", run_dir, path), sentence, path)


def test_a_bad_image_has_no_sheet(call, run_dir, tmp_path):
    (tmp_path / "x.jpg").touch()
    said = call("similar", run_dir, tmp_path / "x.jpg", "--to", tmp_path / "s.png")
    refused(said, "{path}: is empty; get it again.", tmp_path / "x.jpg")
    assert not (tmp_path / "s.png").exists()


def spoil(name, content):
    return lambda run: (run / name).write_bytes(content)


RUNS = {
    "no run": (lambda run: (run / "metrics.json").unlink(), "{path}: has no complete run; run its notebook first."),
    "metrics cut short": (
        spoil("metrics.json", b'{"a'),
        "{path}/metrics.json: is not JSON (…); delete it and run its notebook again.",
    ),
    "metrics of something else": (
        spoil("metrics.json", b'{"format": 2, "classes": ["a"], "model": {}}'),
        "{path}: its network cannot be read (…); delete its metrics.json and run its notebook again.",
    ),
    "an earlier version": (
        spoil("metrics.json", b'{"model": {}}'),
        "{path}: was made by another version of this study; run its notebook again.",
    ),
    "no model": (
        lambda run: (run / "model.safetensors").unlink(),
        "{path}: has no model.safetensors; delete its metrics.json and run its notebook again.",
    ),
    "model cut short": (
        spoil("model.safetensors", b"\x10\0\0\0\0\0\0\0{}"),
        "{path}: its network cannot be read (…); delete its metrics.json and run its notebook again.",
    ),
    "another recipe": (
        spoil("metrics.json", b'{"format": 2, "classes": ["a"], "model": {"name": "custom_cnn", "channels": 3}}'),
        "{path}: its network cannot be read (…); delete its metrics.json and run its notebook again.",
    ),
    "no labels": (
        spoil("metrics.json", b'{"format": 2, "classes": ["a"], "model": {"clusters": 10}}'),
        "{path}: learnt from no labels, so it cannot classify; name a run of notebooks 02 to 05.",
    ),
}


def test_a_folder_of_runs_names_one(call, run_dir, tmp_path):
    picture()(one := tmp_path / "x.png")
    runs = run_dir.parent.parent
    refused(call("predict", runs, one), f"{runs}: has no complete run; name one below it, such as {run_dir}.")


@pytest.mark.parametrize(("damage", "sentence"), RUNS.values(), ids=RUNS)
def test_bad_runs(call, run_dir, tmp_path, damage, sentence):
    copy = shutil.copytree(run_dir, tmp_path / "run")
    damage(copy)
    picture()(tmp_path / "x.png")
    refused(call("predict", copy, tmp_path / "x.png"), sentence, copy)


def test_other_wrong_choices(call, run_dir, tmp_path):
    picture()(one := tmp_path / "x.png")
    write_simulated(other := tmp_path / "other.h5", 20, 16)
    for arguments, said in (
        (["--data", other], f"{other}: is not sky.h5 as the run read it, by its checksum; give that file."),
        (["--data", "absent.h5"], "absent.h5: there is no such file; give sky.h5, which the run read."),
        (["--field", 0], "field is 0.0; give arcsec above 0."),
    ):
        refused(call("predict", run_dir, one, *arguments), said)
    no_sheet = "sheet.txt: is no name for what is written; end it in .png or .jpg or .webp or .svg or .pdf."
    refused(call("similar", run_dir, one, "--to", "sheet.txt"), no_sheet)
    no_table = "own.csv: is no name for what is written; end it in .parquet."
    for arguments in (["predict", run_dir, one, "--parquet"], ["features", run_dir, one, "--to"]):
        refused(call(*arguments, "own.csv"), no_table)
    no_runs = "{path}: has no complete run; make report makes some, or name another folder."
    refused(call("runs", tmp_path), no_runs, tmp_path)
    assert call("predict", run_dir, one, "--json", "--csv")[0] == 2
    assert call("predict", run_dir)[0] == 2
    code, _, err = call("predict", run_dir, one, "--classes", other)
    assert code == 2
    assert "--classes is of use with --score alone; add that, or leave it out." in " ".join(
        err.replace("│", "").split()
    )
