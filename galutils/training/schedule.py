"""What changes from step to step: rates, and which rows stand in which batch."""

import math

import numpy as np


def cosine(start: float, end: float, step: int, steps: int, warmup: int = 0) -> float:
    """Cosine annealing (Loshchilov & Hutter 2017) from ``start`` at step 0 to ``end`` at the last one.

    In the first ``warmup`` steps it rises linearly from zero instead.
    """
    if step < warmup:
        return start * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - 1 - warmup)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def epoch_batches(rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Shuffle the rows for an epoch and cut them into batches of nearly equal size.

    Depends on seed and epoch alone, so that an interrupted run goes on with the same batches. Equal cuts
    leave no runt of one image, on which batch normalisation would fail.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return np.array_split(order, math.ceil(len(rows) / batch_size))
