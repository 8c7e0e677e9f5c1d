"""Run directories: what an experiment leaves behind and how it is read back.

``runs/<profile>/<experiment>/seed<k>/`` holds

- ``metrics.json``: scores, parameters, speed and provenance; written last, so its presence means "complete";
- ``history.csv``: one line per epoch;
- ``predictions.csv``: ``row,y_true,y_pred,p0...p9`` for the test rows;
- ``split.csv``: part and group of every row;
- ``model.json`` and ``model.safetensors``: how to build the network, and its tensors.
"""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.cost import multiply_adds
from galutils.errors import GalutilsError
from galutils.files import atomic_path, sha256, write_json
from galutils.galaxy10 import NUM_CLASSES, Galaxies
from galutils.metrics import CLUSTER_SCORES, classification_scores
from galutils.splits import Split, read_split

PARTS = ("train", "test", "calibration", "blank", "unused")
PROBABILITIES = [f"p{label}" for label in range(NUM_CLASSES)]


class RunError(GalutilsError):
    """A run directory that cannot be used; one sentence that says why and what to do."""


def describe_environment(device: str | None = None) -> dict:
    """Git commit, versions, machine and threads: what a reader needs to judge and repeat a run."""
    packages = ("galutils", "torch", "torchvision", "lightning-fabric", "numpy", "scikit-learn")
    return {
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "platform": platform.platform(terse=True),
        "cpu_cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": device,
    }


def environment_line() -> str:
    """Versions, device and commit in one line, for the first cell of a notebook."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} thread(s)"
    packages = describe_environment()["packages"]
    names = ", ".join(f"{name} {number}" for name, number in packages.items())
    return f"Python {platform.python_version()}, {names}; {device}; commit {git_commit()}"


def git_commit() -> str | None:
    """Commit of the source tree, with "-dirty" if files differ from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def describe_data(galaxies: Galaxies) -> dict:
    """Name, checksum, size and kind of a data file."""
    return {
        "file": galaxies.path.name,
        "sha256": sha256(galaxies.path),
        "rows": len(galaxies),
        "image_size": galaxies.image_size,
        "simulated": galaxies.simulated,
    }


def write_run(
    run_dir: str | Path,
    *,
    experiment: str,
    network,
    galaxies: Galaxies,
    split: Split,
    settings,
    result,
) -> dict:
    """Write a supervised run and return its metrics.

    Args:
        run_dir: the directory, made if it is not there.
        experiment: name of the approach, such as "custom_cnn".
        network: the trained :class:`galutils.models.GalaxyNet`, made by :func:`galutils.models.build`.
        galaxies, split, settings, result: what :func:`galutils.trainer.train` took and gave.
    """
    from safetensors.torch import save_file

    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.json").unlink(missing_ok=True)  # an older run in this place is complete no longer
    labels = galaxies.labels[split.test]
    split.write(run_dir / "split.csv")
    with atomic_path(run_dir / "history.csv") as partial:
        result.history.to_csv(partial, index=False)
    predictions = pd.DataFrame({"row": split.test, "y_true": labels, "y_pred": result.probabilities.argmax(1)})
    predictions[PROBABILITIES] = result.probabilities
    with atomic_path(run_dir / "predictions.csv") as partial:
        predictions.to_csv(partial, index=False)
    with atomic_path(run_dir / "model.safetensors") as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}, partial)
    write_json(run_dir / "model.json", network.recipe)

    parameters, trained = network.count_parameters()
    metrics = {
        "experiment": experiment,
        "scores": classification_scores(labels, result.probabilities),
        "rows": {part: int(np.sum(split.part == part)) for part in PARTS},
        "parameters": parameters,
        "trained_parameters": trained,
        "multiply_adds": multiply_adds(network, settings.image_size),
        "settings": asdict(settings),
        "model": network.recipe,
        "data": describe_data(galaxies),
        "weights": network.source.to_dict() if network.source else None,
        "timing": {
            "setup_seconds": result.setup_seconds,
            "train_seconds": float(result.history["seconds"].sum()),
            "train_images_per_second": float(result.history["images_per_second"].median()),
            "predict_images_per_second": result.predict_images_per_second,
        },
        "environment": {**describe_environment(result.device), "precision": result.precision},
    }
    write_json(run_dir / "metrics.json", metrics)
    return metrics


def read_metrics(run_dir: str | Path) -> dict:
    """The metrics of a complete run.

    Raises:
        RunError: there is no complete run in that directory.
    """
    path = Path(run_dir) / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{run_dir}: has no complete run; run its notebook first.") from None
    except ValueError as error:
        raise RunError(f"{path}: is not JSON ({error}); delete it and run its notebook again.") from error


def read_history(run_dir: str | Path) -> pd.DataFrame:
    """One row per epoch, see :class:`galutils.trainer.TrainResult`."""
    return pd.read_csv(Path(run_dir) / "history.csv")


def read_predictions(run_dir: str | Path) -> pd.DataFrame:
    """One row per test galaxy: ``row``, ``y_true``, ``y_pred``, ``p0`` to ``p9``."""
    return pd.read_csv(Path(run_dir) / "predictions.csv")


def read_run_split(run_dir: str | Path) -> Split:
    """The split that the run used."""
    return read_split(Path(run_dir) / "split.csv")


def load_network(run_dir: str | Path):
    """Rebuild a run's trained network (on the CPU, evaluation mode).

    Raises:
        RunError: the directory holds no model.
    """
    from safetensors.torch import load_file

    from galutils import models

    run_dir = Path(run_dir)
    if not (run_dir / "model.safetensors").exists():
        raise RunError(f"{run_dir}: has no model.safetensors; run its notebook first.")
    recipe = json.loads((run_dir / "model.json").read_text(encoding="utf-8"))
    if "weights" in recipe:
        recipe["weights"] = "random"  # every tensor comes from the run; the original file is not needed
    network = models.build(**recipe)
    network.load_state_dict(load_file(run_dir / "model.safetensors"), strict=True)
    return network.eval()


def load_backbone(run_dir: str | Path):
    """The transformer that embedded in a run: the adapted one where it was adapted, else the one it started from.

    Raises:
        RunError: there is no complete run in that directory.
        galutils.weights.WeightsError: the weights that the run started from are no longer where they were.
    """
    from galutils import dino

    recipe = read_metrics(run_dir)["model"]
    adapted = Path(run_dir) / "model.safetensors"
    if adapted.exists():
        return dino.load_backbone(adapted)
    return dino.load_backbone(**{name: recipe[name] for name in ("weights", "arch", "normalization", "seed")})


def read_preprocessing(run_dir: str | Path):
    """The :class:`galutils.dino.Preprocessing` of a run without labels.

    Raises:
        RunError: there is no complete run in that directory.
    """
    from galutils.dino import Preprocessing

    return Preprocessing(**read_metrics(run_dir)["preprocessing"])


def find_runs(profile_dir: str | Path) -> list[Path]:
    """Directories of the complete runs below ``runs/<profile>``, sorted."""
    return sorted(path.parent for path in Path(profile_dir).glob("*/seed*/metrics.json"))


def write_clustering_run(
    run_dir: str | Path,
    *,
    experiment: str,
    backbone,
    preprocessing,
    galaxies: Galaxies,
    clustering,
    features: np.ndarray,
    table: pd.DataFrame,
    settings: dict,
    seconds: float,
    distilled=None,
) -> dict:
    """Write a run without labels and return its metrics: every row is predicted, and there is no split.

    ``roc_auc`` is the one from hard assignments, which is what the paper's can be.

    Args:
        experiment: name of the approach, such as "dino_kmeans".
        backbone: the plain :class:`galutils.dino.Backbone` that embedded.
        preprocessing: the :class:`galutils.dino.Preprocessing` of the images.
        clustering: the reported :class:`galutils.clustering.Clustering`.
        features: (N, D) what was clustered.
        table: scores by seed, see :func:`galutils.clustering.kmeans_over_seeds`.
        settings: parameters of the run, for JSON; with ``seed``.
        seconds: that embedding all rows took.
        distilled: the :class:`galutils.distill.DistillResult`, if the backbone was adapted: its history is
            written, the backbone as ``model.safetensors``, and the adapters as ``lora.safetensors``.
    """
    from galutils.clustering import predictions, score
    from galutils.dino import pick_device, save_backbone
    from galutils.lora import save_lora
    from galutils.trainer import device_name

    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.json").unlink(missing_ok=True)  # an older run in this place is complete no longer
    labels = galaxies.labels
    predicted, probabilities = predictions(clustering, labels)
    frame = pd.DataFrame({"row": np.arange(len(labels)), "y_true": labels, "y_pred": predicted})
    frame["cluster"] = clustering.clusters
    frame[PROBABILITIES] = probabilities
    tables = {"predictions.csv": frame, "seeds.csv": table}
    timing = {"setup_seconds": None, "train_seconds": 0.0, "train_images_per_second": None}
    if distilled is not None:
        tables["history.csv"] = distilled.history
        timing = {
            "setup_seconds": distilled.setup_seconds,
            "train_seconds": float(distilled.history["seconds"].sum()),
            "train_images_per_second": float(distilled.history["images_per_second"].median()),
        }
        save_backbone(backbone, run_dir / "model.safetensors", adapted=experiment)
        save_lora(distilled.student, run_dir / "lora.safetensors")
    for name, content in tables.items():
        with atomic_path(run_dir / name) as partial:
            content.to_csv(partial, index=False)

    scores = score(clustering, labels, features)
    metrics = {
        "experiment": experiment,
        "scores": {"accuracy": scores["accuracy"], "roc_auc": scores["roc_auc_hard"], **scores},
        "over_seeds": {
            name: {"mean": float(table[name].mean()), "std": float(table[name].std(ddof=0))} for name in CLUSTER_SCORES
        },
        "rows": dict.fromkeys(PARTS, 0) | {"test": len(labels)},
        "parameters": backbone.count_parameters(),
        "trained_parameters": distilled.trained_parameters if distilled is not None else 0,
        "multiply_adds": multiply_adds(backbone, preprocessing.image_size),
        "settings": settings,
        "model": {**backbone.recipe, "dimensions": features.shape[1], "clusters": clustering.count},
        "preprocessing": asdict(preprocessing),
        "collapse": distilled.warnings if distilled is not None else [],
        "data": describe_data(galaxies),
        "weights": backbone.source.to_dict(),
        "timing": {**timing, "predict_images_per_second": len(labels) / seconds},
        "environment": {
            **describe_environment(distilled.device if distilled is not None else device_name(pick_device("auto"))),
            "precision": distilled.precision if distilled is not None else "32-true",
        },
    }
    write_json(run_dir / "metrics.json", metrics)
    return metrics
