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
from galutils.models.lora import add_lora, merge_lora, trainable
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


def test_merged_adapters_attend_alike():
    adapted = adapted_backbone()
    first, second = (attention_weights(network, grey_levels())[0] for network in (adapted, merge_lora(adapted)))
    assert torch.allclose(first, second, atol=1e-4)


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
    assert attention_on_galaxy(np.ones((1, 2, 2)), masks) == pytest.approx(masks.mean((1, 2)))


def test_no_galaxy_and_no_attention_have_no_share():
    masks = np.array([np.ones((4, 4)), np.zeros((4, 4)), np.ones((4, 4))], bool)
    maps = np.array([np.ones((2, 2)), np.ones((2, 2)), np.zeros((2, 2))])
    assert attention_on_galaxy(maps, masks).tolist() == pytest.approx([1.0, np.nan, np.nan], nan_ok=True)


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


@pytest.mark.parametrize(
    "network",
    [
        cnn.build("custom_cnn"),
        cnn.build("vgg_finetuned", weights="random"),
        cnn.build("vgg_finetuned", weights="random", frozen_convs="all"),
    ],
    ids=["custom", "deep", "all frozen"],
)
def test_grad_cam_of_our_networks(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    images = grey_levels(2, 48)
    maps = grad_cam(network, images, [3, 7])
    assert maps.shape == (2, 48, 48)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1
    assert maps.max() > 0.9, "each map stands on its own scale"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in network.frozen.parameters())
    predicted = network.eval()(images).argmax(1).tolist()
    assert np.array_equal(grad_cam(network, images), grad_cam(network, images, predicted))


def test_grad_cam_by_hand():
    """One channel, one linear layer: the map is the rectified activation where its weight is positive."""
    convolution = nn.Conv2d(3, 1, 1)
    nn.init.constant_(convolution.weight, 1 / 3)
    nn.init.zeros_(convolution.bias)
    linear = nn.Linear(1, 10)
    nn.init.ones_(linear.weight)
    trained = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    images = torch.zeros(1, 3, 8, 8)
    images[..., :4] = 2.0
    images[..., 4:] = 1.0
    expected = np.repeat([[1.0] * 4 + [0.0] * 4], 8, axis=0)  # scaled from its least to its most
    assert grad_cam(cnn.GalaxyNet(nn.Sequential(), trained), images, [0])[0] == pytest.approx(expected, abs=1e-5)


def test_galleries_have_a_place_for_everything():
    backbone, images = tiny_backbone(), grey_levels()
    maps = cls_attention(backbone, images)
    figure = attention_gallery(images, {"plain": maps.mean(1), "rollout": attention_rollout(backbone, images)}, "abc")
    assert len(figure.axes) == 3 * 3
    assert [ax.get_title() for ax in figure.axes[:3]] == ["image", "plain", "rollout"]
    figure = head_gallery(images[0], {"plain": maps[0], "fine-tuned": maps[0]})
    assert len(figure.axes) == 2 * 3
