import re

import numpy as np
import pandas as pd
import pytest
from fakes import refusal, write_run

from galutils.data.classes import GALAXY10, class_columns
from galutils.data.splits import Split
from galutils.evaluation.paper import APPROACHES
from galutils.files import write_json
from galutils.report.index import _failures
from galutils.study import collect
from galutils.study.ablations import collect_ablations
from galutils.study.keys import MANIFEST
from galutils.study.results import load_results
from galutils.study.runs import Run


def test_runs_are_graded_by_seed_and_clusterings_know_the_same_galaxies(tmp_path):
    group = np.r_[5, 5, 6, 7, np.arange(8, 44)]
    for seed, rows in ((0, [1, 3]), (1, [0, 1])):
        write_run(tmp_path, "custom_cnn", seed, 20)
        run_dir = tmp_path / "custom_cnn" / f"seed{seed}"
        pd.read_csv(run_dir / "predictions.csv").iloc[rows].to_csv(run_dir / "predictions.csv", index=False)
        Split(np.full(40, "test", dtype=object), group).write(run_dir / "split.csv")
    write_run(tmp_path, "dino_kmeans", 0, 20, model={"clusters": 10})
    (tmp_path / "dino_kmeans" / "seed0" / "split.csv").unlink()
    runs = collect.collect_runs(tmp_path)
    graded = collect.grade_runs(runs)
    network, clusters = "Custom CNN, average pooling first", "DINO and k-means"
    assert {title: list(seeds) for title, seeds in graded.items()} == {network: [0, 1], clusters: [0]}
    assert graded[network][0].group.tolist() == [5, 7]
    assert graded[network][1].group.tolist() == [5, 5]
    assert graded[clusters][0].group.tolist() == group.tolist()
    assert graded[clusters][0].probabilities is None
    alone = collect.grade_runs(runs[~runs["supervised"]])
    assert alone[clusters][0].group.tolist() == list(range(40))


def test_the_papers_order_comes_first_and_unknown_experiments_have_their_name(tmp_path):
    for name in ("another", "custom_cnn", "vgg_scratch"):
        write_run(tmp_path, name, 0, 20)
    table = collect.collect_runs(tmp_path)
    assert table["experiment"].tolist() == ["vgg_scratch", "custom_cnn", "another"]
    assert table["approach"].iloc[-1] == "another"
    assert table["built"].all()


def test_controls_and_stand_ins_are_marked_and_warned_of(tmp_path):
    data = {"simulated": False, "sha256": "1" * 64, "rows": 1000, "file": "own.h5"}
    stand_in = {"source": "vgg16.safetensors", "stand_in": "of another"}
    for name, weights in (("vgg11_deep", {"source": "random"}), ("vgg11_shallow", stand_in)):
        write_run(tmp_path, name, 0, 20, weights, data=data, model={"arch": "vgg16"})
    table = collect.collect_runs(tmp_path)
    assert table["approach"].tolist() == [
        "VGG16, deep fine-tuning, new later layers (random weights)",
        "VGG16, shallow fine-tuning (stand-in weights)",
    ]
    assert table["pretrained"].tolist() == [False, True]
    assert collect.describe_sources(table) == (
        "1,000 galaxies of own.h5",
        [
            "Not the full Galaxy10 DECaLS but 1,000 galaxies of own.h5: do not compare with the paper's numbers.",
            "Stand-in weights, not the paper's, in VGG16, shallow fine-tuning.",
            "No pretrained weights were at hand: VGG16, deep fine-tuning, new later layers started from random "
            "ones, which bear on nothing but the machinery.",
        ],
    )


@pytest.mark.parametrize(
    ("experiment", "given", "title"),
    [
        ("vgg_scratch", {}, "VGG, 32 channels, from scratch"),
        ("vgg_scratch", {"channels": 16, "widths": "constant"}, "VGG, 16 channels, from scratch"),
        ("vgg_scratch", {"channels": 32, "widths": "doubling"}, "VGG, 32 channels at first, from scratch"),
        ("custom_cnn", {"average_pool": 1}, "Custom CNN, no pooling first"),
        ("custom_cnn", {"average_pool": 4}, "Custom CNN, average pooling first"),
        ("custom_cnn", {"average_pool": 2, "first": "subsample"}, "Custom CNN, subsampling first"),
        ("vgg11_deep", {"later_layers": "pretrained"}, "VGG11, deep fine-tuning, pretrained later layers"),
        ("dino_lora_kmeans", {"alpha": 1.0, "rank": 32}, "DINO with LoRA, scale 1/32, and k-means"),
        ("dino_lora_kmeans", {"alpha": 2.0, "rank": 8}, "DINO with LoRA, scale 1/4, and k-means"),
        ("dino_lora_kmeans_scale1", {"alpha": 32.0, "rank": 32}, "DINO with LoRA, scale 1, and k-means"),
    ],
)
def test_a_title_follows_from_the_parameters(tmp_path, experiment, given, title):
    write_run(tmp_path, experiment, 0, 20, model=given)
    assert collect.collect_runs(tmp_path)["approach"].tolist() == [title]


def test_random_weights_that_were_asked_for_are_not_called_missing(tmp_path):
    data = {"simulated": True, "sha256": "1" * 64, "rows": 40, "file": "own.h5"}
    write_run(tmp_path, "vgg11_shallow", 0, 20, {"source": "random", "on_purpose": True}, data=data)
    table = collect.collect_runs(tmp_path)
    assert table["approach"].tolist() == ["VGG11, shallow fine-tuning (random weights)"]
    assert collect.describe_sources(table)[1] == [
        "Simulated galaxies: these numbers show that the study runs, not how well it classifies."
    ]


CHOSEN = (
    "Chosen by accuracy on galaxies among the first hundred of each class of Galaxy10: the new head (VGG11, shallow "
    "fine-tuning), the custom network's layout (Custom CNN, average pooling first{}). Where such galaxies are scored, "
    "these rows may come out too high; by how much was not measured."
)


@pytest.mark.parametrize(
    ("names", "changed", "said"),
    [
        (("vgg11_shallow", "custom_cnn", "vgg_scratch"), {}, CHOSEN.format("")),
        (
            ("vgg11_shallow", "custom_cnn", "custom_cnn_simulated", "vit_lora"),
            {},
            CHOSEN.format(
                "; Custom CNN, first trained on simulated galaxies), the simulator (Custom CNN, first trained on "
                "simulated galaxies), the encoders' learning rate and batch statistics (DINO ViT-S, LoRA"
            ),
        ),
        (("vgg_scratch",), {}, ""),
        (("custom_cnn",), {"data": {"simulated": True, "sha256": "1", "file": "own.h5"}}, ""),
        (("custom_cnn",), {"classes": [f"kind {i}" for i in range(10)]}, ""),
    ],
)
def test_choices_made_on_test_galaxies_are_named_where_they_may_count(tmp_path, names, changed, said):
    data = {"simulated": False, "sha256": "1", "rows": 1000, "file": "own.h5"}
    for name in names:
        write_run(tmp_path, name, 0, 20, **{"data": data} | changed)
    if "classes" in changed:
        path = tmp_path / "custom_cnn/seed0/predictions.csv"
        old, new = (class_columns(names) for names in (GALAXY10, changed["classes"]))
        pd.read_csv(path).rename(columns=dict(zip(old, new, strict=True))).to_csv(path, index=False)
    assert collect.describe_choices(collect.collect_runs(tmp_path)) == said


@pytest.mark.parametrize(
    ("experiment", "model", "at_home", "title"),
    [
        ("custom_cnn_simulated", "custom_cnn", False, ""),
        ("custom_cnn_simulated", "custom_cnn", True, " (at home here)"),
        ("custom_cnn", "custom_cnn", False, " (from simulated galaxies)"),
        ("dino_kmeans", "galaxy_vit_patch8_64", True, " (from simulated galaxies, at home here)"),
    ],
)
def test_a_simulated_start_is_no_pretraining_and_says_where_it_is_at_home(tmp_path, experiment, model, at_home, title):
    data = {"simulated": at_home, "sha256": "1", "rows": 1000, "file": "own.h5"}
    weights = {"source": "simulated", "sha256": "2", "stand_in": None}
    write_run(tmp_path, experiment, 0, 20, data=data, weights=weights, model={"name": model})
    row = collect.collect_runs(tmp_path).iloc[0]
    assert row["approach"] == APPROACHES[experiment].title + title
    assert (row["from_simulations"], row["pretrained"], row["built"], row["random"]) == (True, False, False, False)


def test_collapsed_runs_are_marked_warned_of_and_left_out(tmp_path):
    for name, seed, says in (("custom_cnn", 0, 3), ("custom_cnn", 1, None), ("vgg_scratch", 0, 3)):
        write_run(tmp_path, name, seed, 20, says=says)
    table = collect.collect_runs(tmp_path)
    assert table["approach"].tolist() == [
        "VGG, 32 channels, from scratch (collapsed)",
        "Custom CNN, average pooling first",
        "Custom CNN, average pooling first",
    ]
    assert table["collapsed"].tolist() == [True, True, False]
    assert collect.sound_runs(table)["seed"].tolist() == [1]
    data = {"simulated": True, "sha256": "0" * 64, "rows": 40, "file": "sky.h5"}
    for run in table["run"]:
        run.metrics["data"] = data
    assert collect.describe_sources(table)[1][-1] == (
        "Collapsed, one class for 95% of the galaxies or more: VGG, 32 channels, from scratch (seed 0); "
        "Custom CNN, average pooling first (seed 0). They count in scores, and are left out of calibration, of "
        "suspects and of what all confuse."
    )


def test_a_run_is_opened_once(tmp_path, monkeypatch):
    """Whatever is asked of it, each of its files is read at most once."""
    write_run(tmp_path, "custom_cnn", 0, 20)
    run = Run(tmp_path / "custom_cnn" / "seed0")
    read = []
    original = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda path, *args, **kw: read.append(path.name) or original(path, *args, **kw))
    for _ in range(3):
        assert len(run.predictions) == len(run.split.test) == 40
        assert run.metrics["scores"]["accuracy"] == 0.5
        assert run.calibration is None
    assert sorted(read) == ["predictions.csv", "split.csv"]


def test_runs_that_the_study_no_longer_has_stay_out(tmp_path):
    for name, seed in (("custom_cnn", 0), ("custom_cnn", 7), ("vgg_scratch", 0)):
        write_run(tmp_path, name, seed, 20)
        write_run(tmp_path / "ablations" / name, f"init={name}", seed, 20)
    assert len(collect.collect_runs(tmp_path)) == len(collect_ablations(tmp_path)) == 3  # by hand: all that are there
    kept = {"runs": ["custom_cnn/seed0", "another/seed0"], "ablations": ["ablations/custom_cnn/init=custom_cnn/seed0"]}
    write_json(tmp_path / MANIFEST, kept)
    for table, name in ((collect.collect_runs(tmp_path), "runs"), (collect_ablations(tmp_path), "ablations")):
        assert [str(run.directory.relative_to(tmp_path)) for run in table["run"]] == kept[name][:1]


def test_runs_that_cannot_be_tabulated_are_one_sentence(tmp_path):
    assert refusal(collect.collect_runs, tmp_path) == (
        f"{tmp_path}: has no complete run; run the experiments' notebooks first."
    )
    write_run(tmp_path, "custom_cnn", 0, 20)
    assert refusal(collect.first_runs, collect.collect_runs(tmp_path), supervised=False) == (
        "No run of this kind is complete; run notebook 06 or 07 first."
    )
    write_run(tmp_path, "custom_cnn", 1, 20, data={"sha256": "1" * 64, "file": "other.h5"})
    one, other = tmp_path / "custom_cnn" / "seed0", tmp_path / "custom_cnn" / "seed1"
    assert refusal(collect.collect_runs, tmp_path) == (
        f"Runs on different galaxies cannot be compared (sky.h5 in {one}; other.h5 in {other}); "
        "run them anew on one file."
    )


AGAIN = "delete its metrics.json and run its notebook again."
TABLE = "{run}: %s cannot be read (%s); " + AGAIN
OLD = "{run}: was made by another version of this study; run its notebook again."
NO_JSON = "{run}/metrics.json: is not JSON (%s: line 1 column %s); delete it and run its notebook again."
#: A file of a finished run, what becomes of its text (None: it is deleted), and what is said.
DAMAGED = [
    ("metrics.json", lambda text: text.replace('"format": 2', '"format": 1'), OLD),
    ("metrics.json", lambda text: text.replace('"format": 2,', ""), OLD),
    ("metrics.json", lambda text: "[]", OLD),
    ("metrics.json", lambda text: "", NO_JSON % ("Expecting value", "1 (char 0)")),
    ("metrics.json", lambda text: '{"for', NO_JSON % ("Unterminated string starting at", "2 (char 1)")),
    ("predictions.csv", lambda text: None, TABLE % ("predictions.csv", "No such file or directory")),
    ("predictions.csv", lambda text: "", TABLE % ("predictions.csv", "No columns to parse from file")),
    (
        "predictions.csv",
        lambda text: text.replace("y_pred", "y"),
        TABLE % ("predictions.csv", "column y_pred is missing or has gaps"),
    ),
    (
        "predictions.csv",
        lambda text: text[: text.rindex(",")],
        TABLE % ("predictions.csv", "column p_edge_on_with_bulge is missing or has gaps"),
    ),
    ("split.csv", lambda text: None, TABLE % ("split.csv", "No such file or directory")),
    ("split.csv", lambda text: text.replace("part", "p"), TABLE % ("split.csv", "'part'")),
]


@pytest.mark.parametrize(("name", "damage", "sentence"), DAMAGED)
def test_a_damaged_run_is_named(tmp_path, command, name, damage, sentence):
    write_run(tmp_path, "custom_cnn", 0, 20)
    path = tmp_path / "custom_cnn" / "seed0" / name
    damaged = damage(path.read_text())
    path.unlink() if damaged is None else path.write_text(damaged)
    said = sentence.replace("{run}", str(path.parent))
    assert command("results", tmp_path) == (1, "", f"galutils: {said}\n")


@pytest.mark.parametrize("name", ["history", "seeds"])
def test_a_damaged_table_is_named(tmp_path, name):
    write_run(tmp_path, "custom_cnn", 0, 20)
    run = Run(tmp_path / "custom_cnn" / "seed0")
    (run.directory / f"{name}.csv").write_text("loss\n1\n")
    column = {"history": "epoch", "seeds": "seed"}[name]
    assert refusal(getattr, run, name) == (
        f"{run.directory}: {name}.csv cannot be read (column {column} is missing or has gaps); {AGAIN}"
    )


def test_a_class_that_was_not_trained_is_told_of(tmp_path):
    """Also where it has galaxies, but they are copies of one, or blank."""
    data = {"simulated": False, "sha256": "1" * 64, "rows": 40, "file": "own.h5"}
    write_run(tmp_path, "custom_cnn", 0, 20, data=data, trained_classes=[1] * 8 + [0, 0])
    assert collect.describe_sources(collect.collect_runs(tmp_path))[1] == [
        "Not the full Galaxy10 DECaLS but 40 galaxies of own.h5: do not compare with the paper's numbers.",
        "Left out for want of galaxies: Edge-on without bulge; Edge-on with bulge.",
    ]


ALONE = r"This is of one pair alone; the results page corrects for all pairs of a profile\."


def test_two_approaches_or_two_runs_are_compared_by_the_rule_of_the_study(tmp_path):
    for seed, right in enumerate((4, 5, 4)):
        write_run(tmp_path, "vgg_scratch", seed, right)
        write_run(tmp_path, "custom_cnn", seed, right + 30)
    first, second = tmp_path / "vgg_scratch", tmp_path / "custom_cnn"
    said = rf"{second} less {first}: \+75\.0 points \(95% interval \+[\d.]+ to \+[\d.]+\) on 40 galaxies, seeds: 3; "
    assert re.fullmatch(
        said + rf"right alone: 30 against 0\. Verdict on the second: better\. {ALONE}",
        collect.compare_runs(first, second),
    )
    single = collect.compare_runs(first / "seed0", second / "seed1")
    of_these = rf"Verdict on the second: better, of these trained networks\. {ALONE}"
    assert re.fullmatch(rf".*: \+77\.5 points .* seeds: 1; .* {of_these}", single)
    (tmp_path / "same").symlink_to(first)
    for again in (first, tmp_path / "same"):
        assert refusal(collect.compare_runs, first, again) == f"{again}: is named twice; name another."
    assert refusal(collect.compare_runs, first, tmp_path / "absent") == (
        f"{tmp_path}/absent: has no complete run; run its notebook first."
    )
    write_run(tmp_path, "other", 7, 20)
    assert refusal(collect.compare_runs, first, tmp_path / "other") == (
        f"{first} and {tmp_path}/other share no seed, or no galaxy that both were tested on; "
        "run both with the same seeds and split_seed."
    )


def test_where_they_fail_is_told_of_what_has_not_collapsed_and_was_tested_on(tmp_path):
    """Two seeds are right on 20 of 38 galaxies, four of each class but three of the last two; one has collapsed."""
    for seed, says in enumerate((None, None, 0)):
        write_run(tmp_path, "custom_cnn", seed, 20, n_test=38, says=says)
    told = dict(_failures(load_results(tmp_path)))
    # The first 20 hold two of each class: half of four, two thirds of three.
    names = ", ".join(GALAXY10[:8])
    assert told["The hardest classes"] == f"{names}: 50% of their galaxies are found, here."
    assert "The rarest class" not in told
    # Of a class without a galaxy nothing is said.
    for path in tmp_path.rglob("predictions.csv"):
        table = pd.read_csv(path)
        table[(table["y_true"] != 9) & ~((table["y_true"] == 8) & (table["row"] > 8))].to_csv(path, index=False)
    told = dict(_failures(load_results(tmp_path)))
    assert told["The rarest class"] == f"{GALAXY10[8]}: 1 test galaxy; 100% are found, here."
    assert told["The hardest classes"] == f"{names}: 50% of their galaxies are found, here."


def test_runs_are_listed_at_any_depth(tmp_path):
    """Of a study's folder what it compares, unless more is asked for by name."""
    data = {"data": {"sha256": "0" * 64, "file": "sky.h5"}}
    for folder, experiment, weights in (
        ("quick", "custom_cnn", None), ("quick/ablations/custom_cnn", "size=64", None),
        ("quick", "gone", None), ("deep/er", "dino_kmeans", {"source": "official"}), ("", "own", {"source": "a.pth"}),
    ):  # fmt: skip
        write_run(tmp_path / folder, experiment, 0, 20, weights, **data)
    (tmp_path / "own" / "seed0").rename(tmp_path / "moved")
    write_run(tmp_path, "own", 3, 10)
    write_json(tmp_path / "quick" / MANIFEST, {"runs": ["custom_cnn/seed0"]})

    def listed(folder):
        return dict(collect.list_scores(folder)[["run", "weights"]].to_numpy().tolist())

    assert listed(tmp_path) == {
        "quick/custom_cnn/seed0": "from scratch", "deep/er/dino_kmeans/seed0": "published by its authors",
        "moved": "a.pth", "own/seed3": "from scratch",
    }  # fmt: skip
    assert [*listed(tmp_path / "quick")] == ["custom_cnn/seed0"]
    assert [*listed(tmp_path / "quick" / "ablations")] == ["custom_cnn/size=64/seed0"]
    assert [*listed(tmp_path / "quick" / "custom_cnn")] == ["seed0"]
    assert [*listed(tmp_path / "moved")] == [str(tmp_path / "moved")]
    (tmp_path / "none").mkdir()
    assert refusal(collect.list_scores, tmp_path / "none") == (
        f"{tmp_path}/none: has no complete run; make report makes some, or name another folder."
    )


def test_results_are_a_profiles(tmp_path, command):
    write_run(tmp_path / "quick", "custom_cnn", 0, 20)
    write_run(tmp_path, "own", 0, 20)
    (tmp_path / "own" / "seed0").rename(tmp_path / "alone")
    for folder, said in (
        ("quick/custom_cnn/seed0", f"is a single run; name the profile's folder above it, {tmp_path}/quick."),
        ("quick/custom_cnn", f"is a part of a profile; name the profile's folder above it, {tmp_path}/quick."),
        ("alone", f"is a single run, of no profile; galutils runs {tmp_path}/alone says how it did."),
        ("own", "has no complete run; make report makes some, or name another folder."),
    ):
        assert command("results", tmp_path / folder) == (1, "", f"galutils: {tmp_path / folder}: {said}\n")
