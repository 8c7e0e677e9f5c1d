"""Run directories: what an experiment leaves behind, and :class:`Run`, which alone reads it back.

``runs/<profile>/<experiment>/seed<k>/``, and where a profile has several splits ``seed<k>_fold<f>/`` beside it, holds

- ``metrics.json``: scores, parameters, speed and provenance; written last, so its presence means "complete";
- ``history.csv``: one line per epoch;
- ``predictions.csv``: ``row,y_true,y_pred`` and a column for each class, ``p_barred_spiral``, for the test rows;
- ``calibration.csv``: the same without ``y_pred`` for rows that were set aside, where there are any;
- ``split.csv``: part and group of every row;
- ``model.safetensors``: the network's tensors; how to build it stands under ``model`` in ``metrics.json``;
- ``seeds.csv``: for a clustering, its scores by seed of k-means.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.classes import class_columns
from galutils.data.galaxies import DataError, Galaxies, open_galaxies
from galutils.data.splits import Split, read_split
from galutils.errors import GalutilsError, first_line
from galutils.files import atomic_path, data_home, not_a_file, sha256, write_json
from galutils.study.keys import FORMAT, is_current, run_directories
from galutils.study.provenance import describe_data, describe_environment

#: What to do about a damaged run: a finished one is not run again by itself.
_AGAIN = "delete its metrics.json and run its notebook again"

PARTS = ("train", "test", "calibration", "blank", "unused", "too_few")


class RunError(GalutilsError):
    """A run directory that cannot be used; one sentence that says why and what to do."""


class Run:
    """A complete run, opened once: each of its files is read when it is first asked for.

    With further folds of its seed it is one of all the galaxies that any of them was tested on: predictions and scores
    are those of all folds, everything else is that of the first.

    Attributes:
        directory: where it lies, or the first of its folds.
        folds: the runs that it is made of; itself alone where there is one.

    Raises:
        RunError: there is no complete run in that directory.
    """

    def __init__(self, directory: str | Path, further: Sequence[Path] = ()):
        self.directory = Path(directory)
        path = self.directory / "metrics.json"
        try:
            self.metrics: dict = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            below = min(self.directory.glob("*/**/metrics.json"), default=None)
            advice = f"name one below it, such as {below.parent}" if below else "run its notebook first"
            raise RunError(f"{directory}: has no complete run; {advice}.") from None
        except ValueError as error:
            raise RunError(f"{path}: is not JSON ({error}); delete it and run its notebook again.") from error
        if not is_current(self.metrics):
            raise RunError(f"{directory}: was made by another version of this study; run its notebook again.")
        self.folds: list[Run] = [Run(each) for each in (directory, *further)] if further else [self]
        if further:
            from galutils.evaluation.metrics import classification_scores

            scores = classification_scores(*(self.predictions[name].to_numpy() for name in ("y_true", self.columns)))
            self.metrics |= {"scores": scores, "rows": self.metrics["rows"] | {"test": len(self.predictions)}}

    @property
    def experiment(self) -> str:
        """Name of the approach, such as "custom_cnn"."""
        return self.metrics["experiment"]

    @property
    def supervised(self) -> bool:
        """Whether it learnt from labels; a clustering is scored on all galaxies, after matching."""
        return "clusters" not in self.metrics["model"]

    @property
    def classes(self) -> tuple[str, ...]:
        """What the classes of its galaxies are called."""
        return tuple(self.metrics["classes"])

    @property
    def columns(self) -> list[str]:
        """Columns of :attr:`predictions` and :attr:`calibration` that hold the probabilities of the classes."""
        return class_columns(self.classes)

    @cached_property
    def history(self) -> pd.DataFrame:
        """One row per epoch, see :class:`galutils.training.supervised.TrainResult`."""
        return self._table("history.csv", "epoch")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per test galaxy: ``row``, ``y_true``, ``y_pred`` and :attr:`columns`."""
        return self._rows("predictions.csv", "y_true", "y_pred", *self.columns)

    @cached_property
    def calibration(self) -> pd.DataFrame | None:
        """The same without ``y_pred`` for the rows that were set aside; None where none were."""
        name = "calibration.csv"
        return self._rows(name, "y_true", *self.columns) if (self.directory / name).exists() else None

    @cached_property
    def seeds(self) -> pd.DataFrame:
        """A clustering's scores, one row per seed of k-means."""
        return self._table("seeds.csv", "seed", "accuracy")

    @cached_property
    def split(self) -> Split | None:
        """The split that it used; None for a clustering."""
        with self._readable("split.csv"):
            return read_split(self.directory / "split.csv") if self.supervised else None

    def _rows(self, name: str, *columns: str) -> pd.DataFrame:
        """A file with a line for each row, of all folds."""
        tables = [fold._table(name, "row", *columns) for fold in self.folds]
        return pd.concat(tables).sort_values("row", kind="stable", ignore_index=True)

    def _table(self, name: str, *columns: str) -> pd.DataFrame:
        """A file of the run as a table; those columns have a value in every row."""
        with self._readable(name):
            table = pd.read_csv(self.directory / name)
            if (empty := table.reindex(columns=[*columns]).isna().any()).any():
                raise ValueError(f"column {empty.idxmax()} is missing or has gaps")
            return table

    @cached_property
    def preprocessing(self):
        """The :class:`galutils.models.embedding.Preprocessing` of a clustering's images."""
        from galutils.models.embedding import Preprocessing

        with self._readable("its network"):
            return Preprocessing(**self.metrics["preprocessing"])

    def network(self):
        """Its network on the CPU, in evaluation mode: a :class:`GalaxyNet`, or the :class:`Backbone` that embedded.

        Raises:
            RunError: its files are damaged or gone.
            WeightsError: the weights that a frozen transformer came from are no longer where they were.
        """
        from safetensors.torch import load_file

        from galutils.models import cnn, vit
        from galutils.models.weights import WeightsError

        tensors = self.directory / "model.safetensors"
        if self.supervised and not tensors.exists():
            raise RunError(f"{self.directory}: has no model.safetensors; {_AGAIN}.")
        with self._readable("its network", but=WeightsError):
            recipe = dict(self.metrics["model"])
            if not self.supervised:
                if tensors.exists():
                    return vit.load_backbone(tensors)
                kept = ("weights", "arch", "normalization", "seed")
                return vit.load_backbone(**{name: recipe[name] for name in kept})
            if "weights" in recipe:
                recipe["weights"] = "random"  # every tensor comes from the run; the original file is not needed
            network = cnn.build(**recipe)
            network.load_state_dict(load_file(tensors), strict=True)
            return network.eval()

    def galaxies(self, given: str | Path | None = None) -> Galaxies:
        """The very file that it read: the one given, or where its notebook read it, or where data are kept.

        Raises:
            DataError: it is not there, or another file stands in its place.
        """
        data, directory = self.metrics["data"], self.directory.resolve()
        places = [self._noted_path(), directory.parents[1] / data["file"], data_home() / data["file"]]
        for path in places if given is None else [Path(given).expanduser()]:
            if path is not None and path.is_file() and sha256(path) == data["sha256"]:
                return open_galaxies(path)
        if given is None:
            raise DataError(f"{data['file']}, which the run in {directory} read, was not found; name it by --data.")
        if not path.is_file():
            raise DataError(f"{given}: {not_a_file(path)}; give {data['file']}, which the run read.")
        raise DataError(f"{given}: is not {data['file']} as the run read it, by its checksum; give that file.")

    def _noted_path(self) -> Path | None:
        """The data file that papermill noted in the run's executed notebook."""
        try:
            notebook = json.loads((self.directory / "notebook.ipynb").read_text(encoding="utf-8"))
            return Path(notebook["metadata"]["papermill"]["parameters"]["data_path"]).expanduser()
        except (OSError, ValueError, KeyError, TypeError):
            return None  # run by hand

    @contextmanager
    def _readable(self, what: str, but: type[Exception] = RunError) -> Iterator[None]:
        """Say of a run that is damaged that it is, and what of it."""
        from safetensors import SafetensorError

        try:
            yield
        except but:
            raise
        except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            reason = (getattr(error, "strerror", None) or first_line(error))[:160]
            raise RunError(f"{self.directory}: {what} cannot be read ({reason}); {_AGAIN}.") from error


def find_runs(profile_dir: str | Path, kind: str = "runs") -> list[Run]:
    """Those of :func:`galutils.study.keys.run_directories`, the folds of one seed as one run."""
    seeds: dict[Path, list[Path]] = {}
    for directory in run_directories(profile_dir, kind):
        seeds.setdefault(directory.with_name(directory.name.partition("_fold")[0]), []).append(directory)
    return [Run(first, further) for first, *further in seeds.values()]


def write_run(run_dir: str | Path, *, experiment: str, network, galaxies: Galaxies, split: Split, settings, result):
    """Write what :func:`galutils.training.supervised.train` took and gave; returns the :class:`Run`."""
    from safetensors.torch import save_file

    from galutils.evaluation.metrics import classification_scores

    run_dir, labels = _opened(run_dir), galaxies.labels
    split.write(run_dir / "split.csv")
    predictions = {"row": split.test, "y_true": labels[split.test], "y_pred": result.probabilities.argmax(1)}
    columns = class_columns(galaxies.classes)
    _write_table(run_dir / "predictions.csv", pd.DataFrame(predictions), columns, result.probabilities)
    if result.calibration is not None:
        aside = pd.DataFrame({"row": split.calibration, "y_true": labels[split.calibration]})
        _write_table(run_dir / "calibration.csv", aside, columns, result.calibration)
    _write_table(run_dir / "history.csv", result.history)
    with atomic_path(run_dir / "model.safetensors") as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}, partial)

    parameters, trained = network.count_parameters()
    metrics = {
        "experiment": experiment,
        "scores": classification_scores(labels[split.test], result.probabilities),
        "rows": {part: int(np.sum(split.part == part)) for part in PARTS},
        "split_by": split.by,
        "trained_classes": np.bincount(labels[split.train], minlength=len(galaxies.classes)).tolist(),
        "parameters": parameters,
        "trained_parameters": trained,
        "settings": asdict(settings),
        "model": network.recipe,
        "environment": {**describe_environment(result.device), "precision": result.precision},
    }
    return _complete(run_dir, metrics, galaxies, network, settings.image_size, result, result.predict_images_per_second)


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
    embedding,
    distilled=None,
):
    """Write a run without labels, in which every row is predicted and there is no split; returns the :class:`Run`.

    ``roc_auc`` is the one from hard assignments, which is what the paper's can be.

    Args:
        backbone, preprocessing, embedding: what embedded, how, and what it gave.
        features: (N, D) what was clustered.
        clustering, table: the reported :class:`galutils.clustering.methods.Clustering`, and the scores by seed.
        settings: parameters of the run, for JSON; with ``seed``.
        distilled: the :class:`galutils.training.dino.DinoResult`, if the backbone was adapted: its history is
            written, and the backbone as ``model.safetensors``.
    """
    from galutils.clustering.methods import predict_classes, score_clustering
    from galutils.clustering.null import null_accuracies
    from galutils.clustering.scores import CLUSTER_SCORES
    from galutils.models.vit import save_backbone

    run_dir, labels, columns = _opened(run_dir), galaxies.labels, class_columns(galaxies.classes)
    predicted, probabilities = predict_classes(clustering, labels, len(columns))
    frame = pd.DataFrame({"row": np.arange(len(labels)), "y_true": labels, "y_pred": predicted})
    _write_table(run_dir / "predictions.csv", frame.assign(cluster=clustering.clusters), columns, probabilities)
    _write_table(run_dir / "seeds.csv", table)
    if distilled is not None:
        _write_table(run_dir / "history.csv", distilled.history)
        save_backbone(backbone, run_dir / "model.safetensors", adapted=experiment)
    scores = score_clustering(clustering, labels, features, num_classes=len(columns))
    chance = null_accuracies(labels, clustering.clusters)
    own = table[[*CLUSTER_SCORES]].astype(float)
    spread = pd.DataFrame({"mean": own.mean(), "std": own.std(ddof=0)})
    metrics = {
        "experiment": experiment,
        "scores": {"accuracy": scores["accuracy"], "roc_auc": scores["roc_auc_hard"], **scores},
        "over_seeds": spread.to_dict("index"),
        "chance": {"mean": float(chance.mean()), "std": float(chance.std())},
        "rows": dict.fromkeys(PARTS, 0) | {"test": len(labels)},
        "parameters": backbone.count_parameters(),
        "trained_parameters": getattr(distilled, "trained_parameters", 0),
        "settings": settings,
        "model": {**backbone.recipe, "dimensions": features.shape[1], "clusters": clustering.count},
        "preprocessing": asdict(preprocessing),
        "collapse": getattr(distilled, "warnings", []),
        "environment": describe_environment(embedding.device)
        | {"precision": getattr(distilled, "precision", "32-true")},
    }
    speed = len(labels) / embedding.seconds if embedding.seconds else None
    return _complete(run_dir, metrics, galaxies, backbone, preprocessing.image_size, distilled, speed)


def _opened(run_dir: str | Path) -> Path:
    """The directory; an older run in this place is complete no longer."""
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "metrics.json").unlink(missing_ok=True)
    return run_dir


def _complete(run_dir: Path, metrics: dict, galaxies: Galaxies, network, image_size: int, trained, speed) -> Run:
    """Write what every run says, too. trained: what a training left behind, or None; speed: images/s predicted."""
    from galutils.models.cost import multiply_adds

    history = None if trained is None else trained.history
    every = {
        "format": FORMAT,
        "classes": galaxies.classes,
        "multiply_adds": multiply_adds(network, image_size),
        "data": describe_data(galaxies),
        "weights": asdict(network.source) if network.source else None,
        "timing": {
            "setup_seconds": getattr(trained, "setup_seconds", None),
            "train_seconds": 0.0 if trained is None else float(history["seconds"].sum()),
            "train_images_per_second": None if trained is None else float(history["images_per_second"].median()),
            "predict_images_per_second": speed,
        },
    }
    write_json(run_dir / "metrics.json", every | metrics)
    return Run(run_dir)


def _write_table(path: Path, table: pd.DataFrame, columns: Sequence[str] = (), values: np.ndarray | None = None):
    """CSV, with further columns for values (n, C) where there are any."""
    if values is not None:
        table = table.join(pd.DataFrame(values, columns=columns))
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False)
