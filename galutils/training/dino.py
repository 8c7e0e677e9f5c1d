"""Self-distillation without labels, DINO (Caron et al. 2021), of a whole network or with adapters on the student.

A student sees many crops of each galaxy, a teacher the large ones only; the student learns to give the teacher's
output. The teacher is a moving average of the student's merged weights, so that it is a plain transformer at any
time. Labels are read nowhere. On the CPU the same seed gives the same numbers, interrupted or not.
"""

import math
import time
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from galutils.data.galaxies import Galaxies
from galutils.data.loader import load_images
from galutils.device import device_name, pick_device, pick_precision, seeded
from galutils.errors import GalutilsError
from galutils.models.embedding import Preprocessing, prepare_images
from galutils.models.lora import add_lora, merge_lora, trainable
from galutils.models.vit import Backbone
from galutils.progress import Steps
from galutils.training import dino_loss as objective
from galutils.training.checkpoints import Checkpoint, run_identity
from galutils.training.multicrop import MultiCrop
from galutils.training.replay import Replayed
from galutils.training.schedule import cosine, epoch_batches
from galutils.training.settings import DinoSettings
from galutils.training.supervised import mean_loss

#: Images whose embedding is watched for collapse.
WATCHED = 256


@dataclass(frozen=True)
class DinoResult:
    """What self-distillation leaves behind; networks are on the CPU.

    ``history`` has one row per epoch: ``epoch`` (from 1), ``loss``, ``learning_rate``, ``weight_decay`` and
    ``momentum`` (at its last step), ``gradient_norm`` (mean before clipping), ``teacher_entropy`` (mean over large
    crops, in nats), ``marginal_entropy`` (of the mean output), ``embedding_rank`` (of the teacher's, effective),
    ``seconds``, ``images_per_second``.
    """

    student: Backbone  # with its adapters, if it has any
    teacher: Backbone  # plain
    history: pd.DataFrame
    start_rank: float  # embedding_rank before the first step
    warnings: list[str]  # one sentence for each sign of collapse
    trained_parameters: int  # how many numbers were trained, the head's included
    setup_seconds: float  # reading the images and preparing the networks
    device: str
    precision: str

    def network(self, which: str = "teacher") -> Backbone:
        """The plain network that embeds: "teacher" or "student", merged."""
        if which not in ("teacher", "student"):
            raise GalutilsError(f"network is '{which}'; choose teacher or student.")
        return self.teacher if which == "teacher" else merge_lora(self.student)


def distill(
    backbone: Backbone,
    galaxies: Galaxies,
    settings: DinoSettings,
    checkpoint: str | Path | None = None,
    rows: np.ndarray | None = None,
    size: int | None = None,
) -> DinoResult:
    """Adapt a plain backbone to galaxies without labels, as in the paper, or train the whole of it.

    The given one stays as it is.

    Args:
        rows: (n,) int, the galaxies that it sees; all if None, as in the paper.
        size: pixels of the images of which crops are cut; the file's own if None.

    ``checkpoint`` and errors are as in :func:`galutils.training.supervised.train`.
    """
    backbone.check_size(settings.image_size)
    started = time.perf_counter()
    device = pick_device(settings.device)
    precision = pick_precision(settings.precision, device)
    rows, size = np.arange(len(galaxies)) if rows is None else rows, size or galaxies.image_size
    start = [f"{backbone.digest()} {size} ".encode(), rows.tobytes()]
    saved = Checkpoint(checkpoint, run_identity(settings, galaxies, start) if checkpoint else "")
    source = load_images(galaxies, rows, size, device, resident=settings.keep_images)
    crops = MultiCrop(settings, backbone.patch)

    if settings.adapt == "all":
        adapted = deepcopy(backbone).requires_grad_(True)
    else:
        adapted = add_lora(backbone, settings.rank, settings.alpha, settings.train_biases, settings.seed)
    with seeded(settings.seed):
        head = objective.Head(backbone.dim, settings.prototypes, settings.head_width)
    for name, parameter in head.named_parameters():
        parameter.requires_grad_(settings.train_head or (settings.train_biases and name.endswith("bias")))
    student = objective.DinoNetwork(objective.drop_paths(adapted, settings.drop_path), head).to(device)
    teacher = objective.DinoNetwork(deepcopy(backbone), deepcopy(head)).to(device).eval().requires_grad_(False)
    if device.type == "cpu" and precision == "bf16-mixed":
        for block in (*student.backbone.vit.blocks, *teacher.backbone.vit.blocks):
            block.attn.fused_attn = False  # PyTorch's own backward pass takes half of such a step on a CPU
    center = torch.zeros(settings.prototypes, device=device)
    trained = list(trainable(student).values())
    # Biases and norms are not decayed, as in DINO.
    groups = [{"params": [p for p in trained if (p.ndim >= 2) == decays], "decays": decays} for decays in (True, False)]
    optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
    watched = rows[np.linspace(0, len(rows) - 1, min(WATCHED, len(rows))).astype(int)]
    start_rank = _watch_rank(teacher.backbone, source, watched, settings)
    history = []
    if state := saved.load():
        student.load_state_dict(state["student"], strict=False)  # what is trained; the rest is there already
        teacher.load_state_dict(state["teacher"])
        center.copy_(state["center"])
        if state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
        history = state["history"]
    signs = objective.collapse_signs(history, start_rank, settings.prototypes)
    setup_seconds = time.perf_counter() - started

    # The student's one for each size of crop: all are alive until the backward pass.
    of_teacher, of_students = Replayed(teacher, precision), [Replayed(student, precision) for _ in crops.makers]
    steps = Steps(range(len(history), settings.epochs), total=settings.epochs, done=len(history))
    for epoch in steps:
        started = time.perf_counter()
        row = _train_epoch(of_teacher, of_students, center, optimizer, crops, source, rows, settings, epoch)
        seconds = time.perf_counter() - started
        rank = _watch_rank(teacher.backbone, source, watched, settings)
        speed = {"seconds": seconds, "images_per_second": len(rows) / seconds}
        history.append({"epoch": epoch + 1, **row, "embedding_rank": rank, **speed})
        saved.save(
            student={name: parameter.detach() for name, parameter in trainable(student).items()},
            teacher=teacher.state_dict(),
            center=center,
            optimizer=optimizer.state_dict() if epoch + 1 < settings.epochs else None,
            history=history,
        )
        before, signs = signs, objective.collapse_signs(history, start_rank, settings.prototypes)
        for sign in signs[len(before) :]:
            warnings.warn(sign, stacklevel=2)
        entropies = f"entropy {row['teacher_entropy']:.2f} of {math.log(settings.prototypes):.2f}"
        steps.note(epoch, f"loss {row['loss']:.3f}, {entropies}, rank {rank:.1f}, {seconds:.0f} s")

    return DinoResult(
        student=student.backbone.cpu().eval(),
        teacher=teacher.backbone.cpu(),
        history=pd.DataFrame(history),
        start_rank=start_rank,
        warnings=signs,
        trained_parameters=sum(parameter.numel() for parameter in trained),
        setup_seconds=setup_seconds,
        device=device_name(device),
        precision=precision,
    )


def _train_epoch(of_teacher, of_students, center, optimizer, crops, source, rows, settings, epoch) -> dict:
    """One pass over the rows; returns what the history says of it."""
    torch.manual_seed((settings.seed << 20) + epoch)  # for the crops: the same whether interrupted or not
    batches = epoch_batches(rows, settings.batch_size, settings.seed, epoch)
    total = settings.epochs * len(batches)
    losses, norms, entropies, marginal = [], [], [], torch.zeros_like(center)
    teacher, student = of_teacher.network, of_students[0].network
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    student.train()
    for i, views in enumerate(crops.ahead(source.batches(batches), center.device)):
        step = epoch * len(batches) + i
        rise = int(settings.warmup * total)
        at_step = {
            "learning_rate": cosine(settings.learning_rate, settings.min_learning_rate, step, total, rise),
            "weight_decay": cosine(settings.weight_decay, settings.last_weight_decay, step, total),
            "momentum": cosine(settings.momentum, 1.0, step, total),
        }
        for group in optimizer.param_groups:
            group["lr"] = at_step["learning_rate"]
            group["weight_decay"] = at_step["weight_decay"] if group["decays"] else 0.0
        with torch.no_grad():
            target = of_teacher(views[0]).unflatten(0, (2, -1))
        outputs = [of_student(view) for of_student, view in zip(of_students, views, strict=True)]
        logits = torch.cat([output.unflatten(0, (-1, len(batches[i]))) for output in outputs])
        loss = objective.dino_loss(logits, target, center, settings.student_temperature, settings.teacher_temperature)
        optimizer.zero_grad()
        loss.backward()
        if epoch < settings.freeze_prototypes:
            student.head.prototypes.grad = None
        norms.append(nn.utils.clip_grad_norm_(trained, settings.clip_gradient))
        optimizer.step()
        log_target = ((target - center) / settings.teacher_temperature).log_softmax(-1)
        entropies.append(objective.entropy(log_target.exp()).mean())
        marginal += log_target.exp().mean((0, 1)) * len(batches[i]) / len(rows)
        center.lerp_(target.mean((0, 1)), 1 - settings.center_momentum)  # equation 4
        objective.update_teacher(teacher, student, at_step["momentum"])
        losses.append(loss.detach())
    return {
        "loss": mean_loss(torch.stack(losses), batches, epoch),
        **at_step,
        "gradient_norm": torch.stack(norms).mean().item(),
        "teacher_entropy": torch.stack(entropies).mean().item(),
        "marginal_entropy": objective.entropy(marginal).item(),
    }


def _watch_rank(backbone: Backbone, source, watched: np.ndarray, settings: DinoSettings) -> float:
    preprocessing = Preprocessing(settings.image_size, settings.crop)
    batches = np.array_split(watched, math.ceil(len(watched) / 64))
    with torch.inference_mode():
        tokens = [backbone(prepare_images(images, preprocessing)) for images in source.batches(batches)]
    return objective.effective_rank(torch.cat(tokens).cpu())
