"""From run directories to one table of runs, to their predictions, and to what they come from."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from galutils.data.classes import GALAXY10, numbered
from galutils.data.sources import GALAXY10_SHA256
from galutils.evaluation.baselines import accuracy
from galutils.evaluation.bootstrap import COLLAPSED, Graded
from galutils.evaluation.paper import APPROACHES, AT_HOME_LABEL, CHOSEN, RANDOM_LABEL, SIMULATED_LABEL, Approach
from galutils.evaluation.significance import compare
from galutils.study.keys import read_manifest, stamp_of
from galutils.study.runs import Run, RunError, find_runs

#: What stands first in the custom network, in words.
POOLED = {"average": "average pooling", "max": "max pooling", "subsample": "subsampling"}

#: Scores that stand in the table of runs.
SHOWN = ("accuracy", "roc_auc", "macro_f1")


def collect_runs(runs_dir: str | Path) -> pd.DataFrame:
    """One row per complete run below ``runs/<profile>``, in the paper's order, then others by name.

    Columns: ``experiment``, ``seed``, ``run`` (:class:`Run`), ``approach`` (title, marked if it is a control, uses
    stand-in weights, or has collapsed with every seed), ``collapsed`` (see :attr:`Graded.collapsed`), ``built``,
    ``supervised``, ``pretrained`` (whether its weights really are), ``random`` (whether they are not), ``accuracy``,
    ``roc_auc``, ``macro_f1``, ``n_test``, ``folds`` (how many tested them, once each), ``num_classes``,
    ``parameters``, ``trained_parameters``, ``multiply_adds``, ``train_seconds``, ``train_images_per_second``,
    ``predict_images_per_second``, and ``paper_accuracy`` and ``paper_roc_auc``, where the classes are the paper's.

    Raises:
        RunError: there is none, or they read different galaxies.
    """
    runs = find_runs(runs_dir)
    if not runs:
        raise RunError(f"{runs_dir}: has no complete run; run the experiments' notebooks first.")
    return tabulate(runs)


def tabulate(runs: Sequence[Run]) -> pd.DataFrame:
    """The table of :func:`collect_runs` for some runs."""
    data = {run.metrics["data"]["sha256"]: run for run in runs}
    if len(data) > 1:
        said = "; ".join(f"{run.metrics['data']['file']} in {run.directory}" for run in data.values())
        raise RunError(f"Runs on different galaxies cannot be compared ({said}); run them anew on one file.")
    table = pd.DataFrame([_row(run) for run in runs])
    wholly = table["collapsed"].groupby(table["run"].map(lambda run: run.directory.parent)).transform("all")
    table["approach"] += np.where(wholly, " (collapsed)", "")
    table["wholly_collapsed"] = wholly
    order = {name: i for i, name in enumerate(APPROACHES)}
    key = table["experiment"].map(lambda name: order.get(name, len(order)))
    return table.assign(key=key).sort_values(["key", "experiment", "seed"]).drop(columns="key").reset_index(drop=True)


def _row(run: Run) -> dict:
    metrics = run.metrics
    weights = metrics["weights"] or {}
    approach = APPROACHES.get(run.experiment, Approach(run.experiment, weights.get("source"), run.supervised))
    title = _title(approach, metrics["model"] | metrics["settings"])
    random = weights.get("source") == "random" and approach.weights is not None  # else it is built
    # Only files of galutils pretrain fit the custom network.
    custom = metrics["model"].get("name") == "custom_cnn" and weights.get("source", "random") != "random"
    simulated = custom or weights.get("source") == "simulated"
    if random:
        title += f" ({RANDOM_LABEL})"
    elif weights.get("stand_in"):
        title += " (stand-in weights)"
    elif simulated:
        said = [SIMULATED_LABEL] * (approach.weights != "simulated") + [AT_HOME_LABEL] * metrics["data"]["simulated"]
        title += f" ({', '.join(said)})" * bool(said)
    elif weights.get("may_know"):
        title += " (may know these labels)"
    return {
        "experiment": run.experiment,
        "seed": metrics["settings"]["seed"],
        "run": run,
        "approach": title,
        "collapsed": all(grade(fold).collapsed for fold in run.folds),
        "built": approach.weights is None and not simulated,
        "from_simulations": simulated,
        "supervised": approach.supervised,
        "pretrained": bool(weights) and weights["source"] != "random" and not simulated,
        "random": random,
        **{name: bool(weights.get(name)) for name in ("may_know", "stand_in")},
        **{score: metrics["scores"][score] for score in SHOWN},
        "n_test": metrics["rows"]["test"],
        "folds": len(run.folds),
        "num_classes": len(run.classes),
        **{name: metrics[name] for name in ("parameters", "trained_parameters", "multiply_adds")},
        **{name: value for name, value in metrics["timing"].items() if name != "setup_seconds"},
        # The paper's numbers are about its own classes.
        "paper_accuracy": approach.accuracy if run.classes == GALAXY10 else None,
        "paper_roc_auc": approach.roc_auc if run.classes == GALAXY10 else None,
    }


def _title(approach: Approach, given: Mapping[str, Any]) -> str:
    """What an approach is called, where its parameters are others than its title says."""
    said: dict[str, tuple[str, Callable]] = {
        "arch": ("VGG11", str.upper),
        "channels": (r"\d+ channels", "{} channels".format),
        "average_pool": (
            "average pooling",
            lambda side: "no pooling" if side == 1 else POOLED[given.get("first", "average")],
        ),
        "later_layers": (r"\w+ later layers", "{} later layers".format),
        "alpha": (r"scale [\d/]+", lambda alpha: f"scale {Fraction(alpha).limit_denominator(1000) / given['rank']}"),
    }
    title = approach.title
    for name, (pattern, words) in said.items():
        if name in given:
            title = re.sub(pattern, words(given[name]), title)
    return title.replace(" channels", " channels at first") if given.get("widths") == "doubling" else title


def sound_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of :func:`collect_runs` that learnt from labels and have not collapsed; there may be none."""
    return runs[runs["supervised"] & ~runs["collapsed"]]


def list_scores(folder: str | Path) -> pd.DataFrame:
    """The complete runs below a folder, or that in it, in words, the most accurate of each file first.

    ``run`` (directory, from the folder), ``made`` (date), ``accuracy`` with its 95% interval over galaxies,
    ``roc_auc``, ``macro_f1``, ``seed``, ``epochs``, ``data``, and the ``weights`` that it started from.
    """
    folder = Path(folder)
    if not (found := _runs_below(folder)):
        raise RunError(f"{folder}: has no complete run; make report makes some, or name another folder.")
    rows = []
    for run in found:
        own = grade(run, None if run.split is None else run.split.group)
        middle, low, high = accuracy(own)
        rows.append(
            {
                "run": str(folder if run.directory == folder else run.directory.relative_to(folder)),
                "made": str(date.fromtimestamp(stamp_of(run.directory) / 1e9)),
                "accuracy": f"{middle:.1%} ({low:.1%} to {high:.1%})",
                **{name: f"{run.metrics['scores'][name]:.3f}" for name in SHOWN[1:]},
                "seed": run.metrics["settings"]["seed"],
                "epochs": run.metrics["settings"].get("epochs", "-"),
                "data": run.metrics["data"]["file"],
                "weights": _STARTS.get(weights := (run.metrics["weights"] or {}).get("source"), weights),
                "middle": middle,
            }
        )
    return pd.DataFrame(rows).sort_values(["data", "middle"], ascending=[True, False]).drop(columns="middle")


#: Where weights came from, in words, where these are not a file's name.
_STARTS = {
    None: "from scratch", "random": "random", "imagenet": "ImageNet", "dino": "DINO",
    "official": "published by its authors", "simulated": "from simulated galaxies",
}  # fmt: skip


def _runs_below(folder: Path, named: bool = True) -> list[Run]:
    """Those of a profile, and at any depth; a profile's ablations and its runs on labels only where they are named."""
    if stamp_of(folder) is not None:
        return [Run(folder)]
    found = find_runs(folder)
    if read_manifest(folder) and (found or not named):
        return found
    known = {run.directory.parent for run in found}
    below = [path for path in sorted(folder.glob("*/")) if path not in known and (named or not path.is_symlink())]
    return found + [run for path in below for run in _runs_below(path, named=False)]


def compare_runs(first: str | Path, second: str | Path) -> str:
    """Which of two is better, in words, on the galaxies that both were tested on.

    Each is a run's directory or that of an approach's seeds. Two single runs are compared whatever their seeds.

    Raises:
        RunError: there is no complete run in one of them, they are one, or the two read different galaxies or share
            no tested one.
    """
    if Path(first).resolve() == Path(second).resolve():
        raise RunError(f"{second}: is named twice; name another.")
    sides = {}
    for path in map(Path, (first, second)):
        seeds = [run for run in find_runs(path.parent) if run.directory.parent == path]
        sides[str(path)] = tabulate(seeds or [Run(path)])
    tabulate([run for table in sides.values() for run in table["run"]])  # the same galaxies
    graded = {}
    for name, table in sides.items():
        (seeds,) = grade_runs(table.assign(approach=name)).values()
        graded[name] = dict(enumerate(seeds.values())) if all(len(own) == 1 for own in sides.values()) else seeds
    found = compare(graded)
    if found.empty:
        raise RunError(
            f"{first} and {second} share no seed, or no galaxy that both were tested on; "
            "run both with the same seeds and split_seed."
        )
    row = found.iloc[0]
    return (
        f"{second} less {first}: {100 * row['difference']:+.1f} points (95% interval {100 * row['low']:+.1f} to "
        f"{100 * row['high']:+.1f}) on {row['galaxies']:,} galaxies, seeds: {row['seeds']}; right alone: "
        f"{row['only_second']:.0f} against {row['only_first']:.0f}. Verdict on the second: "
        f"{row['told']}. This is of one pair alone; the results page corrects for all pairs of a profile."
    )


def describe_run(run: Run) -> str:
    """What a run is worth, in a line: what it learnt from, and how often it is right."""
    row, data = tabulate([run]).iloc[0], run.metrics["data"]
    middle, low, high = accuracy(grade(run, None if run.split is None else run.split.group))
    learnt = f"trained on {run.metrics['rows']['train']:,} of" if run.supervised else "without labels, on"
    kind = "simulated galaxies" if data["simulated"] else "galaxies"
    return (
        f"{row['approach']}, {learnt} {data['rows']:,} {kind} in {data['file']}: accuracy {middle:.1%} "
        f"(95% interval {low:.1%} to {high:.1%}) on {row['n_test']:,} "
        f"{'test galaxies' if run.supervised else 'galaxies, after matching'}, {row['num_classes']} classes."
    )


def first_runs(runs: pd.DataFrame, supervised: bool) -> pd.DataFrame:
    """The first run of each approach that learns from labels, or of each that does not."""
    chosen = runs[runs["supervised"] == supervised]
    if chosen.empty:
        notebooks = "02 to 05" if supervised else "06 or 07"
        raise RunError(f"No run of this kind is complete; run notebook {notebooks} first.")
    return chosen.drop_duplicates("experiment")


def frozen_first(runs: pd.DataFrame) -> pd.DataFrame:
    """The clusterings of :func:`first_runs`, first that of the frozen transformer, which others are held against."""
    runs = runs.sort_values("trained_parameters", kind="stable")
    if runs["trained_parameters"].iloc[0]:
        raise RunError("There is no clustering of a frozen transformer to hold others against; run notebook 06 first.")
    return runs


def grade_runs(runs: pd.DataFrame) -> dict[str, dict[int, Graded]]:
    """The predictions of every approach (by title) and seed. runs: from :func:`collect_runs`.

    A clustering has no split; its rows get their galaxy numbers from the split of a classifier on the same file, and
    count as a galaxy each where there is none. Its matching with the classes is taken as it is.
    """
    group = next((run.split.group for run in runs["run"] if run.split is not None), None)
    graded: dict[str, dict[int, Graded]] = {}
    for entry in runs.itertuples():
        graded.setdefault(entry.approach, {})[entry.seed] = grade(entry.run, group)
    return graded


def grade(run: Run, group: np.ndarray | None = None) -> Graded:
    """The predictions of one run. group: (N,) galaxy numbers of the file's rows; None: a galaxy each."""
    predictions = run.predictions
    row = predictions["row"].to_numpy()
    return Graded(
        row=row,
        group=group[row] if group is not None and row.max() < len(group) else row,
        labels=predictions["y_true"].to_numpy(),
        predicted=predictions["y_pred"].to_numpy(),
        probabilities=predictions[run.columns].to_numpy() if run.supervised else None,
        classes=run.classes,
    )


def sum_confusions(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """Confusion counts (C, C) of each approach, summed over its seeds, by its title."""
    from galutils.evaluation.confusion import confusion_of

    tables: dict[str, np.ndarray] = {}
    for entry in runs.itertuples():
        tables[entry.approach] = tables.get(entry.approach, 0) + confusion_of(grade(entry.run))
    return tables


def describe_choices(runs: pd.DataFrame) -> str:
    """Which rows gain by choices that were made on test galaxies, where some of those may be scored; else nothing."""
    titles = dict(zip(runs["experiment"], runs["approach"], strict=True))
    users = {what: [titles[own] for own in titles if own.startswith(names)] for what, names in CHOSEN.items()}
    first = runs["run"].iloc[0]
    if first.metrics["data"]["simulated"] or first.classes != GALAXY10 or not any(users.values()):
        return ""
    made = ", ".join(f"{what} ({'; '.join(own)})" for what, own in users.items() if own)
    return (
        f"Chosen by accuracy on galaxies among the first hundred of each class of Galaxy10: {made}. Where such "
        "galaxies are scored, these rows may come out too high; by how much was not measured."
    )


def describe_sources(runs: pd.DataFrame) -> tuple[str, list[str]]:
    """What the numbers of some runs come from.

    Returns:
        a label for the column of this study's numbers, and warnings, each a sentence, that hold for every
        page: simulated galaxies, a file other than the full set, stand-in or random weights, collapsed runs.
    """
    data = {_data_of(run) for run in runs["run"]}
    counted = [zip(run.classes, run.metrics["trained_classes"], strict=True) for run in runs["run"] if run.supervised]
    small = dict.fromkeys(name for own in counted for name, count in own if not count)
    titles = runs["approach"].str.split(" (", regex=False).str[0]
    started = [(title, run.metrics["weights"] or {}) for title, run in zip(titles, runs["run"], strict=True)]
    random = {title for title, own in started if own.get("source") == "random" and not own.get("on_purpose")}
    stand_in = {title for title, own in started if own.get("stand_in")}
    knowing = {
        f"{title} ({own['may_know']})" for title, own in started if own.get("may_know") and not own.get("stand_in")
    }
    label, warnings = " and ".join(sorted(data)), []
    if any(run.metrics.get("split_by") == "sky" for run in runs["run"]):
        warnings.append("Tested on other cells of the sky (HEALPix, nside 8) than trained on.")
    if "simulated galaxies" in data:
        warnings.append("Simulated galaxies: these numbers show that the study runs, not how well it classifies.")
    elif data - {"Galaxy10 DECaLS"}:
        warnings.append(f"Not the full Galaxy10 DECaLS but {label}: do not compare with the paper's numbers.")
    if any(run.classes == numbered(len(run.classes)) for run in runs["run"]):
        warnings.append("The file does not name its classes; galutils check says how to name them.")
    if small:
        warnings.append(f"Left out for want of galaxies: {'; '.join(small)}.")
    if stand_in:
        warnings.append(f"Stand-in weights, not the paper's, in {'; '.join(sorted(stand_in))}.")
    if knowing:
        warnings.append(
            f"Learnt from volunteers' labels, perhaps of the very galaxies tested on: {'; '.join(sorted(knowing))}. "
            "What such an encoder gives on galaxies new to it, its score does not say."
        )
    if random:
        warnings.append(
            f"No pretrained weights were at hand: {'; '.join(sorted(random))} started from random ones, "
            "which bear on nothing but the machinery."
        )
    if fallen := [f"{titles[row.Index]} (seed {row.seed})" for row in runs[runs["collapsed"]].itertuples()]:
        warnings.append(
            f"Collapsed, one class for {COLLAPSED:.0%} of the galaxies or more: {'; '.join(fallen)}. "
            "They count in scores, and are left out of calibration, of suspects and of what all confuse."
        )
    return label, warnings


def _data_of(run: Run) -> str:
    data = run.metrics["data"]
    if data["simulated"]:
        return "simulated galaxies"
    return "Galaxy10 DECaLS" if data["sha256"] == GALAXY10_SHA256 else f"{data['rows']:,} galaxies of {data['file']}"
