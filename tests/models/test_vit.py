from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from fakes import grey_levels, refusal, tiny_backbone
from safetensors.torch import save_file

from galutils.data.galaxies import open_galaxies
from galutils.models import embedding
from galutils.models.embedding import Preprocessing, central, embed, prepare_images, read_prepared
from galutils.models.vit import load_backbone, save_backbone
from galutils.models.weights import DINO_ARCH

SMALL, TINY = Preprocessing(image_size=32, crop=1.0), tiny_backbone()


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
    assert torch.equal(prepare_images(image, Preprocessing()), image[:, :, 16:240, 16:240].float())


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


RANGES = "crop must lie above 0 and at most be 1; image_size and blocks must be at least 1."
NO_NORM = "normalization is 'sky'; choose imagenet, galaxy, unit, none."
NO_VIT = f"'resnet18' is not a vision transformer of timm; choose one such as {DINO_ARCH}."
NO_CLS = f"test_vit2: has no CLS token to embed images with; choose one such as {DINO_ARCH}."
REFUSED = [
    (RANGES, lambda _: Preprocessing(crop=0)),
    (RANGES, lambda _: Preprocessing(blocks=0)),
    ("interpolation is 'nearest' but must be bicubic or bilinear.", lambda _: Preprocessing(interpolation="nearest")),
    ("34 pixels are not whole patches of 8; set image_size to 32.", lambda sky: embed(TINY, sky, Preprocessing(34))),
    ("tiny has 4 blocks; blocks must not be 5.", lambda _: TINY.cls_tokens(grey_levels(), 5)),
    (NO_NORM, lambda _: load_backbone("random", "test_vit", "sky")),
    (NO_VIT, lambda _: load_backbone("random", "resnet18")),
    (NO_CLS, lambda _: load_backbone("random", "test_vit2")),
]


@pytest.mark.parametrize(("sentence", "refused"), REFUSED)
def test_what_cannot_embed_is_refused_with_a_remedy(simulated, sentence, refused):
    assert refusal(refused, simulated) == sentence


def test_embeddings_stand_in_the_order_of_the_file(simulated):
    values = embed(TINY, simulated, SMALL, batch_size=7).values
    assert (values.shape, values.dtype) == ((100, 128), np.float32)
    images = torch.from_numpy(simulated.read_images([41])).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert values[41] == pytest.approx(TINY.cls_tokens(images)[0].numpy(), abs=1e-4)
    assert torch.equal(read_prepared(simulated, [41], SMALL), images.float())
    unit = embed(TINY, simulated, replace(SMALL, l2=True)).values
    assert unit == pytest.approx(values / np.linalg.norm(values, axis=1, keepdims=True), abs=1e-5)


def test_an_embedding_is_computed_once_unless_what_is_kept_is_damaged(simulated, tmp_path, monkeypatch):
    compute, computed = embedding._compute, []
    monkeypatch.setattr(embedding, "_compute", lambda *given: computed.append(given) or compute(*given))
    first, again = (embed(tiny_backbone(), simulated, SMALL, cache_dir=tmp_path, device="cpu") for _ in range(2))
    assert np.array_equal(again.values, first.values)
    assert first.seconds > 0
    assert again[1:] == ("cpu", None), "what is kept may have been computed elsewhere"
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    assert len(computed) == 1
    assert np.array_equal(embed(tiny_backbone(), simulated, SMALL, cache_dir=tmp_path).values, first.values)
    assert len(computed) == 2


def test_anything_that_changes_an_embedding_changes_its_key(simulated, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(simulated.path.read_bytes())
    with h5py.File(other, "r+") as file:
        file["images"][0] = 255 - file["images"][0]
    for backbone, galaxies, preprocessing in (
        (TINY, simulated, SMALL),
        (tiny_backbone(seed=1), simulated, SMALL),
        (TINY.normalized("galaxy"), simulated, SMALL),
        (TINY, open_galaxies(other), SMALL),
        (TINY, simulated, replace(SMALL, crop=0.5)),
    ):
        embed(backbone, galaxies, preprocessing, cache_dir=tmp_path)
    assert len(list(tmp_path.glob("embedding-*"))) == 5


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
    backbone, path = load_backbone("random", "test_vit"), tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(backbone.vit.state_dict() | {"mask_token": torch.zeros(1, 64)}, path)
    else:
        save_file(backbone.vit.state_dict(), path)
    again = load_backbone(str(path), "test_vit")
    assert (again.digest(), again.source.source) == (backbone.digest(), path.name)
    assert refusal(load_backbone, str(path)) == (
        f"{path}: does not say which network it holds; set arch, such as vit_small_patch16_224."
    )


def test_a_saved_backbone_names_its_architecture_normalisation_and_what_it_stands_in_for(tmp_path):
    """Other people's files may be in half precision."""
    backbone = load_backbone("random", "test_vit")
    theirs, path = tmp_path / "theirs.safetensors", tmp_path / "own.safetensors"
    state = {name: tensor.half() for name, tensor in backbone.vit.state_dict().items()}
    save_file(state, theirs, metadata={"architecture": "test_vit", "stand_in": "for DINO", "licence": "MIT"})
    found = load_backbone(theirs, normalization="galaxy")
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in found.vit.state_dict().items())
    save_backbone(found, path, adapted="yes")
    again = load_backbone(path)
    assert (again.digest(), again.normalization) == (found.digest(), "galaxy")
    assert (again.source.stand_in, again.source.licence) == ("for DINO", "MIT")
    assert torch.equal(again(grey_levels(2)), found(grey_levels(2)))
    assert backbone.normalization == "imagenet"
    assert refusal(load_backbone, path, "test_vit2") == (
        f"{path}: holds test_vit, but the network is test_vit2; set arch to match the file."
    )


def test_no_download_is_one_clear_error(monkeypatch):
    def offline(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    assert refusal(load_backbone, "dino") == (
        f"The official weights of {DINO_ARCH} could not be downloaded from Hugging Face's timm/{DINO_ARCH} "
        "(no route to host); give the path of model.safetensors from there, or choose auto or random."
    )


def test_auto_uses_what_is_cached_and_whole_and_never_downloads(monkeypatch, tmp_path):
    kept, cached = load_backbone("random", DINO_ARCH, seed=3), tmp_path / "cached.safetensors"
    save_backbone(kept, cached)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    assert load_backbone("auto", DINO_ARCH).source.source == "random"
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(cached))
    found = load_backbone("auto", DINO_ARCH)
    assert (found.source.source, found.source.licence, found.digest()) == ("dino", "apache-2.0", kept.digest())
    assert load_backbone("auto", "test_vit").source.source == "random"  # what timm has for it is not DINO's
    cached = cached.rename(tmp_path / ("0" * 64))  # the checksum that it should have
    assert refusal(load_backbone, "dino", DINO_ARCH) == (
        f"{cached}: is damaged (its checksum is not 000000000000…); delete it and run again."
    )
