import json
import re

import run
import timings
from conftest import ROOT
from fakes import refusal

ENVIRONMENT = {"device": "cpu", "cpu_cores": 2, "packages": {"torch": "2.14"}, "git_commit": "abc"}
CASE = {"usual_images_per_second": 10.0, "our_images_per_second": 40.0, "usual_seconds": 80.0, "our_seconds": 20.0}
USUAL = {
    "epochs": 30,
    "repeats": 5,
    "environment": ENVIRONMENT,
    "cases": [
        {"row": row, "size": size, "images": 100, "ratio": ratio, **CASE}
        for row, size, ratio in [("custom_cnn", 64, 2.0), ("custom_cnn", 128, 4.0), ("vgg11_shallow", 64, 20.0),
                                 ("vgg11_shallow", 128, 30.0)]
    ],
}  # fmt: skip
BARE = {"cases": [{"row": "custom_cnn", "size": 128, "our_speed": 98.74, "bare_speed": 100.0, "ratio": 0.987}]}
MEMORY = {
    "size": 256,
    "cases": [
        {"count": count, "resident": mode, "image_bytes": count * 196_608, "peak_bytes": 1e9 + count * 2e5,
         "seconds": 3 + count / 100, "import_seconds": 3.0}
        for count in (100, 200)
        for mode in (True, False)
    ],
}  # fmt: skip


def test_missing_and_damaged_measurements_are_one_sentence(tmp_path):
    absent, bad = tmp_path / "absent.json", tmp_path / "bad.json"
    assert refusal(timings.read_timings, absent) == f"{absent}: nothing has been measured there; run make bench."
    bad.write_text("{")
    told = refusal(timings.read_timings, bad)
    assert re.fullmatch(rf"{bad}: is not JSON \(.+\); delete it and run make bench\.", told)
    (tmp_path / "good.json").write_text(json.dumps({"usual": USUAL}))
    assert timings.read_timings(tmp_path / "good.json")["usual"] == USUAL


def test_the_stored_measurements_are_of_parts_that_can_be_measured():
    for name in ("measured-cpu.json", "measured-gpu.json"):
        assert set(timings.read_timings(ROOT / "benchmarks" / name)) <= set(run.PARTS)


def test_tables_show_what_was_measured():
    table = timings.usual_table(USUAL)
    assert table["Times faster"].tolist() == ["2.0", "4.0", "20.0", "30.0"]
    assert table["Approach"].iloc[0] == "Custom CNN, average pooling first"
    assert table["Usual, s for 30 epochs"].tolist() == ["80.0"] * 4
    title = "Custom CNN, average pooling first"
    assert timings.bare_table(BARE).iloc[0].tolist() == [title, 128, "99", "100", "0.99"]
    assert timings.conditions(USUAL) == "cpu, 2 cores, torch 2.14, commit abc, medians of 5"
    assert timings.conditions({"environment": ENVIRONMENT}) == "cpu, 2 cores, torch 2.14, commit abc"
    row = {"images_per_second": 1000.0, "seconds": 90.0, "share_of_arithmetic": 0.25, "share_of_bandwidth": None}
    row |= {"plain_images_per_second": None, "peak_bytes": None}
    full = row | {"plain_images_per_second": 800.0}
    table = timings.full_size_table({"epochs": 100, "rows": {"a": full, "b": row}})
    assert table.iloc[0].tolist() == ["1,000", 1.5, "25%", "not known", 1.25]
    assert table.iloc[1].tolist() == ["1,000", 1.5, "25%", "not known", ""]
    assert list(table)[-1] == "Recorded, times as fast", "no memory was measured"
    full |= {"peak_bytes": 3_210_000_000}
    assert timings.full_size_table({"epochs": 100, "rows": {"a": full}}).iloc[0, -1] == 3.2


def test_precision_is_told_in_words_that_follow_from_it():
    """Accuracies 0.50 and 0.54 against 0.52 and 0.54: differences 2 and 0 points, t(1) = 12.7, so +1 +- 12.7."""
    precision = {
        "row": "custom_cnn", "size": 64, "crop": 0.5, "epochs": 30, "n_test": 200, "simulated": False,
        "accuracy": {"32-true": [0.50, 0.54], "bf16-mixed": [0.52, 0.54]},
        "difference": 0.01, "interval": [-0.117, 0.137],
    }  # fmt: skip
    line = timings.precision_line(precision)
    assert "2 seeds, 200 real galaxies" in line
    assert "+1.0 points (95% interval -11.7 to +13.7), so no difference is seen" in line
    assert "2.8 in 32-true, 1.4 in bf16-mixed" in line
    assert "so the two differ" in timings.precision_line(precision | {"interval": [0.001, 0.02]})
    (ax,) = timings.precision_chart(precision).axes
    assert ax.lines[1].get_xydata().tolist() == [[50.0, 52.0], [54.0, 54.0]]


def test_the_answer_names_the_least_and_the_most_of_each_device():
    gpu = USUAL | {"environment": ENVIRONMENT | {"device": "A GPU"}, "cases": [{"ratio": 9.0}, {"ratio": 0.8}]}
    assert timings.describe_usual([{"usual": USUAL}, {"usual": gpu}, {}]) == (
        "The supervised approaches were trained 2.0 to 30.0 times as fast as the usual notebook (cpu, 2 cores); "
        "0.8 to 9.0 times as fast as the usual notebook (A GPU, 2 cores)."
    )


def test_charts_draw_every_measurement():
    (ax,) = timings.ratio_chart(USUAL).axes
    assert sorted(bar.get_width() for bar in ax.patches) == [2.0, 4.0, 20.0, 30.0]
    left, right = timings.growth_chart(MEMORY).axes
    assert [line.get_label() for line in left.lines] == ["resident", "streamed", "the images alone"]
    assert right.lines[0].get_ydata().tolist() == [1.0, 2.0]
