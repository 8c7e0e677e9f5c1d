"""What an image costs a network, and which approaches nobody beats at their price."""

import numpy as np

#: Costs of a run with their names; whether less of it is better.
COSTS = {
    "parameters": ("Parameters", True),
    "multiply_adds": ("Multiply-adds per image", True),
    "train_images_per_second": ("Images per second, training", False),
    "predict_images_per_second": ("Images per second, prediction", False),
}


def on_front(cost: np.ndarray, accuracy: np.ndarray, less_is_better: bool = True) -> np.ndarray:
    """(n,) bool: approaches that no other beats in one of accuracy and cost without losing in the other.

    An approach without a cost, NaN, is not on the front.
    """
    cost = np.asarray(cost, float) * (1 if less_is_better else -1)
    accuracy = np.asarray(accuracy, float)
    no_worse = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    return np.isfinite(cost) & ~(no_worse & better).any(axis=1)
