import math
import re
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from fakes import QUICK_DINO, grey_levels, interrupted_at, refusal, tiny_backbone
from timm.layers import DropPath

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.models.lora import add_lora, merge_lora, trainable
from galutils.training import dino, dino_loss
from galutils.training.dino import distill
from galutils.training.dino_loss import DinoNetwork, Head, collapse_signs, drop_paths, effective_rank, entropy
from galutils.training.multicrop import MultiCrop, TurnedCrop
from galutils.training.settings import DinoSettings

# So small a network on so few images does collapse, which is of no matter here.
pytestmark = pytest.mark.filterwarnings("ignore:Collapse in epoch")

ONCE = replace(QUICK_DINO, epochs=1)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "sky.h5"
    write_simulated(path, 40, 32)
    return open_galaxies(path)


def test_loss_is_the_papers_formula():
    """Equation 3 of Caron et al. written out: all teacher views x, all other views x', every image."""
    rng = np.random.default_rng(0)
    student, teacher, center = rng.normal(size=(5, 3, 7)), rng.normal(size=(2, 3, 7)), rng.normal(size=7)
    terms = []
    for x, other, image in product(range(2), range(5), range(3)):
        if other != x:
            p_teacher = np.exp((teacher[x, image] - center) / 0.04)
            p_student = np.exp(student[other, image] / 0.1)
            terms.append(-np.sum(p_teacher / p_teacher.sum() * np.log(p_student / p_student.sum())))
    student, teacher, center = (torch.from_numpy(array) for array in (student, teacher, center))
    loss = dino_loss.dino_loss(student.requires_grad_(), teacher.requires_grad_(), center, 0.1, 0.04)
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-12)
    loss.backward()
    assert teacher.grad is None, "the teacher is not trained"
    assert student.grad.abs().sum() > 0


def test_the_center_follows_the_teachers_outputs(simulated, monkeypatch):
    seen, loss = [], dino_loss.dino_loss

    def watched(student, teacher, center, *temperatures):
        seen.append((teacher, center.clone()))
        return loss(student, teacher, center, *temperatures)

    monkeypatch.setattr(dino_loss, "dino_loss", watched)
    distill(tiny_backbone(), simulated, replace(ONCE, center_momentum=0.8))
    assert len(seen) == 3
    for (teacher, before), (_, after) in pairwise(seen):
        torch.testing.assert_close(after, 0.8 * before + 0.2 * teacher.mean((0, 1)))


@pytest.mark.parametrize("momentum", [0.75, 1.0])
def test_teacher_is_the_moving_average_of_the_merged_student(momentum):
    plain = tiny_backbone()
    student = DinoNetwork(add_lora(plain, rank=4, alpha=4), Head(32, 8, 16))
    teacher = DinoNetwork(deepcopy(plain), Head(32, 8, 16))
    with torch.no_grad():
        for parameter in trainable(student).values():
            parameter += 0.1
    merged = merge_lora(student.backbone).vit.state_dict()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    dino_loss.update_teacher(teacher, student, momentum)
    for name, tensor in teacher.backbone.vit.state_dict().items():
        expected = momentum * before[f"backbone.vit.{name}"] + (1 - momentum) * merged[name]
        assert torch.allclose(tensor, expected, atol=1e-6), name
    old, new = before["head.prototypes"], student.head.prototypes
    assert torch.allclose(teacher.head.prototypes, momentum * old + (1 - momentum) * new, atol=1e-6)


def test_head_gives_cosines():
    head, tokens = Head(32, 8, 16), torch.randn(5, 32) * 100
    with torch.no_grad():
        logits = head(tokens)
        head.prototypes *= 3  # only their directions count
        assert torch.allclose(head(tokens), logits, atol=1e-6)
    assert logits.shape == (5, 8)
    assert logits.abs().max() <= 1 + 1e-6


def multicrop(large, small, count, **changes):
    sizes = {"image_size": large, "local_size": small, "local_crops": count}
    torch.manual_seed(0)
    return MultiCrop(DinoSettings(**sizes, **changes), patch=8)


def test_multicrop_shapes_and_ranges():
    large, small = multicrop(32, 15, 3)(grey_levels(4, 40))
    assert (large.shape, large.dtype) == ((2 * 4, 3, 32, 32), torch.float32)
    assert small.shape == (3 * 4, 3, 16, 16), "15 pixels are not whole patches"
    assert 0 <= small.min() < small.max() <= 255
    assert len(multicrop(32, 15, 0)(grey_levels(2, 40))) == 1


def test_views_are_ordered_view_by_view_and_have_no_black_corners():
    images = torch.tensor([40, 200], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 24, 24)
    for views in multicrop(16, 8, 3, jitter=0.0, blur=0.0)(images):  # turned by any angle
        levels = views.flatten(1).unflatten(0, (-1, 2))
        assert torch.allclose(levels, torch.tensor([[40.0], [200.0]]).expand_as(levels), atol=1.0)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_crops_are_turned_and_flipped_but_not_stretched(flip):
    """Of two ramps, across and down: how they rise in a crop tells its angle, its side and whether it is flipped."""
    ramps = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="xy"))[:2]
    images = torch.cat([ramps, ramps[:1]]).expand(200, -1, -1, -1)
    torch.manual_seed(0)
    crops = TurnedCrop(32, (0.09, 0.25), rotation=30.0, flip=flip)(images)[:, :2]
    middle = crops[..., 15:17, 15:17]  # where nothing is mirrored
    across, down = middle[..., 0, 1] - middle[..., 0, 0], middle[..., 1, 0] - middle[..., 0, 0]
    side = across.norm(dim=1) / 2  # as a share of the frame's: 64 pixels of it on 32 would rise by 2
    assert torch.allclose(across.norm(dim=1), down.norm(dim=1), atol=1e-3), "axes keep their ratio"
    assert torch.allclose((across * down).sum(1), torch.zeros(200), atol=1e-3), "and their right angle"
    assert (side.min() > 0.3 - 1e-3) & (side.min() < 0.32) & (side.max() > 0.48) & (side.max() < 0.5 + 1e-3)
    assert torch.equal(torch.linalg.det(torch.stack([across, down], 1)) < 0, torch.full((200,), bool(flip)))
    angle = torch.rad2deg(torch.atan2(down[:, 0].abs(), down[:, 1].abs()))
    assert 27 < angle.max() < 30 + 1e-2
    centre = middle.mean((2, 3))
    assert centre.min() >= 0
    assert centre.max() <= 63
    assert (centre.std(0) > 8).all(), "they lie all over the frame"


def test_upright_crops_do_not_leave_the_frame():
    images = torch.arange(64.0).expand(100, 3, 64, 64)
    rows = TurnedCrop(16, (0.05, 0.6), rotation=0.0, flip=0.0)(images)[:, 0, 0]
    assert (rows.diff(dim=1) > 0).all(), "a crop that left it would show a mirror image"


@pytest.mark.parametrize(("crop", "side"), [(1.0, 32), (0.5, 64)])
def test_without_augmentation_a_large_view_is_the_central_part_of_the_image(crop, side):
    images, edge = grey_levels(2, side), (side - 32) // 2
    crops = multicrop(32, 8, 0, crop=crop, global_scale=(1, 1), rotation=0, flip=0, jitter=0, blur=0)
    expected = images[..., edge : edge + 32, edge : edge + 32].repeat(2, 1, 1, 1).float()
    assert torch.allclose(crops(images)[0], expected, atol=0.1)


def test_dinos_own_views():
    crops = multicrop(32, 16, 3, augmentation="dino")
    large, small = crops(grey_levels(64, 40))
    assert (large.shape, small.shape) == ((128, 3, 32, 32), (192, 3, 16, 16))
    assert 0 <= large.min() < large.max() <= 255
    grey = (large.std(1).amax((1, 2)) < 1e-3).float().mean()  # after jitter, colour is gone in a fifth
    assert 0.05 < grey < 0.4
    # The second view is seldom blurred: its neighbouring pixels differ more.
    sharp = (large[..., 1:] - large[..., :-1]).abs().mean((1, 2, 3)).unflatten(0, (2, -1)).mean(1)
    assert sharp[1] > 1.2 * sharp[0]
    bright = torch.full((64, 3, 32, 32), 230, dtype=torch.uint8)
    first, second = crops(bright)[0].unflatten(0, (2, -1)).mean((2, 3, 4))
    assert ((first < 100).float().mean(), (second < 100).float().mean() > 0.05) == (0, True)  # solarised


def test_entropy_and_rank_by_hand():
    assert entropy(torch.tensor([0.5, 0.5, 0.0])).item() == pytest.approx(math.log(2))
    cross = torch.tensor([[1.0, 0, 5], [-1, 0, 5], [0, 1, 5], [0, -1, 5]])
    assert effective_rank(cross) == pytest.approx(2)
    assert effective_rank(torch.tensor([[1.0, 2], [2, 4], [3, 6]])) == pytest.approx(1, abs=1e-5)
    assert effective_rank(torch.ones(5, 3)) == 0
    assert math.isnan(effective_rank(torch.full((5, 3), math.inf)))


def test_each_collapse_is_named_once():
    sound = {"epoch": 1, "teacher_entropy": 3.0, "marginal_entropy": 4.0, "embedding_rank": 20.0}
    uniform = sound | {"epoch": 2, "teacher_entropy": math.log(100)}
    constant = sound | {"epoch": 3, "marginal_entropy": 0.01, "embedding_rank": 2.0}
    assert collapse_signs([sound], 20.0, 100) == []
    assert collapse_signs([sound, uniform, uniform | {"epoch": 4}, constant], 20.0, 100) == [
        "Collapse in epoch 2: the teacher's outputs are all but uniform (entropy 4.605 of at most 4.605); lower "
        "teacher_temperature.",
        "Collapse in epoch 3: the teacher prefers the same prototypes for all images (entropy of its mean output 0.010 "
        "of at most 4.605); raise teacher_temperature.",
        "Collapse in epoch 3: the embedding's rank fell from 20.0 to 2.0; lower learning_rate.",
    ]


@pytest.fixture(scope="module")
def trained(simulated):
    return distill(tiny_backbone(), simulated, QUICK_DINO)


def weights(result) -> torch.Tensor:
    tensors = [*result.teacher.vit.state_dict().values(), *trainable(result.student).values()]
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def test_history_and_networks(trained):
    history = trained.history
    assert history["epoch"].tolist() == [1, 2]
    assert np.isfinite(history.to_numpy(float)).all()
    assert history["learning_rate"].iloc[-1] == pytest.approx(1e-6)
    assert history["momentum"].iloc[-1] == 1
    assert 0 < history["teacher_entropy"].max() <= math.log(64)
    images = grey_levels()
    plain = tiny_backbone()(images)
    assert not torch.allclose(trained.network("teacher")(images), plain, atol=1e-3)
    student = trained.network("student")
    assert student.lora is None
    assert torch.allclose(student(images), trained.student(images), atol=1e-3)


def test_same_seed_same_numbers_also_without_labels_and_other_seed_others(trained, simulated):
    unlabelled = replace(simulated, labels=np.full(len(simulated), -1))
    assert torch.equal(weights(distill(tiny_backbone(), unlabelled, QUICK_DINO)), weights(trained))
    assert not torch.equal(weights(distill(tiny_backbone(), simulated, replace(QUICK_DINO, seed=1))), weights(trained))


def test_interrupted_training_goes_on_with_equal_numbers(trained, simulated, tmp_path, monkeypatch):
    path, epochs = tmp_path / "checkpoint.pt", interrupted_at(monkeypatch, dino, 1)
    with pytest.raises(KeyboardInterrupt):
        distill(tiny_backbone(), simulated, QUICK_DINO, path)
    for _ in "resumed", "finished already":
        again = distill(tiny_backbone(), simulated, QUICK_DINO, path)
        assert epochs == [0, 1], "a finished epoch was trained again"
        assert torch.equal(weights(again), weights(trained))
        assert again.history["loss"].tolist() == trained.history["loss"].tolist()
    distill(tiny_backbone(), simulated, replace(ONCE, alpha=1.0), path)
    assert epochs == [0, 1, 0], "another run's checkpoint was used"


def test_the_last_layer_is_frozen_at_first_and_the_head_if_asked(simulated, monkeypatch):
    seen = []

    class Watched(Head):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            seen.append((self, self.prototypes.detach().clone(), self.mlp[0].weight.detach().clone()))

    monkeypatch.setattr(dino_loss, "Head", Watched)
    frozen = {"train_head": False}
    for changed in ({}, {"freeze_prototypes": 0}, frozen | {"freeze_prototypes": 0}, frozen | {"train_biases": False}):
        distill(tiny_backbone(), simulated, replace(ONCE, **changed))
    moved = [
        (not torch.equal(head.prototypes, own), not torch.equal(head.mlp[0].weight, first), head.mlp[0].bias.any())
        for head, own, first in seen
    ]
    # As in the authors' fork, a frozen head still trains its biases, which start at zero.
    assert moved == [(False, True, True), (True, True, True), (False, False, True), (False, False, False)]


def test_branches_are_left_out_of_the_student_in_training_alone(simulated):
    backbone, images = tiny_backbone(), grey_levels()
    before, dropping = backbone(images), drop_paths(tiny_backbone(), 0.9)
    assert torch.equal(dropping.eval()(images), before)
    torch.manual_seed(0)
    assert not torch.allclose(dropping.train()(images), before, atol=1e-3)
    rates = [[block.drop_path1.drop_prob, block.drop_path2.drop_prob] for block in dropping.vit.blocks]
    assert rates == [[pytest.approx(rate)] * 2 for rate in (0, 0.3, 0.6, 0.9)]
    plain, dropped = (distill(backbone, simulated, replace(ONCE, drop_path=rate)) for rate in (0.0, 0.9))
    assert not torch.equal(weights(plain), weights(dropped))
    assert any(isinstance(part, DropPath) for part in dropped.student.modules())
    assert not any(isinstance(part, DropPath) for part in dropped.teacher.modules())


def test_collapse_warns(simulated):
    said = "Collapse in epoch 1: the teacher's outputs are all but uniform (entropy 4.159 of at most 4.159); "
    said += "lower teacher_temperature."
    with pytest.warns(UserWarning, match=re.escape(said)) as told:
        result = distill(tiny_backbone(), simulated, replace(ONCE, teacher_temperature=100.0))
    assert [str(own.message) for own in told] == result.warnings == [said]


def test_what_cannot_be_trained_is_one_sentence(trained, simulated):
    broken = tiny_backbone()
    broken.vit.norm.weight.fill_(float("nan"))
    for sentence, *call in (
        ("The loss is nan in epoch 1, batch 1 of 3; lower learning_rate or use precision '32-true'.",
         distill, broken, simulated, QUICK_DINO),
        ("30 pixels are not whole patches of 8; set image_size to 32.",
         distill, tiny_backbone(), simulated, replace(QUICK_DINO, image_size=30)),
        ("network is 'head'; choose teacher or student.", trained.network, "head"),
    ):  # fmt: skip
        assert refusal(*call) == sentence
