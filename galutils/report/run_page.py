"""What the notebooks of single approaches show: the network, its training, its scores, its mistakes."""

import os

import numpy as np
import pandas as pd
import torch
from IPython.display import display

from galutils.clustering.scores import CLUSTER_SCORES
from galutils.data.classes import short_names
from galutils.data.galaxies import Galaxies
from galutils.evaluation.baselines import baselines_once, describe_against
from galutils.evaluation.bootstrap import describe_gap, estimate
from galutils.evaluation.confusion import answer_titles, confusion_of, describe_confusions, telling_galaxies
from galutils.evaluation.paper import RANDOM_LABEL
from galutils.models.attention import (
    attention_changes,
    attention_on_galaxy,
    cls_attention,
    control_maps,
    deletion_effects,
    galaxy_masks,
)
from galutils.models.cnn import GalaxyNet, vgg_finetuned
from galutils.models.encoder import ADAPT
from galutils.models.vit import Backbone
from galutils.models.weights import WeightsSource
from galutils.progress import is_watched
from galutils.report.figures.display import ImageGrid, say_nothing, show
from galutils.report.figures.networks import distillation_curves, learning_curves, network_diagram
from galutils.report.figures.plots import confusion_data, confusion_matrices, recall_bars
from galutils.report.tables import in_words, score_table
from galutils.study.collect import grade
from galutils.study.runs import Run, find_runs
from galutils.training.dino import DinoResult


def show_network(network: GalaxyNet, image_size: int) -> None:
    """Numbers of parameters, origin of the weights, and a diagram of the layers."""
    parameters, trained = network.count_parameters()
    print(f"{parameters:,} parameters, {trained:,} of them trained")
    if network.source:
        _tell_weights(network.source, network.recipe.get("arch", network.recipe["name"]))
    show(network_diagram(network, image_size), f"Diagram of the network's layers, with {parameters:,} parameters.")


def show_original(network: GalaxyNet) -> None:
    """The paper's figure 2: the VGG that a fine-tuned one was made from, with its own head for 1,000 classes."""
    arch = network.recipe["arch"]
    with torch.device("meta"):  # its hundred million numbers are of no interest
        original = vgg_finetuned(arch, "random", 0, later_layers="pretrained", head="vgg", num_classes=1000)
    named = f"{arch.upper()}, with {original.count_parameters()[0]:,} parameters"
    show(network_diagram(original, 224), f"Diagram of the network's layers in the original {named}.")


def show_encoder(network: GalaxyNet) -> None:
    """Architecture of an encoder, how much of it is trained, where it is from, and what it wants of images."""
    (parameters, trained), recipe = network.count_parameters(), network.recipe
    print(f"{recipe['arch']}, {ADAPT[recipe['adapt']]}: {parameters:,} parameters, {trained:,} of them trained")
    _tell_weights(network.source, recipe["arch"])
    if network.source.may_know:
        print(f"It learnt from the labels of {network.source.may_know}, which may be those of the galaxies tested on.")
    mean, deviation = (", ".join(f"{value:g}" for value in values) for values in recipe["normalization"])
    pooled = "" if recipe["pool"] == "auto" else f"; features from: {recipe['pool']}"
    print(
        f"It sees {recipe['input_size']} pixels, resized {recipe['interpolation']}; grey levels from 0 to 1 with mean "
        f"{mean} and standard deviation {deviation}{pooled}"
    )


def show_backbone(backbone: Backbone) -> None:
    """Architecture of a transformer, and the origin of its weights."""
    print(f"{backbone.arch}, {backbone.count_parameters():,} parameters, patches of {backbone.patch} pixels")
    _tell_weights(backbone.source, backbone.arch)


def _tell_weights(source: WeightsSource, arch: str) -> None:
    print(f"Pretrained weights: {source.source}, {arch}{f'; licence: {source.licence}' if source.licence else ''}")
    if source.learnt_from:
        print(f"They were learnt from {source.learnt_from}.")
    if source.source == "random":
        why = "Random weights on purpose" if source.on_purpose else "No pretrained weights were at hand"
        print(f"{why}: {RANDOM_LABEL}{'' if source.on_purpose else ', which bears on nothing but the machinery'}.")


def show_curves(run: Run) -> None:
    """Loss and accuracy by epoch."""
    last = run.history.iloc[-1]
    reached = f"accuracy in the last epoch {last.train_accuracy:.0%} training, {last.test_accuracy:.0%} test"
    if quarter := len(run.history) // 4:
        late, before = run.history["test_accuracy"].iloc[-quarter:], run.history["test_accuracy"].iloc[:-quarter]
        gained = 100 * (late.mean() - before.iloc[-quarter:].mean())
        reached += f"; test accuracy from the third quarter of the epochs to the last: {gained:+.1f} points"
    largest = run.predictions["y_true"].value_counts(normalize=True).max()
    show(learning_curves(run.history, largest), f"Learning curves: {reached}.", data=run.history)
    _tell_next(run, "predict", "classifies another image")


def _tell_next(run: Run, command: str, does: str) -> None:
    """To who sits before the notebook: what was reached, also by runs beside it, where the run lies, what takes it."""
    if not is_watched():
        return
    others = [
        f"{other.experiment} {other.metrics['scores']['accuracy']:.1%}"
        for other in find_runs(run.directory.parent.parent)
        if other.directory != run.directory and other.metrics["data"]["sha256"] == run.metrics["data"]["sha256"]
    ]
    beside = f" Beside it: {', '.join(others)}." if others else ""
    print(f"Accuracy {run.metrics['scores']['accuracy']:.1%}.{beside} The run lies in {run.directory};")
    print(f"galutils {command} {os.path.relpath(run.directory, os.pardir)} galaxy.jpg {does}.")


def show_scores(run: Run) -> None:
    """Accuracy, ROC AUC, macro-F1, the recall of each class, and what is taken for what; whether it has collapsed."""
    graded = grade(run, run.split.group)
    found = estimate([graded])
    display(score_table(found))
    recall = found.loc[[f"recall {name}" for name in run.classes], ["mean", "low", "high"]]
    recall = recall.set_axis(pd.Index(run.classes, name="class"))
    alt = f"Recall of each class with its 95% interval, from {recall['mean'].min():.0%} to {recall['mean'].max():.0%}."
    show(recall_bars(recall), alt, data=recall.reset_index())
    if graded.collapsed:
        usual = np.bincount(graded.predicted).argmax()
        share = np.mean(graded.predicted == usual)
        print(f"Collapsed: {run.classes[usual]} is the answer for {share:.0%} of the galaxies, whatever they are.")
    show_confusion(run)


def show_baselines(run: Run, galaxies: Galaxies) -> None:
    """How the run differs from the baselines, fitted and tested on its very galaxies, in words."""
    print(describe_against(grade(run, run.split.group), baselines_once(galaxies, run.split)))


def show_confusion(run: Run) -> None:
    """The confusion matrix, and in words what is most frequently taken for what, or which cluster is which class."""
    classes = run.classes
    confusion = confusion_of(grade(run))
    alt = f"Confusion matrix; {confusion.trace()} of {confusion.sum()} galaxies lie on the diagonal."
    counts = {run.experiment: confusion}
    show(confusion_matrices(counts, classes), alt, data=confusion_data(counts, classes))
    if run.supervised:
        print("\n".join(describe_confusions(confusion, classes)) or "Nothing is confused.")
    else:
        named = [f"{cluster} → {name}" for cluster, name in enumerate(_matched_classes(run))]
        print(f"Clusters, their classes, and these classes' shares of them: {', '.join(named)}")


def show_examples(run: Run, galaxies: Galaxies) -> None:
    """Test galaxies that are classified rightly, or wrongly, with the highest probability, and undecided ones."""
    words = {
        "right": "rightly classified with the highest probability",
        "wrong": "wrongly classified with the highest probability",
        "undecided": "undecided",
    }
    for kind, rows in telling_galaxies(run.predictions).items():
        if rows.empty:
            print(f"No test galaxy was {words[kind].split(' with')[0]}.")
            continue
        grid = ImageGrid(galaxies.read_images(rows["row"]), answer_titles(rows, run.classes), rows["row"])
        show(grid, f"Test galaxies {words[kind]}.")


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
    show(
        figure,
        f"Loss, entropies and rank by epoch; the rank went from {start:.1f} to {end:.1f}.",
        data=distilled.history,
    )


def show_seeds(run: Run) -> None:
    """The scores of each seed of k-means."""
    accuracy = run.seeds["accuracy"]
    print(f"Accuracy over {len(accuracy)} seeds: mean {accuracy.mean():.1%}, SD {accuracy.std(ddof=0):.1%}")
    display(in_words(run.seeds[["seed", "inertia", "reported", *CLUSTER_SCORES]]))
    _tell_next(run, "similar", "finds galaxies like another")


def show_typical(run: Run, rows: list[np.ndarray], galaxies: Galaxies) -> None:
    """Galaxies of each cluster. rows: for each cluster the row numbers of those that belong to it most clearly."""
    matched, short = run.metrics["scores"]["matched"], short_names(run.classes)
    named = [short[label] if label >= 0 else "no class" for label in matched]
    titles = [f"{cluster}: {name}" for cluster, (name, own) in enumerate(zip(named, rows, strict=True)) for _ in own]
    every = np.concatenate(rows)
    alt = f"The {max(map(len, rows))} most typical galaxies of each cluster, with the class that it was matched with."
    show(ImageGrid(galaxies.read_images(every), titles, every), alt)


def _matched_classes(run: Run) -> list[str]:
    """For each cluster the class that it was matched with, if any, and in brackets that class's share of it."""
    table, names = run.predictions, []
    for cluster, label in enumerate(run.metrics["scores"]["matched"]):
        labels = table.loc[table["cluster"] == cluster, "y_true"]
        names.append(f"{run.classes[label]} ({(labels == label).mean():.0%})" if label >= 0 else "no class")
    return names


def show_attention_changes(clusterings: pd.DataFrame, images: torch.Tensor) -> None:
    """How far training changed each transformer's attention, against heads and seeds, in words.

    clusterings: rows of :func:`galutils.study.collect.collect_runs`, every seed; the first that trained nothing is what
    the others are compared with.
    """
    trained = clusterings["trained_parameters"] > 0
    if trained.all() or not trained.any():
        say_nothing("There is no transformer both before and after training, so there is no change to measure.")
        return
    before = cls_attention(clusterings[~trained]["run"].iloc[0].network(), images)
    for title, seeds in clusterings[trained].groupby("approach", sort=False):
        distances = attention_changes(before, [cls_attention(run.network(), images) for run in seeds["run"]])
        print(f"{title}: " + ", ".join(f"{name} {100 * own.mean():.1f}" for name, own in distances.items()))
        change = distances.pop("before and after")
        for name, own in distances.items():
            print(describe_gap(change - own, "The change by training", f"the distance {name}", "hundredths"))


def show_attention_shares(transformers: dict[str, Backbone], images: torch.Tensor) -> None:
    """What share of each transformer's attention falls on the galaxy, against maps that know nothing of galaxies."""
    if not transformers:
        print("No transformer, so no attention to measure.")
        return
    masks = galaxy_masks(images)
    maps = {title: cls_attention(backbone, images).mean(1) for title, backbone in transformers.items()}
    controls = control_maps(images, next(iter(maps.values())).shape[1:])
    shares = {"the galaxy's share of the frame": np.where(masks.any(axis=(1, 2)), masks.mean((1, 2)), np.nan)}
    shares |= {name: attention_on_galaxy(own, masks) for name, own in controls.items()}
    for title, own in maps.items():
        share = attention_on_galaxy(own, masks)
        others = shares | {"itself on another galaxy's mask": attention_on_galaxy(own, np.roll(masks, 1, axis=0))}
        print(f"{title}: {np.nanmean(share):.1%} on the galaxy")
        for name, other in others.items():
            print(describe_gap(share - other, "Its attention", f"{name} ({np.nanmean(other):.1%})"))


def show_deletion(title: str, network: GalaxyNet | Backbone, images: torch.Tensor) -> None:
    """Whether a network misses the galaxy more than as much of the sky, in words."""
    effects = deletion_effects(network, images, galaxy_masks(images))
    means = {name: f"{name} ({100 * effects[name].mean():.1f})" for name in ("galaxy", "sky")}
    unit = "hundredths" if isinstance(network, Backbone) else "points"
    gap = effects["galaxy"] - effects["sky"]
    print(
        f"{title}: "
        + describe_gap(gap, f"the loss without the {means['galaxy']}", f"that without as much {means['sky']}", unit)
    )
