"""``galutils classify``: catalogues are right, and whatever happens to a command, the same one goes on."""

import asyncio
import errno
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import lsdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table
from distributed import Client, LocalCluster
from fakes import assert_said, refusal, train_run, write_layout
from filelock import FileLock
from fsspec.registry import _registry
from PIL import Image
from pyarrow import parquet
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler
from upath import UPath

from galutils.data.galaxies import open_galaxies
from galutils.data.image_files import Reading
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import split_rows
from galutils.errors import GalutilsError
from galutils.evaluation.calibration import calibrate, scale
from galutils.predict import survey, survey_parts
from galutils.predict.classify import classify, extract_features
from galutils.predict.survey import Where, classify_survey, describe_survey
from galutils.predict.survey_jobs import submit_workers
from galutils.predict.survey_rows import own_device
from galutils.study.features import Classifier
from galutils.study.runs import Run
from galutils.training.settings import Settings

PICTURE = pd.ArrowDtype(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
UNCALIBRATED = "probabilities are not calibrated: the run set no galaxies aside (calibration_fraction)."


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with a calibration, one without, and 48 galaxies, at the poles and at ra 0 too, as a HATS catalogue."""
    folder = tmp_path_factory.mktemp("survey")
    write_simulated(folder / "sky.h5", 120, 32, seed=0)
    galaxies, settings = open_galaxies(folder / "sky.h5"), Settings(epochs=1, image_size=32, device="cpu")
    train_run(folder / "calibrated", galaxies, split_rows(galaxies, calibration_fraction=0.3), settings)
    train_run(folder / "plain", galaxies, split_rows(galaxies), settings)
    pictures = [{"bytes": jpeg(pixels), "path": f"{i}.jpg"} for i, pixels in enumerate(galaxies.read_images(range(48)))]
    ra, dec = np.linspace(10, 80, 48), np.linspace(-20, 20, 48)
    ra[:4], dec[:4] = (0, 360, 12, 12), (0, 0, 90, -90)
    table = {"object_id": np.arange(48) + 10**12, "ra": ra, "dec": dec, "image": pd.Series(pictures, dtype=PICTURE)}
    lsdb.from_dataframe(pd.DataFrame(table), partition_rows=40).write_catalog(
        folder / "sky", catalog_name="sky", as_collection=False, progress_bar=False
    )
    return folder


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(1, 1, True, host="127.0.0.1", dashboard_address=None, silence_logs=50) as cluster:
        yield cluster


@pytest.fixture
def run(folder, cluster, tmp_path):
    """Classify a source on the cluster; the catalogue's rows and what was said."""

    def run(source, target=tmp_path / "out", run="plain", **options):
        said, where = [], Where(scheduler=cluster.scheduler_address)
        options |= {"data_path": folder / "sky.h5"}
        path = classify_survey(folder / run / "custom_cnn" / "seed0", source, target, where=where, say=said.append,
                               **options)  # fmt: skip
        return rows_of(path), said

    return run


def rows_of(target):
    tables = [parquet.ParquetFile(file).read().to_pandas() for file in target.rglob("dataset/**/*.parquet")]
    table = pd.concat(tables, ignore_index=True)
    return table.sort_values(table.columns[1] if "object_id" in table else "path", ignore_index=True)


def partitions(source):
    return sorted(source.rglob("Npix=*.parquet"), key=lambda file: -parquet.read_metadata(file).num_rows)


@pytest.fixture
def sky(folder, tmp_path):
    """A copy of the catalogue, to be spoilt."""
    return shutil.copytree(folder / "sky", tmp_path / "sky")


def change(file, image):
    """Put other images into a partition, by their number."""
    table = parquet.ParquetFile(file).read()
    cells = [image(number, cell) for number, cell in enumerate(table["image"].to_pylist())]
    place = table.column_names.index("image")
    parquet.write_table(table.set_column(place, "image", pa.array(cells, table["image"].type)), file)


def test_a_catalogue_is_what_predict_says_and_lsdb_opens_it(run, folder, tmp_path):
    wanted = {"run": "calibrated", "command": "galutils classify", "features": True}
    rows, said = run(folder / "sky", **wanted)
    assert said == []
    trained = Run(folder / "calibrated" / "custom_cnn" / "seed0")
    aside = trained.calibration
    count, temperature, threshold = calibrate(aside["y_true"].to_numpy(), aside[trained.columns].to_numpy())
    extractor, known = Classifier(trained, "cpu"), {}
    for file in partitions(folder / "sky"):
        table = classify(trained.directory, [file], folder / "sky.h5").table
        table[trained.columns] = scale(table[trained.columns].to_numpy(), temperature)
        table["features"] = extract_features(extractor, [file])[0]["features"]
        known |= dict(
            zip(parquet.ParquetFile(file).read()["object_id"].to_pylist(), table.to_dict("records"), strict=True)
        )
    assert rows["object_id"].tolist() == sorted(known) == list(range(10**12, 10**12 + 48))
    told = pd.DataFrame([known[name] for name in rows["object_id"]])
    np.testing.assert_allclose(rows[trained.columns], told[trained.columns], atol=1e-5)
    np.testing.assert_allclose(rows["unlikeness"], told["distance"], rtol=1e-4)
    assert rows["class"].tolist() == told["class_name"].tolist()
    assert list(map(list, rows["set90"])) == told["set90"].tolist()
    np.testing.assert_allclose(np.stack(rows["features"]), np.stack(told["features"]), rtol=1e-4, atol=1e-5)
    assert not rows["bad_image"].any()

    opened = lsdb.open_catalog(tmp_path / "out")
    assert len(opened.crossmatch(opened, radius_arcsec=1, suffixes=("", "_2")).compute(progress_bar=False)) == 48
    info = opened.hc_structure.catalog_info
    state = (info.total_rows, info.ra_column, info.galutils_command, json.loads(info.galutils_calibration))
    aside = {"count": count, "temperature": temperature, "threshold": threshold}
    assert state == (48, "ra", "galutils classify", aside)
    schema = parquet.read_schema(partitions(tmp_path / "out")[0])
    assert schema.field("unlikeness").metadata == {
        b"unit": b"1",
        b"description": b"distance to the training galaxies in what the network sees; unlike above 1",
    }
    assert schema.field("set90").metadata[b"description"].decode() == (
        "classes, likeliest first, the true one among them for 90% of galaxies like those set aside "
        f"(n = {len(trained.calibration)}); split conformal prediction"
    )
    assert schema.field("features").type == pa.list_(pa.float32(), 32)
    assert not (tmp_path / "out" / "parts").exists()
    assert run(folder / "sky", **wanted)[0].equals(rows)  # finished: nothing is done again


def test_hdf5_with_positions_becomes_hats_by_place_on_the_sky(run, folder, tmp_path, monkeypatch):
    """At most so many rows a partition; galaxies without a position go into files beside."""
    monkeypatch.setattr(survey_parts, "ROWS", 10)
    images, ra, dec = open_galaxies(folder / "sky.h5").read_images(range(30)), np.linspace(0, 360, 30), np.zeros(30)
    dec[[3, 7]], ra[5] = (90, -90), np.nan
    write_layout(tmp_path / "own.h5", {"images": images, "ra": ra, "dec": dec})
    rows, said = run(tmp_path / "own.h5")
    assert said == [UNCALIBRATED]
    assert rows["path"].tolist() == sorted(f"{tmp_path}/own.h5[{row}]" for row in range(30) if row != 5)
    os.utime(tmp_path / "own.h5")
    assert run(tmp_path / "own.h5")[0].equals(rows)
    (lost,) = (tmp_path / "out" / "without_position").iterdir()
    assert pd.read_parquet(lost)["path"].tolist() == [f"{tmp_path}/own.h5[5]"]
    opened = lsdb.open_catalog(tmp_path / "out")
    assert len(opened.compute(progress_bar=False)) == 29
    assert max(parquet.read_metadata(file).num_rows for file in partitions(tmp_path / "out")) <= 10


def test_images_become_parquet_and_broken_ones_are_listed(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(survey_parts, "ROWS", 4)
    (source := tmp_path / "cutouts").mkdir()
    for row, pixels in enumerate(open_galaxies(folder / "sky.h5").read_images(range(9))):
        (tmp_path / "cutouts" / f"{row}.jpg").write_bytes(jpeg(pixels)[: 400 if row == 6 else None])
    rows, said = run(source)
    assert said == [UNCALIBRATED, f"1 of 9 images cannot be used; they are listed in {tmp_path}/out/bad_images."]
    assert rows["bad_image"].tolist() == [row == 6 for row in range(9)]
    assert rows.filter(regex="^p_|class").isna().all(axis=1).tolist() == [row == 6 for row in range(9)]
    bad = pd.read_parquet(tmp_path / "out" / "bad_images")
    path = f"{tmp_path}/cutouts/6.jpg"
    assert bad["path"].tolist() == [path]
    assert bad["reason"].tolist() == [f"{path}: is a damaged image (Truncated File Read); get it again."]
    os.utime(source / "3.jpg")  # touched, and then changed, of one size
    assert run(source)[0].equals(rows)
    content = bytearray((source / "3.jpg").read_bytes())
    content[-9] ^= 1
    (source / "3.jpg").write_bytes(content)
    told = "was begun by a command that differs in source; give that one again, or name another catalogue with --to."
    assert refusal(run, source) == f"{tmp_path}/out: {told}"


def test_parquet_is_read_by_row_groups(run, folder, tmp_path, monkeypatch):
    """As many as a part may hold; a bad image is called by its row in the file."""
    monkeypatch.setattr(survey_parts, "ROWS", 10)
    table = pa.concat_tables([parquet.ParquetFile(file).read() for file in partitions(folder / "sky")])
    cells = [cell if row != 30 else {"bytes": b"no image"} for row, cell in enumerate(table["image"].to_pylist())]
    table = table.set_column(table.column_names.index("image"), "image", pa.array(cells, table["image"].type))
    (source := tmp_path / "plain").mkdir()
    parquet.write_table(table.slice(0, 35), source / "a.parquet", row_group_size=4)
    parquet.write_table(table.slice(35), source / "b.parquet", row_group_size=12)
    rows, _ = run(source)
    whole = run(folder / "sky", tmp_path / "whole")[0]
    assert [part.rows for part in survey_parts.open_source(source).parts] == [8, 8, 8, 8, 3, 12, 1]
    names = [f"{source}/a.parquet[{row}]" for row in range(35)] + [f"{source}/b.parquet[{row}]" for row in range(13)]
    assert dict(zip(rows["object_id"], rows["path"], strict=True)) == dict(
        zip(table["object_id"].to_pylist(), names, strict=True)
    )
    good, shared = ~rows["bad_image"], whole.columns.drop("_healpix_29")
    pd.testing.assert_frame_equal(rows[good][shared], whole[good][shared])
    (bad,) = pd.read_parquet(tmp_path / "out" / "bad_images").to_dict("records")
    assert (bad["path"], bad["object_id"]) == (names[30], table["object_id"][30].as_py())
    assert bad["reason"] == "a.parquet[30]: is not an image that can be read; give JPEG, PNG, FITS or HDF5."
    parquet.write_table(table.drop_columns("ra"), source / "c.parquet")
    assert refusal(run, source) == f"{source}/c.parquet: has other columns than a.parquet; give one kind of files."


def as_csv(table, path):
    table.to_csv(path, index=False)


def as_fits(table, path):
    Table.from_pandas(table.fillna({"file": ""})).write(path)


@pytest.mark.parametrize(
    ("name", "write"), [("sky.csv", as_csv), ("sky.parquet", pd.DataFrame.to_parquet), ("sky.fits", as_fits)]
)
def test_a_table_that_names_images_is_as_good_as_one_that_holds_them(run, folder, tmp_path, monkeypatch, name, write):
    """Ids and positions are carried along, rows of no image or position cost nothing else; known by its content."""
    monkeypatch.setattr(survey_parts, "ROWS", 10)
    whole, path = run(folder / "sky", tmp_path / "whole")[0], tmp_path / name
    files = [f"{number}.jpg" for number in range(48)]
    for file, pixels in zip(files, open_galaxies(folder / "sky.h5").read_images(range(48)), strict=True):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / file).write_bytes(jpeg(pixels))
    ids, files[20], files[30] = [f"{number:013}" for number in whole["object_id"]], None, "none.jpg"
    table = pd.DataFrame({"file": files, "ra": whole["ra"], "dec": whole["dec"], "object_id": ids})
    table.loc[40, "ra"] = np.nan
    write(table, path)
    kept = {"keep": ("ra", "object_id")}
    rows, said = run(path, **kept)
    assert said[1:] == [f"2 of 48 images cannot be used; they are listed in {tmp_path}/out/bad_images."]
    assert rows.columns.tolist()[:5] == ["_healpix_29", "path", "object_id", "ra", "dec"]
    lost = pd.read_parquet(tmp_path / "out" / "without_position")
    assert lost["object_id"].tolist() == [ids[40]]
    first, rows = rows, pd.concat([rows, lost]).sort_values("object_id", ignore_index=True)
    assert rows["object_id"].tolist() == ids
    named = [f"{tmp_path}/images/{file}" if file else f"{path}[20]" for file in files]
    assert rows["path"].tolist() == named
    good, shared = ~rows["bad_image"], whole.columns.drop(["_healpix_29", "object_id", "ra"])
    assert (~good).to_numpy().nonzero()[0].tolist() == [20, 30]
    pd.testing.assert_frame_equal(rows[good][shared], whole[good][shared])
    bad = pd.read_parquet(tmp_path / "out" / "bad_images").sort_values("object_id")
    why = "there is no such file; give JPEG, PNG or FITS images, or an HDF5 file."
    assert bad["reason"].tolist() == [f"{name}[20]: names no image.", f"{named[30]}: {why}"]
    assert len(lsdb.open_catalog(tmp_path / "out").compute(progress_bar=False)) == 47
    os.utime(path)
    assert run(path, **kept)[0].equals(first)
    path.unlink()
    write(table[["file", "ra", "object_id"]], path)
    told = "was begun by a command that differs in source; give that one again, or name another catalogue with --to."
    assert refusal(run, path, **kept) == f"{tmp_path}/out: {told}"
    plain = run(path, tmp_path / "plain")[0]
    assert plain.columns.tolist()[:3] == ["path", "object_id", "ra"]
    pd.testing.assert_frame_equal(plain[shared.drop("dec")], rows[shared.drop("dec")])


@pytest.fixture
def address(tmp_path):
    """Of the folder of the test, by HTTP; its server sends ranges, and says by ETag what the content is."""
    (socket,), loop = bind_sockets(0, "127.0.0.1"), asyncio.new_event_loop()
    server = HTTPServer(Application([("/(.*)", StaticFileHandler, {"path": str(tmp_path)})]))
    loop.call_soon(server.add_sockets, [socket])
    threading.Thread(target=loop.run_forever, daemon=True).start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    loop.call_soon_threadsafe(loop.stop)


def test_a_catalogue_at_an_address_is_as_good_as_a_folder(run, sky, address, tmp_path, monkeypatch):
    whole = run(sky, tmp_path / "whole")[0]
    for number, source in enumerate((f"{address}/sky", f"file://{sky}")):
        assert run(source, tmp_path / f"{number}")[0].equals(whole)
    changed, count = garble(sky), len(partitions(sky))
    StaticFileHandler.reset()  # which remembers ETags
    told = "was begun by a command that differs in source; give that one again, or name another catalogue with --to."
    assert refusal(run, f"{address}/sky", tmp_path / "0") == f"{tmp_path}/0: {told}"
    told, broken = refusal(run, f"{address}/sky", tmp_path / "new"), f"{address}/{Path(changed).relative_to(tmp_path)}"
    sentence = f"1 of {count} parts cannot be read, the first: {{path}}: cannot be read as Parquet (…); "
    assert_said(told, sentence + "get the file again. Then give the same command again; the others are done.", broken)

    def hang_up(self):
        if self.request.method == "GET":
            self.request.connection.stream.close()

    monkeypatch.setattr(StaticFileHandler, "prepare", hang_up)
    told = refusal(survey_parts.read_footer, UPath(broken))
    assert_said(told, "{path}: does not answer (…); give the command again later.", broken)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("{address}/none", "cannot be read as a HATS catalogue (…); look whether it is there."),
        ("hf://datasets/a/b", "cannot be opened (…); mend that, or copy the catalogue here."),
        ("nowhere://sky", "cannot be opened (Protocol not known: nowhere); mend that, or copy the catalogue here."),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_opened_is_said(run, address, monkeypatch, source, sentence):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(_registry, "hf", raising=False)
    source = source.replace("{address}", address)
    assert_said(refusal(run, source), f"{{path}}: {sentence}", source)


def corrupt(sky):
    file = partitions(sky)[0]
    file.write_bytes(file.read_bytes()[:-20])
    return str(file)


def garble(sky):
    """The end, which says what the file is, is whole; the images are not."""
    file = partitions(sky)[0]
    content = bytearray(file.read_bytes())
    content[100:5000] = bytes(4900)
    file.write_bytes(content)
    return str(file)


def empty_all(sky):
    for file in partitions(sky):
        parquet.write_table(parquet.ParquetFile(file).read().slice(0, 0), file)


def null_all(sky):
    for file in partitions(sky):
        change(file, lambda number, cell: None)


def drop_images(sky):
    file = partitions(sky)[0]
    parquet.write_table(parquet.ParquetFile(file).read().drop_columns(["image"]), file)
    return str(file)


@pytest.mark.parametrize(
    ("spoil", "options", "sentence"),
    [
        (corrupt, {}, "{file}: cannot be read as Parquet (Parquet magic bytes not found in footer. Either the file is "
         "corrupted or this is not a parquet file.); get the file again."),
        (empty_all, {}, "{sky}: holds no galaxies."),
        (null_all, {}, "{sky}: none of its 48 images can be used, the first: {first}[0]: names no image."),
        (drop_images, {}, "1 of {n} parts cannot be read, the first: {file}: has no obvious image column; name it with "
         "--image-column, of object_id, ra, dec, _healpix_29. Then give the same command again; the others are done."),
        (str, {"keep": ("z",)}, "{sky}: has no column 'z'; it has object_id, ra, dec, image, _healpix_29."),
        (str, {"keep": ("class",)}, "{sky}: its column 'class' cannot be kept, since one of that name is written."),
        (lambda sky: (sky / "partition_info.csv").write_text("x") and shutil.rmtree(sky / "dataset"), {},
         "{sky}: cannot be read as a HATS catalogue (…); get it again."),
        (lambda sky: [path.unlink() for path in sky.glob("*properties")], {},
         "{sky}: is a HATS catalogue without hats.properties; get it again."),
        (lambda sky: (sky.parent / "out").mkdir() or (sky.parent / "out" / "mine.txt").touch(), {},
         "{out}: is there already, and not of galutils classify; name another with --to."),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(run, sky, tmp_path, spoil, options, sentence):
    first, count = survey_parts.open_source(sky).parts[0].place.split("/")[-1], len(partitions(sky))
    file = spoil(sky)
    names = {"{file}": file, "{sky}": sky, "{out}": tmp_path / "out", "{first}": first, "{n}": count}
    for name, value in names.items():
        sentence = sentence.replace(name, str(value))
    assert_said(refusal(run, sky, **options), sentence)


def test_columns_are_kept_of_tables_alone(run, folder, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    for source in (folder / "sky.h5", tmp_path / "images"):
        told = f"{source}: is no table, so there are no columns to keep; leave --keep out."
        assert refusal(run, source, keep=("ra",)) == told


def test_an_empty_partition_and_null_images_cost_nothing_else(run, folder, sky, tmp_path):
    largest, second, *_ = files = partitions(sky)
    parquet.write_table(parquet.ParquetFile(second).read().slice(0, 0), second)
    change(largest, lambda number, cell: None if number % 2 else cell)
    rows, said = run(sky)
    whole = run(folder / "sky", tmp_path / "whole")[0]
    gone = parquet.ParquetFile(folder / "sky" / second.relative_to(sky)).read()["object_id"].to_pylist()
    kept = whole[~whole["object_id"].isin(gone)].reset_index(drop=True)
    assert rows["object_id"].tolist() == kept["object_id"].tolist()
    good = ~rows["bad_image"]
    assert rows[good].equals(kept[good])
    lost = parquet.read_metadata(largest).num_rows // 2
    assert said[1:] == [f"{lost} of {len(rows)} images cannot be used; they are listed in {tmp_path}/out/bad_images."]
    assert len(lsdb.open_catalog(tmp_path / "out").compute(progress_bar=False)) == len(rows)
    assert len(partitions(tmp_path / "out")) == len(files) - 1


def test_in_bf16_nearly_every_galaxy_has_the_same_class(run, folder, tmp_path):
    exact, _ = run(folder / "sky")
    shutil.rmtree(tmp_path / "out")
    rows, _ = run(folder / "sky", precision="bf16-mixed")
    shutil.rmtree(tmp_path / "out")
    assert refusal(run, folder / "sky", precision="fast") == "precision is 'fast'; choose auto, 32-true, bf16-mixed."
    chances = [name for name in exact if name.startswith("p_")]
    assert 0 < (rows[chances] - exact[chances]).abs().to_numpy().max() < 0.02
    sure = exact[chances].max(axis=1) > 0.5
    assert (rows["class"] == exact["class"])[sure].all()


def test_another_command_does_not_go_on(run, folder, sky, tmp_path):
    rows, _ = run(sky)
    out, told = tmp_path / "out", "; give that one again, or name another catalogue with --to."
    begun = f"{out}: was begun by a command that differs in"
    assert refusal(run, sky, run="calibrated") == f"{begun} network, weights{told}"
    other = {"reading": Reading(pixel_scale=0.3), "features": True, "precision": "bf16-mixed"}
    assert refusal(run, sky, **other) == f"{begun} precision, preprocessing (--pixel-scale), features{told}"
    for option, value in {"keep": ("ra",), "image_column": "image"}.items():
        named = f"preprocessing (--{option.replace('_', '-')})"
        assert refusal(run, sky, **{option: value}) == f"{begun} {named}{told}"
    change(partitions(sky)[0], lambda number, cell: cell | {"bytes": cell["bytes"] + b" "})
    assert refusal(run, sky) == f"{begun} source{told}"
    with FileLock(tmp_path / ".out.lock"):
        assert refusal(run, folder / "sky") == f"{out}: another command is writing it; wait for that one."
    assert run(folder / "sky")[0].equals(rows)
    (out / "galutils.json").write_text("{")
    assert refusal(run, folder / "sky") == f"{out}/galutils.json: is damaged; delete {out} and begin anew."


def test_a_worker_of_another_version_is_refused(run, folder, monkeypatch):
    own = survey.describe_maker
    monkeypatch.setattr(survey, "describe_maker", lambda *given: own(*given) | {"code": "newer"})
    sentence = "a worker has another code than this command; install the same there."
    assert refusal(run, folder / "sky") == sentence


def blocked(pipe):
    """Wait until a worker reads an image from a pipe, and stays in mid-partition until what this gives is closed."""
    for _ in range(1200):
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("no worker came to read the image")


@pytest.fixture
def piped(sky, tmp_path):
    """The catalogue with one image of its largest partition in a pipe, that image, and the pipe."""
    pipe, kept = tmp_path / "late.jpg", []
    change(
        partitions(sky)[0],
        lambda number, cell: cell if number != 5 else kept.append(cell["bytes"]) or {"path": str(pipe)},
    )
    os.mkfifo(pipe)
    return sky, kept[0], pipe


def test_a_worker_killed_in_mid_partition_changes_nothing(run, piped, cluster, folder, tmp_path, monkeypatch):
    """Nor does a second command, which is refused; where Dask gives up, the same command goes on."""
    source, image, pipe = piped
    found = []

    def attempt():
        try:
            found.append(run(source)[0])
        except GalutilsError as error:
            found.append(str(error))

    for patience in (0, 3):
        monkeypatch.setattr(cluster.scheduler, "allowed_failures", patience)
        command = threading.Thread(target=attempt)
        command.start()
        writer = blocked(pipe)
        if patience:
            pipe.unlink()
            pipe.write_bytes(image)
            assert refusal(run, source) == f"{tmp_path}/out: another command is writing it; wait for that one."
        (worker,) = cluster.workers.values()
        os.kill(worker.pid, signal.SIGKILL)
        os.close(writer)
        command.join(120)
    # Dask blames a part that the worker had, be it one that only waited there.
    pixels = [re.search(r"Norder=(\d+).*Npix=(\d+)", str(path)).groups() for path in partitions(source)]
    assert found[0] in {
        f"{'_'.join(pixel)}: took its worker down each time; give workers more memory with --memory, "
        "then the same command again."
        for pixel in pixels
    }
    assert found[1].equals(run(folder / "sky", tmp_path / "whole")[0])


def test_a_command_killed_in_mid_partition_goes_on(run, piped, folder, tmp_path):
    source, image, pipe = piped
    run_dir, out = folder / "plain" / "custom_cnn" / "seed0", tmp_path / "out"
    words = ["-m", "galutils.cli", "classify", run_dir, source, "--to", out, "--data", folder / "sky.h5"]
    command = subprocess.Popen([sys.executable, *map(str, words)], start_new_session=True, stderr=subprocess.DEVNULL)
    writer = blocked(pipe)
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()
    os.close(writer)
    done = {mark: mark.stat().st_mtime_ns for mark in (out / "parts").iterdir()}
    assert 0 < len(done) < len(partitions(source))
    pipe.unlink()
    pipe.write_bytes(image)
    (out / "dataset" / ".half.1.partial.parquet").write_bytes(b"half a file")
    files = {file: file.stat().st_mtime_ns for file in partitions(out)}
    assert run(source)[0].equals(run(folder / "sky", tmp_path / "whole")[0])
    assert {file: file.stat().st_mtime_ns for file in files} == files  # what was done is not done again
    assert not list(out.rglob(".*.partial*"))


def test_predict_names_the_same_sets(command, folder):
    run_dir = folder / "calibrated" / "custom_cnn" / "seed0"
    records = json.loads(command("predict", run_dir, folder / "sky.h5", "--json")[1])
    table = pd.read_csv(io.StringIO(command("predict", run_dir, folder / "sky.h5", "--csv")[1]))
    assert table["set90"].str.split("; ").tolist() == [one["set90"] for one in records]
    assert all(one["set90"][0] == one["class_name"] for one in records)


def test_a_disk_that_is_full_is_said_and_the_same_command_goes_on(run, folder, cluster, tmp_path, monkeypatch):
    """At a worker, and where the command itself finishes the catalogue."""
    out, told = tmp_path / "out", "could not be written ({}); make room there, or mend the folder."

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with Client(cluster, set_as_default=False) as client:
        client.run(limit, 1000)
        sentence = refusal(run, folder / "sky")
        client.run(limit, resource.RLIM_INFINITY)
    places = {f"{out}/{file.relative_to(folder / 'sky')}" for file in partitions(folder / "sky")}
    assert sentence in {f"{place}: {told.format('File too large')}" for place in places}
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr("hats.io.write_parquet_metadata", lambda *args, **options: (_ for _ in ()).throw(full))
        assert refusal(run, folder / "sky") == f"{out}: {told.format('No space left on device')}"
    assert run(folder / "sky")[0].equals(run(folder / "sky", tmp_path / "whole")[0])
    assert not list(out.rglob(".*.partial*"))


@pytest.mark.parametrize(("number", "gpu"), [(0, 0), (1, 1), (2, 0), (5, 1)])
def test_workers_take_the_gpus_in_turn(monkeypatch, number, gpu):
    assert own_device("cuda") == "cuda"  # the command's own process
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("distributed.get_worker", lambda: SimpleNamespace(name=number))
    assert [own_device("cuda"), own_device("cpu")] == [f"cuda:{gpu}", "cpu"]
    monkeypatch.setattr("distributed.get_worker", lambda: SimpleNamespace(name="SLURMCluster-0"))
    assert own_device("cuda") == "cuda"  # a job has its own


def test_a_dry_run_counts_and_writes_nothing(folder, tmp_path):
    told = describe_survey(
        folder / "plain" / "custom_cnn" / "seed0", folder / "sky.h5", tmp_path / "out", where=Where()
    )
    size = (folder / "sky.h5").stat().st_size // 120 * 120
    said = f"{folder}/sky.h5: 12 partitions (0 of them done), 120 images, {size / 1e9:,.3g} GB; a sample of 56 ran at "
    assert re.fullmatch(rf"{re.escape(said)}[\d,]+ images/s in one process, so all take 1 s\.", told)
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said(run, folder, cluster, tmp_path, monkeypatch):
    run_dir, silent = folder / "plain" / "custom_cnn" / "seed0", "tcp://127.0.0.1:1"
    monkeypatch.setattr("distributed.client.Client.__init__", lambda *args, **options: (_ for _ in ()).throw(OSError()))
    told = refusal(classify_survey, run_dir, folder / "sky", tmp_path / "out", where=Where(scheduler=silent))
    assert told == f"{silent}: no Dask scheduler answers there; start one first."
    monkeypatch.setattr(survey_parts, "find_spec", lambda name: None)
    assert refusal(run, folder / "sky") == "hats is not installed; surveys need it: pip install 'galutils[survey]'."


@pytest.mark.parametrize(
    ("options", "workers", "threads", "memory"),
    [
        ("partition=gpu,gpus=1,cpus-per-task=4", "4", 1, "8G"),
        ("gres=gpu:1,cpus-per-task=4", "4", 1, "8G"),
        ("partition=all,cpus-per-task=4", "1", 4, "2G"),
    ],
)
def test_a_slurm_job_with_gpus_is_a_worker_for_each_core(tmp_path, monkeypatch, options, workers, threads, memory):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\ntest $1 = --test-only && cat >" + f"{tmp_path}/job\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("dask_jobqueue.SLURMCluster.adapt", lambda cluster, **bounds: None)
    submit_workers(options, 8, memory=2).close()
    job = (tmp_path / "job").read_text()
    assert (re.findall(r"--nworkers (\d+)", job) or ["1"]) == [workers]
    assert f"export OMP_NUM_THREADS={threads}\n" in job
    assert "#SBATCH --cpus-per-task=4\n" in job
    assert f"#SBATCH --mem={memory}\n" in job
