"""Whether bf16 changes the science: the same runs in bf16 and in float32, over seeds, on galaxies that are given."""

import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from speed import ROWS
from timings import precision_line

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import split_rows
from galutils.models import cnn
from galutils.training.settings import Settings
from galutils.training.supervised import train

PRECISIONS = ("32-true", "bf16-mixed")


def measure_precision(path: Path, settings: Settings, seeds: int, row: str = "custom_cnn") -> dict:
    """Test accuracies (seeds) of both precisions, and their mean difference with a 95% interval over seeds.

    A seed sets initialisation and order of the batches; both precisions start from the same weights. The interval
    is Student's, of the paired differences; the test galaxies are the same throughout.
    """
    galaxies = open_galaxies(path)
    split = split_rows(galaxies)
    accuracy = np.zeros((seeds, len(PRECISIONS)))
    for seed in range(seeds):
        for column, precision in enumerate(PRECISIONS):
            torch.manual_seed(seed)
            network = cnn.build(**ROWS[row])
            with contextlib.redirect_stdout(io.StringIO()):
                result = train(network, galaxies, split, replace(settings, seed=seed, precision=precision))
            accuracy[seed, column] = np.mean(result.probabilities.argmax(1) == galaxies.labels[split.test])
        print(f"seed {seed}: " + ", ".join(f"{p} {a:.1%}" for p, a in zip(PRECISIONS, accuracy[seed], strict=True)))
    difference = accuracy[:, 1] - accuracy[:, 0]
    margin = stats.t.ppf(0.975, seeds - 1) * difference.std(ddof=1) / np.sqrt(seeds)
    result = {
        "row": row,
        "size": settings.image_size,
        "crop": settings.crop,
        "epochs": settings.epochs,
        "n_test": len(split.test),
        "simulated": galaxies.simulated,
        "accuracy": {name: accuracy[:, column].tolist() for column, name in enumerate(PRECISIONS)},
        "difference": difference.mean(),
        "interval": [difference.mean() - margin, difference.mean() + margin],
    }
    print(precision_line(result))
    return result
