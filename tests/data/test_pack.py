"""From what people have to one file: its contents, what is said, what is left out, and what is never left behind."""

import tracemalloc
from types import SimpleNamespace
from unittest.mock import Mock

import h5py
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from fakes import refusal, small_layout, write_layout
from PIL import Image

from galutils.data import pack as packing
from galutils.data.galaxies import open_galaxies, prepare
from galutils.data.image_files import Reading
from galutils.data.pack import pack
from galutils.data.simulate.cutouts import write_simulated


def noise(side=16, seed=0, height=None):
    return np.random.default_rng(seed).integers(0, 256, (height or side, side, 3), dtype=np.uint8)


def write_table(home, sides=(16, 16, 16, 16), table="file,label\n0.png,b\n1.png,a\n2.png,b\n3.png,a\n"):
    """A table of labels and the images that it names; its path."""
    for number, side in enumerate(sides):
        Image.fromarray(noise(side, number)).save(home / f"{number}.png")
    (home / "t.csv").write_text(table)
    return home / "t.csv"


def packed(source, target, **options):
    """What the file holds, and what was said on the way."""
    said = []
    pack(source, target, say=said.append, **options)
    with h5py.File(target) as file:
        return {name: file[name][:] for name in file}, dict(file.attrs), said


def test_the_command_says_what_it_took_and_what_it_made(command, monkeypatch, tmp_path):
    for number, name in enumerate(("ring/a.png", "ring/b.png", "no ring/c.png", "no ring/d.png")):
        (tmp_path / "sky" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(20, number % 3)).save(tmp_path / "sky" / name)
    monkeypatch.chdir(tmp_path)
    assert command("pack", "sky", "own.h5", "--size", "10", "--pixel-scale", "0.5") == (
        0,
        """\
sky: each subfolder is a class
4 galaxies are packed with 10 pixels; as pictures they had 20.
own.h5: 4 galaxies, 10 pixels wide
  0 no ring: 2
  1 ring: 2
Blank images: 0
Pairs of rows at the same position: no positions in this file
Galaxies with several rows: 1, with contradicting labels: 1
  rows 1, 2: no ring, ring
Missing redshifts: no redshifts in this file
Field of view: 10.0 arcsec wide
Checksum: not that of a published file
""",
        "",
    )
    galaxies = open_galaxies("own.h5")
    assert (galaxies.classes, galaxies.labels.tolist()) == (("no ring", "ring"), [0, 0, 1, 1])
    expected = prepare(np.stack([noise(20, seed) for seed in (2, 0, 0, 1)]), 10)
    np.testing.assert_array_equal(galaxies.read_images(np.arange(4)), expected)


def test_columns_go_with_their_images(tmp_path):
    table = "file,kind,ra,dec,redshift\n1.png,b,1,-1,\n3.png,,2,-2,.2\n0.png,a,,,.3\n2.png,b,4,-4,.4\n"
    file, attributes, said = packed(write_table(tmp_path, table=table), tmp_path / "own.h5")
    np.testing.assert_array_equal(file["images"], [noise(16, seed) for seed in (1, 0, 2)])
    assert (file["ans"].tolist(), file["ans"].dtype) == ([1, 0, 1], np.uint8)
    assert [name.decode() for name in file["name"]] == ["1.png", "0.png", "2.png"]
    np.testing.assert_array_equal([file["ra"], file["dec"]], [[1, np.nan, 4], [-1, np.nan, -4]])
    np.testing.assert_array_equal(file["redshift"], [np.nan, 0.3, 0.4])
    assert (attributes["classes"].tolist(), "pxscale" in file) == (["a", "b"], False)
    assert said[1:] == [
        "Left out: 1 without a label.",
        "3 galaxies are packed with 16 pixels; as pictures they had 16.",
        "The pixel scale of 3 images is not known; give --pixel-scale or --field if you know it.",
    ]


def test_votes_are_kept(tmp_path):
    table = "file,smooth,disk\n0.png,.9,.1\n1.png,.45,.55\n2.png,.25,.75\n"
    options = {"votes": ["smooth", "disk"], "min_votes": 0.6, "classes": ["E", "S"]}
    file, attributes, _ = packed(write_table(tmp_path, table=table), tmp_path / "own.h5", **options)
    np.testing.assert_array_equal(file["votes"], np.array([[0.9, 0.1], [0.25, 0.75]], np.float32))
    assert (file["ans"].tolist(), file["votes"].dtype, list(attributes["classes"])) == ([0, 1], np.float32, ["E", "S"])


@pytest.mark.parametrize(("sides", "size"), [((9, 12, 40, 13), 12), ((300, 300, 300, 20), 256)])
def test_the_size_is_the_median_side_and_at_most_256(tmp_path, sides, size):
    file, _, said = packed(write_table(tmp_path, sides), tmp_path / "own.h5")
    assert file["images"].shape == (4, size, size, 3)
    low, high = min(sides), max(sides)
    assert said[1] == f"4 galaxies are packed with {size} pixels; as pictures they had {low} to {high}."


def test_bad_images_are_left_out_and_named(tmp_path):
    table = "file,label\n" + "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(15)) + ",a\n"
    path = write_table(tmp_path, table=table)
    (tmp_path / "2.png").write_bytes(b"")
    file, _, said = packed(path, tmp_path / "own.h5")
    assert (file["ans"].tolist(), file["images"].shape) == ([0, 1, 1], (3, 16, 16, 3))
    missing = "there is no such file; give JPEG, PNG or FITS images, or an HDF5 file."
    reasons = [f"{tmp_path}/2.png: is empty; get it again."]
    reasons += [f"{tmp_path}/{number}.png: {missing}" for number in range(4, 15)] + ["t.csv[15]: names no image."]
    assert said[1] == "12 image files are not there, such as 4.png; the others are packed."
    bad = tmp_path / "own.bad.csv"
    assert said[-11:] == [
        f"Left out: 13 that could not be read, all named in {bad}:",
        *(f"  {reason}" for reason in reasons[:10]),
    ]
    assert pd.read_csv(bad)["reason"].tolist() == reasons
    pack(write_table(tmp_path), tmp_path / "own.h5", say=said.append)
    assert not bad.exists()


def test_pixel_scale_and_field(tmp_path):
    """Of known scale are cropped and padded to the field; others are taken to span it."""
    path = write_layout(tmp_path / "sky.h5", small_layout() | {"pxscale": np.array([0.5, 1.0, 2.0, np.nan] * 5)})
    source = small_layout()["images"]
    file, _, said = packed(path, tmp_path / "as_it_is.h5")
    np.testing.assert_array_equal(file["images"], source)
    np.testing.assert_array_equal(file["pxscale"], [0.5, 1.0, 2.0, np.nan] * 5)
    assert said[-2:] == [
        "The pixel scale of 5 images is not known; give --pixel-scale or --field if you know it.",
        "The images span different fields, 8 to 32 arcsec (pixels of 0.5 to 2); --field makes them one.",
    ]
    file, _, said = packed(path, tmp_path / "own.h5", field=16.0, size=16)
    np.testing.assert_array_equal(file["pxscale"], np.ones(20))
    np.testing.assert_array_equal(file["images"][1], source[1])
    np.testing.assert_array_equal(file["images"][2], prepare(source[2:3, 4:12, 4:12], 16)[0])
    np.testing.assert_array_equal(file["images"][3], source[3])
    assert "Of 5 images: shows … of … arcsec." in said
    file, _, _ = packed(path, tmp_path / "given.h5", reading=Reading(pixel_scale=3.0), size=8)
    np.testing.assert_array_equal(file["pxscale"], np.array([0.5, 1.0, 2.0, 3.0] * 5) * 2)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (noise(12, height=20), noise(12, height=20)[4:16]),
        (np.moveaxis(noise(12), 2, 0), noise(12)),
        (noise(12)[..., 0], noise(12)[..., :1].repeat(3, 2)),
        (noise(12)[..., :1], noise(12)[..., :1].repeat(3, 2)),
    ],
    ids=["oblong", "channels first", "grey", "one channel"],
)
def test_pixels_of_other_shapes(tmp_path, pixels, expected):
    path = write_layout(tmp_path / "sky.h5", {"image": np.stack([pixels] * 4), "label": np.arange(4) % 2})
    np.testing.assert_array_equal(packed(path, tmp_path / "own.h5")[0]["images"][2], expected)


def test_packing_again_keeps_names_and_what_is_simulated(tmp_path, simulated_path):
    _, attributes, _ = packed(simulated_path, tmp_path / "own.h5", size=8)
    assert tuple(attributes["classes"]) == open_galaxies(simulated_path).classes
    assert open_galaxies(tmp_path / "own.h5").simulated
    _, attributes, _ = packed(write_layout(tmp_path / "sky.h5", small_layout()), tmp_path / "own.h5")
    assert attributes == {}, "classes without names get none"


def test_images_inside_parquet(tmp_path):
    write_table(tmp_path)
    images = [{"bytes": (tmp_path / f"{number}.png").read_bytes(), "path": None} for number in range(4)]
    images[1] = {"bytes": b"no image", "path": "one.png"}
    table = pyarrow.table({"image": images, "label": ["b", "a", "b", "a"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=3)
    file, _, said = packed(tmp_path / "t.parquet", tmp_path / "own.h5")
    np.testing.assert_array_equal(file["images"], [noise(16, seed) for seed in (0, 2, 3)])
    assert said[-1] == "  one.png: is not an image that can be read; give JPEG, PNG, FITS or HDF5."


def test_memory_does_not_grow_with_the_galaxies(tmp_path):
    path, count = tmp_path / "sky.h5", 3000
    write_layout(path, {"image": np.zeros((count, 64, 64, 3), np.uint8), "label": np.arange(count) % 2})
    tracemalloc.start()
    try:
        pack(path, tmp_path / "own.h5", say=lambda line: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * count * 64 * 64 * 3, "a block of 256 images, read, resized and written"


def unreadable(home):
    """A table of two classes with a picture each that is none."""
    path = write_table(home, (), "file,label\n0.png,a\n1.png,b\n")
    for number in (0, 1):
        (home / f"{number}.png").write_bytes(b"<!doctype html>")
    return path


NOT_THERE = "{home}/t.csv: none of its 2 image files is in {home}, such as a.png; say with --images where they are."
UNREAD = "{home}/0.png: is not an image that can be read; give JPEG, PNG, FITS or HDF5."
SELF = "{home}/sky.h5: is what is to be packed; give the file that is made another name."
REFUSED = {
    "all broken": (unreadable, {}, f"None of 2 pictures can be read; the first is {UNREAD}"),
    "none there": (lambda home: write_table(home, (), "file,label\na.png,a\nb.png,b\n"), {}, NOT_THERE),
    "no name": (
        write_table,
        {"target": "own.csv"},
        "{home}/own.csv: is no name for what is written; end it in .h5 or .hdf5.",
    ),
    "itself": (lambda home: write_layout(home / "sky.h5", small_layout()), {"target": "sky.h5"}, SELF),
    "tiny": (write_table, {"size": 4}, "The size is 4 pixels; 8 is the least."),
    "no field": (write_table, {"field": 0.0}, "The field is 0 arcsec; give one above 0."),
}


@pytest.mark.parametrize(("write", "options", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_packed_is_one_sentence_and_no_file(tmp_path, write, options, sentence):
    source, options = write(tmp_path), dict(options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    target = tmp_path / options.pop("target", "own.h5")
    said = refusal(pack, source, target, **options, say=lambda line: None)
    assert said.replace("1.png", "0.png") == sentence.replace("{home}", str(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_told_before(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=1000))
    said = refusal(pack, write_table(tmp_path), tmp_path / "new" / "own.h5", say=lambda line: None)
    sentence = "has 0.0 GB free, but 0.0 GB are needed; make room, or choose a smaller --size."
    assert said == f"{tmp_path}: {sentence}"


def test_what_is_interrupted_leaves_what_was_there(monkeypatch, tmp_path):
    write_simulated(tmp_path / "own.h5", 1, 16)
    earlier = (tmp_path / "own.h5").read_bytes()
    monkeypatch.setattr(packing, "resize", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack(write_table(tmp_path), tmp_path / "own.h5", say=lambda line: None)
    assert (tmp_path / "own.h5").read_bytes() == earlier
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png", "3.png", "own.h5", "t.csv"]
