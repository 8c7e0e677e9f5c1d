"""Run directories: what an experiment leaves behind and how it is read back.

``runs/<profile>/<experiment>/seed<k>/`` holds

- ``metrics.json``: scores, parameters, speed and provenance; written last, so its presence means "complete";
- ``history.csv``: one line per epoch;
- ``predictions.csv``: ``row,y_true,y_pred,p0...p9`` for the test rows;
- ``split.csv``: part and group of every row;
- ``model.json`` and ``model.safetensors``: how to build the network, and its tensors.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.clustering.scores import CLUSTER_SCORES
from galutils.data.galaxies import DataError, Galaxies, open_galaxies
from galutils.data.galaxy10 import NUM_CLASSES
from galutils.data.sources import data_home
from galutils.data.splits import Split, read_split
from galutils.errors import GalutilsError
from galutils.evaluation.metrics import classification_scores
from galutils.files import atomic_path, sha256, write_json
from galutils.models.cost import multiply_adds
from galutils.study.provenance import describe_data, describe_environment

PARTS = ("train", "test", "calibration", "blank", "unused")
PROBABILITIES = [f"p{label}" for label in range(NUM_CLASSES)]


class RunError(GalutilsError):
    """A run directory that cannot be used; one sentence that says why and what to do."""


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
        network: the trained :class:`galutils.models.cnn.GalaxyNet`, made by :func:`galutils.models.cnn.build`.
        galaxies, split, settings, result: what :func:`galutils.training.supervised.train` took and gave.
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
    """One row per epoch, see :class:`galutils.training.supervised.TrainResult`."""
    return pd.read_csv(Path(run_dir) / "history.csv")


def read_predictions(run_dir: str | Path) -> pd.DataFrame:
    """One row per test galaxy: ``row``, ``y_true``, ``y_pred``, ``p0`` to ``p9``."""
    return pd.read_csv(Path(run_dir) / "predictions.csv")


def read_run_split(run_dir: str | Path) -> Split:
    """The split that the run used."""
    return read_split(Path(run_dir) / "split.csv")


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
        backbone: the plain :class:`galutils.models.vit.Backbone` that embedded.
        preprocessing: the :class:`galutils.models.embedding.Preprocessing` of the images.
        clustering: the reported :class:`galutils.clustering.methods.Clustering`.
        features: (N, D) what was clustered.
        table: scores by seed, see :func:`galutils.clustering.methods.kmeans_over_seeds`.
        settings: parameters of the run, for JSON; with ``seed``.
        seconds: that embedding all rows took.
        distilled: the :class:`galutils.training.dino.DistillResult`, if the backbone was adapted: its history is
            written, the backbone as ``model.safetensors``, and the adapters as ``lora.safetensors``.
    """
    from galutils.clustering.methods import predictions, score
    from galutils.device import device_name, pick_device
    from galutils.models.lora import save_lora
    from galutils.models.vit import save_backbone

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


def find_galaxies(run_dir: str | Path, given: str | Path | None = None) -> Galaxies:
    """Open the very file that a run read: the one given, or where its notebook read it, or where data are kept.

    Raises:
        DataError: it is not there, or another file stands in its place.
        galutils.study.runs.RunError: there is no complete run in that directory.
    """
    run_dir, data = Path(run_dir).resolve(), read_metrics(run_dir)["data"]
    if given is not None:
        places = [Path(given).expanduser()]
    else:
        places = [_noted_path(run_dir), *(folder / data["file"] for folder in (run_dir.parents[1], data_home()))]
    for path in places:
        if path is not None and path.is_file() and sha256(path) == data["sha256"]:
            return open_galaxies(path)
    if given is not None and not places[0].exists():
        raise DataError(f"{given}: there is no such file; give {data['file']}, which the run read.")
    if given is not None:
        raise DataError(f"{given}: is not {data['file']} as the run read it, by its checksum; give that file.")
    raise DataError(f"{data['file']}, which the run in {run_dir} read, was not found; name it by --data.")


def _noted_path(run_dir: Path) -> Path | None:
    """The data file that papermill noted in a run's executed notebook."""
    try:
        notebook = json.loads((run_dir / "notebook.ipynb").read_text(encoding="utf-8"))
        return Path(notebook["metadata"]["papermill"]["parameters"]["data_path"]).expanduser()
    except (OSError, ValueError, KeyError, TypeError):
        return None  # run by hand
