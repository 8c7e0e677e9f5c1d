import h5py
import numpy as np
import pytest
import torch
from fakes import grey_levels, tiny_backbone
from safetensors.torch import save_file

from galutils.data.galaxies import open_galaxies
from galutils.errors import GalutilsError
from galutils.models import embedding
from galutils.models.embedding import Preprocessing, central, embed, prepare_images, raw_pixels, read_prepared
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import DINO_ARCH, WeightsError

SMALL = Preprocessing(image_size=32, crop=1.0)


@pytest.mark.parametrize("final_norm", [True, False])
def test_embedding_equals_the_blocks_outputs_seen_by_hooks(final_norm):
    backbone, images, seen = tiny_backbone(), grey_levels(), []
    for block in backbone.vit.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    final = backbone(images)
    last = [(backbone.vit.norm(output) if final_norm else output)[:, 0] for output in seen[-2:]]
    assert torch.allclose(torch.cat(last, 1), backbone.cls_tokens(images, 2, final_norm), atol=1e-6)
    assert torch.allclose(final, backbone.vit.norm(seen[3])[:, 0], atol=1e-6)


def test_normalisation_is_imagenets():
    pixel = torch.full((1, 3, 8, 8), 128, dtype=torch.uint8)
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert tiny_backbone().normalize(pixel)[0, :, 0, 0].numpy() == pytest.approx(expected, abs=1e-5)


def test_dinos_own_preprocessing_takes_the_central_pixels_of_a_galaxy10_image_as_they_are():
    image = grey_levels(1, 256)
    prepared = prepare_images(image, Preprocessing())
    assert torch.equal(prepared, image[:, :, 16:240, 16:240].float())


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_crop_is_enlarged(interpolation):
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    image[:, :, 16:48, 16:48] = 200
    prepared = prepare_images(image, Preprocessing(image_size=48, crop=0.5, interpolation=interpolation))
    assert prepared.shape == (1, 3, 48, 48)
    assert torch.allclose(prepared, torch.tensor(200.0))


def test_the_central_part_by_hand():
    rows = torch.arange(8).expand(1, 8, 8)
    assert central(rows, 0.5)[0, 0].tolist() == [2, 3, 4, 5]
    assert central(rows, 1.0).shape == (1, 8, 8)
    assert central(rows, 0.01)[0, 0].tolist() == [3, 4], "never nothing"


@pytest.mark.parametrize("size", [16, 32, 64, 40])
def test_any_size_of_whole_patches_is_taken(size):
    assert tiny_backbone()(grey_levels(2, size)).shape == (2, 32)


def test_other_sizes_are_refused_with_a_remedy(simulated):
    with pytest.raises(GalutilsError, match="set image_size to 32"):
        embed(tiny_backbone(), simulated, Preprocessing(image_size=34))
    with pytest.raises(GalutilsError, match="has 4 blocks"):
        embed(tiny_backbone(), simulated, Preprocessing(image_size=32, blocks=5))


def test_preprocessing_is_checked():
    for wrong in ({"crop": 0}, {"blocks": 0}, {"interpolation": "nearest"}):
        with pytest.raises(GalutilsError, match="must"):
            Preprocessing(**wrong)
    with pytest.raises(GalutilsError, match="must be imagenet or galaxy"):
        load_backbone("random", "test_vit", normalization="none")


def test_embeddings_stand_in_the_order_of_the_file(simulated):
    backbone = tiny_backbone()
    values = embed(backbone, simulated, SMALL, batch_size=7).values
    assert values.shape == (100, 128)
    assert values.dtype == np.float32
    images = torch.from_numpy(simulated.read_images([41])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert values[41] == pytest.approx(backbone.cls_tokens(images)[0].numpy(), abs=1e-4)
    assert torch.equal(read_prepared(simulated, [41], SMALL), images.float())
    assert np.array_equal(values, embed(backbone, simulated, SMALL, batch_size=7).values)


def test_unit_length(simulated):
    values = embed(tiny_backbone(), simulated, Preprocessing(image_size=32, l2=True)).values
    assert np.linalg.norm(values, axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_embedding_is_computed_once(simulated, tmp_path, monkeypatch):
    backbone = tiny_backbone()
    first = embed(backbone, simulated, SMALL, cache_dir=tmp_path, device="cpu")
    monkeypatch.setattr(embedding, "_compute", None)
    again = embed(backbone, simulated, SMALL, cache_dir=tmp_path, device="cpu")
    assert np.array_equal(again.values, first.values)
    assert first.seconds > 0
    assert again[1:] == ("cpu", None), "what is kept may have been computed elsewhere"


def test_anything_that_changes_an_embedding_changes_its_key(simulated, tmp_path):
    embed(tiny_backbone(), simulated, SMALL, cache_dir=tmp_path)
    embed(tiny_backbone(seed=1), simulated, SMALL, cache_dir=tmp_path)
    embed(tiny_backbone(), simulated, Preprocessing(image_size=32, crop=0.5), cache_dir=tmp_path)
    other = tmp_path / "other.h5"
    other.write_bytes(simulated.path.read_bytes())
    with h5py.File(other, "r+") as file:
        file["images"][0] = 255 - file["images"][0]
    embed(tiny_backbone(), open_galaxies(other), SMALL, cache_dir=tmp_path)
    normalized = tiny_backbone()
    normalized.normalization = "galaxy"
    embed(normalized, simulated, SMALL, cache_dir=tmp_path)
    assert len(list(tmp_path.glob("embedding-*"))) == 5


def test_a_damaged_cache_is_computed_again(simulated, tmp_path):
    first = embed(tiny_backbone(), simulated, SMALL, cache_dir=tmp_path).values
    (cached,) = tmp_path.iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    assert np.array_equal(embed(tiny_backbone(), simulated, SMALL, cache_dir=tmp_path).values, first)


def test_raw_pixels(simulated):
    pixels = raw_pixels(simulated, size=16)
    assert pixels.shape == (100, 768)
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_random_weights_follow_the_seed_and_leave_the_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = load_backbone("random", "test_vit", seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert first.source.source == "random"
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert first.digest() == load_backbone("random", "test_vit", seed=1).digest()
    assert first.digest() != load_backbone("random", "test_vit", seed=2).digest()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_path(tmp_path, suffix):
    backbone = load_backbone("random", "test_vit")
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(backbone.vit.state_dict() | {"mask_token": torch.zeros(1, 64)}, path)
    else:
        save_file(backbone.vit.state_dict(), path)
    with pytest.raises(WeightsError, match="set arch"):
        load_backbone(str(path))
    again = load_backbone(str(path), "test_vit")
    assert again.digest() == backbone.digest()
    assert again.source.source == path.name
    with pytest.raises(WeightsError, match="does not fit"):
        load_backbone(str(path), "vit_tiny_patch16_224")


def test_a_saved_backbone_names_its_architecture_and_normalisation(tmp_path):
    backbone = load_backbone("random", "test_vit", normalization="galaxy")
    save_backbone(backbone, tmp_path / "model.safetensors", adapted="yes")
    again = load_backbone(tmp_path / "model.safetensors")
    assert again.digest() == backbone.digest()
    assert again.normalization == "galaxy"
    assert torch.equal(again(grey_levels(2)), backbone(grey_levels(2)))
    assert load_backbone("random", "test_vit").normalization == "imagenet"
    with pytest.raises(WeightsError, match="holds test_vit, but"):
        load_backbone(str(tmp_path / "model.safetensors"), "test_vit2")


@pytest.mark.parametrize(
    ("arch", "message"), [("resnet18", "not a vision transformer"), ("test_vit2", "has no CLS token")]
)
def test_networks_that_give_no_embedding_are_refused(arch, message):
    with pytest.raises(WeightsError, match=message):
        load_backbone("random", arch)


def test_no_download_is_one_clear_error(monkeypatch):
    def offline(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(WeightsError, match=r"could not be downloaded.*no route to host.*give the path"):
        load_backbone("dino")


def test_auto_uses_what_is_cached_and_never_downloads(monkeypatch, tmp_path):
    save_backbone(load_backbone("random", DINO_ARCH, seed=3), tmp_path / "cached.safetensors")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    assert load_backbone("auto", DINO_ARCH).source.source == "random"
    cached = str(tmp_path / "cached.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: cached)
    found = load_backbone("auto", DINO_ARCH)
    assert found.source.source == "dino"
    assert found.digest() == load_backbone("random", DINO_ARCH, seed=3).digest()
    assert load_backbone("auto", "test_vit").source.source == "random"  # what timm has for it is not DINO's


def test_a_damaged_download_is_noticed(monkeypatch, tmp_path):
    blob = tmp_path / ("0" * 64)
    save_backbone(load_backbone("random", DINO_ARCH), blob)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(blob))
    with pytest.raises(WeightsError, match="is damaged"):
        load_backbone("dino", DINO_ARCH)


def test_a_stand_in_is_read_in_half_precision_and_keeps_its_name(tmp_path):
    """A file as other people make it: float16, its network and what it stands in for in its metadata."""
    backbone = load_backbone("random", "test_vit")
    state = {name: tensor.half() for name, tensor in backbone.vit.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors", metadata={"architecture": "test_vit", "stand_in": "for DINO"})
    found = load_backbone(tmp_path / "w.safetensors")
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in found.vit.state_dict().items())
    assert found.source.stand_in == "for DINO"
    save_backbone(found, tmp_path / "again.safetensors")
    assert load_backbone(tmp_path / "again.safetensors").source.stand_in == "for DINO"
