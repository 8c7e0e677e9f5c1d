"""What changes from step to step: learning rates, and which rows stand in which batch."""

import math

import numpy as np

from galutils.training.settings import Settings


def learning_rate_at(epoch: int, settings: Settings) -> float:
    """Cosine annealing (Loshchilov & Hutter 2017): the full rate at epoch 0, the minimum at the last one."""
    share = epoch / max(1, settings.epochs - 1)
    low, high = settings.min_learning_rate, settings.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * share)) / 2


def epoch_batches(rows: np.ndarray, settings: Settings, epoch: int) -> list[np.ndarray]:
    """Shuffle the rows for an epoch and cut them into batches of nearly equal size.

    Depends on seed and epoch alone, so that an interrupted run goes on with the same batches. Equal cuts
    leave no runt of one image, on which batch normalisation would fail.
    """
    order = np.random.default_rng([settings.seed, epoch]).permutation(rows)
    return np.array_split(order, math.ceil(len(rows) / settings.batch_size))


def schedule(start: float, end: float, step: int, steps: int, warmup: int = 0) -> float:
    """Cosine from ``start`` to ``end`` at the last step, after a linear rise from zero in ``warmup`` steps."""
    if step < warmup:
        return start * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - 1 - warmup)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
