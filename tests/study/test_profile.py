"""What holds for every notebook before it runs."""

import ast
import json
import os
import shutil
from types import SimpleNamespace

import nbformat
import pytest
from conftest import ROOT
from fakes import refusal

from galutils.data import sources
from galutils.data.simulate.cutouts import Setup
from galutils.study import plan
from galutils.study import profile as parameters
from galutils.study.keys import FORMAT, notebook_key
from galutils.study.pages import load_study
from galutils.study.plan import describe_plan
from galutils.study.profile import check_parameters, declared_parameters

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "config").glob("*.yaml"))


def test_by_hand_notebooks_do_what_the_default_report_does(monkeypatch):
    """On the same galaxies, with the settings of the first row that each has there."""
    study, shown = load_study(ROOT, "quick"), set()
    for page in [study.run_pages(name)[0] for name in study.config.experiments]:
        if page.notebook not in shown:
            own = declared_parameters(study.source(page.notebook))
            differing = {name for name, value in page.parameters.items() if own[name] != value}
            assert differing <= {"data_path", "run_dir", "cache_dir", "experiment", "weights"}, page.notebook
            shown.add(page.notebook)
    monkeypatch.setattr(sources, "load_simulated", lambda count, **given: Setup()._asdict() | {"count": count} | given)
    simulated = sources.load_galaxies("simulated")
    assert {name: simulated[name] for name in dict(study.config.simulate)} == dict(study.config.simulate)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_thin_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    parameters, *told = cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])] == [parameters]
    assert [line for line in parameters.source.splitlines() if "  # " not in line] == []
    for node in ast.parse(parameters.source).body:
        ast.literal_eval(node.value)
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    lines = sum(bool(line.strip()) for cell in told for line in cell.source.splitlines())
    assert lines <= (40 if path.stem[:2] in ("02", "03", "04", "05") else 60)
    assert "environment_line()" in told[0].source


def test_experiments_share_their_parameter_names():
    every = {"data_path", "run_dir", "seed", "image_size", "device"}
    trained = {"epochs", "batch_size", "learning_rate", "min_learning_rate", "test_size", "split_seed"}
    trained |= {"train_fraction", "calibration_fraction"}
    for path in NOTEBOOKS[1:8]:
        kind = path.stem.split("_")[1]
        common = (
            every
            | (set() if kind == "dino" else trained)
            | ({"weights"} if kind in ("dino", "vgg11", "encoder") else set())
        )
        assert common <= declared_parameters(path).keys(), path.stem


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_accepted(profile):
    study = load_study(ROOT, profile)
    assert len({page.slug for page in study.pages}) == len(study.pages)
    uses_auto = any(page.parameters.get("weights") == "auto" for page in study.pages)
    assert uses_auto == (profile == "smoke")


def test_paper_profile_is_the_papers_protocol():
    for page in load_study(ROOT, "paper").experiments:
        given = page.parameters
        if page.notebook != "06_dino_kmeans":
            chosen = {name: given[name] for name in ("epochs", "batch_size", "learning_rate", "min_learning_rate")}
            assert chosen == {"epochs": 100, "batch_size": 64, "learning_rate": 5e-4, "min_learning_rate": 1e-6}
        if page.notebook == "07_dino_lora_kmeans":
            named = ("train_size", "local_size", "local_crops", "prototypes", "momentum")
            assert [given[name] for name in named] == [224, 96, 8, 65536, 0.9995]
        dino = "dino" in page.notebook
        assert given["image_size"] == (224 if dino else 256)
        assert given.get("weights", "imagenet") == ("dino" if dino else "imagenet")


def configured(tmp_path, text):
    """The smoke profile with other seeds and the given lines at its end."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    smoke = (ROOT / "config" / "smoke.yaml").read_text().split("ablations:")[0]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "smoke.yaml").write_text(smoke.replace("seeds: [0]\n", "seeds: [0, 3]\n") + text)
    return load_study(tmp_path, "smoke")


def test_every_seed_is_run_on_every_fold_of_a_split(tmp_path):
    one = configured(tmp_path / "one", "split_by: sky\n")
    assert all("fold" not in page.parameters for page in one.experiments)
    study = configured(tmp_path / "folds", "splits: 4\nsplit_by: sky\nablations: {vgg_scratch: {init: [kaiming]}}\n")
    own = [page for page in study.experiments if page.experiment == "vgg_scratch"]
    given = [[page.parameters[name] for name in ("seed", "fold", "test_size", "split_by")] for page in own]
    assert given == [[seed, fold, 0.25, "sky"] for seed in (0, 3) for fold in range(4)]
    folders = [f"seed{seed}" + f"_fold{fold}" * (fold > 0) for seed in (0, 3) for fold in range(4)]
    assert [page.directory.name for page in own] == folders
    assert [page.directory.name for page in study.ablations] == folders
    assert [page.slug for page in study.pages if page.experiment == "vgg_scratch"] == [own[0].slug]
    everything = [*study.pages, *study.unshown]
    assert len({page.slug for page in everything}) == len(everything)
    assert {page.directory for page in [*study.experiments, *study.ablations]} <= {
        page.directory for page in everything
    }
    assert [page.directory.name for page in study.experiments if page.experiment == "dino_kmeans"] == ["seed0", "seed3"]
    study.start().release()
    named = json.loads((study.runs_dir / "study.json").read_text())
    assert [name for name in named["runs"] if "vgg_scratch" in name] == [f"vgg_scratch/{name}" for name in folders]


def test_an_ablation_differs_from_its_experiment_in_one_parameter(tmp_path):
    study = configured(tmp_path, "ablations:\n  vgg_scratch: {init: [kaiming], train_fraction: [0.5]}\n")
    main = {page.seed: page.parameters for page in study.experiments if page.experiment == "vgg_scratch"}
    places = [str(page.directory.relative_to(study.runs_dir)) for page in study.ablations]
    assert places == [
        f"ablations/vgg_scratch/{varied}/seed{seed}"
        for varied in ("init=kaiming", "train_fraction=0.5")
        for seed in (0, 3)
    ]
    for page in study.ablations:
        differing = {name for name, value in page.parameters.items() if main[page.seed].get(name) != value}
        assert differing - {"experiment", "run_dir"} in ({"init"}, {"train_fraction"})
        assert page not in study.pages
    fewer = configured(tmp_path / "fewer", "ablations:\n  vgg_scratch: {init: [kaiming]}\nablation_seeds: [3]\n")
    assert [page.seed for page in fewer.ablations] == [3]


COUNT = f"{ROOT}/config/small.yaml: does not say how many galaxies to simulate; "
PATTERN = "which Snakemake takes for a pattern; use another name."
CHOICES = [
    ({"data": "absent"}, "absent: there is no such file; give the path of an HDF5 file."),
    ({"data": "simulated"}, COUNT + "add simulate, or choose quick or smoke."),
    ({"data": "a{b}.h5"}, f"DATA has braces or < or > (a{{b}}.h5), {PATTERN}"),
    ({"data": "a<b.h5"}, f"DATA has braces or < or > (a<b.h5), {PATTERN}"),
    ({"root": "/{v1}"}, f"The checkout's path has braces or < or > (/{{v1}}), {PATTERN}"),
    ({"data": 1000.0}, "DATA was read as 1000.0, not as text; set it through make, or put quotes around it."),
    ({"vgg_weights": "absent"}, "absent: there is no such file; give a path, imagenet or random."),
    ({"dino_weights": "absent"}, "absent: there is no such file; give a path, dino or random."),
    ({"device": "absent"}, "02_vgg_scratch.ipynb: device is 'absent'; choose auto, cpu, cuda."),
]


@pytest.mark.parametrize(("choice", "sentence"), CHOICES)
def test_choices_that_cannot_be_are_refused(choice, sentence):
    assert refusal(load_study, **{"root": ROOT, "profile": "small"} | choice) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"epochs": "ten"}, "epochs is 'ten'; give a whole number."),
        ({"epochs": True}, "epochs is True; give a whole number."),
        ({"epochs": 2.5}, "epochs is 2.5; give a whole number."),
        ({"learning_rate": "1e-3"}, "learning_rate is '1e-3'; give a number such as 1.0e-3."),
        ({"augment": "yes"}, "augment is 'yes'; give true or false."),
        ({"device": "cudа"}, "device is 'cudа'; choose auto, cpu, cuda."),  # noqa: RUF001 (a Cyrillic letter)
        ({"device": "cuda"}, "device is 'cuda', but no GPU is found here; choose auto or cpu."),
        ({"data_path": True}, "data_path is True; give a text."),
    ],
)
def test_parameters_of_another_kind_are_refused(given, sentence, monkeypatch):
    monkeypatch.setattr(parameters, "find_gpus", list)
    notebook = ROOT / "notebooks" / "05_custom_cnn.ipynb"
    assert refusal(check_parameters, notebook, given) == f"05_custom_cnn.ipynb: {sentence}"


def test_parameters_are_those_that_a_notebook_declares():
    check_parameters(ROOT / "notebooks" / "03_vgg11_deep.ipynb", {"frozen_convs": 4, "crop": 1, "learning_rate": 1e-3})
    assert refusal(check_parameters, ROOT / "notebooks" / "09_confusion_matrices.ipynb", {"epoch": 3}) == (
        "09_confusion_matrices.ipynb has no parameter 'epoch'; it declares runs_dir."
    )


REFUSED = {
    "a key": ("threads: 1", "threads: 1\nepochs: 3", (
        "epochs: Extra inputs are not permitted; it may have data, simulate, seeds, splits, split_by, threads, common, "
        "experiments, ablations, ablation_seeds, other_data, contrasts, labels, lessons, only_with_weights, margin."
    )),
    "no seeds": ("seeds: [0]", "", "seeds: Field required; mend it."),
    "seeds: 0": ("seeds: [0]", "seeds: 0", "seeds: Input should be a valid list; mend it."),
    "no seed": ("seeds: [0]", "seeds: []", "seeds: List should have at least 1 item after validation, not 0; mend it."),
    "no experiments": ("experiments:", "rows:", "experiments: Field required; mend it."),
    "a common typo": (
        "epochs: 2,", "epochs: 2, epoch: 3,",
        "common has ['epoch'], which no notebook of this profile declares; remove them.",
    ),
    "a name": (
        "  dino_kmeans:", '  "<b>":',
        "experiments.<b>: '<b>' cannot name an experiment; use letters, digits, _ and - only; mend it.",
    ),
    "a name of a seed": (
        "  dino_kmeans:", "  dino_seed1:",
        "experiments.dino_seed1: 'dino_seed1' cannot name an experiment, as pages of seeds and folds "
        "end so; mend it.",
    ),
    "an ablation of nothing": (
        "seeds: [0]", "seeds: [0]\nablations: {cnn: {channels: [8]}}",
        "ablations names 'cnn', which is no experiment there; add or rename it.",
    ),
    "one value": (
        "seeds: [0]", "seeds: [0]\nablations: {custom_cnn: {channels: 8}}",
        "ablations.custom_cnn.channels: Input should be a valid list; mend it.",
    ),
    "a folder": (
        "seeds: [0]", "seeds: [0]\nablations: {custom_cnn: {constructor: [a/b]}}",
        "'a/b' cannot name an ablation's folder; use letters, digits, _, - and full stops.",
    ),
    "another seed": (
        "seeds: [0]", "seeds: [0]\nablation_seeds: [5]\nablations: {custom_cnn: {channels: [8]}}",
        "ablation_seeds has [5], with which custom_cnn is not run; add or remove them.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_configuration_is_refused(tmp_path, old, new, sentence):
    for name in ("notebooks", "config"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "config" / "smoke.yaml"
    text = path.read_text().split("ablations:")[0]
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert refusal(load_study, tmp_path, "smoke") == f"{path}: {sentence}"


def test_weights_go_to_the_notebooks_that_they_are_for(tmp_path):
    (tmp_path / "w.safetensors").touch()
    given = str(tmp_path / "w.safetensors")
    for page in load_study(ROOT, "small", vgg_weights=given, dino_weights=given).experiments:
        expected = given if page.notebook.split("_")[1] in ("vgg11", "dino") or "vit" in page.experiment else None
        expected = {"lite0": "official", "custom_cnn_simulated": "simulated"}.get(
            page.experiment.removesuffix("_frozen").removesuffix("_all"), expected
        )
        # A control that starts from random weights on purpose does so with any others, too.
        assert page.parameters.get("weights") == ("random" if page.experiment == "dino_lora_random_base" else expected)


@pytest.fixture
def no_caches(tmp_path, monkeypatch):
    for name in ("TORCH_HOME", "HF_HOME", "GALUTILS_DATA"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))


VGG_ROWS = "VGG11, deep fine-tuning, new later layers; VGG11, deep fine-tuning, pretrained later layers"


@pytest.mark.usefixtures("no_caches")
def test_rows_without_their_weights_are_left_out_of_quick_and_said(tmp_path):
    """So the default run draws no figure of random numbers; weights that are given bring their rows back."""
    bare, given = load_study(ROOT, "quick"), load_study(ROOT, "quick", vgg_weights=str(ROOT / "README.md"))
    there = ["vgg_scratch", "custom_cnn", "custom_cnn_simulated", "lite0_frozen", "lite0_all"]
    there += ["dino_kmeans", "dino_lora_kmeans"]
    assert [*bare.config.experiments] == there
    assert bare.notes == [
        f"Not run here, as there are no pretrained weights: {VGG_ROWS}; VGG11, shallow fine-tuning. "
        "galutils fetch weights brings them."
    ]
    assert given.notes == []
    assert "11_why_chance" in {page.notebook for page in bare.pages}
    assert "11_why_chance" not in {page.notebook for page in load_study(ROOT, "encoders").pages}  # no clusterings there
    config = bare.config.model_copy(
        update={"ablations": {"custom_cnn": {}}, "contrasts": [["custom_cnn", "lite0_all"]]}
    )
    config.leave_out(["custom_cnn"])
    assert (config.ablations, config.contrasts) == ({}, [])
    assert load_study(ROOT, "smoke").notes == []


@pytest.mark.usefixtures("no_caches")
def test_the_plan_says_what_there_is_and_what_it_takes(tmp_path, monkeypatch):
    """Of 17,736 galaxies all take 0.1 s once, four fifths 1/8.2 s in each of 100 epochs, here twice as long."""
    for name in ("notebooks", "config"):
        shutil.copytree(ROOT / name, tmp_path / name)
    row = "{notebook: 03_vgg11_deep, weights: imagenet}"
    own = 'notebook: 05b_encoder, weights: official, arch: "hf_hub:a/b"'
    (tmp_path / "config/two.yaml").write_text(
        "data: galaxy10\nseeds: [0, 1]\nthreads: 1\ncommon: {image_size: 256, epochs: 100}\n"
        f"experiments:\n  deep: {row}\n  other: {{{own}}}\nlessons: {{counts: [20], updates: 2}}\n"
    )
    study = load_study(tmp_path, "two")
    monkeypatch.setattr(plan, "find_gpus", list)
    monkeypatch.setattr(plan.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(plan, "_relative_speed", lambda device, threads: 0.5)
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda _: SimpleNamespace(free=7e9))
    study.runs_dir.joinpath("deep/seed0").mkdir(parents=True)
    study.runs_dir.joinpath("deep/seed0/done").touch()
    hours = (17736 * 0.1 + 0.8 * 17736 * 100 / 8.2) / 0.5 / 2 / 3600
    assert hours > 10
    assert [*describe_plan(study)] == [
        "4 runs of 2 rows and their ablations, 1 of them finished.",
        "Downloads: Galaxy10_DECals.h5 (2,735 MB, to be brought); vgg11 (531 MB, to be brought); "
        "hf_hub:a/b (size not known, to be brought).",
        "Disk: about 0.2 GB for what runs leave, 7 GB free.",
        f"Time: about {hours:.0f} hours for 1 runs, 2 side by side on the CPU: an estimate, good to a factor of two or "
        "three, from seconds measured on two CPU cores, where the custom network trained at 2 times the speed that it "
        "has here just now. Not in it: other, the lessons of notebook 18.",
    ]


def test_the_full_profile_is_the_papers_with_further_readings():
    paper, full = (load_study(ROOT, name).config for name in ("paper", "full"))
    further = full.experiments.keys() - paper.experiments.keys()
    for name, varied in paper.ablations.items():
        assert all(set(values) <= set(full.ablations[name][parameter]) for parameter, values in varied.items())
    assert full.model_copy(update={"experiments": paper.experiments, "ablations": paper.ablations}) == paper
    assert {name: full.experiments[name] for name in paper.experiments} == paper.experiments
    further -= {"vgg11_scratch", "vgg11_random_frozen"}
    for name in (name for name in further if name.endswith("_decay")):
        own, base = (full.experiments[name].model_extra for name in (name, name.removesuffix("_decay")))
        assert own == base | {"weight_decay": 0.04, "last_weight_decay": 0.4, "warmup": 0.1}
    further = {name for name in further if not name.endswith("_decay")}
    described, changed = paper.experiments["dino_lora_kmeans"].model_extra, {}
    for name in further:
        own = full.experiments[name].model_extra
        assert own.keys() >= described.keys()
        changed[name] = {key for key in own if own[key] != described.get(key)}
    fork = changed.pop("dino_lora_fork")
    assert fork == {"train_head", "learning_rate", "drop_path", "augmentation"}
    assert [len(parameters) for parameters in changed.values()] == [1] * 7


def test_a_second_run_at_once_names_the_first(tmp_path):
    study = configured(tmp_path, "")
    lock = study.start()
    told = refusal(study.start)
    assert told == (
        f"profile smoke is being run in this checkout by process {os.getpid()}; wait for it, or stop it "
        f"(kill {os.getpid()})."
    )
    (study.runs_dir / ".lock.process").write_text("999999999")
    told = refusal(study.start)
    assert told == f"{study.runs_dir}/.lock: is held, but not by a process of this machine; delete it if none runs."
    lock.release()
    study.start().release()
    named = json.loads((study.runs_dir / "study.json").read_text())
    assert "custom_cnn/seed0" in named["runs"]


def test_what_is_not_finished_any_longer_is_told_and_handed_to_snakemake(tmp_path, capsys):
    """Snakemake, which sees none of these changes, runs a notebook whose mark of being done is gone."""
    study = configured(tmp_path, "")
    study.runs_dir.mkdir(parents=True)
    (study.runs_dir / "simulated.h5").touch()
    same, threads, version, opening = *study.experiments[:3], study.pages[0]
    for page in (same, threads, version, opening):
        page.directory.mkdir(parents=True)
        page.done.touch()
        key = notebook_key(study.source(page.notebook), page.parameters, "7" if page is threads else "1")
        page.executed.write_text(json.dumps({"metadata": {"galutils": key}}))
        metrics = {"format": FORMAT - (page is version), "classes": []}
        (page.directory / "metrics.json").write_text(json.dumps(metrics))
    opening.executed.unlink()
    study.start().release()
    assert [page.done.exists() for page in (same, threads, version, opening)] == [True, False, False, False]
    assert capsys.readouterr().err == (
        f"make report: will be run again: {threads.experiment}, seed {threads.seed}: threads 1\n"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{bad", "is a damaged notebook; get it again."),
        (b"\xff\xfe", "is a damaged notebook; get it again."),
        (b"{}", "is a damaged notebook; get it again."),
        (b'{"cells": []}', "has no cell tagged 'parameters'; tag one."),
        (
            b'{"cells": [{"metadata": {"tags": ["parameters"]}, "source": ["a = 1\\n", "b = a + 1"]}]}',
            "has parameters that are no plain values; give each a number or text.",
        ),
    ],
)
def test_a_notebook_that_is_none_is_said_so(tmp_path, content, said):
    path = tmp_path / "own.ipynb"
    path.write_bytes(content)
    assert refusal(declared_parameters, path) == f"{path}: {said}"
