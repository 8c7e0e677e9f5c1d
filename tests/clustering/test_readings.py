from functools import partial

import numpy as np
import pytest
import torch
from fakes import adapted, blobs, grey_levels, refusal, tiny_backbone

from galutils.clustering import readings
from galutils.clustering.published import describe_figures, describe_matrix, read_matrix
from galutils.data.classes import GALAXY10_COUNTS
from galutils.models.attention import cls_attention
from galutils.models.embedding import Embedding, Preprocessing, embed


def test_each_preparation_differs_in_one_thing(simulated):
    frozen, usual = tiny_backbone(), Preprocessing(image_size=32, crop=1.0, blocks=2)
    embedded = partial(embed, galaxies=simulated, preprocessing=usual, device="cpu")
    found = readings.preparations(embedded, frozen, usual, enlarged=0.5, smaller=0.5)
    assert list(found) == [
        "unit length", "standardised before PCA", "central 50% of each side enlarged", "input of 16 pixels",
        "final norm left out", "grey levels 0 to 1, not normalised", "grey levels 0 to 255, not normalised",
    ]  # fmt: skip
    plain = embedded(frozen).values
    assert np.linalg.norm(found["unit length"], axis=1) == pytest.approx(np.ones(100), abs=1e-5)
    assert found["standardised before PCA"].std(axis=0) == pytest.approx(np.ones(64), abs=1e-4)
    half = Preprocessing(image_size=16, crop=1.0, blocks=2)
    assert np.array_equal(found["input of 16 pixels"], embedded(frozen, preprocessing=half).values)
    # What goes into the transformer is what the name says.
    images = simulated.read_images(range(100))
    for name, divisor in (("grey levels 0 to 1, not normalised", 255), ("grey levels 0 to 255, not normalised", 1)):
        grey = torch.from_numpy(images).permute(0, 3, 1, 2).float() / divisor
        with torch.no_grad():
            last = frozen.vit.forward_features(grey)[:, 0].numpy()
        assert found[name][:, 32:] == pytest.approx(last, abs=1e-3)
    assert all(not np.allclose(own, plain, atol=1e-3) for own in found.values())


def test_references_end_with_the_frozen_transformer(simulated):
    class Network:
        arch, normalization = "test_vit", "imagenet"

    frozen, seen = Network(), []

    def embedded(network):
        seen.append(network)
        return Embedding(np.full((100, 2), len(seen)), "cpu", None)

    found = readings.references(embedded, frozen, simulated, 8, seed=3)
    assert list(found) == ["raw pixels, 8 by 8", "untrained transformer", "frozen transformer"]
    assert found["raw pixels, 8 by 8"].shape == (100, 192)
    assert seen[1] is frozen
    assert seen[0].recipe == {"weights": "random", "arch": "test_vit", "normalization": "imagenet", "seed": 3}


def test_adapters_are_lost_in_the_first_network_that_started_from_the_frozen_one():
    frozen = tiny_backbone()
    networks = {"other base": adapted(tiny_backbone(seed=1)), "tuned": adapted(frozen), "again": adapted(frozen, 1)}
    lost = readings.lost_adapters(networks, frozen)
    assert list(lost) == ["adapters lost at evaluation: tuned"]
    state, tuned = lost["adapters lost at evaluation: tuned"].vit.state_dict(), networks["tuned"].vit.state_dict()
    assert torch.equal(state["blocks.1.attn.qkv.weight"], frozen.vit.state_dict()["blocks.1.attn.qkv.weight"])
    assert torch.equal(state["blocks.1.attn.qkv.bias"], tuned["blocks.1.attn.qkv.bias"])
    assert readings.lost_adapters({"other base": networks["other base"]}, frozen) == {}


def test_readings_stand_beside_the_frozen_transformer():
    frozen, images = tiny_backbone(), grey_levels(4)
    other = adapted(frozen)
    features, labels = blobs(per_class=20, classes=4, spread=0.3)
    worse = features + np.random.default_rng(0).normal(scale=0.5, size=features.shape)
    table = readings.assess_readings(
        lambda network: Embedding(features if network is frozen else worse, "cpu", None),
        frozen, {"tuned": other}, labels, 0.95, images,
    )  # fmt: skip
    assert table.index.tolist() == ["tuned", "nothing trained, k-means from other seeds"]
    tuned, nothing = table.iloc[0], table.iloc[1]
    assert tuned["change"] < 0 > tuned["auc_change"]
    assert (nothing["cka"], nothing["attention"]) == (pytest.approx(1), 0)
    assert tuned["change"] - nothing["change"] == pytest.approx(tuned["accuracy"] - nothing["accuracy"])
    assert 0.1 < tuned["cka"] < 0.99
    maps = [cls_attention(network, images).mean(1) for network in (frozen, other)]
    assert tuned["attention"] == readings.attention_change(*maps) > 0


def test_the_change_of_attention_is_a_distance_by_hand():
    networks, images = (tiny_backbone(), adapted(tiny_backbone()), tiny_backbone(patch_size=16)), grey_levels(3)
    before, after, coarse = (cls_attention(network, images).mean(1) for network in networks)

    def shares(maps):
        maps = maps.flatten(1).double().numpy()
        return maps / maps.sum(1, keepdims=True)

    def distance(p, q):
        middle = (p + q) / 2
        return np.sqrt((np.sum(p * np.log(p / middle)) + np.sum(q * np.log(q / middle))) / 2)

    (a, b, c), other = shares(before), shares(after)
    changed = np.mean([distance(p, q) for p, q in zip((a, b, c), other, strict=True)])
    between = np.mean([distance(a, b), distance(b, c)])
    assert readings.attention_change(before, after) == pytest.approx(changed / between, rel=1e-5)
    assert readings.attention_change(before, before) == 0
    assert np.isnan(readings.attention_change(before, coarse))


WANTED = "write 10 lines of 10 counts each, a line for each true class, without names."
SHARES = f"holds something else than counts (shares do not tell how many); {WANTED}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1,2\n3,4\n", f"has 2 lines and 2 columns; {WANTED}"),
        *((text, f"is no table of numbers; {WANTED}") for text in ("", "1,2\n3,4,5\n")),
        *(((f"{entry}," * 9 + f"{entry}\n") * 10, SHARES) for entry in ("0.1", "a", "-1", "0")),
    ],
)
def test_another_file_than_a_printed_matrix_is_refused(tmp_path, text, sentence):
    path = tmp_path / "figure_a1.csv"
    path.write_text(text)
    assert refusal(read_matrix, path) == f"{path}: {sentence}"


def test_a_printed_matrix_tells_its_number_recalls_and_whether_it_is_matched_best(tmp_path):
    best = np.full((10, 10), 2) + np.diag(np.full(10, 10))
    swapped = best[:, [1, 0, *range(2, 10)]]
    said = describe_matrix(best, "Figure A.1")
    assert said[0] == (
        "Figure A.1 counts 300 galaxies (not the full set's class counts), of which 40.0% are right; no other "
        "assignment of clusters to classes has more of them right."
    )
    # One class against the rest: recall 12 / 30, specificity 1 - 18 / 270.
    assert said[1] == (
        f"Figure A.1: the recalls of the classes are {', '.join(['40%'] * 10)}; the ROC AUC of its hard assignments is "
        "0.667."
    )
    assert said[2] == (
        "Figure A.1: with permuted labels, the best assignment of such clusters gets 18.3% (ROC AUC 0.546) on average, "
        "and 0.0% of 1,000 permutations get 40.0% or more."
    )
    assert describe_matrix(swapped, "Figure A.2")[0] == (
        "Figure A.2 counts 300 galaxies (not the full set's class counts), of which 33.3% are right; the best "
        "assignment of clusters to classes would get 40.0%."
    )
    assert describe_matrix(np.diag(GALAXY10_COUNTS), "Figure A.1", draws=10)[0] == (
        "Figure A.1 counts 17,736 galaxies (the full set, class by class), of which 100.0% are right; no other "
        "assignment of clusters to classes has more of them right."
    )
    path, absent = tmp_path / "figure_a1.csv", tmp_path / "absent.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in best))
    rest = (
        "what would tell how many galaxies were scored and whether their assignment is the best; docs/assumptions.md "
    )
    assert describe_figures([path, absent]) == [
        *said,
        f"Figure A.2 of the paper prints {rest}says where their counts are read from.",
    ]
    assert describe_figures([absent, absent]) == [
        f"Figure A.1 and Figure A.2 of the paper print {rest}says where their counts are read from."
    ]
