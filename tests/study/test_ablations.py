import json

import pytest
from fakes import write_run

from galutils.report import tables
from galutils.study import ablations
from galutils.study.collect import collect_runs

PRETRAINED = {"source": "imagenet"}


def vary(runs_dir, base, varied, seed, right, weights=None, **changed):
    """An ablation run, with the entries of its metrics that curves read."""
    folder = runs_dir / "ablations" / base
    write_run(folder, varied, seed, right, weights)
    amend(folder / varied / f"seed{seed}", base + " " + varied, **changed)


def amend(run_dir, experiment, train=100, frozen_convs=4, augment=False):
    path = run_dir / "metrics.json"
    metrics = json.loads(path.read_text())
    metrics |= {"experiment": experiment, "model": {"frozen_convs": frozen_convs}}
    metrics["rows"] |= {"train": train, "unused": 100 - train}
    metrics["settings"]["augment"] = augment
    path.write_text(json.dumps(metrics))


@pytest.fixture
def varied(tmp_path):
    """A built and an adapted network with 20 and 24 of 40 right, varied in three ways."""
    write_run(tmp_path, "custom_cnn", 0, 20)
    write_run(tmp_path, "vgg11_shallow", 0, 24, PRETRAINED)
    for name in ("custom_cnn", "vgg11_shallow"):
        amend(tmp_path / name / "seed0", name)
    vary(tmp_path, "custom_cnn", "average_pool=1", 0, 38)
    vary(tmp_path, "custom_cnn", "train_fraction=0.25", 0, 4, train=25)
    vary(tmp_path, "vgg11_shallow", "train_fraction=0.25", 0, 30, PRETRAINED, train=25)
    vary(tmp_path, "vgg11_shallow", "frozen_convs=2", 0, 22, PRETRAINED, frozen_convs=2)
    return collect_runs(tmp_path), ablations.collect_ablations(tmp_path)


def test_ablations_stay_out_of_the_results(varied):
    runs, found = varied
    assert runs["experiment"].tolist() == ["vgg11_shallow", "custom_cnn"]
    assert len(found) == 4
    assert set(found["parameter"]) == {"average_pool", "train_fraction", "frozen_convs"}


def test_each_change_is_compared_with_its_own_experiment(varied):
    table = ablations.compare_with_base(*varied).set_index(["base", "parameter"])
    row = table.loc[("custom_cnn", "average_pool")]
    assert [row["accuracy"], row["base_accuracy"]] == [38 / 40, 20 / 40]
    assert row["difference"] == pytest.approx(18 / 40)
    assert row["difference_low"] < 18 / 40 < row["difference_high"]
    assert row["real"]
    assert not table.loc[("vgg11_shallow", "frozen_convs"), "real"]
    shown = tables.in_columns(table.reset_index(), tables.ABLATIONS).set_index("Changed")
    assert shown.loc["average_pool = 1", "Verdict"] == "real"
    assert shown.loc["average_pool = 1", "Difference, points"].startswith("+45.0 (")


def test_curves_hold_the_experiment_itself(varied):
    learning = ablations.curve(*varied, "train_fraction")
    assert learning["Custom CNN, average pooling first"][["x", "accuracy"]].to_numpy().tolist() == [
        [25, 0.1],
        [100, 0.5],
    ]
    (depth,) = ablations.curve(*varied, "frozen_convs").values()
    assert depth[["x", "accuracy"]].to_numpy().tolist() == [[2, 22 / 40], [4, 24 / 40]]


def test_building_and_adapting_are_compared_at_equal_numbers_of_galaxies(varied):
    few, all_of_them = tables.describe_build_or_adapt(ablations.build_or_adapt(*varied, "train_fraction"))
    assert few.startswith(
        "With 25% of the training galaxies VGG11, shallow fine-tuning is 65.0 points better than Custom"
    )
    assert few.endswith("real.")
    assert all_of_them.startswith("With 100% of the training galaxies VGG11, shallow fine-tuning is 10.0 points better")
    assert all_of_them.endswith("undecided.")


def test_building_and_adapting_are_compared_with_images_turned(varied, tmp_path):
    vary(tmp_path, "custom_cnn", "augment=True", 0, 36, augment=True)
    only_built = collect_runs(tmp_path), ablations.collect_ablations(tmp_path)
    assert len(ablations.build_or_adapt(*only_built, "augment")) == 0  # nothing to compare it with
    vary(tmp_path, "vgg11_shallow", "augment=True", 0, 24, PRETRAINED, augment=True)
    both = collect_runs(tmp_path), ablations.collect_ablations(tmp_path)
    turned, plain = tables.describe_build_or_adapt(ablations.build_or_adapt(*both, "augment"))
    assert plain.startswith("With images as they are VGG11, shallow fine-tuning is 10.0 points better than Custom")
    assert turned.startswith("With images turned and flipped VGG11, shallow fine-tuning is 30.0 points worse than")
    assert [plain.endswith("undecided."), turned.endswith("real.")] == [True, True]


def test_images_as_they_are_may_be_what_is_varied(tmp_path):
    for name, right, varied_right, weights in (("custom_cnn", 20, 10, None), ("vgg11_shallow", 24, 30, PRETRAINED)):
        write_run(tmp_path, name, 0, right, weights)
        amend(tmp_path / name / "seed0", name, augment=True)
        vary(tmp_path, name, "augment=False", 0, varied_right, weights)
    table = ablations.build_or_adapt(collect_runs(tmp_path), ablations.collect_ablations(tmp_path), "augment")
    assert table.set_index("condition")["difference"].to_dict() == pytest.approx(
        {"images as they are": 20 / 40, "images turned and flipped": 4 / 40}
    )


def test_no_ablations_are_no_error(tmp_path):
    write_run(tmp_path, "custom_cnn", 0, 20)
    runs, found = collect_runs(tmp_path), ablations.collect_ablations(tmp_path)
    assert found.empty
    assert ablations.compare_with_base(runs, found).empty
    assert ablations.curve(runs, found, "train_fraction") == {}
    assert tables.describe_build_or_adapt(ablations.build_or_adapt(runs, found, "augment")) == []
