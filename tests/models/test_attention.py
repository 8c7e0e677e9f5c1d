import numpy as np
import pytest
import torch
from fakes import grey_levels, tiny_backbone
from torch import nn

from galutils.models import cnn
from galutils.models.attention import (
    attention_on_galaxy,
    attention_rollout,
    attention_weights,
    cls_attention,
    galaxy_masks,
    grad_cam,
)
from galutils.models.lora import add_lora, trainable
from galutils.report.figures.galleries import attention_gallery, head_gallery


def adapted_backbone():
    adapted = add_lora(tiny_backbone(), rank=4, alpha=4)
    with torch.no_grad():
        for parameter in trainable(adapted).values():
            parameter += 0.05
    return adapted


@pytest.mark.parametrize("backbone", [tiny_backbone(), adapted_backbone()], ids=["plain", "adapted"])
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
def test_cls_attention_is_the_first_row_without_cls(batch_size):
    backbone, images = tiny_backbone(reg_tokens=2), grey_levels(3, 48)
    maps = cls_attention(backbone, images, batch_size=batch_size)
    assert maps.shape == (3, 2, 6, 6)
    row = attention_weights(backbone, images)[0][:, :, 0]
    assert torch.allclose(maps.flatten(2), row[:, :, 3:], atol=1e-6), "CLS and two registers stand first"
    assert (maps.sum((-2, -1)) < 1).all()
    assert torch.allclose(maps.sum((-2, -1)) + row[:, :, :3].sum(-1), torch.ones(3, 2), atol=1e-5)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_rollout_is_the_product_over_blocks_and_its_rows_sum_to_one(batch_size):
    backbone, images = tiny_backbone(), grey_levels()
    flow = torch.eye(17)
    for weights in attention_weights(backbone, images, range(4)):
        flow = (weights.mean(1) + torch.eye(17)) / 2 @ flow  # equation 1, in the paper's order
    assert torch.allclose(flow.sum(-1), torch.ones(3, 17), atol=1e-5)
    maps = attention_rollout(backbone, images, batch_size)
    assert maps.shape == (3, 4, 4)
    assert torch.allclose(maps.flatten(1), flow[:, 0, 1:], atol=1e-6)


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
    assert masks.shape == (3, 64, 64)
    assert masks.dtype == bool
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
    images, classes = torch.randn(10, 3, 8, 8), range(10)
    with torch.no_grad():
        maps = nn.Sequential(*layers)(images)
        hidden = first(maps.flatten(1)).tanh()
        gradient = ((last.weight * (1 - hidden**2)) @ first.weight).view_as(maps)
        evidence = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True)
        assert ((evidence < 0).any((1, 2, 3)) & (evidence > 0).any((1, 2, 3))).any(), "nothing for the rectifier to do"
        cam = nn.functional.interpolate(evidence.relu(), (8, 8), mode="bilinear")[:, 0]
        low, high = cam.amin((1, 2), keepdim=True), cam.amax((1, 2), keepdim=True)
        predicted = last(hidden).argmax(1)
    before = {name: tensor.clone() for name, tensor in network.train().state_dict().items()}
    found = grad_cam(network, images, classes)
    assert found.dtype == np.float32
    assert found == pytest.approx(((cam - low) / (high - low).clamp(min=1e-7)).numpy(), abs=1e-5)
    assert np.array_equal(grad_cam(network, images), grad_cam(network, images, predicted))
    assert (network.training, network.frozen.training) == (True, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [p.requires_grad for p in network.frozen.parameters()] == [False] * len(list(network.frozen.parameters()))


def test_galleries_have_a_place_for_everything():
    backbone, images = tiny_backbone(), grey_levels()
    maps = cls_attention(backbone, images)
    figure = attention_gallery(images, {"plain": maps.mean(1), "rollout": attention_rollout(backbone, images)}, "abc")
    assert len(figure.axes) == 3 * 3
    assert [ax.get_title() for ax in figure.axes[:3]] == ["image", "plain", "rollout"]
    figure = head_gallery(images[0], {"plain": maps[0], "fine-tuned": maps[0]})
    assert len(figure.axes) == 2 * 3
