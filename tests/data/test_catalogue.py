"""What people have, and what is wrong with it: one sentence each."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from astropy.io import fits
from astropy.table import Table
from fakes import assert_said, cut, refusal, write_layout
from PIL import Image

from galutils.data.catalogue.columns import open_catalogue
from galutils.data.catalogue.labels import read_labels

ROWS = {"picture": ["a.png", "b.png", "c.png", "d.png"], "kind": ["spiral", "ring", "spiral", "bar"]}
POSITIONS = {"RA": [0.0, 10.5, np.nan, 359.0], "Dec": [-90.0, 0.0, np.nan, 90.0], "redshift": [0.1, np.nan, 0.2, 0.3]}


def png(level=0, side=8):
    out = io.BytesIO()
    Image.new("RGB", (side, side), (level, level, level)).save(out, "PNG")
    return out.getvalue()


def write_parquet(path, table, features=None):
    """A table as pandas has it, or with the hub's words about its columns."""
    table = pyarrow.table(table)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path, row_group_size=2)


WRITERS = {
    "t.csv": lambda path, table: pd.DataFrame(table).to_csv(path, index=False),
    "t.tsv": lambda path, table: pd.DataFrame(table).to_csv(path, index=False, sep="\t"),
    "semicolons.csv": lambda path, table: pd.DataFrame(table).to_csv(path, index=False, sep=";"),
    "t.csv.gz": lambda path, table: pd.DataFrame(table).to_csv(path, index=False),
    "t.parquet": write_parquet,
    "t.fits": lambda path, table: Table(table).write(path),
    "t.fits.gz": lambda path, table: Table(table).write(path),
}


def write_folder(home, files):
    for file in files:
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).write_bytes(png())
    return home


@pytest.mark.parametrize("rows", [3, 256])
@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_table_says_the_same(tmp_path, name, rows):
    write_folder(tmp_path, ["images/a.png"])
    WRITERS[name](tmp_path / name, ROWS | POSITIONS)
    catalogue = open_catalogue(tmp_path / name)
    read = pd.concat(catalogue.blocks(["image", "label", "ra", "dec", "redshift"], rows))
    assert read.index.tolist() == [0, 1, 2, 3]
    assert read["image"].tolist() == [tmp_path / "images" / file for file in ROWS["picture"]]
    assert (read["name"].tolist(), read["label"].tolist()) == (ROWS["picture"], ROWS["kind"])
    np.testing.assert_array_equal(read[["ra", "dec", "redshift"]].to_numpy().T, list(POSITIONS.values()))
    labels = read_labels(catalogue)
    assert (labels.classes, labels.of_row.tolist(), labels.notes) == (("bar", "ring", "spiral"), [2, 1, 2, 0], ())
    assert catalogue.describe() == (
        f"{tmp_path / name}: image from 'picture', label from 'kind', ra from 'RA', dec from 'Dec', "
        f"redshift from 'redshift'; images in {tmp_path / 'images'}"
    )


def test_folders_are_classes(tmp_path):
    write_folder(tmp_path, ["spiral/b.png", "spiral/deep/a.JPG", "spiral/.x.png", "spiral/notes.txt", "bar/c.fits"])
    catalogue = open_catalogue(tmp_path)
    block = pd.concat(catalogue.blocks(["image", "label"]))
    assert block["name"].tolist() == ["bar/c.fits", "spiral/b.png", "spiral/deep/a.JPG"]
    assert block["image"].tolist() == [tmp_path / name for name in block["name"]]
    assert read_labels(catalogue).of_row.tolist() == [0, 1, 1]


def test_images_inside_parquet_and_the_hubs_class_names(tmp_path):
    images = [{"bytes": png(1), "path": "one.png"}, {"bytes": png(2), "path": None}, {"bytes": None, "path": "x.png"}]
    for shard in (0, 1):
        table = {"image": images, "label": [1, 0, -1]}
        write_parquet(tmp_path / f"train-{shard}.parquet", table, {"label": {"names": ["smooth", "featured"]}})
    catalogue = open_catalogue(tmp_path)
    read = pd.concat(catalogue.blocks(["image"], 2))
    assert read["image"].tolist()[:3] == [png(1), png(2), tmp_path / "x.png"]
    assert read["name"].tolist()[:3] == ["one.png", f"{tmp_path.name}[1]", "x.png"]
    labels = read_labels(catalogue)
    assert (labels.classes, labels.of_row.tolist()) == (("smooth", "featured"), [1, 0, -1, 1, 0, -1])
    assert labels.notes == ("Left out: 2 without a label.",)
    assert len(pd.concat(catalogue.blocks(["image"], 200, sample=True))) == 6


def test_hdf5_with_other_names(tmp_path):
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    datasets = {"image": images, "target": [b"a", b"b", b"a", b"a"], "weights": np.zeros(7)}
    catalogue = open_catalogue(write_layout(tmp_path / "sky.h5", datasets))
    read = pd.concat(catalogue.blocks(["image", "label"], 3))
    assert (read["label"].tolist(), read["name"].tolist()[3]) == (["a", "b", "a", "a"], "sky.h5[3]")
    np.testing.assert_array_equal(read["image"][1], np.arange(64, 128).reshape(8, 8))


def test_names_of_files_may_lack_their_ending_and_keep_their_zeros(tmp_path):
    write_folder(tmp_path, ["images/007.png"])
    (tmp_path / "t.csv").write_text("file,class\n008,a\n007,b\n")
    (block,) = open_catalogue(tmp_path / "t.csv").blocks(["image"])
    assert block["image"].tolist() == [tmp_path / "images/008.png", tmp_path / "images/007.png"]


ANEW = "Labels are numbered anew: 1 becomes 0, 4 becomes 1, 9 becomes 2."


@pytest.mark.parametrize(
    ("text", "options", "classes", "of_row", "notes"),
    [
        ("label\n1\n0\n1\n", {}, ("class 0", "class 1"), [1, 0, 1], ()),
        ("label\n9\n4\n1.0\n1\n", {}, ("class 1", "class 4", "class 9"), [2, 1, 0, 0], (ANEW,)),
        ("label\n2\n0\n", {"classes": ["a", "b", "c"]}, ("a", "b", "c"), [2, 0], ()),
        ("label,class_name\n1,E\n0,S\n,\n", {}, ("S", "E"), [1, 0, -1], ("Left out: 1 without a label.",)),
        ("label,class_name\n1,E\n0,S\n", {"classes": ["E", "S"]}, ("E", "S"), [0, 1], ()),
        ("label,class_name\n1,E\n0,S\n", {"classes": ["x", "y"]}, ("x", "y"), [1, 0], ()),
        ("t,t_name,class_name\n5,x,q\n3,y,q\n", {"label_column": "t"}, ("y", "x"), [1, 0],
         ("Labels are numbered anew: 3 becomes 0, 5 becomes 1.",)),
        ("class_name\nS\ne\nB\n", {}, ("B", "e", "S"), [2, 1, 0], ()),
        ("class_name\nS\nE\n", {"classes": ["S", "E", "I"]}, ("S", "E", "I"), [0, 1], ()),
        ("smooth,disk\n.2,.8\n.7,.3\n", {"votes": ["smooth", "disk"]}, ("smooth", "disk"), [1, 0], ()),
        ("smooth,disk\n.2,.8\n.7,.3\n", {"votes": ["smooth", "disk"], "classes": ["E", "S"]}, ("E", "S"), [1, 0], ()),
        (
            "smooth,disk\n.2,.8\n.55,.3\n.5,.5\n,.9\n0,0\n.3,.4\n.4,.6\n",
            {"votes": ["smooth", "disk"], "min_votes": 0.6},
            ("smooth", "disk"),
            [1, -1, -1, -1, -1, -1, 1],
            (
                "Left out: 2 without votes.",
                "Left out: 1 without a largest share of votes.",
                "Left out: 2 with less than 0.6 of the votes for a class (1 smooth, 1 disk).",
            ),
        ),
    ],
)  # fmt: skip
def test_labels(tmp_path, text, options, classes, of_row, notes):
    header, *rows = text.splitlines()
    (tmp_path / "t.csv").write_text("\n".join([f"file,{header}", *(f"{i}.png,{row}" for i, row in enumerate(rows))]))
    labels, _ = read_all(tmp_path / "t.csv", **options)
    assert (labels.classes, labels.of_row.tolist(), labels.notes) == (classes, of_row, notes)


def table(name, content):
    return lambda path: WRITERS[name](path, content)


def hdf5(**datasets):
    return lambda path: write_layout(path, datasets)


def shards(path):
    path.mkdir()
    for name, content in (("a", ROWS), ("b", ROWS | POSITIONS)):
        write_parquet(path / f"{name}.parquet", content)


def text(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def fits_image(path):
    fits.PrimaryHDU(np.zeros((8, 8))).writeto(path)


def folder(*files):
    return lambda path: write_folder(path, files)


PAGE = "<!doctype html><html><body>Sign in to go on</body></html>"
MANY = {"file": [f"{i}.png" for i in range(3000)], "label": list(range(3000))}
PIXELS, FEW = np.zeros((3, 8, 8), np.uint8), {"image": np.zeros((99, 8, 8), np.uint8)}
WRITERS["t.h5"] = write_layout

GIVE = "give a folder with one subfolder for each class, or a table (CSV, Parquet, FITS, HDF5)."
EMPTY = "{path}: is empty; get it again."
DAMAGED = "{path}: cannot be read as %s (…); get the file again."
SUBFOLDER = "put the images of each class into a subfolder of its own, or give a table that names their classes."
CELL = "{path}: '%s' has %s in row %s, not a number from %s; leave the cell empty where it is unknown."
NOT_AMONG = "{path}: 'label' has %s, which is not among the classes a, b; name all of them with --classes."
SHAPE = "{path}: 'label' has shape %s but there are 3 images; give one value for each image."
NO_COLUMN = "{path}: has no obvious image column; name it with --image-column, of {page}."
TWO, VOTES = {"classes": ["a", "b"]}, {"votes": ["v", "w"]}
#: What the source is called, who writes it, options, and what is said; … is another library's words.
BROKEN = {
    "missing": ("t.csv", lambda path: None, {}, "{path}: there is no such folder or file; " + GIVE),
    "another kind": ("t.docx", text("x"), {}, "{path}: is no table by its name; " + GIVE),
    **{f"empty {name}": (name, text(""), {}, EMPTY) for name in ("t.csv", "t.parquet", "t.fits", "t.h5")},
    **{
        f"{what} {name}": (name, write, {}, DAMAGED % kind)
        for name, kind, rows in (("t.parquet", "Parquet", MANY), ("t.fits", "FITS", MANY), ("t.h5", "HDF5", FEW))
        for what, write in {"html": text(PAGE), "cut": cut(table(name, rows), 0.6)}.items()
    },
    "html": ("t.csv", text(PAGE), {}, NO_COLUMN.format(path="{path}", page=PAGE)),
    "no text": ("t.csv", text(b"file,label\n\xff\xfe,1\n"), {}, DAMAGED % "a table of text"),
    "ragged": ("t.csv", text("file,label\na,b\nc,d,e,f\n"), {}, DAMAGED % "a table of text"),
    "cut gzip": ("t.csv.gz", cut(table("t.csv.gz", MANY)), {}, DAMAGED % "a table of text"),
    "floats": (
        "t.h5", hdf5(image=np.zeros((3, 8, 8)), label=[0, 1, 0]), {},
        "{path}: 'image' has shape (3, 8, 8) and dtype float64; store images (N, height, width, 3) as uint8.",
    ),
    "fewer labels": ("t.h5", hdf5(image=PIXELS, label=[0, 1]), {}, SHAPE % "(2,)"),
    "one-hot": ("t.h5", hdf5(image=PIXELS, label=np.eye(3)), {}, SHAPE % "(3, 3)"),
    "FITS image": (
        "t.fits", fits_image, {}, "{path}: holds no table; give a table that names images, or a folder of images."
    ),
    "no subfolders": ("f", folder("a.png"), {}, "{path}: has no subfolders; " + SUBFOLDER),
    "one subfolder": ("f", folder("images/a.png"), {}, "{path}: has 1 subfolder; " + SUBFOLDER),
    "a split": (
        "f", folder("train/a/a.png", "test/a/b.png"), {},
        "{path}: has the subfolders test, train, which are parts of a split, not classes; give one of them.",
    ),
    "two kinds": ("f", shards, {}, "{path}/b.parquet: has other columns than a.parquet; give one kind of files."),
    "no such column": (
        "t.csv", text("file,label\na,b\n"), {"label_column": "kind"},
        "{path}: has no column 'kind'; it has file, label.",
    ),
    "two candidates": (
        "t.csv", text("file,png,label\na,b,c\n"), {},
        "{path}: has several columns that may be the image (file, png); "
        "name it with --image-column, of file, png, label.",
    ),
    "no such folder": (
        "t.csv", text("file,label\na,b\n"), {"images": "/absent"},
        "/absent: there is no such folder; say with --images where the images are.",
    ),
    "label and votes": (
        "t.csv", text("file,label,v\na,b,1\n"), {"label_column": "label", "votes": ["v"]},
        "Both a label column and votes are given; choose one of them as the class.",
    ),
    "ra in hours": ("t.csv", text("file,label,ra\na,b,12:01\na,c,1\n"), {}, CELL % ("ra", "12:01", 0, "0 to 360")),
    "a flag": ("t.csv", text("file,label,dec\na,b,\na,c,-999\n"), {}, CELL % ("dec", "-999", 1, "-90 to 90")),
    "counts": ("t.csv", text("file,v,w\na,3,0\n"), VOTES, CELL % ("v", "3", 0, "0 to 1")),
    "one class": ("t.csv", text("file,label\na,b\n"), {}, "{path}: has 1 class (b); give 2 to 1000 of them."),
    "no labels": (
        "t.csv", text("file,label\na,\n"), {},
        "{path}: no galaxy has a class (left out: 1 without a label); mend that, or name another column.",
    ),
    "no rows": (
        "t.csv", text("file,label\n"), {},
        "{path}: no galaxy has a class (it has no rows); mend that, or name another column.",
    ),
    "no classes": (
        "t.csv", table("t.csv", MANY), {},
        "{path}: 'label' has more than 1000 different values, so it is no class; name another with --label-column.",
    ),
    "not among": ("t.csv", text("file,label\na,b\na,c\n"), TWO, NOT_AMONG % "c"),
    "number beyond": ("t.csv", text("file,label\na,1\na,2\n"), TWO, NOT_AMONG % "2"),
    "two names": (
        "t.csv", text("file,label,class_name\na,1,x\na,1,y\n"), {},
        "{path}: 'class_name' calls label 1 both x and y; "
        "mend it, or name the column of the class with --label-column.",
    ),
    "same names": (
        "t.csv", text("file,label\na,b\n"), {"classes": ["a", "a"]},
        "The classes a, a are not all different; give each a name of its own.",
    ),
    "names for votes": (
        "t.csv", text("file,v,w\na,1,0\n"), VOTES | {"classes": ["a"]},
        "There are 1 names of classes but 2 columns with votes; give one for each.",
    ),
    "no votes": (
        "t.csv", text("file,label\na,b\n"), {"min_votes": 0.5},
        "The least share of votes is 0.5, but no columns with votes are given; name them with --votes.",
    ),
    "per cent": (
        "t.csv", text("file,v,w\na,1,0\n"), VOTES | {"min_votes": 60},
        "The least share of votes is 60; it must lie above 0 and at most be 1.",
    ),
}  # fmt: skip


def read_all(path, classes=(), min_votes=None, **options):
    """As packing does: the labels, and then the rest."""
    catalogue = open_catalogue(path, **options)
    labels = read_labels(catalogue, classes, min_votes)
    return labels, list(catalogue.blocks(["image", "ra", "dec"]))


@pytest.mark.parametrize(("name", "write", "options", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_one_sentence(tmp_path, name, write, options, sentence):
    write(path := tmp_path / name)
    assert_said(refusal(read_all, path, **options), sentence, path)
