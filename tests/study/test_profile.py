"""What holds for every notebook before it runs."""

import ast
import shutil

import nbformat
import pytest
from conftest import ROOT

from galutils.study.profile import StudyError, check_parameters, declared_parameters, load_study

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROFILES = sorted(path.stem for path in (ROOT / "config").glob("*.yaml"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_thin_and_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    cells = code_cells(path)
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert not [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    told = [cell for cell in cells if "parameters" not in cell.metadata.get("tags", [])]
    assert sum(bool(line.strip()) for cell in told for line in cell.source.splitlines()) <= 85
    assert "environment_line()" in cells[1].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_parameters_are_literals_with_a_comment_each(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    for line in cell.source.splitlines():
        assert "  # " in line, line
    for node in ast.parse(cell.source).body:
        ast.literal_eval(node.value)


def test_experiments_share_their_parameter_names():
    common = {
        "data_path", "run_dir", "seed", "image_size", "epochs", "batch_size", "learning_rate",
        "min_learning_rate", "test_size", "device", "split_seed", "train_fraction", "calibration_fraction",
    }  # fmt: skip
    for path in NOTEBOOKS:
        if path.stem[:2] in ("02", "03", "04", "05"):
            assert common <= declared_parameters(path), path.stem
        if path.stem[:2] in ("06", "07"):
            assert {"data_path", "run_dir", "seed", "image_size", "device"} <= declared_parameters(path), path.stem
    for name in ("03_vgg11_deep", "04_vgg11_shallow", "06_dino_kmeans", "07_dino_lora_kmeans"):
        assert "weights" in declared_parameters(ROOT / "notebooks" / f"{name}.ipynb")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_accepted(profile):
    study = load_study(ROOT, profile)
    assert len({page.slug for page in study.pages}) == len(study.pages)
    uses_auto = any(page.parameters.get("weights") == "auto" for page in study.pages)
    assert uses_auto == (profile in ("quick", "smoke"))


def test_paper_profile_is_the_papers_protocol():
    for page in load_study(ROOT, "paper").experiments:
        given = page.parameters
        if page.notebook != "06_dino_kmeans":
            chosen = {name: given[name] for name in ("epochs", "batch_size", "learning_rate", "min_learning_rate")}
            assert chosen == {"epochs": 100, "batch_size": 64, "learning_rate": 5e-4, "min_learning_rate": 1e-6}
        if page.notebook == "07_dino_lora_kmeans":
            crops = {
                name: given[name] for name in ("train_size", "local_size", "local_crops", "prototypes", "momentum")
            }
            assert list(crops.values()) == [224, 96, 8, 65536, 0.9995]
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


def test_seeds_share_one_split_unless_it_is_to_vary(tmp_path):
    fixed = configured(tmp_path / "fixed", "")
    varied = configured(tmp_path / "varied", "split_by_seed: true\n")
    for study, expected in ((fixed, {(0, 0), (3, 0)}), (varied, {(0, 0), (3, 3)})):
        pages = [page for page in study.experiments if page.notebook == "02_vgg_scratch"]
        assert {(page.seed, page.parameters["split_seed"]) for page in pages} == expected
        assert all("split_seed" not in page.parameters for page in study.experiments if "dino" in page.notebook)


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


def test_ablations_may_have_fewer_seeds(tmp_path):
    study = configured(tmp_path, "ablations:\n  vgg_scratch: {init: [kaiming]}\nablation_seeds: [3]\n")
    assert [page.seed for page in study.ablations] == [3]


def test_unknown_parameters_profiles_and_files_are_refused(tmp_path):
    with pytest.raises(StudyError, match=r"05_custom_cnn\.ipynb has no parameter 'epoch'; it declares .*epochs"):
        check_parameters(ROOT / "notebooks" / "05_custom_cnn.ipynb", {"epoch": 3})
    with pytest.raises(StudyError, match="no profile 'huge'; choose one of paper, quick, small, smoke"):
        load_study(ROOT, "huge")
    with pytest.raises(StudyError, match=r"DATA=absent\.h5"):
        load_study(ROOT, "small", data="absent.h5")
    with pytest.raises(StudyError, match=r"VGG_WEIGHTS=absent\.pth"):
        load_study(ROOT, "small", vgg_weights="absent.pth")
    with pytest.raises(StudyError, match=r"DINO_WEIGHTS=absent\.pth: there is no such file; give a path, dino or"):
        load_study(ROOT, "small", dino_weights="absent.pth")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "odd.yaml").write_text("data: simulated\nepochs: 3\n")
    with pytest.raises(StudyError, match=r"keys \['epochs'\]"):
        load_study(tmp_path, "odd")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs: 2,", "epochs: 2, epoch: 3,", r"common has \['epoch'\]"),
        ("  dino_kmeans:", '  "<script>alert(1)</script>":', "cannot name an experiment; use letters"),
        ("data: simulated", "data: simulated\nablations: {cnn: {channels: [8]}}", "'cnn', which is no experiment"),
        (
            "data: simulated",
            "data: simulated\nablations: {custom_cnn: {channels: 8}}",
            "channels must be .* have a list",
        ),
        ("data: simulated", "data: simulated\nablations: {custom_cnn: {channel: [8]}}", "no parameter 'channel'"),
        ("data: simulated", "data: simulated\nablations: {custom_cnn: {device: [a/b]}}", "'a/b' cannot name"),
        (
            "data: simulated",
            "data: simulated\nablation_seeds: [5]\nablations: {custom_cnn: {channels: [8]}}",
            r"ablation_seeds has \[5\], with which custom_cnn is not run",
        ),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, old, new, message):
    for name in ("notebooks", "config"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / "config" / "smoke.yaml"
    path.write_text(path.read_text().split("ablations:")[0].replace(old, new))
    with pytest.raises(StudyError, match=message):
        load_study(tmp_path, "smoke")


def test_weights_go_to_the_notebooks_that_they_are_for(tmp_path):
    (tmp_path / "w.safetensors").touch()
    given = str(tmp_path / "w.safetensors")
    for page in load_study(ROOT, "small", vgg_weights=given, dino_weights="random").experiments:
        family = page.notebook.split("_")[1]
        expected = {"vgg11": given, "dino": "random"}.get(family)
        assert page.parameters.get("weights") == expected
