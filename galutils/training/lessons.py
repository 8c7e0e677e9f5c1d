"""What simulated galaxies teach, by how many there are and by what they lack: the custom network learns each lesson."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from galutils.data.classes import GALAXY10
from galutils.data.galaxies import DataError, Galaxies
from galutils.data.loader import load_images
from galutils.data.simulate.recipes import PARTS
from galutils.errors import GalutilsError
from galutils.files import code_digest
from galutils.models import cnn
from galutils.models.weights import channels_of
from galutils.progress import tracked
from galutils.training.pretrain import HELD_OUT, SIZE, pretrain
from galutils.training.settings import Settings
from galutils.training.supervised import predict_probabilities

#: Controls of :func:`galutils.training.pretrain.pretrain` in words, after a number of galaxies.
LACKING = {"labels": "with shuffled labels"} | PARTS

#: Arguments of :func:`galutils.training.pretrain.pretrain` by the title of a lesson.
Lessons = Mapping[str, dict]


def plan_lessons(
    counts: Sequence[int], controls: Sequence[str], control_count: int, channels: Sequence[int]
) -> tuple[Lessons, list[tuple[str, str]]]:
    """What is taught, and which pairs of lessons are compared.

    Numbers of simulated galaxies, ``counts``, each with the one before; the most of them, to networks of other
    ``channels``; and ``controls``, each with ``control_count`` galaxies, and with as many that lack nothing.
    """
    if not counts or sorted(set(counts)) != [*counts]:
        raise GalutilsError(f"counts is {[*counts]}; give numbers of simulated galaxies that grow.")
    if unknown := [name for name in controls if name not in LACKING]:
        raise GalutilsError(f"controls has {unknown}; choose from {', '.join(LACKING)}.")
    if controls and control_count not in counts:
        raise GalutilsError(f"control_count is {control_count}; give one of counts, {', '.join(map(str, counts))}.")
    plain = {count: f"{count:,} galaxies" for count in counts}
    lessons = {title: {"count": count} for count, title in plain.items()}
    pairs = list(zip(list(lessons), list(lessons)[1:], strict=False))
    for width in channels:
        title = f"{plain[counts[-1]]}, {width} channels"
        lessons[title] = {"count": counts[-1], "channels": width}
        pairs.append((plain[counts[-1]], title))
    for name in controls:
        title = f"{plain[control_count]} {LACKING[name]}"
        lessons[title] = {"count": control_count, "control": name}
        pairs.append((plain[control_count], title))
    return lessons, pairs


def teach(
    folder: str | Path, lessons: Lessons, updates: int, seeds: Sequence[int], version: str = "U", processes: int = 1
) -> dict[str, dict[int, Path]]:
    """Files of networks that have learnt each lesson in as many ``updates``, to whole epochs, for each seed.

    A seed is that of the galaxies, too. Files in ``folder`` are named by all that they depend on, and kept.
    """
    made: dict[str, dict[int, Path]] = {title: {} for title in lessons}
    code = code_digest("data/simulate", "data/stretch.py", "training", "models/cnn.py")
    tasks = [(title, seed) for title in lessons for seed in seeds]
    for title, seed in tracked(tasks, len(tasks), "network"):
        batches = math.ceil((1 - HELD_OUT) * lessons[title]["count"] / Settings.batch_size)
        arguments = lessons[title] | {"epochs": max(1, round(updates / batches)), "version": version, "seed": seed}
        name = hashlib.sha256(f"{code} {sorted(arguments.items())}".encode()).hexdigest()
        path = made[title][seed] = Path(folder) / f"{name[:16]}.safetensors"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with redirect_stdout(StringIO()):  # hundreds of epochs, of which the last counts
                reached = pretrain(path, **arguments, processes=processes)
            print(f"{title}, seed {seed}: {reached}")
    return made


def ask(path: Path, galaxies: Galaxies, rows: np.ndarray, crop: float) -> np.ndarray:
    """Probabilities (n, 10) float64 of galaxies, by a network that has learnt simulated ones alone.

    crop: share of each side that shows as much of the sky as the simulated galaxies did, half of a cutout.
    """
    if galaxies.classes != GALAXY10:
        raise DataError(f"{galaxies.path}: has other classes than simulated galaxies; name a file of Galaxy10's.")
    network = cnn.build("custom_cnn", channels=channels_of(path), weights=str(path))
    images = load_images(galaxies, rows, SIZE, torch.device("cpu"), crop, once=True)
    return predict_probabilities(network, images, rows)


def describe_lessons(estimates: Mapping[str, pd.DataFrame], comparisons: pd.DataFrame, whole: int) -> list[str]:
    """What lessons of simulated galaxies were worth without a label: each against the one that it is compared with.

    estimates: by lesson, of :func:`galutils.evaluation.bootstrap.estimate`; the first ``whole`` of them lack nothing.
    """
    scores = [
        f"{title}: {found['mean']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
        for title, found in ((title, estimates[title].loc["accuracy"]) for title in list(estimates)[:whole])
    ]
    groups = comparisons.assign(
        said=[
            f"{row.second} against {row.first}, {100 * row.difference:+.1f} points" for row in comparisons.itertuples()
        ]
    ).groupby("told", sort=False)["said"]
    return [
        f"Right without a label, with 95% intervals, after {'; '.join(scores)}.",
        *(f"{told[0].upper()}{told[1:]}: {'; '.join(said)}." for told, said in groups),
    ]
