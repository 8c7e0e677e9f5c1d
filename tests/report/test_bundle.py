"""What a bundle holds, that others can use it without this package, and that a check finds what is wrong with one."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from fakes import refusal, tiny_backbone, train_run
from rocrate.rocrate import ROCrate
from safetensors.torch import load_file

from galutils.clustering.methods import Clustering
from galutils.clustering.scores import CLUSTER_SCORES
from galutils.data.splits import split_rows
from galutils.files import sha256
from galutils.models import cnn
from galutils.models.embedding import Preprocessing
from galutils.report.bundle import check_bundle, export_network, write_bundle
from galutils.study.pages import load_study
from galutils.study.results import load_results
from galutils.study.runs import write_clustering_run
from galutils.training.settings import Settings

#: Runs where there is no galutils, from the folder of a bundle: names of networks, then the file of images.
ELSEWHERE = """
import sys, torch
sys.modules["galutils"] = None
*networks, images = sys.argv[1:]
torch.save([torch.export.load(name).module()(torch.load(images)) for name in networks], "logits.pt")
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory, simulated):
    """A profile of one small classifier and one clustering, both of simulated galaxies."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "config").mkdir()
    for name in ("CITATION.cff", "LICENSE", "constraints.txt", "config/smoke.yaml"):
        shutil.copy(ROOT / name, root / name)
    study = replace(load_study(ROOT, "smoke"), root=root)
    settings = Settings(epochs=1, batch_size=32, image_size=32, device="cpu")
    train_run(study.runs_dir, simulated, split_rows(simulated), settings)
    backbone = tiny_backbone()
    backbone.recipe = {"weights": str(root / "dino.safetensors"), "arch": "tiny"}
    write_clustering_run(
        study.runs_dir / "dino_kmeans" / "seed0", experiment="dino_kmeans", backbone=backbone,
        preprocessing=Preprocessing(image_size=32), galaxies=simulated, features=np.eye(100, 8),
        clustering=Clustering(simulated.labels % 4), settings={"seed": 0},
        table=pd.DataFrame({"seed": [0]} | dict.fromkeys(CLUSTER_SCORES, 0.5)),
        embedding=SimpleNamespace(seconds=1.0, device="cpu"),
    )  # fmt: skip
    return study


@pytest.fixture(scope="module")
def bundle(study):
    write_bundle(study)
    return study.root / "bundles" / "smoke"


def test_a_bundle_is_whole_and_tells_what_it_is_made_of(study, bundle, simulated):
    for path in (bundle, bundle.with_suffix(".zip")):
        said = f"{path}: all 17 checksums are right, and metrics.csv follows from predictions.parquet."
        assert check_bundle(path) == said
    crate = ROCrate(bundle)
    assert {entity.id for entity in crate.data_entities} == {
        path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()
    } - {"ro-crate-metadata.json", "SHA256SUMS"}
    actions = {action.id: action for action in crate.contextual_entities if action.type == "CreateAction"}
    assert actions.keys() == {"#custom_cnn/seed0", "#dino_kmeans/seed0"}
    for action in actions.values():
        assert action["object"][0]["sha256"] == simulated.sha256
    assert {f"networks/custom_cnn/seed0{suffix}" for suffix in (".pt2", ".safetensors")} < {
        made.id for made in actions["#custom_cnn/seed0"]["result"]
    }
    first = load_results(study.runs_dir).runs.set_index("experiment")["run"]
    said = json.loads((bundle / "runs/custom_cnn/seed0.json").read_text())
    assert said == first["custom_cnn"].metrics
    assert str(study.root) not in (bundle / "runs/dino_kmeans/seed0.json").read_text()
    found = pd.read_parquet(bundle / "predictions.parquet")
    assert pd.read_csv(bundle / "data_dictionary.csv")["column"].tolist() == list(found)
    for name, own in found.groupby("experiment"):
        wanted = first[name].predictions
        pd.testing.assert_frame_equal(own[list(wanted)].reset_index(drop=True), wanted, check_dtype=False)
    for name in ("custom_cnn", "dino_kmeans"):
        card = (bundle / "cards" / f"{name}.md").read_text().splitlines()
        assert card[2] == (
            "> **Simulated galaxies: these numbers show that the study runs, not how well it classifies.**"
        )


def test_plain_pytorch_gives_the_logits_of_the_exported_networks(study, bundle, tmp_path):
    """Those of a bundle, and what networks of other kinds are exported to; in batches of any size."""
    own = bundle / "networks/custom_cnn/seed0"
    given = {"weights": "random", "input_size": 32}
    networks = {
        tmp_path / "encoder.pt2": cnn.build("encoder", arch="test_efficientnet", adapt="last", **given),
        tmp_path / "lora.pt2": cnn.build("encoder", arch="test_vit", adapt="lora", **given),
        tmp_path / "vgg.pt2": cnn.build("vgg_scratch", channels=2),
    }
    for path, network in networks.items():
        export_network(network.eval(), 32, path)
    networks[own.with_suffix(".pt2")] = load_results(study.runs_dir).runs["run"].iloc[0].network()
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.manual_seed(0))
    torch.save(images, tmp_path / "images.pt")
    subprocess.run([sys.executable, "-c", ELSEWHERE, *networks, tmp_path / "images.pt"], cwd=tmp_path, check=True)
    with torch.no_grad():
        for network, logits in zip(networks.values(), torch.load(tmp_path / "logits.pt"), strict=True):
            torch.testing.assert_close(logits, network(images), rtol=0, atol=1e-5)
            assert logits.std() > 0
    assert load_file(own.with_suffix(".safetensors")).keys() == network.state_dict().keys()


def flip(path):
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(folder, name, change, **options):
    """Change a table, and make its checksum right again."""
    path = folder / name
    before, kind = sha256(path), path.suffix[1:]
    table = getattr(pd, f"read_{kind}")(path)
    getattr(change(table), f"to_{kind}")(path, index=False)
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(before, sha256(path)))


def raise_limit(table):
    table.loc[(table["approach"] == CNN) & (table["score"] == "accuracy"), "high"] = 0.99
    return table


CNN, DINO = "Custom CNN, average pooling first (collapsed)", "DINO and k-means (random weights)"
FOLLOWS = "metrics.csv does not follow from predictions.parquet:"
CHANGED = "{} is not what was written, by its checksum."


@pytest.mark.parametrize(
    ("change", "sentences"),
    [
        (lambda folder: (folder / "cards/custom_cnn.md").unlink(), ["cards/custom_cnn.md is missing."]),
        (lambda folder: (folder / "notes.txt").touch(), ["notes.txt is not named in SHA256SUMS."]),
        (
            lambda folder: [flip(folder / name) for name in ("runs/custom_cnn/seed0.json", "metrics.csv")],
            [CHANGED.format("metrics.csv"), CHANGED.format("runs/custom_cnn/seed0.json")],
        ),
        (
            lambda folder: rewrite(folder, "metrics.csv", raise_limit),
            [f"{FOLLOWS} high of accuracy of {CNN} is 0.9900 there and {{high:.4f}} by the predictions."],
        ),
        (
            lambda folder: rewrite(folder, "predictions.parquet", lambda table: table.assign(y_pred=table["y_true"])),
            [
                f"{FOLLOWS} mean of accuracy of {title} is {{{name}:.4f}} there and 1.0000 by the predictions."
                for title, name in ((CNN, "cnn"), (DINO, "dino"))
            ],
        ),
        (
            lambda folder: rewrite(folder, "metrics.csv", lambda table: table.drop(columns="low")),
            ["metrics.csv and predictions.parquet cannot be compared (\"['low_said'] not in index\")."],
        ),
    ],
)
def test_a_check_names_each_fault_of_a_folder_and_of_its_zip(study, bundle, tmp_path, change, sentences):
    found = load_results(study.runs_dir).estimates
    known = {"high": found[CNN].loc["accuracy", "high"]}
    known |= {name: found[title].loc["accuracy", "mean"] for title, name in ((CNN, "cnn"), (DINO, "dino"))}
    folder = shutil.copytree(bundle, tmp_path / "bundle")
    change(folder)
    packed = shutil.make_archive(folder, "zip", folder)
    for path in (folder, packed):
        assert refusal(check_bundle, path).splitlines() == [sentence.format(**known) for sentence in sentences]


def test_what_is_no_bundle_is_refused_and_nothing_of_it_replaced(study, bundle, tmp_path, command):
    assert refusal(check_bundle, tmp_path) == (
        f"{tmp_path}: has no SHA256SUMS, so it is no bundle; name the folder or the zip of one."
    )
    (tmp_path / "letter.txt").write_text("mine")
    assert command("bundle", "--check", tmp_path / "letter.txt") == (
        1, "", f"galutils: {tmp_path}/letter.txt: is neither a folder nor a zip; name one that galutils bundle wrote.\n"
    )  # fmt: skip
    assert refusal(write_bundle, study, tmp_path) == (
        f"{tmp_path}: is no bundle, and is not replaced by one; name another folder by --to."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    (tmp_path / "letter.txt").unlink()
    damaged = shutil.copy(bundle.with_suffix(".zip"), tmp_path)
    flip(tmp_path / "smoke.zip")  # in the largest file of it
    assert refusal(check_bundle, damaged).endswith("is not what was written, by its checksum.")
