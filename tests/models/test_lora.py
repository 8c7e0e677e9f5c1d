from itertools import combinations

import pytest
import torch
from fakes import grey_levels, refusal, tiny_backbone
from safetensors.torch import save_file

from galutils.models.lora import add_lora, drop_adapters, merge_lora, trainable
from galutils.models.vit import load_backbone, save_backbone


def stepped(backbone, steps: int = 2, rate: float = 0.1):
    """Two steps, since the first moves only the adapters' second factor."""
    optimizer = torch.optim.SGD(trainable(backbone).values(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        backbone(grey_levels()).pow(2).mean().backward()
        optimizer.step()
    return backbone


def test_adapters_are_the_identity_at_first_and_change_the_output_after_a_step():
    plain, images = tiny_backbone(), grey_levels()
    adapted = add_lora(plain, rank=4)
    before = plain(images)
    assert torch.allclose(adapted(images), before, atol=1e-5)
    assert not torch.allclose(stepped(adapted)(images), before, atol=1e-3)
    assert torch.equal(plain(images), before), "the plain network was changed"


@pytest.mark.parametrize("train_biases", [True, False])
def test_what_is_trained(train_biases):
    adapted = add_lora(tiny_backbone(), rank=4, train_biases=train_biases)
    names = set(trainable(adapted))
    factors = {name for name in names if ".parametrizations." in name}
    assert len(factors) == 4 * 3 * 2  # blocks; queries, values, projection; two factors
    assert all(any(part in name for part in ("qkv.q.", "qkv.v.", "attn.proj.")) for name in factors)
    biases = {name for name, _ in adapted.named_parameters() if name.endswith("bias") and ".qkv.k." not in name}
    assert names - factors == (biases if train_biases else set())


def test_keys_stay_frozen_to_the_bit():
    plain = tiny_backbone()
    before = {name: tensor.clone() for name, tensor in plain.vit.state_dict().items()}
    merged = merge_lora(stepped(add_lora(plain, rank=4, alpha=4))).vit.state_dict()
    for i in range(4):
        for kind in ("weight", "bias"):
            old, new = (state[f"blocks.{i}.attn.qkv.{kind}"].chunk(3) for state in (before, merged))
            assert torch.equal(old[1], new[1]), "keys moved"
            assert not torch.equal(old[0], new[0]), "queries did not move"
            assert not torch.equal(old[2], new[2]), "values did not move"
    assert torch.equal(before["blocks.0.mlp.fc1.weight"], merged["blocks.0.mlp.fc1.weight"])
    assert torch.equal(before["patch_embed.proj.weight"], merged["patch_embed.proj.weight"])


def test_merging_gives_a_plain_network_with_equal_output():
    adapted, images = stepped(add_lora(tiny_backbone(), rank=4, alpha=2)), grey_levels()
    assert adapted.vit.blocks[0].attn.qkv.q.parametrizations.weight[0].scale == 2 / 4
    merged = merge_lora(adapted)
    assert set(merged.vit.state_dict()) == set(tiny_backbone().vit.state_dict())
    assert torch.allclose(merged(images), adapted(images), atol=1e-4)
    assert adapted.lora is not None, "the adapted network was changed"
    assert merge_lora(merged).digest() == merged.digest(), "merging a plain network changed it"


def test_adapters_cannot_get_lost(tmp_path):
    adapted, path = stepped(add_lora(tiny_backbone(), rank=4)), tmp_path / "model.safetensors"
    assert refusal(save_backbone, adapted, path) == "The network has LoRA adapters; save merge_lora(backbone)."
    assert refusal(add_lora, adapted) == "The network has adapters already; merge them first."
    save_file({name: tensor.detach() for name, tensor in trainable(adapted).items()}, path)
    assert refusal(load_backbone, str(path), "test_vit") == (
        f"{path}: holds LoRA adapters, not a whole network; merge them into one first."
    )
    for wrong in ({"rank": 0}, {"alpha": 0}):
        assert refusal(add_lora, tiny_backbone(), **wrong) == "rank must be at least 1 and alpha greater than 0."


def test_dropped_adapters_leave_the_trained_biases():
    base, images = tiny_backbone(), grey_levels()
    merged = merge_lora(stepped(add_lora(base, rank=4, alpha=32), steps=4))
    dropped = drop_adapters(merged, base)
    for name, tensor in dropped.vit.state_dict().items():
        assert torch.equal(tensor, (merged if name.endswith("bias") else base).vit.state_dict()[name]), name
    for one, other in combinations([network(images) for network in (base, merged, dropped)], 2):
        assert not torch.allclose(one, other, atol=1e-3)
    assert refusal(drop_adapters, merged, tiny_backbone(seed=1)) == (
        "The adapted network did not start from this base; name the one that it was trained from."
    )
