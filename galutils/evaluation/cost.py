"""What an image costs a network, and which approaches nobody beats at their price."""

import numpy as np
import pandas as pd

#: Costs of a run with their names; whether less of it is better.
COSTS = {
    "parameters": ("Parameters", True),
    "multiply_adds": ("Multiply-adds per image", True),
    "train_images_per_second": ("Images per second, training", False),
    "predict_images_per_second": ("Images per second, prediction", False),
}


def on_front(cost: np.ndarray, accuracy: np.ndarray, less_is_better: bool = True) -> np.ndarray:
    """(n,) bool: approaches that no other beats in one of accuracy and cost without losing in the other.

    Args:
        cost, accuracy: (n,) float; an approach without a cost is not on the front.
    """
    cost = np.asarray(cost, float) * (1 if less_is_better else -1)
    accuracy = np.asarray(accuracy, float)
    no_worse = (cost[None] <= cost[:, None]) & (accuracy[None] >= accuracy[:, None])
    better = (cost[None] < cost[:, None]) | (accuracy[None] > accuracy[:, None])
    return np.isfinite(cost) & ~(no_worse & better).any(axis=1)


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """What each approach costs, as it is shown; a star where it is on the front of accuracy and that cost.

    Args:
        table: from :func:`galutils.study.results.average_seeds`.
    """
    shown = {"Approach": table["approach"], "Accuracy": table["accuracy"].map("{:.1%}".format)}
    units = {"multiply_adds": (1e6, ", millions")}  # else nobody could read it
    for column, (label, less_is_better) in COSTS.items():
        front = on_front(table[column], table["accuracy"], less_is_better)
        unit, suffix = units.get(column, (1, ""))
        shown[label + suffix] = [
            f"{value / unit:,.0f}{' *' if best else ''}" if np.isfinite(value) else "–"  # noqa: RUF001
            for value, best in zip(table[column].astype(float), front, strict=True)
        ]
    return pd.DataFrame(shown)
