import json

import huggingface_hub
import pytest
import torch
from fakes import grey_levels, refusal
from safetensors.torch import save_file
from torch import nn

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import split_rows
from galutils.files import SIMULATED_VIT, sha256
from galutils.models import cnn
from galutils.models.attention import grad_cam, has_maps
from galutils.models.encoder import Encoder, pretrained, rate_groups
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import GALAXY_VIT, WeightsSource, official_file, read_state
from galutils.report import run_page
from galutils.study.runs import write_run
from galutils.training.settings import Settings
from galutils.training.supervised import train

KINDS = {"none": "test_efficientnet", "last": "test_convnext", "lora": "test_vit", "all": "test_efficientnet"}
HUB = "hf_hub:mwalmsley/zoobot-encoder-test"


def built(arch="test_efficientnet", **arguments):
    torch.manual_seed(0)
    return cnn.build("encoder", arch=arch, **{"weights": "random", "input_size": 32} | arguments)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder that stands for what Hugging Face's hub has; nothing is cached, and files come from there."""

    def download(repository, name):
        if (tmp_path / name).exists():
            return str(tmp_path / name)
        raise huggingface_hub.errors.EntryNotFoundError("there is none")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    config = tmp_path / "config.json"
    monkeypatch.setattr("timm.models._hub.download_from_hf", lambda *_, **__: config)
    imagenets = {"mean": cnn.IMAGENET_MEAN, "std": cnn.IMAGENET_STD, "input_size": [3, 40, 40], "license": "apache-2.0"}
    about = imagenets | {"interpolation": "bilinear", "classifier": "head.fc", "num_classes": 0}
    config.write_text(json.dumps({"architecture": "test_convnext", "model_args": {}, "pretrained_cfg": about}))
    return tmp_path


@pytest.mark.parametrize(("adapt", "arch"), KINDS.items())
def test_only_what_is_adapted_is_trained_and_a_run_builds_it_again(adapt, arch):
    network, images = built(arch, adapt=adapt).train(), grey_levels(4, 40)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    groups = rate_groups(network, 0.01, 0.5, 0.5)
    optimizer = torch.optim.AdamW(groups, 1e-2)
    nn.functional.cross_entropy(network(images), torch.arange(4)).backward()
    optimizer.step()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    statistics = {name for name in changed if "running" in name or "num_batches" in name}
    assert changed - statistics <= trained
    assert bool(statistics) == (adapt == "all"), "batch statistics of what is frozen stay"
    assert network.count_parameters()[1] == sum(p.numel() for group in groups for p in group["params"])
    inner = {name.removeprefix("trained.0.net.") for name in trained if "net." in name}
    assert {
        "none": not inner,
        "last": inner and all(name.startswith("stages.3.") or "norm" in name for name in inner),
        "lora": any(".down" in name for name in inner) and all(n.endswith((".up", ".down", "bias")) for n in inner),
        "all": len(trained) == len([*network.parameters()]),
    }[adapt]
    again = cnn.build(**json.loads(json.dumps(network.recipe)))
    again.load_state_dict(network.state_dict(), strict=True)
    with torch.inference_mode():
        assert torch.equal(again.eval()(images), network.eval()(images))


def test_rates_fall_towards_the_image():
    network = built("test_vit", adapt="all")
    rates = {id(p): g["lr_scale"] for g in rate_groups(network, 0.01, 0.1, 0.5) for p in g["params"]}
    of = {name: rates[id(parameter)] for name, parameter in network.named_parameters()}
    depth = len(network.trained[0].net.blocks)
    expected = {f"blocks.{i}.attn.qkv.weight": 0.1 * 0.5 ** (depth - 1 - i) for i in range(depth)}
    expected |= {"norm.weight": 0.1, "patch_embed.proj.weight": 0.1 * 0.5**depth}
    assert {name: of[f"trained.0.net.{name}"] for name in expected} == pytest.approx(expected)
    assert of["trained.1.weight"] == 1
    decays = {g["weight_decay"] for g in rate_groups(network, 0.01, 0.1, 0.5)[1:] for p in g["params"] if p.ndim == 1}
    assert decays == {0}


def test_the_packaged_encoder_is_timms_network():
    """By name, independently of the order by which its tensors are renamed; the classifier is left out."""
    net, arch, source, wants = pretrained("tf_efficientnet_lite0", "official")
    state, _ = read_state(official_file("tf_efficientnet_lite0", download=False))
    last = {"conv_dw": "_depthwise_conv", "conv_pwl": "_project_conv", "bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"}
    named = {f"blocks.6.0.{ours}.weight": f"_blocks.15.{theirs}.weight" for ours, theirs in last.items()}
    named |= {"conv_stem.weight": "_conv_stem.weight", "conv_head.weight": "_conv_head.weight"}
    assert all(torch.equal(net.state_dict()[ours], state[theirs]) for ours, theirs in named.items())
    assert (arch, source.source, source.licence) == ("tf_efficientnet_lite0", "official", "apache-2.0")
    assert (wants["mean"], wants["interpolation"], wants["input_size"]) == ((0.5,) * 3, "bicubic", (3, 224, 224))


@pytest.mark.parametrize("normalization", ["imagenet", "galaxy"])
def test_the_studys_transformer_gives_its_token_of_what_it_was_trained_with(
    tmp_path, simulated_path, normalization, capsys
):
    backbone, images = load_backbone("simulated").normalized(normalization), grey_levels(4, 64)
    save_backbone(backbone, path := tmp_path / "own.safetensors", learnt_from="ten galaxies")
    network = built("auto", weights=str(path), input_size=0, adapt="none")
    with torch.inference_mode():
        torch.testing.assert_close(network.eval().frozen(images), backbone(images), rtol=1e-4, atol=1e-5)
    run_page.show_encoder(network)
    assert capsys.readouterr().out.splitlines()[:3] == [
        "galaxy_vit_patch8_64, frozen: 2,721,226 parameters, 1,930 of them trained",
        "Pretrained weights: own.safetensors, galaxy_vit_patch8_64; licence: MIT",
        "They were learnt from ten galaxies.",
    ]
    galaxies, settings = open_galaxies(simulated_path), Settings(epochs=1, image_size=64, device="cpu")
    split = split_rows(galaxies)
    made = {"network": network, "galaxies": galaxies, "split": split, "settings": settings}
    run = write_run(tmp_path / "run", experiment="own", **made, result=train(network, galaxies, split, settings))
    path.unlink()
    with torch.inference_mode():
        assert torch.equal(run.network()(images), network.eval()(images))
    assert run.metrics["weights"]["learnt_from"] == "ten galaxies"


def test_the_studys_transformer_is_the_packaged_one_or_random():
    packaged, random = (built(GALAXY_VIT, weights=weights, input_size=0) for weights in ("simulated", "random"))
    assert torch.equal(packaged.frozen[-1].net.state_dict()["norm.weight"], read_state(SIMULATED_VIT)[0]["norm.weight"])
    assert (packaged.source.source, packaged.source.sha256) == ("simulated", sha256(SIMULATED_VIT))
    assert random.source == WeightsSource("random", on_purpose=True)
    assert packaged.recipe | {"weights": "random"} == random.recipe


def test_batch_statistics_of_pretraining_stay():
    network = built("tf_efficientnet_lite0", weights="official", adapt="all").train()
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert norms
    assert all(layer.weight.requires_grad and not layer.training for layer in norms)


def test_zoobots_configuration_is_not_believed_and_older_ones_have_a_bin_alone(hub):
    state = {name: tensor + 0.01 for name, tensor in built("test_convnext").frozen[-1].net.state_dict().items()}
    torch.save(state | {"head.fc.weight": torch.zeros(1)}, hub / "pytorch_model.bin")
    network = built(HUB, weights="official", input_size=0)
    assert network.recipe["normalization"] == [[0, 0, 0], [1, 1, 1]]
    assert (network.recipe["arch"], network.recipe["input_size"]) == ("test_convnext", 40)
    assert (network.source.source, network.source.may_know) == ("official", "Galaxy Zoo")
    images = grey_levels(2, 40)
    with torch.inference_mode():
        expected = network.frozen[-1].net(images / 255)
        torch.testing.assert_close(network.eval().frozen(images), expected, rtol=1e-4, atol=1e-5)
    given = built(HUB, weights="official", normalization="imagenet")
    assert given.recipe["normalization"] == [list(cnn.IMAGENET_MEAN), list(cnn.IMAGENET_STD)]


def test_dinov3_gives_the_token_that_was_trained():
    net = built("vit_small_patch16_dinov3", options={"depth": 1, "embed_dim": 64, "num_heads": 2}).frozen[-1].eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(net(images), net.net.forward_features(images)[:, 0], atol=1e-6)


@pytest.mark.parametrize("arch", ["test_convnext", "test_efficientnet", "test_vit"])
def test_grad_cam_draws_encoders_that_have_maps(arch):
    network, images = built(arch, adapt="all", input_size=64), grey_levels(2, 64)
    assert has_maps(network) == (arch != "test_vit")
    if has_maps(network):
        assert grad_cam(network, images).shape == (2, 64, 64)
        maps = network.trained[0].maps(network.frozen(images))
        assert maps.shape[1] == network.trained[1].in_features


def test_images_are_resized_to_what_the_encoder_sees():
    seen = built(adapt="all", input_size=48).frozen
    assert seen(grey_levels(2, 40)).shape == (2, 3, 48, 48)
    assert torch.equal(seen(grey_levels(2, 48)), seen[0](grey_levels(2, 48)))


OFFLINE = "could not be downloaded from Hugging Face's"
NO_NET = "'resnet9000' is no network of timm; choose one such as convnext_nano, or hf_hub:owner/name."
REFUSED = {
    "adapt is 'some'; choose none, last, lora, all.": {"adapt": "some"},
    "interpolation is 'nearest' but must be bicubic or bilinear.": {"interpolation": "nearest"},
    "normalization is 'sky'; choose auto, imagenet, galaxy, unit, none.": {"normalization": "sky"},
    "20 pixels are not whole patches of 16; set input_size to 16.": {"arch": "test_vit", "input_size": 20},
    "mixer_s16_224: takes images of 224 pixels alone, not of 32; set input_size to 0.": {"arch": "mixer_s16_224"},
    "test_efficientnet: is no plain vision transformer, as LoRA wants; set adapt to none, last or all.": {
        "adapt": "lora"
    },
    NO_NET: {"arch": "resnet9000"},
    f"{SIMULATED_VIT}: holds galaxy_vit_patch8_64, but the network is test_vit; set arch to match the file.": {
        "arch": "test_vit",
        "weights": "simulated",
    },
    "timm names no weights for efficientnet_b6; give a path, or choose another network.": {
        "arch": "efficientnet_b6",
        "weights": "official",
    },
    f"The official weights of {HUB} {OFFLINE} mwalmsley/zoobot-encoder-test (there is none); "
    "give the path of model.safetensors from there, or choose auto or random.": {"arch": HUB, "weights": "official"},
}


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(("sentence", "arguments"), REFUSED.items(), ids=REFUSED)
def test_encoders_that_cannot_be_are_refused(sentence, arguments):
    assert refusal(built, **arguments) == sentence


def test_a_file_that_does_not_say_what_it_holds_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, path := tmp_path / "w.safetensors")
    assert refusal(pretrained, "auto", str(path)) == (
        f"{path}: does not say which network it holds; set arch, such as convnext_nano."
    )


@pytest.mark.usefixtures("hub")
def test_auto_is_random_where_nothing_is_there():
    assert isinstance(built(HUB, weights="auto").frozen[-1], Encoder)
    assert built(HUB, weights="auto").source.source == "random"
