"""What a bundle holds, that others can use it without this package, and that a check finds what is wrong with one."""

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from conftest import ROOT
from fakes import cluster_run, refusal, train_run
from rocrate.rocrate import ROCrate
from safetensors.torch import load_file

from galutils.data.splits import split_rows
from galutils.files import sha256
from galutils.models import cnn
from galutils.models.embedding import embed
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import VGG_LICENCE, WeightsSource
from galutils.report.bundle import check_bundle, describe_licence, export_network, write_bundle
from galutils.study.pages import load_study
from galutils.study.results import load_results
from galutils.training.settings import Settings

#: Runs where there is no galutils, from the folder of a bundle: names of networks, then the file of images.
ELSEWHERE = """
import sys, torch
sys.modules["galutils"] = None
*networks, images = sys.argv[1:]
torch.save([torch.export.load(name).module()(torch.load(images)) for name in networks], "found.pt")
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
    save_backbone(load_backbone("random", "test_vit"), root / "dino.safetensors")
    cluster_run(study.runs_dir, simulated, load_backbone(root / "dino.safetensors"))
    return study


@pytest.fixture(scope="module")
def bundle(study):
    write_bundle(study)
    return study.root / "bundles" / "smoke"


def test_a_bundle_is_whole_and_tells_what_it_is_made_of(study, bundle, simulated):
    for path in (bundle, bundle.with_suffix(".zip")):
        said = f"{path}: all 19 checksums are right, and metrics.csv follows from predictions.parquet."
        assert check_bundle(path) == said
    crate = ROCrate(bundle)
    assert {entity.id for entity in crate.data_entities} == {
        path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()
    } - {"ro-crate-metadata.json", "SHA256SUMS"}
    actions = {action.id: action for action in crate.contextual_entities if action.type == "CreateAction"}
    assert actions.keys() == {"#custom_cnn/seed0", "#dino_kmeans/seed0"}
    for action in actions.values():
        assert action["object"][0]["sha256"] == simulated.sha256
    for name in ("custom_cnn", "dino_kmeans"):
        made = {made.id for made in actions[f"#{name}/seed0"]["result"]}
        assert made > {f"networks/{name}/seed0{suffix}" for suffix in (".pt2", ".safetensors")}
    first = load_results(study.runs_dir).runs.set_index("experiment")["run"]
    said = json.loads((bundle / "runs/custom_cnn/seed0.json").read_text())
    assert said == first["custom_cnn"].metrics
    for program in bundle.rglob("*.pt2"):
        with zipfile.ZipFile(program) as archive:
            assert not any(str(ROOT).encode() in archive.read(name) for name in archive.namelist())
    assert str(study.root) not in (bundle / "runs/dino_kmeans/seed0.json").read_text()
    found = pd.read_parquet(bundle / "predictions.parquet")
    assert pd.read_csv(bundle / "data_dictionary.csv")["column"].tolist() == list(found)
    for name, own in found.groupby("experiment"):
        wanted = first[name].predictions
        pd.testing.assert_frame_equal(own[list(wanted)].reset_index(drop=True), wanted, check_dtype=False)
    dino = study.root / "dino.safetensors"
    started = f"It started from the weights `dino.safetensors` (SHA-256 `{sha256(dino)}`)."
    none = "No pretrained weights went into it. It is under the licence of this bundle, see `LICENSE`."
    licences = {"custom_cnn": none, "dino_kmeans": f"{started}\nLicence unknown: your own file. {LOOK}"}
    for name, licence in licences.items():
        card = (bundle / "cards" / f"{name}.md").read_text()
        assert card.splitlines()[2] == (
            "> **Simulated galaxies: these numbers show that the study runs, not how well it classifies.**"
        )
        assert f"## Licence\n\n{licence}\n\n## Time and origin\n" in card


def test_plain_pytorch_gives_what_the_exported_networks_give(study, bundle, simulated, tmp_path):
    """Logits and embedding of a bundle, and what networks of other kinds are exported to; in batches of any size."""
    own, clustered = (bundle / f"networks/{name}/seed0" for name in ("custom_cnn", "dino_kmeans"))
    given = {"weights": "random", "input_size": 32}
    networks = {
        tmp_path / "encoder.pt2": cnn.build("encoder", arch="test_efficientnet", adapt="last", **given),
        tmp_path / "lora.pt2": cnn.build("encoder", arch="test_vit", adapt="lora", **given),
        tmp_path / "vgg.pt2": cnn.build("vgg_scratch", channels=2),
    }
    for path, network in networks.items():
        export_network(network.eval(), 32, path)
    runs = load_results(study.runs_dir).runs.set_index("experiment")["run"]
    networks[own.with_suffix(".pt2")] = runs["custom_cnn"].network()
    images = torch.from_numpy(simulated.read_images(range(5))).permute(0, 3, 1, 2)
    torch.save(images, tmp_path / "images.pt")
    places = [*networks, clustered.with_suffix(".pt2"), tmp_path / "images.pt"]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *places], cwd=tmp_path, check=True)
    with torch.no_grad():
        wanted = [network(images) for network in networks.values()]
    backbone, preprocessing = runs["dino_kmeans"].network(), runs["dino_kmeans"].preprocessing
    wanted.append(torch.from_numpy(embed(backbone, simulated, preprocessing).values[:5]))
    for found, theirs in zip(torch.load(tmp_path / "found.pt"), wanted, strict=True):
        torch.testing.assert_close(found, theirs, rtol=0, atol=1e-5)
        assert found.std() > 0
    assert load_file(own.with_suffix(".safetensors")).keys() == runs["custom_cnn"].network().state_dict().keys()
    assert load_backbone(clustered.with_suffix(".safetensors")).digest() == backbone.digest()


def test_a_card_claims_what_was_found(study, bundle):
    """The one run of each approach says nothing of other seeds, nor is a frozen transformer trained."""
    cards = {name: (bundle / "cards" / f"{name}.md").read_text() for name in ("custom_cnn", "dino_kmeans")}
    for card in cards.values():
        assert "by one seed; 95% intervals over galaxies, of this seed alone.\n" in card
        assert "other surveys, depths, sizes or fields of view are not in these numbers.\n" in card
    (row,) = load_results(study.runs_dir).table.query("experiment == 'custom_cnn'").itertuples()
    assert f"\nTrained in {row.train_seconds:,.1f} s per seed on cpu; predicts " in cards["custom_cnn"]
    assert "\nNothing was trained; it ran on cpu" in cards["dino_kmeans"]


def test_a_card_says_of_probabilities_what_their_calibration_says(study, tmp_path, monkeypatch):
    """Here of a network that has not collapsed, and whose confidence is its accuracy within the interval."""
    results = load_results(study.runs_dir)
    found = {"seeds": 1, "accuracy": 0.5, "confidence": 0.52, "ece": 0.061, "chance_ece": 0.05, "p": 0.31, "gap": 0.02}
    found |= {"gap_low": -0.04, "gap_high": 0.08}
    told = replace(results, calibration=pd.DataFrame({CNN: found}).T)
    monkeypatch.setattr("galutils.report.bundle.load_results", lambda _: told)
    write_bundle(study, tmp_path / "bundle")
    assert (
        "- Probabilities beyond what was found of them: no departure from calibration is shown; its calibration error "
        "is 6.1%, and true probabilities show as much in 31.0% of draws; confidence less accuracy is +2.0 points (95% "
        "interval -4.0 to +8.0).\n"
    ) in (tmp_path / "bundle" / "cards" / "custom_cnn.md").read_text()


LOOK = "Look it up before you pass on what was trained from it."


@pytest.mark.parametrize(
    ("source", "licence", "sentence"),
    [
        ("imagenet", VGG_LICENCE, f"Their licence is {VGG_LICENCE}. It holds for what was trained from them, too."),
        ("official", "apache-2.0", "Their licence is apache-2.0. It holds for what was trained from them, too."),
        ("official", None, f"Licence unknown: timm names none. {LOOK}"),
        ("own.pth", None, f"Licence unknown: your own file. {LOOK}"),
    ],
)
def test_a_card_names_the_licence_of_the_weights(source, licence, sentence):
    weights = asdict(WeightsSource(source, "0" * 64, licence=licence))
    assert describe_licence(weights) == f"It started from the weights `{source}` (SHA-256 `{'0' * 64}`).\n{sentence}"


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


CNN, DINO = "Custom CNN, average pooling first (collapsed)", "DINO and k-means"
FOLLOWS = "metrics.csv does not follow from predictions.parquet:"
STRAYS = f"predictions.parquet: y_pred of {DINO} is not the class that its clusters match."
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
                STRAYS,
                *(
                    f"{FOLLOWS} mean of accuracy of {title} is {{{name}:.4f}} there and 1.0000 by the predictions."
                    for title, name in ((CNN, "cnn"), (DINO, "dino"))
                ),
            ],
        ),
        (
            lambda folder: rewrite(
                folder, "predictions.parquet", lambda table: table.assign(cluster=table["cluster"] // 2)
            ),
            [STRAYS],
        ),
        (
            lambda folder: rewrite(folder, "metrics.csv", lambda table: table.drop(columns="low")),
            ["metrics.csv: has no column low."],
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
    with zipfile.ZipFile(bundle.with_suffix(".zip")) as packed:
        largest = max(packed.infolist(), key=lambda one: one.compress_size).filename
    assert refusal(check_bundle, damaged) == f"{largest} is not what was written, by its checksum."
