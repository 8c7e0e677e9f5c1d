import numpy as np
import pytest
import torch
from fakes import adapted, grey_levels, tiny_backbone
from torch import nn

from galutils.models import cnn
from galutils.models.attention import (
    attention_changes,
    attention_on_galaxy,
    attention_rollout,
    attention_weights,
    cls_attention,
    control_maps,
    deletion_effects,
    galaxy_masks,
    grad_cam,
    map_distance,
)
from galutils.report.figures.galleries import attention_gallery, head_gallery


@pytest.mark.parametrize(
    "backbone", [tiny_backbone(), adapted(tiny_backbone(), merged=False)], ids=["plain", "adapted"]
)
def test_rows_sum_to_one_and_agree_with_the_fused_path(backbone):
    """Weights times values, projected, must be what timm's fused attention gives."""
    layer, seen = backbone.vit.blocks[2].attn, {}
    assert layer.fused_attn, "there is no fused path to compare with"
    hook = layer.register_forward_hook(lambda _m, inputs, output: seen.update(tokens=inputs[0], output=output))
    (weights,) = attention_weights(backbone, grey_levels(), [2])
    hook.remove()
    assert weights.shape == (3, 2, 17, 17)
    assert weights.min() >= 0
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 17), atol=1e-5)
    with torch.no_grad():
        values = layer.qkv(seen["tokens"]).unflatten(-1, (3, 2, 16))[:, :, 2].transpose(1, 2)
        expected = layer.proj((weights @ values).transpose(1, 2).flatten(2))
    assert torch.allclose(expected, seen["output"], atol=1e-4)
    even = layer.proj(values.mean(2, keepdim=True).transpose(1, 2).flatten(2))
    assert (even - expected).abs().max() > 0.01, "attention is too even for this test to show anything"


def test_no_hook_is_left_behind_even_after_an_error():
    backbone = tiny_backbone()
    attention_weights(backbone, grey_levels())
    with pytest.raises(Exception, match=r"."):
        attention_weights(backbone, torch.zeros(1, 5, 32, 32))
    assert not any(block.attn._forward_pre_hooks for block in backbone.vit.blocks)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_maps_are_the_first_row_without_cls_and_rollout_is_the_product_over_blocks(batch_size):
    backbone, images = tiny_backbone(reg_tokens=2), grey_levels(3, 48)
    weights = attention_weights(backbone, images, range(4))
    maps = cls_attention(backbone, images, batch_size=batch_size)
    assert maps.shape == (3, 2, 6, 6)
    assert torch.allclose(maps.flatten(2), weights[-1][:, :, 0, 3:], atol=1e-6), "CLS and two registers stand first"
    flow = torch.eye(39)
    for own in weights:
        flow = (own.mean(1) + torch.eye(39)) / 2 @ flow  # equation 1, in the paper's order
    maps = attention_rollout(backbone, images, batch_size)
    assert maps.shape == (3, 6, 6)
    assert torch.allclose(maps.flatten(1), flow[:, 0, 3:], atol=1e-6)


def test_mass_on_the_galaxy_by_hand():
    maps = np.array([[[0.1, 0.2], [0.3, 0.0]]])
    masks = np.zeros((1, 4, 4), bool)
    masks[0, :2, :2] = True  # the whole first patch
    masks[0, 2, 0] = True  # a quarter of the third
    assert attention_on_galaxy(maps, masks) == pytest.approx([(0.1 + 0.3 / 4) / 0.6])
    heads = np.stack([maps[0], np.ones((2, 2))])[None]
    assert attention_on_galaxy(heads, masks) == pytest.approx(np.array([[0.175 / 0.6, 5 / 16]]))
    neither = attention_on_galaxy(np.array([np.ones((2, 2)), np.zeros((2, 2))]), np.array([masks[0] & False, masks[0]]))
    assert np.isnan(neither).tolist() == [True, True], "no galaxy, and no attention"


def test_the_central_galaxy_is_segmented():
    rng = np.random.default_rng(0)
    images = rng.normal(20, 2, (3, 3, 64, 64))
    y, x = np.mgrid[:64, :64]
    central = (y - 30) ** 2 + (x - 33) ** 2 <= 8**2
    other = (y - 8) ** 2 + (x - 55) ** 2 <= 5**2
    images[0, :, central] += 60
    images[0, :, other] += 100  # brighter, but not central
    images[2] = 32  # a blank image
    masks = galaxy_masks(torch.from_numpy(images))
    assert (masks.shape, masks.dtype) == ((3, 64, 64), bool)
    # Smoothing carries so bright a disk two or three pixels beyond its edge.
    assert masks[0][central].all()
    assert not masks[0][(y - 30) ** 2 + (x - 33) ** 2 > 12**2].any()
    assert not (masks[0] & other).any()
    assert masks[1].mean() < 0.02, "sky alone"
    assert not masks[2].any()


@pytest.mark.parametrize("frozen", [0, 2, 5])
@pytest.mark.parametrize("normalised_first", [True, False])
def test_grad_cam_is_the_papers_formula_and_leaves_the_network_as_it_is(frozen, normalised_first):
    """The gradient of a class's logit is worked out here by the chain rule, without autograd."""
    torch.manual_seed(0)
    norm, first, last = nn.BatchNorm2d(5), nn.Linear(5 * 4 * 4, 6), nn.Linear(6, 10)
    nn.init.uniform_(norm.running_mean)
    after = [norm, nn.ReLU(inplace=True)] if normalised_first else [nn.ReLU(inplace=True), norm]
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3, stride=2, padding=1), *after]
    trained = nn.Sequential(*layers[frozen:], nn.Flatten(), first, nn.Tanh(), last)
    network = cnn.GalaxyNet(nn.Sequential(*layers[:frozen]), trained).eval()
    for convolution in (layers[0], layers[2]):
        nn.init.normal_(convolution.weight)  # so that maps are many and different
    images = torch.randn(20, 3, 8, 8)
    with torch.no_grad():
        maps = nn.Sequential(*layers)(images)
        hidden = first(maps.flatten(1)).tanh()
        predicted = last(hidden).argmax(1)
        gradient = ((last.weight[predicted] * (1 - hidden**2)) @ first.weight).view_as(maps)
        evidence = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
        assert ((evidence < 0).any((1, 2, 3)) & (evidence > 0).any((1, 2, 3))).any(), "nothing for the rectifier to do"
        cam = nn.functional.interpolate(evidence.relu(), (8, 8), mode="bilinear")[:, 0]
        low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
    assert len(predicted.unique()) > 2
    before = {name: tensor.clone() for name, tensor in network.train().state_dict().items()}
    found = grad_cam(network, images)
    assert found.dtype == np.float32
    assert found == pytest.approx(((cam - low) / (high - low).clamp(min=1e-7)).numpy(), abs=1e-5)
    assert (network.training, network.frozen.training) == (True, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [p.requires_grad for p in network.frozen.parameters()] == [False] * len(list(network.frozen.parameters()))


def test_distances_of_maps_by_hand():
    left, right, even = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([[2.0, 2.0]])
    assert map_distance(left, right) == pytest.approx(1)
    assert map_distance(even, 5 * even) == pytest.approx(0)
    # Of (1, 0) and (1/2, 1/2), with the mean (3/4, 1/4): (log2(4/3) + (log2(2/3) + log2(2)) / 2) / 2
    assert map_distance(left, even) == pytest.approx(((np.log2(4 / 3) + (np.log2(2 / 3) + 1) / 2) / 2) ** 0.5)
    assert np.isnan(map_distance(left, 0 * left))
    before = torch.stack([left, right])[None]  # one galaxy, two heads
    after = [torch.stack([left, left])[None], torch.stack([right, right])[None], before]
    changes = attention_changes(before, after)
    assert {name: own.item() for name, own in changes.items()} == pytest.approx(
        # Of six comparisons of a head with itself two differ, one with each of the first two seeds; of the seeds' pairs
        # the first differs in both heads, the others in one.
        {"before and after": 1 / 3, "between heads": 1, "between seeds": 2 / 3}
    )
    assert list(attention_changes(before, after[:1])) == ["before and after", "between heads"]


def test_onlookers_know_the_middle_and_the_brightness():
    images = torch.full((2, 3, 32, 32), 10.0)
    images[1, :, 8:16, 24:] = 90
    maps = control_maps(images, (4, 4))
    assert maps["a map of brightness"].nonzero().tolist() == [[1, 1, 3]]
    assert maps["a map of brightness"][1, 1, 3] == 80
    blob = maps["a centred blob"]
    assert torch.equal(blob[0], blob[1])
    # Patches lie 1/8 and 3/8 of a side from the middle.
    assert (blob[0, 0, 0] / blob[0, 1, 1]).item() == pytest.approx(np.exp(-(3**2 - 1) / 8**2 / 0.15**2), rel=1e-5)


class Bright(cnn.GalaxyNet):
    """Two logits: ten times the mean of the upper left quarter, or of the lower right one."""

    def __init__(self, place):
        super().__init__(nn.Sequential(), nn.Sequential())
        self.place = place

    def forward(self, images):
        return torch.stack([images[:, :, self.place, self.place].mean((1, 2, 3)) / 10, torch.zeros(len(images))], 1)


@pytest.mark.parametrize(
    ("place", "missed", "other"), [(slice(0, 16), "galaxy", "sky"), (slice(16, 32), "sky", "galaxy")]
)
def test_a_network_misses_what_it_goes_by(place, missed, other):
    images, masks = torch.full((2, 3, 32, 32), 20.0), np.zeros((2, 32, 32), bool)
    images[:, :, :16, :16], images[:, :, 16:, 16:] = 60, 60  # the galaxy, and a neighbour in the sky beside it
    masks[0, :16, :16] = True
    effects = deletion_effects(Bright(place), images, masks)
    logit = torch.tensor([[6.0, 0.0], [2.0, 0.0]]).softmax(1)[:, 0]
    assert effects[missed][0] == pytest.approx((logit[0] - logit[1]).item())
    assert effects[other][0] == pytest.approx(0)
    assert effects.iloc[1].isna().all(), "no galaxy, nothing to take out"


def test_a_transformer_turns_by_what_is_taken_out():
    backbone, images = tiny_backbone(), grey_levels().float()
    masks = np.zeros((3, 32, 32), bool)
    masks[:, 8:24, 8:24] = True
    blanked = images.clone()
    for i in range(3):
        for channel in range(3):
            blanked[i, channel][masks[i]] = images[i, channel][~masks[i]].median()
    with torch.no_grad():
        expected = 1 - nn.functional.cosine_similarity(backbone(images).double(), backbone(blanked).double())
    found = deletion_effects(backbone, images, masks)["galaxy"]
    assert found.to_numpy() == pytest.approx(expected.numpy(), rel=0.05)  # numpy's median is between two values
    assert (found > 0.001).all()


def test_galleries_have_a_place_for_everything():
    backbone, images = tiny_backbone(), grey_levels()
    maps = cls_attention(backbone, images)
    figure = attention_gallery(images, {"plain": maps.mean(1), "rollout": attention_rollout(backbone, images)}, "abc")
    assert len(figure.axes) == 3 * 3
    assert [ax.get_title() for ax in figure.axes[:3]] == ["image", "plain", "rollout"]
    figure = head_gallery(images[0], {"plain": maps[0], "fine-tuned": maps[0]})
    assert len(figure.axes) == 2 * 3
