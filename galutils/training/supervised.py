"""The one supervised training loop.

The paper's protocol (section 4): AdamW, cosine annealing from the learning rate to its minimum at the last
epoch, no augmentation, no early stopping; the last epoch is the one that is evaluated. The curve over the
test rows is for the reader and decides nothing.

On the CPU the same seed gives the same numbers, interrupted or not. On a GPU, convolutions add in an order
that varies, so numbers agree only to within rounding, which training amplifies.
"""

import math
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from galutils.data.galaxies import Galaxies
from galutils.data.loader import MEMORY_SHARE, Resident, Streamed, free_memory, load_images, random_symmetries
from galutils.data.splits import Split, split_rows
from galutils.device import autocast, device_name, pick_device, pick_precision
from galutils.memory import freed_memory_kept
from galutils.models.cnn import GalaxyNet
from galutils.models.encoder import rate_groups
from galutils.models.weights import WeightsSource
from galutils.progress import Steps
from galutils.training.checkpoints import Checkpoint, run_identity
from galutils.training.replay import Replayed
from galutils.training.schedule import epoch_batches
from galutils.training.settings import Settings, TrainingError

#: Images at once where no gradient is needed: so many that it takes no more memory than training.
PREDICT_BATCH = 64

Source = Resident | Streamed


@dataclass(frozen=True)
class TrainResult:
    """What training leaves behind.

    ``history`` has one row per epoch: ``epoch`` (from 1), ``learning_rate``, ``train_loss``, ``train_accuracy``
    (running, in training mode), ``test_loss``, ``test_accuracy``, ``seconds`` and ``images_per_second`` of the
    training alone.
    """

    history: pd.DataFrame
    probabilities: np.ndarray  # (n_test, C) float64, in the order of split.test
    calibration: np.ndarray | None  # (n, C) float64 of the rows set aside, in the order of split.calibration
    predict_images_per_second: float  # whole network, images already on the device
    setup_seconds: float  # reading the images and computing the frozen layers once
    device: str
    precision: str


def train(
    network: GalaxyNet, galaxies: Galaxies, split: Split, settings: Settings, checkpoint: str | Path | None = None
) -> TrainResult:
    """Train a fresh network in place on the training rows and predict the test rows.

    Every epoch is saved to the file ``checkpoint``, if given; if it is there already and belongs to this very run
    (same network, data, split, settings and code), training goes on from it.

    Raises:
        TrainingError: the loss is not finite; the message names epoch and batch. Or the network has seen galaxies that
            it would be tested on.
    """
    started = time.perf_counter()
    _check_unseen(network.source, galaxies, split)
    device = pick_device(settings.device)
    weights = (tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in network.state_dict().values())
    recipe = repr(network.recipe).encode()  # of layers without weights
    start = chain(weights, (recipe, galaxies.labels.tobytes(), split.train.tobytes(), split.test.tobytes()))
    saved = Checkpoint(checkpoint, run_identity(settings, galaxies, start) if checkpoint else "")
    rows = np.concatenate([split.train, split.test, split.calibration])
    images = load_images(galaxies, rows, settings.image_size, device, settings.crop, settings.keep_images)
    with freed_memory_kept():
        return _fit(network.to(device), images, galaxies.labels, split, settings, saved, started)


def _check_unseen(source: WeightsSource | None, galaxies: Galaxies, split: Split) -> None:
    """Labels or none, a start that has seen the galaxies tested on is no start for galaxies that are new to it."""
    seen = source.seen if source else None
    if seen is None or seen["sha256"] != galaxies.sha256:
        return
    own = split_rows(galaxies, **seen["split"])
    known = np.isin(split.group[split.test], own.group[own.train]).sum()
    if known:
        raise TrainingError(
            f"{known:,} of the {len(split.test):,} rows to test on are of galaxies that {source.source} has seen; test "
            "on those that it has not (test_size 0.2 or less, split_seed 0, fold 0, split_by galaxies), or start from "
            "other weights."
        )


def _fit(network, images, labels, split, settings, checkpoint, started) -> TrainResult:
    labels = torch.from_numpy(labels).to(device := next(network.parameters()).device)
    precision = pick_precision(settings.precision, device)
    source, stage = images, network
    seen = np.concatenate([split.train, split.test])
    if _caching_pays(network, settings, len(seen), device):
        source, stage = compute_frozen(network, images, seen, precision), network.trained

    groups = rate_groups(network, settings.weight_decay, settings.encoder_rate, settings.layer_decay)
    optimizer = torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    history = []
    if state := checkpoint.load():
        network.trained.load_state_dict(state["trained"])
        if state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    setup_seconds = time.perf_counter() - started

    replayed = Replayed(stage, precision)
    steps = Steps(range(len(history), settings.epochs), total=settings.epochs, done=len(history))
    for epoch in steps:
        started = time.perf_counter()
        loss, accuracy = _train_epoch(replayed, optimizer, source, labels, split.train, settings, epoch)
        seconds = time.perf_counter() - started
        logits = predict_logits(stage, source, split.test, precision)
        row = {
            "epoch": epoch + 1,
            "learning_rate": settings.rate(epoch),
            "train_loss": loss,
            "train_accuracy": accuracy,
            "test_loss": nn.functional.cross_entropy(logits, labels[split.test]).item(),
            "test_accuracy": (logits.argmax(1) == labels[split.test]).float().mean().item(),
            "seconds": seconds,
            "images_per_second": len(split.train) / seconds,
        }
        history.append(row)
        unfinished = optimizer.state_dict() if epoch + 1 < settings.epochs else None
        checkpoint.save(trained=network.trained.state_dict(), optimizer=unfinished, history=history)
        accuracies = f"accuracy {accuracy:.1%} (training), {row['test_accuracy']:.1%} (test)"
        steps.note(epoch, f"loss {loss:.3f}, {accuracies}, {row['images_per_second']:.0f} images/s")

    started = time.perf_counter()
    probabilities = predict_probabilities(network, images, split.test, precision)
    seconds = time.perf_counter() - started
    return TrainResult(
        history=pd.DataFrame(history),
        probabilities=probabilities,
        calibration=predict_probabilities(network, images, split.calibration, precision),
        predict_images_per_second=len(split.test) / seconds,
        setup_seconds=setup_seconds,
        device=device_name(device),
        precision=precision,
    )


def _train_epoch(replayed, optimizer, source, labels, rows, settings, epoch) -> tuple[float, float]:
    """One pass over the training rows; returns (mean loss, share classified correctly)."""
    torch.manual_seed((settings.seed << 20) + epoch)  # for dropout: the same whether interrupted or not
    for group in optimizer.param_groups:
        group["lr"] = settings.rate(epoch) * group["lr_scale"]
        group["weight_decay"] = settings.decay(epoch) if group["weight_decay"] else 0.0  # biases and norms have none
    replayed.network.train()
    batches = epoch_batches(rows, settings.batch_size, settings.seed, epoch)
    targets = labels[torch.from_numpy(np.concatenate(batches)).to(labels.device)].split([len(b) for b in batches])
    losses, correct = torch.empty(len(batches), device=labels.device), torch.zeros((), device=labels.device)
    images = source.batches(batches)
    for number, target in enumerate(targets):
        inputs = next(images)
        logits = replayed(random_symmetries(inputs) if settings.augment else inputs)
        loss = nn.functional.cross_entropy(logits, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses[number] = loss.detach()
        correct += (logits.detach().argmax(1) == target).sum()
        del inputs, logits, loss  # before the next batch is made: what outlives its batch splits the free memory
    mean = mean_loss(losses, batches, epoch, f", at learning rate {settings.rate(epoch):.3g}")
    return mean, (correct.cpu() / len(rows)).item()


def mean_loss(losses: torch.Tensor, batches: list[np.ndarray], epoch: int, at: str = "") -> float:
    """Mean of an epoch's losses, one for each batch, over its images.

    One that is not finite ends the training; the error names its epoch and batch, then what ``at`` says. Looked at
    once per epoch: a look per step would make a GPU wait for the host.
    """
    values = losses.cpu()
    if not values.isfinite().all():
        first = int((~values.isfinite()).nonzero()[0, 0])
        raise TrainingError(
            f"The loss is {values[first]} in epoch {epoch + 1}, batch {first + 1} of {len(batches)}{at}; "
            "lower learning_rate or use precision '32-true'."
        )
    counts = torch.tensor([float(len(batch)) for batch in batches])
    return ((values * counts).sum() / counts.sum()).item()


def predict_logits(stage: nn.Module, source: Source, rows: np.ndarray, precision: str = "32-true") -> torch.Tensor:
    """Logits (n, C) float32 of the rows, in evaluation mode, without gradients."""
    stage.eval()
    batches = [rows[start : start + PREDICT_BATCH] for start in range(0, len(rows), PREDICT_BATCH)]
    with torch.inference_mode(), autocast(next(stage.parameters()).device, precision):
        return torch.cat([stage(inputs).float() for inputs in source.batches(batches)])


def predict_probabilities(
    network: nn.Module, source: Source, rows: np.ndarray, precision: str = "32-true"
) -> np.ndarray | None:
    """Probabilities (n, C) float64 of the rows; None for no rows."""
    if not len(rows):
        return None
    return predict_logits(network, source, rows, precision).cpu().double().softmax(1).numpy()


def _caching_pays(network: GalaxyNet, settings: Settings, count: int, device: torch.device) -> bool:
    if settings.cache_frozen is not None:
        return settings.cache_frozen
    # Of a turned image the frozen layers give something else than the turned output, so they cannot run once.
    if settings.augment or not any(True for _ in network.frozen.parameters()):
        return False
    size = settings.image_size
    with torch.inference_mode(), autocast(device, pick_precision(settings.precision, device)):
        one = network.frozen.eval()(torch.zeros(1, 3, size, size, dtype=torch.uint8, device=device))
    return count * one.numel() * one.element_size() <= MEMORY_SHARE * free_memory(device)


def compute_frozen(network: GalaxyNet, images: Source, rows: np.ndarray, precision: str = "32-true") -> Resident:
    """Outputs of the frozen layers for the rows, held on the device, in the precision in which they are used."""
    network.eval()
    batches = np.array_split(rows, math.ceil(len(rows) / PREDICT_BATCH))
    kept = None
    with torch.no_grad(), autocast(next(network.parameters()).device, precision):
        for start, inputs in zip(np.cumsum([0, *map(len, batches)]), images.batches(batches), strict=False):
            outputs = network.frozen(inputs).movedim(1, -1)
            if kept is None:
                kept = outputs.new_empty(len(rows), *outputs.shape[1:])
            kept[start : start + len(outputs)] = outputs
    return Resident(kept, rows)
