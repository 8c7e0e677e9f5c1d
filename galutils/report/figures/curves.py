"""Curves over the epochs of a training."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from galutils.data.galaxy10 import NUM_CLASSES
from galutils.report.figures.display import new_figure


def learning_curves(history: pd.DataFrame) -> Figure:
    """Loss and accuracy by epoch, over training and test rows. history: :attr:`galutils.study.runs.Run.history`."""
    figure, ((left, right),) = new_figure(8, 3, ncols=2)
    for ax, quantity in ((left, "loss"), (right, "accuracy")):
        ax.plot(history["epoch"], history[f"train_{quantity}"], label="training rows")
        ax.plot(history["epoch"], history[f"test_{quantity}"], label="test rows")
        ax.set(xlabel="Epoch", ylabel=quantity.capitalize())
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    right.set_ylim(0, 1)
    right.axhline(1 / NUM_CLASSES, color="grey", linestyle=":", linewidth=1)
    right.annotate("chance", (1, 1 / NUM_CLASSES), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    left.legend()
    return figure


def distillation_curves(history: pd.DataFrame, start_rank: float, prototypes: int) -> Figure:
    """Loss and the signs of collapse by epoch, see :class:`galutils.training.dino.DinoResult`.

    prototypes: outputs of the head, whose logarithm is the largest entropy.
    """
    figure, ((left, middle, right),) = new_figure(10, 3, ncols=3)
    epochs = history["epoch"]
    left.plot(epochs, history["loss"], "o-", markersize=4)
    left.set_ylabel("Loss (nats)")
    middle.plot(epochs, history["teacher_entropy"], "o-", markersize=4, label="of an output")
    middle.plot(epochs, history["marginal_entropy"], "s-", markersize=4, label="of the mean output")
    middle.axhline(np.log(prototypes), color="grey", linestyle=":", linewidth=1, label="uniform")
    middle.set_ylabel("Teacher's entropy (nats)")
    middle.set_ylim(bottom=0)
    middle.legend()
    right.plot([0, *epochs], [start_rank, *history["embedding_rank"]], "o-", markersize=4)
    right.set_ylabel("Effective rank of the embedding")
    right.set_ylim(0, 1.1 * max(start_rank, history["embedding_rank"].max()))
    for ax in (left, middle, right):
        ax.set_xlabel("Epoch")
        ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, min_n_ticks=1))
    return figure
