"""What the notebooks of single approaches show: the network, its training, its scores, its mistakes."""

import numpy as np
import pandas as pd
from IPython.display import display

from galutils.clustering.scores import CLUSTER_SCORES
from galutils.data.galaxies import Galaxies
from galutils.evaluation.confusion import confident_mistakes, confusion_table, mistake_titles, most_confused
from galutils.models.cnn import GalaxyNet
from galutils.models.vit import Backbone
from galutils.models.weights import WeightsSource
from galutils.report.figures.display import ImageGrid, show
from galutils.report.figures.networks import distillation_curves, learning_curves, network_diagram
from galutils.report.figures.plots import confusion_matrices
from galutils.report.tables import in_words, score_table
from galutils.study.runs import Run
from galutils.training.dino import DinoResult


def show_network(network: GalaxyNet, image_size: int) -> None:
    """Numbers of parameters, origin of the weights, and a diagram of the layers."""
    parameters, trained = network.count_parameters()
    print(f"{parameters:,} parameters, {trained:,} of them trained")
    if network.source:
        _tell_weights(network.source, network.recipe["arch"])
    show(network_diagram(network, image_size), f"Diagram of the network's layers, with {parameters:,} parameters.")


def show_backbone(backbone: Backbone) -> None:
    """Architecture of a transformer, and the origin of its weights."""
    print(f"{backbone.arch}, {backbone.count_parameters():,} parameters, patches of {backbone.patch} pixels")
    _tell_weights(backbone.source, backbone.arch)


def _tell_weights(source: WeightsSource, arch: str) -> None:
    print(f"Pretrained weights: {source.source}, {arch}")
    if source.source == "random":
        print("No pretrained weights were at hand: this run is a random-initialisation control, not the paper's row.")


def show_curves(run: Run) -> None:
    """Loss and accuracy by epoch."""
    last = run.history.iloc[-1]
    reached = f"accuracy after the last epoch {last.train_accuracy:.0%} training, {last.test_accuracy:.0%} test"
    show(learning_curves(run.history, 1 / len(run.classes)), f"Learning curves: {reached}.")


def show_scores(run: Run) -> None:
    """Accuracy, ROC AUC, macro-F1 and the recall of each class."""
    display(score_table(run))


def show_confusion(run: Run) -> None:
    """The confusion matrix, and in words what is most frequently taken for what, or which cluster is which class."""
    classes = run.classes
    confusion = confusion_table(run.predictions, len(classes))
    alt = f"Confusion matrix; {confusion.trace()} of {confusion.sum()} galaxies lie on the diagonal."
    show(confusion_matrices({run.experiment: confusion}, classes), alt)
    if run.supervised:
        for true, predicted, share in most_confused(confusion):
            print(f"{share:.0%} of {classes[true]} taken for {classes[predicted]}")
    else:
        matched = enumerate(run.metrics["scores"]["matched"])
        named = [f"{cluster} → {classes[label]}" for cluster, label in matched if label >= 0]
        print(f"Clusters and their classes: {', '.join(named)}")


def show_mistakes(run: Run, galaxies: Galaxies) -> None:
    """The test galaxies that were misclassified with the highest confidence."""
    mistakes = confident_mistakes(run.predictions)
    if mistakes.empty:
        print("There are no mistakes on the test rows.")
        return
    alt = "The test images that were misclassified with the highest confidence, with true and predicted class."
    show(ImageGrid(galaxies.read_images(mistakes["row"]), mistake_titles(mistakes, run.classes)), alt)


def show_clustering(run: Run) -> None:
    """A clustering's scores, and what permuted labels get."""
    chance, scores = run.metrics["chance"], run.metrics["scores"]
    print(f"With permuted labels, matching gets {chance['mean']:.1%} ± {chance['std']:.1%}")
    display(in_words(pd.DataFrame([scores])[[*CLUSTER_SCORES, "silhouette"]]))


def show_distillation(distilled: DinoResult, prototypes: int) -> None:
    """Signs of collapse, and the curves by which they are told. prototypes: outputs of the head."""
    for warning in distilled.warnings:
        print(f"Warning: {warning}")
    if not distilled.warnings:
        print("No sign of collapse.")
    start, end = distilled.start_rank, distilled.history["embedding_rank"].iloc[-1]
    figure = distillation_curves(distilled.history, start, prototypes)
    show(figure, f"Loss, entropies and rank by epoch; the rank went from {start:.1f} to {end:.1f}.")


def show_seeds(run: Run) -> None:
    """The scores of each seed of k-means."""
    accuracy = run.seeds["accuracy"]
    print(f"Accuracy over {len(accuracy)} seeds: mean {accuracy.mean():.1%}, SD {accuracy.std(ddof=0):.1%}")
    display(in_words(run.seeds[["seed", "inertia", "reported", *CLUSTER_SCORES]]))


def show_typical(rows: list[np.ndarray], galaxies: Galaxies) -> None:
    """Galaxies of each cluster. rows: for each cluster the row numbers of those that belong to it most clearly."""
    titles = [f"cluster {k}" for k, own in enumerate(rows) for _ in own]
    figure = ImageGrid(galaxies.read_images(np.concatenate(rows)), titles)
    show(figure, f"The {max(map(len, rows))} most typical galaxies of each cluster.")
