import pytest
from fakes import write_run

from galutils.evaluation.bootstrap import estimate
from galutils.evaluation.significance import compare
from galutils.report import tables
from galutils.study import ablations
from galutils.study.collect import collect_runs, grade_runs

PRETRAINED = {"source": "imagenet"}


def write(runs_dir, base, right, varied="", train=100, frozen_convs=4, augment=False):
    """An experiment, or its ablation in one parameter, with what the curves and conditions read of it."""
    write_run(
        runs_dir / "ablations" / base if varied else runs_dir,
        varied or base,
        0,
        right,
        PRETRAINED if base == "vgg11_shallow" else None,
        model={"frozen_convs": frozen_convs},
        rows={"test": 40, "train": train, "unused": 100 - train},
        settings={"seed": 0, "augment": augment},
    )


def collect(runs_dir):
    return collect_runs(runs_dir), ablations.collect_ablations(runs_dir)


def compared(runs, found):
    graded = grade_runs(runs) | ablations.grade_ablations(runs, found)
    family = compare(graded, [*ablations.name_ablations(runs, found).values()])
    return ablations.compare_with_base(runs, found, family)


@pytest.fixture
def varied(tmp_path):
    """A built and an adapted network with 20 and 24 of 40 right, varied in three ways."""
    write(tmp_path, "custom_cnn", 20)
    write(tmp_path, "vgg11_shallow", 24)
    write(tmp_path, "custom_cnn", 38, "average_pool=1")
    write(tmp_path, "custom_cnn", 4, "train_fraction=0.25", train=25)
    write(tmp_path, "vgg11_shallow", 30, "train_fraction=0.25", train=25)
    write(tmp_path, "vgg11_shallow", 22, "frozen_convs=2", frozen_convs=2)
    return collect(tmp_path)


def test_accuracy_alone_is_that_of_all_scores(tmp_path):
    for seed, right in enumerate((20, 24, 27)):
        write_run(tmp_path, "custom_cnn", seed, right)
    (seeds,) = grade_runs(collect_runs(tmp_path)).values()
    for own in (seeds, {0: seeds[0]}):
        whole = estimate(list(own.values())).loc["accuracy"]
        found = ablations._score(own)
        expected = [whole[name] for name in ("mean", "sd", "low", "high")]
        assert [found[name] for name in ("accuracy", "sd", "low", "high")] == pytest.approx(expected, nan_ok=True)


def test_ablations_stay_out_of_the_results(varied):
    runs, found = varied
    assert runs["experiment"].tolist() == ["vgg11_shallow", "custom_cnn"]
    assert len(found) == 4
    assert set(found["parameter"]) == {"average_pool", "train_fraction", "frozen_convs"}


def test_each_change_is_compared_with_its_own_experiment(varied):
    table = compared(*varied).set_index(["base", "parameter"])
    row = table.loc[("custom_cnn", "average_pool")]
    assert [row["accuracy"], row["base_accuracy"]] == [38 / 40, 20 / 40]
    assert row["difference"] == pytest.approx(18 / 40)
    assert row["difference_low"] < 18 / 40 < row["difference_high"]
    assert set(table["verdict"]) == {"one seed: no verdict"}
    shown = tables.in_columns(table.reset_index(), tables.ABLATIONS).set_index("Changed")
    assert shown.loc["average_pool = 1", "Verdict"] == "one seed: no verdict"
    assert shown.loc["average_pool = 1", "Difference, points"] == "+45.0 (+24.4 to +65.6)"


def test_with_three_seeds_a_change_gets_the_verdict_of_the_family(tmp_path):
    for seed in range(3):
        write_run(tmp_path, "custom_cnn", seed, 20 + seed)
        write_run(tmp_path / "ablations" / "custom_cnn", "average_pool=1", seed, 37 + seed)
    (row,) = compared(*collect(tmp_path)).to_dict("records")
    assert (row["seeds"], row["verdict"], row["told"]) == (3, "better", "better")


def test_curves_hold_the_experiment_itself(varied):
    learning = ablations.curve(*varied, "train_fraction")
    points = learning["Custom CNN, average pooling first"][["x", "accuracy"]]
    assert points.to_numpy().tolist() == [[25, 0.1], [100, 0.5]]
    (depth,) = ablations.curve(*varied, "frozen_convs").values()
    assert depth[["x", "accuracy"]].to_numpy().tolist() == [[2, 22 / 40], [4, 24 / 40]]


def test_building_and_adapting_are_compared_at_equal_numbers_of_galaxies(varied):
    table = ablations.build_or_adapt(*varied, "train_fraction")
    few, all_of_them = tables.describe_build_or_adapt(table)
    names = "VGG11, shallow fine-tuning less Custom CNN, average pooling first"
    interval = "95% interval of this pair alone"
    assert few == f"With 25% of the training galaxies: {names}, +65.0 points ({interval} +49.6 to +80.4; seeds: 1)."
    assert (
        all_of_them
        == f"With 100% of the training galaxies: {names}, +10.0 points ({interval} +0.3 to +19.7; seeds: 1)."
    )


@pytest.mark.parametrize("turned", [False, True])
def test_building_and_adapting_are_compared_with_images_turned_and_as_they_are(tmp_path, turned):
    """Either may be what is varied; the experiments have 20 and 24 of 40 right, their ablations 36 and 24."""
    write(tmp_path, "custom_cnn", 20, augment=turned)
    write(tmp_path, "vgg11_shallow", 24, augment=turned)
    write(tmp_path, "custom_cnn", 36, f"augment={not turned}", augment=not turned)
    assert len(ablations.build_or_adapt(*collect(tmp_path), "augment")) == 0  # nothing to compare it with
    write(tmp_path, "vgg11_shallow", 24, f"augment={not turned}", augment=not turned)
    table = ablations.build_or_adapt(*collect(tmp_path), "augment")
    varied, itself = ("as they are", "turned and flipped") if turned else ("turned and flipped", "as they are")
    assert dict(zip(table["condition"], table["difference"], strict=True)) == pytest.approx(
        {f"images {itself}": 4 / 40, f"images {varied}": -12 / 40}
    )
    said = tables.describe_build_or_adapt(table)
    names = "VGG11, shallow fine-tuning less Custom CNN, average pooling first"
    interval = "95% interval of this pair alone"
    assert said == [
        f"With images {varied}: {names}, -30.0 points ({interval} -44.8 to -15.2; seeds: 1).",
        f"With images {itself}: {names}, +10.0 points ({interval} +0.3 to +19.7; seeds: 1).",
    ]


def test_no_ablations_are_no_error(tmp_path):
    write(tmp_path, "custom_cnn", 20)
    runs, found = collect(tmp_path)
    assert found.empty
    assert compared(runs, found).empty
    assert ablations.curve(runs, found, "train_fraction") == {}
    assert tables.describe_build_or_adapt(ablations.build_or_adapt(runs, found, "augment")) == []
