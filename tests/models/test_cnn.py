from types import SimpleNamespace

import pytest
import torch
import torchvision
from fakes import assert_said, grey_levels, refusal
from safetensors.torch import save_file
from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from galutils import download
from galutils.models import cnn
from galutils.models.weights import VGG_LICENCE, vgg_convolutions
from galutils.report import run_page
from galutils.report.figures.networks import network_diagram, trace_layers


@pytest.fixture(scope="module")
def scratch():
    torch.manual_seed(0)
    return cnn.vgg_scratch()


def vgg_state(layout):
    return {f"features.{name}": t.contiguous() for name, t in make_layers(cfgs[layout]).state_dict().items()}


def test_normalisation_by_hand():
    image = torch.tensor([[[[0]], [[51]], [[255]]]], dtype=torch.uint8)
    out = cnn.Normalize((0.5, 0.5, 0.5), (0.1, 0.2, 0.25))(image)
    assert out.flatten().tolist() == pytest.approx([-5, -1.5, 2], abs=1e-5)


@pytest.mark.usefixtures("features_alone")
def test_vgg11_agrees_with_torchvision(tmp_path):
    """Same convolutions, same normalisation: same features as torchvision's own VGG11 with its own transform.

    The file may hold the classifier too, as the official one does.
    """
    torch.manual_seed(0)
    state = vgg_state("A")
    save_file(state | {"classifier.6.bias": torch.zeros(1000)}, tmp_path / "v.safetensors")
    reference = make_layers(cfgs["A"])
    reference.load_state_dict({name.removeprefix("features."): tensor for name, tensor in state.items()})
    network = cnn.vgg_finetuned("vgg11", str(tmp_path / "v.safetensors"), "all").eval()
    assert sum(p.numel() for p in network.frozen.parameters()) == 9_220_480
    images = grey_levels(2, 32)
    transform = torchvision.transforms.Normalize(cnn.IMAGENET_MEAN, cnn.IMAGENET_STD)
    with torch.inference_mode():
        expected = reference(transform(images / 255))
        torch.testing.assert_close(network.frozen(images), expected, rtol=1e-4, atol=1e-5)


def test_widths_and_parameter_counts_of_networks_built_from_scratch(scratch):
    # VGG: 896 + 7 * 9248 convolutions, 1568 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 10 + 10.
    # Custom: 896 + 5 * 9248 convolutions, 6 * 64 batch normalisations, 32 * 10 + 10.
    assert scratch.count_parameters() == (23_314_538, 23_314_538)
    assert cnn.build("custom_cnn").count_parameters() == (47_850, 47_850)
    doubling = cnn.vgg_scratch(widths="doubling")
    convolutions = [layer.out_channels for layer in doubling.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions == [width // 2 for width in cfgs["A"] if width != "M"], "half of VGG11's"
    assert doubling.eval()(grey_levels(4, 32)).shape == (4, 10)


def test_paper_initialisation_is_normal_with_variance_one_hundredth(scratch):
    for layer in scratch.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias.abs().max() == 0
            assert layer.weight.mean().item() == pytest.approx(0, abs=0.02)
            assert layer.weight.std().item() == pytest.approx(0.1, rel=0.08)


@pytest.mark.parametrize("arguments", [
    {"name": "vgg_scratch", "channels": 8},
    {"name": "custom_cnn"},
    {"name": "custom_cnn", "average_pool": 1},
    {"name": "vgg_finetuned", "weights": "random"},
    {"name": "vgg_finetuned", "weights": "random", "frozen_convs": "three-blocks"},
    {"name": "vgg_finetuned", "weights": "random", "frozen_convs": 0, "later_layers": "pretrained"},
    {"name": "vgg_finetuned", "weights": "random", "frozen_convs": 4, "later_layers": "plain"},
    {"name": "vgg_finetuned", "weights": "random", "arch": "vgg13", "frozen_convs": 3},
])  # fmt: skip
@pytest.mark.usefixtures("features_alone")
def test_any_image_size_gives_ten_logits_and_gradients_only_where_trained(arguments):
    network = cnn.build(**arguments).train()
    for size in (32, 70):
        logits = network(grey_levels(4, size))
        assert logits.shape == (4, 10)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.trained.parameters())
    assert all(p.grad is None and not p.requires_grad for p in network.frozen.parameters())
    assert not network.frozen.training


@pytest.mark.parametrize(("frozen", "expected"), [(0, 0), (3, 3), ("three-blocks", 4), ("all", 8)])
@pytest.mark.usefixtures("features_alone")
def test_frozen_convolutions_are_counted(frozen, expected):
    network = cnn.vgg_finetuned("vgg11", "random", frozen)
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.frozen) == expected
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.trained) == 8 - expected
    assert network.recipe["frozen_convs"] == expected


OTHER = "choose all, three-blocks or a number up to 8."
REFUSED = {
    "There is no network 'vgg'; choose one of vgg_scratch, vgg_finetuned, custom_cnn, encoder.": {"name": "vgg"},
    "widths is 'halving'; choose constant or doubling.": {"name": "vgg_scratch", "widths": "halving"},
    "init is 'zero'; choose paper, sd0.01 or kaiming.": {"name": "vgg_scratch", "init": "zero"},
    "first is 'min'; choose average, max, subsample.": {"name": "custom_cnn", "first": "min"},
    "head is 'none'; choose hidden, linear, vgg, last.": {"name": "vgg_finetuned", "head": "none"},
    f"frozen_convs is 9; {OTHER}": {"name": "vgg_finetuned", "weights": "random", "frozen_convs": 9},
    f"frozen_convs is 'some'; {OTHER}": {"name": "vgg_finetuned", "weights": "random", "frozen_convs": "some"},
    "later_layers is 'x'; choose new, plain or pretrained.": {
        "name": "vgg_finetuned",
        "weights": "random",
        "later_layers": "x",
    },
}


@pytest.mark.parametrize(("sentence", "arguments"), REFUSED.items(), ids=REFUSED)
@pytest.mark.usefixtures("features_alone")
def test_networks_that_cannot_be_are_refused(sentence, arguments):
    assert refusal(cnn.build, **arguments) == sentence


@pytest.mark.usefixtures("features_alone")
def test_two_readings_of_deep_fine_tuning(tmp_path):
    state = vgg_state("A")
    save_file(state, tmp_path / "v.safetensors", metadata={"architecture": "vgg11"})
    kept, new = (
        cnn.vgg_finetuned("auto", str(tmp_path / "v.safetensors"), "three-blocks", reading)
        for reading in ("pretrained", "new")
    )
    last = "features.18.weight"
    of = {net: [p for p in net.trained.modules() if isinstance(p, nn.Conv2d)][-1].weight for net in (kept, new)}
    assert torch.equal(of[kept], state[last])
    assert of[new].shape == state[last].shape
    assert not torch.equal(of[new], state[last])
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in new.trained) == 4


@pytest.mark.usefixtures("features_alone")
def test_a_file_says_which_vgg_it_holds(tmp_path):
    path = tmp_path / "v13.safetensors"
    save_file(vgg_state("B"), path, metadata={"architecture": "vgg13"})
    assert vgg_convolutions("auto", str(path))[1] == "vgg13"
    assert refusal(vgg_convolutions, "vgg11", str(path)) == (
        f"{path}: holds vgg13, but the network is vgg11; set arch to match the file."
    )


@pytest.mark.usefixtures("features_alone")
def test_auto_takes_what_is_there_and_never_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("galutils.models.weights.fetch", None)
    assert vgg_convolutions("auto", "auto")[2].source == "random"
    kept = tmp_path / "hub" / "checkpoints" / "vgg11-8a719046.pth"
    kept.parent.mkdir(parents=True)
    torch.save(vgg_state("A"), kept)
    found = vgg_convolutions("auto", "auto")[2]
    assert (found.source, found.licence) == ("imagenet", VGG_LICENCE)


@pytest.mark.usefixtures("features_alone")
def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody listens on the discard port
    monkeypatch.setattr(download, "BACKOFF", 0.001)
    said = "vgg11-8a719046.pth could not be downloaded (…); bring the file to {path}, or give the path of a copy."
    kept = tmp_path / "hub" / "checkpoints" / "vgg11-8a719046.pth"
    assert_said(refusal(vgg_convolutions, "vgg11", "imagenet"), said, kept)


@pytest.mark.usefixtures("features_alone")
def test_diagram_shows_the_module_itself():
    network = cnn.custom_cnn()
    trace = trace_layers(network, 64)
    assert isinstance(trace[0]["layer"], nn.AvgPool2d)
    assert trace[0]["shape"] == (3, 32, 32)
    drawn = sum(parameter.numel() for step in trace for parameter in step["layer"].parameters())
    assert drawn == network.count_parameters()[0]
    figure = network_diagram(network, 64)
    assert len(figure.axes[0].patches) == len(trace)
    frozen = trace_layers(cnn.vgg_finetuned("vgg11", "random", "all"), 64)
    assert [step["frozen"] for step in frozen] == [True] * 13 + [False] * (len(frozen) - 13)


def test_figure_2_is_torchvisions_own_network(monkeypatch):
    """132,863,336 parameters for ImageNet's classes, as torchvision's documentation says of VGG11."""
    shown = []
    monkeypatch.setattr(run_page, "show", lambda figure, alt: shown.append((len(figure.axes[0].patches), alt)))
    with torch.device("meta"):
        run_page.show_original(cnn.build("vgg_finetuned", arch="vgg11", weights="random"))
    # Eight convolutions, five pools, an average and three linear layers.
    assert shown == [(17, "Diagram of the network's layers in the original VGG11, with 132,863,336 parameters.")]


@pytest.mark.parametrize(
    ("head", "frozen", "trained"),
    [
        ("hidden", 9_220_480, 512 * 16 * 512 + 512 + 2 * 512 + 512 * 10 + 10),
        ("linear", 9_220_480, 512 * 10 + 10),
        ("vgg", 9_220_480, 25_088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 10 + 10),
        ("last", 9_220_480 + 25_088 * 4096 + 4096 + 4096 * 4096 + 4096, 4096 * 10 + 10),
    ],
)
def test_heads_of_a_shallow_vgg(head, frozen, trained):
    """From meta tensors, as nobody needs their hundred million numbers."""
    with torch.device("meta"):
        network = cnn.vgg_finetuned("vgg11", "random", head=head)
    assert network.count_parameters() == (frozen + trained, trained)


def test_the_head_that_keeps_its_layers_takes_them_from_the_file(tmp_path, monkeypatch):
    """With 8 units for the first 4096, and one pixel of features for 7 by 7."""

    def smaller():
        layers = nn.Linear(512, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 4096), nn.ReLU(), nn.Dropout()
        classifier = nn.Sequential(*layers, nn.Linear(4096, 1000))
        parts = {"features": make_layers(cfgs["A"]), "avgpool": nn.AdaptiveAvgPool2d(1), "classifier": classifier}
        return nn.ModuleDict(parts)

    tiny = smaller()
    save_file(tiny.state_dict(), tmp_path / "v.safetensors")
    monkeypatch.setattr("torchvision.models.get_model", lambda arch, weights: SimpleNamespace(**smaller()))
    network = cnn.vgg_finetuned("vgg11", str(tmp_path / "v.safetensors"), head="last").eval()
    images = grey_levels(2, 32)
    transform = torchvision.transforms.Normalize(cnn.IMAGENET_MEAN, cnn.IMAGENET_STD)
    with torch.inference_mode():
        inner = nn.Sequential(tiny["features"], tiny["avgpool"], nn.Flatten(), tiny["classifier"][:-1]).eval()
        torch.testing.assert_close(network.frozen(images), inner(transform(images / 255)), rtol=1e-4, atol=1e-5)
    assert network(images).shape == (2, 10)


@pytest.mark.parametrize(
    ("given", "parameters"),
    [
        ({"average_pool": 4}, 47_850),
        ({"first": "max"}, 47_850),
        ({"first": "subsample"}, 47_850),
        ({"hidden": 16}, 47_850 - 330 + 32 * 16 + 16 + 2 * 16 + 16 * 10 + 10),
    ],
)
def test_readings_of_the_custom_network(given, parameters):
    network = cnn.build("custom_cnn", **given).eval()
    images = torch.arange(32 * 32 * 3).reshape(1, 32, 32, 3).permute(0, 3, 1, 2).contiguous() / 20
    seen = network.trained[0](images)
    assert seen.shape[-1] == 32 // given.get("average_pool", 2)
    if given.get("first"):
        corner = images[0, 0, :2, :2]
        assert seen[0, 0, 0, 0] == (corner.max() if given["first"] == "max" else corner[0, 0])
    assert network.count_parameters() == (parameters, parameters)


def test_weights_of_another_spread():
    layer = cnn.vgg_scratch(init="sd0.01").trained[-1]
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
