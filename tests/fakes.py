"""Stand-ins that are quick to make: runs that were never trained, tiny transformers, points in clusters."""

import re
import time
from types import SimpleNamespace

import h5py
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from galutils.clustering.methods import Clustering
from galutils.clustering.scores import CLUSTER_SCORES
from galutils.data.classes import GALAXY10, class_columns
from galutils.data.splits import Split
from galutils.errors import GalutilsError
from galutils.files import write_json
from galutils.models import cnn
from galutils.models.embedding import Preprocessing
from galutils.models.lora import add_lora, merge_lora, trainable
from galutils.models.vit import Backbone
from galutils.models.weights import WeightsSource
from galutils.study import runs
from galutils.study.runs import FORMAT
from galutils.training.settings import DinoSettings
from galutils.training.supervised import train

#: Self-distillation that takes a second.
QUICK_DINO = DinoSettings(
    epochs=2, batch_size=16, rank=4, alpha=4.0, prototypes=64, head_width=32, image_size=32, local_size=16,
    local_crops=2, momentum=0.9, learning_rate=1e-2, device="cpu",
)  # fmt: skip


def refusal(function, *arguments, **choices) -> str:
    """The whole sentence that a call is refused with."""
    with pytest.raises(GalutilsError) as told:
        function(*arguments, **choices)
    return str(told.value)


def interrupted_at(monkeypatch, module, epoch: int) -> list[int]:
    """Make a training module stop before this epoch, once; the epochs that it trains, now and later."""
    train_epoch, epochs, stops = module._train_epoch, [], [epoch]

    def watched(*arguments):
        if arguments[-1] in stops:
            raise KeyboardInterrupt(stops.pop())
        epochs.append(arguments[-1])
        return train_epoch(*arguments)

    monkeypatch.setattr(module, "_train_epoch", watched)
    return epochs


def wait_until(condition, seconds=60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def assert_said(text: str, sentence: str, path="") -> None:
    """A text is a sentence, in which {path} stands for a file, and … for the words of another library."""
    pattern = re.escape(sentence.replace("{path}", str(path))).replace("…", ".+")
    assert re.fullmatch(pattern, text), f"said {text}, not {sentence}"


def cut(write, share=0.5):
    """A writer of the first part of what ``write`` writes."""

    def write_part(path):
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return write_part


def write_run(runs_dir, experiment, seed, right, weights=None, n_test=40, fold=0, says=None, **changed):
    """A run as far as the results read it; its first ``right`` test galaxies are classified correctly.

    fold: each tests the next ``n_test`` rows. says: the class that all get instead. changed: entries of its metrics.
    """
    run_dir = runs_dir / experiment / (f"seed{seed}" + f"_fold{fold}" * (fold > 0))
    run_dir.mkdir(parents=True)
    labels = np.arange(n_test) % 10
    predicted = np.where(np.arange(n_test) < right, labels, (labels + 1) % 10) if says is None else labels * 0 + says
    table = pd.DataFrame({"row": fold * n_test + np.arange(n_test), "y_true": labels, "y_pred": predicted})
    table[class_columns(GALAXY10)] = np.eye(10)[predicted]
    table.to_csv(run_dir / "predictions.csv", index=False)
    Split(np.full(n_test, "test", dtype=object), np.arange(n_test)).write(run_dir / "split.csv")
    write_json(
        run_dir / "metrics.json",
        {
            "format": FORMAT, "experiment": experiment, "classes": GALAXY10,
            "data": {"sha256": "0" * 64, "file": "sky.h5"},
            "settings": {"seed": seed}, "model": {}, "weights": weights,
            "scores": {"accuracy": right / n_test, "roc_auc": 0.5, "macro_f1": 0.5}, "rows": {"test": n_test},
            "parameters": 10, "trained_parameters": 10, "trained_classes": [1] * 10, "multiply_adds": 20,
            "timing": {
                "setup_seconds": 1.0, "train_seconds": 1.0, "train_images_per_second": 1.0,
                "predict_images_per_second": 1.0,
            },
        } | changed,
    )  # fmt: skip


def train_run(folder, galaxies, split, settings):
    """A small classifier that was trained, as the only run of a profile."""
    torch.manual_seed(0)
    network = cnn.build("custom_cnn")
    result = train(network, galaxies, split, settings)
    runs.write_run(
        folder / "custom_cnn" / "seed0", experiment="custom_cnn", network=network, galaxies=galaxies, split=split,
        settings=settings, result=result,
    )  # fmt: skip


def cluster_run(folder, galaxies, backbone):
    """Galaxies put into four clusters by their labels, as a profile's run with that transformer."""
    runs.write_clustering_run(
        folder / "dino_kmeans" / "seed0", experiment="dino_kmeans", backbone=backbone,
        preprocessing=Preprocessing(image_size=32), galaxies=galaxies, features=np.eye(len(galaxies), 8),
        clustering=Clustering(galaxies.labels % 4), settings={"seed": 0},
        table=pd.DataFrame({"seed": [0]} | dict.fromkeys(CLUSTER_SCORES, 0.5)),
        embedding=SimpleNamespace(seconds=1.0, device="cpu"),
    )  # fmt: skip


def write_notebook(path, *cells, parameters="x = 1  # a number"):
    """A notebook of a cell with parameters and others; its path."""
    tagged = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[tagged, *(nbformat.v4.new_code_cell(cell) for cell in cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def run_cells(notebook, parameters):
    """Run a notebook's cells in this process, without the figures of a run's page; the names that they leave."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    names = {}
    for cell in cells:
        exec(re.sub(r"^run_page\.show.*", "", cell.source, flags=re.MULTILINE), names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters
    return names


def small_layout() -> dict[str, np.ndarray]:
    """The datasets of a small valid file of 20 galaxies, to be spoilt."""
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8),
        "ans": np.arange(20, dtype=np.uint8) % 10,
        "ra": rng.uniform(0, 360, 20),
        "dec": rng.uniform(-20, 30, 20),
    }


def write_layout(path, datasets, classes=None):
    """Write datasets as an HDF5 file, those that are None left out, and names of classes; its path."""
    with h5py.File(path, "w") as file:
        file.update({name: values for name, values in datasets.items() if values is not None})
        if classes is not None:
            file.attrs["classes"] = classes
    return path


def blobs(per_class: int = 30, classes: int = 10, dimensions: int = 12, spread: float = 0.05, seed: int = 0):
    """Well-separated round clusters at unit vectors: (features float32, labels), classes in turn."""
    labels = np.tile(np.arange(classes), per_class)
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(labels), dimensions))
    return (np.eye(dimensions)[labels] + noise).astype(np.float32), labels


def tiny_backbone(seed: int = 0, **options) -> Backbone:
    """Four blocks of 32 numbers and two heads on patches of 8 pixels; made for 32 pixels, takes any whole patches."""
    torch.manual_seed(seed)
    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 4, "num_heads": 2} | options
    vit = VisionTransformer(**shape, num_classes=0, dynamic_img_size=True)
    # As initialised, the blocks hardly do anything; make them matter.
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return Backbone(vit, "tiny", WeightsSource("random")).eval().requires_grad_(False)


def adapted(base: Backbone, seed: int = 0, merged: bool = True) -> Backbone:
    """A network that LoRA has changed, as if it had been trained."""
    torch.manual_seed(seed)
    student = add_lora(base, rank=4, alpha=4)
    with torch.no_grad():
        for parameter in trainable(student).values():
            parameter += 0.2 * torch.randn_like(parameter)
    return merge_lora(student) if merged else student


def grey_levels(count: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    """(count, 3, size, size) uint8."""
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.manual_seed(seed))
