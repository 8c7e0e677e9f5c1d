"""DINO's objective (Caron et al. 2021, section 3.1): head, loss, teacher, and signs of collapse."""

import math
from collections import OrderedDict

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from galutils.models.lora import plain_state
from galutils.models.vit import Backbone


class Head(nn.Module):
    """DINO's projection head: three layers, unit length, then cosines with unit-length prototypes.

    DINO's last layer is weight-normalised with its norm fixed at 1, which is what this computes.
    """

    def __init__(self, dim: int, prototypes: int, width: int = 2048, bottleneck: int = 256):
        super().__init__()
        layers = [nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, bottleneck)]
        self.mlp = nn.Sequential(*layers)
        for layer in self.mlp[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: (N, dim); returns logits (N, prototypes) between -1 and 1."""
        directions = nn.functional.normalize(self.mlp(tokens), dim=-1)
        return nn.functional.linear(directions, nn.functional.normalize(self.prototypes, dim=-1))


class DinoNetwork(nn.Sequential):
    """Backbone and head: images (N, 3, H, W), grey levels 0 to 255, to logits (N, prototypes)."""

    def __init__(self, backbone: Backbone, head: Head):
        super().__init__(OrderedDict(backbone=backbone, head=head))


def drop_paths(backbone: Backbone, rate: float) -> Backbone:
    """The backbone itself, which from now on leaves out residual branches at random while it is trained.

    Stochastic depth (Huang et al. 2016) as DINO gives it to the student: the probability grows block by block, at the
    first zero and at the last ``rate``, and branches of an image are left out for themselves.
    """
    from timm.layers import DropPath

    blocks = backbone.vit.blocks
    for i, block in enumerate(blocks) if rate else ():
        block.drop_path1, block.drop_path2 = (DropPath(rate * i / max(1, len(blocks) - 1)) for _ in range(2))
    return backbone


def dino_loss(
    student: torch.Tensor,
    teacher: torch.Tensor,
    center: torch.Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> torch.Tensor:
    """Cross-entropy between the views of a teacher and of a student (Caron et al. 2021, equation 3).

    The mean over all pairs of a teacher's and another view of the student's, and over images. ``student`` (V, B, K)
    are logits of all views, the teacher's first; ``teacher`` (G, B, K) of the large ones; ``center`` (K,).
    """
    target = ((teacher - center) / teacher_temperature).softmax(-1).detach()
    log_student = (student / student_temperature).log_softmax(-1)
    # All pairs at once, less those in which both networks see the same view.
    pairs = -(target.sum(0) * log_student.sum(0)).sum()
    same = -(target * log_student[: len(target)]).sum()
    count = len(teacher) * (len(student) - 1) * student.shape[1]
    return (pairs - same) / count


@torch.no_grad()
def update_teacher(teacher: DinoNetwork, student: DinoNetwork, momentum: float) -> None:
    """Move the teacher in place towards the student: teacher = m * teacher + (1 - m) * merged student."""
    merged = plain_state(student.backbone)
    state = teacher.backbone.vit.state_dict()
    olds = [*state.values(), *teacher.head.parameters()]
    news = [*(merged[name] for name in state), *student.head.parameters()]
    get_ema_multi_avg_fn(momentum)(olds, news, None)


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropy over the last axis, in nats."""
    return -torch.special.xlogy(probabilities, probabilities).sum(-1)


def effective_rank(features: torch.Tensor) -> float:
    """Exponential of the entropy of the singular values of centred features (N, D) (Roy & Vetterli 2007).

    From 1, where all rows lie on a line, to the smaller side of the matrix; 0 where all rows are equal; NaN where a
    feature is not finite.
    """
    if not features.isfinite().all():
        return math.nan
    values = torch.linalg.svdvals((features - features.mean(0)).double())
    # Rounding leaves tiny values where there should be none.
    if values[0] <= 1e-6 * features.norm():
        return 0.0
    return float(entropy(values / values.sum()).exp())


def collapse_signs(history: list[dict], start_rank: float, prototypes: int) -> list[str]:
    """The first sign of each kind of collapse, in the order in which they appeared, as sentences.

    A teacher collapses if it answers alike to everything: with no preference for any prototype, or with the
    same one each time; or if its embedding has lost most of its directions.
    """
    largest = math.log(prototypes)
    signs: dict[int, str] = {}
    for row in history:
        of_output, of_mean, rank = row["teacher_entropy"], row["marginal_entropy"], row["embedding_rank"]
        kinds = (
            (of_output > 0.99 * largest, f"the teacher's outputs are all but uniform (entropy {of_output:.3f} of at "
             f"most {largest:.3f}); lower teacher_temperature"),
            (of_mean < 0.05 * largest, "the teacher prefers the same prototypes for all images (entropy of its mean "
             f"output {of_mean:.3f} of at most {largest:.3f}); raise teacher_temperature"),
            (rank < 0.25 * start_rank, f"the embedding's rank fell from {start_rank:.1f} to {rank:.1f}; "
             "lower learning_rate"),
        )  # fmt: skip
        for kind, (collapsed, words) in enumerate(kinds):
            if collapsed:
                signs.setdefault(kind, f"Collapse in epoch {row['epoch']}: {words}.")
    return list(signs.values())
