"""What a profile's runs leave behind for others: one folder and a zip of it, an RO-Crate that needs no code of ours."""

import hashlib
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import yaml
from jinja2 import Environment, PackageLoader
from pyarrow.parquet import read_schema

from galutils.data.classes import class_columns
from galutils.evaluation.bootstrap import SCORES, Graded, estimate
from galutils.evaluation.calibration import describe_calibration
from galutils.files import atomic_path, sha256, write_json, write_text
from galutils.progress import tracked
from galutils.report.tables import heading, in_columns
from galutils.study.collect import describe_sources, grade_runs
from galutils.study.execute import ReportError
from galutils.study.pages import Study
from galutils.study.results import Results, load_results
from galutils.study.runs import Run

#: Lists every other file with its SHA-256, as ``sha256sum -c`` reads it.
SUMS = "SHA256SUMS"
TABLES = PREDICTIONS, METRICS, CLASSES = "predictions.parquet", "metrics.csv", "classes.csv"

#: What the columns of :data:`PREDICTIONS` mean, but for those of probabilities.
MEANINGS = {
    "experiment": "name of the approach, as that of its folders",
    "approach": "its title",
    "seed": "of the run: initialisation and order of the images, or k-means",
    "row": "of the file of galaxies, from 0",
    "galaxy": "rows with the same number show the same galaxy; the intervals draw galaxies",
    "y_true": "number of the class by its label, see classes.csv",
    "y_pred": "number of the class that was predicted, -1 where none was",
    "cluster": "of a clustering: the cluster that it was assigned to; else empty",
}
#: What a bundle says of the scores of an approach beside their name.
ESTIMATED = ["mean", "sd", "standard_error", "low", "high"]
CARD = {"Score": "{score}", "Mean": "{mean:.3f}", "95% interval": "{low:.3f} to {high:.3f}"}


class BundleError(ReportError):
    """A bundle that cannot be written there, or that is not whole; a sentence for each fault."""


def write_bundle(study: Study, to: str | Path | None = None) -> str:
    """Write the bundle of a study whose runs are complete, and ``<folder>.zip`` beside it; says what was written.

    to: the folder; ``bundles/<profile>`` in the checkout where none is named. An earlier bundle there is replaced.

    Raises:
        RunError: there is no complete run, or one is damaged.
        BundleError: something else is in the folder.
    """
    folder = Path(to) if to else study.root / "bundles" / study.profile
    if folder.exists() and not (folder / SUMS).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise BundleError(f"{folder}: is no bundle, and is not replaced by one; name another folder by --to.")
    results = load_results(study.runs_dir)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as made:
        new = Path(made) / "bundle"
        new.mkdir()
        _write_files(study, results, new)
        sums = [f"{sha256(path)}  {name}\n" for name, path in _files(new).items()]
        write_text(new / SUMS, "".join(sums))
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    packed = folder.with_name(f"{folder.name}.zip")
    with atomic_path(packed) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, path in _files(folder).items():
            archive.write(path, name)
    size = sum(path.stat().st_size for path in _files(folder).values())
    return f"{folder}: {len(sums) + 1} files, {size / 1e6:,.1f} MB; {packed}: the same, to be uploaded."


def _write_files(study: Study, results: Results, folder: Path) -> None:
    """All of a bundle but :data:`SUMS`."""
    runs, table, first = results.runs, results.table, results.runs["run"].iloc[0].metrics
    for path in ("CITATION.cff", "LICENSE", "constraints.txt", f"config/{study.profile}.yaml"):
        shutil.copyfile(study.root / path, folder / Path(path).name)
    columns = dict(zip(class_columns(first["classes"]), first["classes"], strict=True))
    predictions_table(runs).to_parquet(folder / PREDICTIONS, index=False)
    written = read_schema(folder / PREDICTIONS)
    meanings = MEANINGS | {column: f"probability of {name}" for column, name in columns.items()}
    dictionary = [{"column": one.name, "type": str(one.type), "meaning": meanings[one.name]} for one in written]
    tables = {
        METRICS: metrics_table(results.estimates),
        CLASSES: pd.DataFrame({"number": range(len(columns)), "class": columns.values(), "column": columns.keys()}),
        "approaches.csv": table.drop(columns=[*SCORES, *ESTIMATED[1:], "picked_low", "picked_high"]),
        "data_dictionary.csv": pd.DataFrame(dictionary),
    }
    for name, own in tables.items():
        own.to_csv(folder / name, index=False)
    made = {_name(run): _write_run(run, folder) for run in tracked(_folds(runs), None, "run")}
    label = describe_sources(runs)[0]
    shared = {"label": label[0].upper() + label[1:], "classes": first["classes"], "table": table.to_dict("records")}
    shared |= {"profile": study.profile, "dictionary": _markdown(tables["data_dictionary.csv"])}
    shared |= {"network": next((name for own in made.values() for name in own if name.endswith(".pt2")), None)}
    environment = Environment(loader=PackageLoader("galutils.report"), trim_blocks=True, lstrip_blocks=True)

    def write(name: str, template: str, own: pd.DataFrame, **content) -> None:
        content |= {"metrics": own["run"].iloc[0].metrics, "warnings": describe_sources(own)[1]}
        content["licence"] = describe_licence(content["metrics"]["weights"])
        content["commits"] = sorted({run.metrics["environment"]["git_commit"] for run in own["run"]})
        write_text(folder / name, environment.get_template(template).render(**shared, **content) + "\n")

    write("README.md", "bundle.md", runs)
    for row in shared["table"]:
        scores = results.estimates[row["approach"]].rename(index={score: heading(score) for score in SCORES})
        known = results.calibration[results.calibration.index == row["approach"]]
        calibration = "".join(describe_calibration(known)).removeprefix(f"{row['approach']}: ")
        found = _markdown(in_columns(scores.rename_axis("score").reset_index(), CARD))
        shown = {"row": row, "calibration": calibration, "scores": found}
        write(f"cards/{row['experiment']}.md", "card.md", runs[runs["approach"] == row["approach"]], **shown)
    _describe(f"{shared['label']}: predictions, scores and networks.", runs, made, folder)


def describe_licence(weights: dict | None) -> str:
    """Under which licence what was trained from those weights is. weights: as the metrics of a run have them."""
    if not weights or weights["source"] == "random":
        return "No pretrained weights went into it. It is under the licence of this bundle, see `LICENSE`."
    started = f"It started from the weights `{weights['source']}` (SHA-256 `{weights['sha256']}`)."
    if weights["licence"]:
        return f"{started}\nTheir licence is {weights['licence']}. It holds for what was trained from them, too."
    why = "timm names none" if weights["source"] == "official" else "your own file"
    return f"{started}\nLicence unknown: {why}. Look it up before you pass on what was trained from it."


def _folds(runs: pd.DataFrame) -> Iterator[Run]:
    """Each run directory's; of a split in several folds each fold's."""
    yield from (fold for run in runs["run"] for fold in run.folds)


def _name(run: Run) -> str:
    return f"{run.directory.parent.name}/{run.directory.name}"


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table), ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def predictions_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each galaxy that a run was tested on: the columns of :data:`MEANINGS`, then those of probabilities.

    runs: from :func:`galutils.study.collect.collect_runs`.
    """
    graded, parts = grade_runs(runs), []
    for entry in runs.itertuples():
        own = entry.run.predictions.assign(experiment=entry.experiment, approach=entry.approach, seed=entry.seed)
        own["galaxy"] = graded[entry.approach][entry.seed].group
        parts.append(own.reindex(columns=[*MEANINGS, *entry.run.columns]).astype({"cluster": "Int64"}))
    return pd.concat(parts, ignore_index=True)


def metrics_table(estimates: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """``approach``, ``score`` and :data:`ESTIMATED`, from :func:`galutils.evaluation.bootstrap.estimate` of each."""
    parts = [own[ESTIMATED].rename_axis("score").reset_index() for own in estimates.values()]
    return pd.concat(parts, keys=estimates, names=["approach"]).reset_index(0).reset_index(drop=True)


def _write_run(run: Run, folder: Path) -> list[str]:
    """What a run says of itself, and its network; names of the files."""
    from safetensors.torch import save_file

    from galutils.models.embedding import Embedder
    from galutils.models.vit import save_backbone

    name, model = f"runs/{_name(run)}.json", dict(run.metrics["model"])
    if "weights" in model:
        model["weights"] = Path(model["weights"]).name  # where they lay on this machine concerns nobody
    write_json(folder / name, run.metrics | {"model": model})
    network, places = run.network(), [f"networks/{_name(run)}{suffix}" for suffix in (".pt2", ".safetensors")]
    (folder / places[0]).parent.mkdir(parents=True, exist_ok=True)
    if run.supervised:
        export_network(network, run.metrics["settings"]["image_size"], folder / places[0])
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / places[1])
    else:
        export_network(Embedder(network, run.preprocessing), run.metrics["data"]["image_size"], folder / places[0])
        save_backbone(network, folder / places[1])
    return [name, *places]


def export_network(network, size: int, path: Path) -> None:
    """Write a network as a program that takes any number of images uint8 of that size."""
    import torch

    batch = {0: torch.export.Dim("batch", min=1)}
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    program = torch.export.export(network, (images,), dynamic_shapes=(batch,), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where code lay on this machine concerns nobody, either
    with warnings.catch_warnings():  # that weights whose channels are last are no blocks of memory, which is no harm
        warnings.filterwarnings("ignore", "No complete tensor found")
        torch.export.save(program, path)


def _describe(said: str, runs: pd.DataFrame, made: dict[str, list[str]], folder: Path) -> None:
    """The metadata of the crate: each file, and each run as what it was made by, of what, and what it made."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    crate, citation = ROCrate(), yaml.safe_load((folder / "CITATION.cff").read_text(encoding="utf-8"))
    crate.name, crate.description = citation["title"], f"{said} {citation['message']}"
    crate.license = f"https://spdx.org/licenses/{citation['license']}"

    def note(identifier: str, kind: str, **properties) -> ContextEntity:
        return crate.add(ContextEntity(crate, f"#{identifier}", {"@type": kind} | properties))

    crate.root_dataset["author"] = [note(own["name"], "Organization", name=own["name"]) for own in citation["authors"]]
    files = {
        name: crate.add_file(path, name, properties={"sha256": sha256(path), "contentSize": str(path.stat().st_size)})
        for name, path in _files(folder).items()
    }
    for run in _folds(runs):
        name, metrics = _name(run), run.metrics
        environment, data, weights = metrics["environment"], metrics["data"], metrics["weights"] or {}
        commit, version = environment["git_commit"], environment["packages"]["galutils"]
        software = note(f"galutils-{commit}", "SoftwareApplication", name=f"galutils {version}", version=commit)
        read = [note(data["sha256"], "CreativeWork", name=data["file"], sha256=data["sha256"])]
        if weights.get("sha256"):
            known = {"license": weights["licence"]} if weights["licence"] else {}
            known |= {"name": weights["source"], "sha256": weights["sha256"]}
            read.append(note(weights["sha256"], "CreativeWork", **known))
        for parameter, value in metrics["settings"].items():
            read.append(note(f"{name}/{parameter}", "PropertyValue", name=parameter, value=str(value)))
        result = [files[own] for own in (*made[name], PREDICTIONS, METRICS)]
        action = crate.add_action(software, f"#{name}", read, result, {"name": f"The run {name}"})
        crate.root_dataset.append_to("mentions", action)
    crate.metadata.write(folder)


def check_bundle(path: str | Path) -> str:
    """Read a bundle back, a folder or a zip: each checksum, and whether the scores follow from the predictions.

    Raises:
        BundleError: it is none, or something is wrong: a sentence for each fault, a line each.
    """
    files = _files(Path(path))
    if SUMS not in files:
        raise BundleError(f"{path}: has no {SUMS}, so it is no bundle; name the folder or the zip of one.")
    lines = files.pop(SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    faults = {name: f"{name} is missing." for name in (sums.keys() | {*TABLES}) - files.keys()}
    faults |= {name: f"{name} is not named in {SUMS}." for name in files.keys() - sums.keys()}
    for name in files.keys() & sums.keys():
        if not _same(files[name], sums[name]):
            faults[name] = f"{name} is not what was written, by its checksum."
    found = [faults[name] for name in sorted(faults)]
    if not faults.keys() & {*TABLES}:
        found += _compare(*(BytesIO(files[name].read_bytes()) for name in TABLES))
    if found:
        raise BundleError("\n".join(found))
    return f"{path}: all {len(sums)} checksums are right, and {METRICS} follows from {PREDICTIONS}."


def _files(path: Path) -> dict[str, Path | zipfile.Path]:
    """What is in a folder, or in a zip, by its name there."""
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path}: is neither a folder nor a zip; name one that galutils bundle wrote.")
    archive = zipfile.ZipFile(path)
    return {name: zipfile.Path(archive, name) for name in archive.namelist() if not name.endswith("/")}


def _same(file: Path | zipfile.Path, digest: str) -> bool:
    """Whether a file has that SHA-256; one that a zip cannot unpack has not."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == digest
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False


def _compare(predictions: BytesIO, metrics: BytesIO, classes: BytesIO) -> list[str]:
    """A sentence for each approach whose scores, or whose classes by clusters, are not those of its predictions."""
    from galutils.clustering.methods import Clustering, predict_classes

    try:
        found, said = pd.read_parquet(predictions), pd.read_csv(metrics)
        if lost := [name for name in ("approach", "score", *ESTIMATED) if name not in said]:
            return [f"{METRICS}: has no column {', '.join(lost)}."]
        names = tuple(pd.read_csv(classes)["class"].astype(str))
        graded = {
            title: [_graded(own, names) for _, own in seeds.groupby("seed")]
            for title, seeds in found.groupby("approach")
        }
        strays = {}
        for (title, _), own in found.dropna(subset="cluster").groupby(["approach", "seed"]):
            clusters, labels = (own[name].to_numpy(int) for name in ("cluster", "y_true"))
            if (predict_classes(Clustering(clusters), labels, len(names))[0] != own["y_pred"]).any():
                strays[title] = f"{PREDICTIONS}: y_pred of {title} is not the class that its clusters match."
        wanted = metrics_table({title: estimate(seeds) for title, seeds in graded.items()})
        both = wanted.merge(said, "outer", ["approach", "score"], suffixes=("", "_said"), indicator="sides")
        right, there = (both[[name + suffix for name in ESTIMATED]].to_numpy(float) for suffix in ("", "_said"))
    except (ValueError, KeyError) as error:
        return [f"{METRICS} and {PREDICTIONS} cannot be compared ({error})."]
    differ = ~np.isclose(there, right, rtol=0, atol=1e-6, equal_nan=True)
    differ[both["sides"] != "both"] = True
    faults = [*strays.values()]
    for title, rows in both.groupby("approach").indices.items():
        if len(places := np.argwhere(differ[rows])):
            row, column = rows[places[0][0]], places[0][1]
            faults.append(
                f"{METRICS} does not follow from {PREDICTIONS}: {ESTIMATED[column]} of {both['score'][row]} of {title} "
                f"is {there[row, column]:.4f} there and {right[row, column]:.4f} by the predictions."
            )
    return faults


def _graded(own: pd.DataFrame, classes: tuple[str, ...]) -> Graded:
    """The rows of one run in :data:`PREDICTIONS`; of a clustering its assignments are scored alone."""
    columns = ("row", "galaxy", "y_true", "y_pred")
    probabilities = own[class_columns(classes)].to_numpy() if own["cluster"].isna().all() else None
    return Graded(*(own[name].to_numpy() for name in columns), probabilities, classes)
