"""How many labels: from a profile's block to the page and the advice, on simulated galaxies."""

import json
import re

import nbformat
import numpy as np
import pytest
import torch
from checkout import write_profile
from conftest import ROOT
from fakes import refusal, run_cells

from galutils.data.splits import draw_labels, split_rows
from galutils.models import cnn
from galutils.report.figures import display
from galutils.report.index import _advice, _curves
from galutils.study.ablations import advise, collect_labels, describe_registered
from galutils.study.keys import run_directories
from galutils.study.pages import LABELS, load_study
from galutils.study.runs import Run

BLOCK = {
    "n": [20, 40], "draws": 2, "seeds": 2, "updates": 20,
    "arms": {
        "scratch": {"title": "From scratch", "notebook": "05_custom_cnn"},
        "simulated": {"title": "Simulated start", "notebook": "05_custom_cnn", "weights": "simulated"},
        "statistics": {
            "title": "Statistics", "notebook": "05_custom_cnn", "weights": "simulated", "start": "statistics",
            "epochs": 1, "control": True,
        },
    },
    "contrasts": [["scratch", "simulated"], ["statistics", "simulated"]], "stopping": "all are trained once",
}  # fmt: skip


def written(folder, changed=(), **data):
    """A checkout whose profile "labels" has a block like the one above."""
    experiments = {"custom_cnn": {"notebook": "05_custom_cnn"}}
    return write_profile(folder, "labels", labels=BLOCK | dict(changed), experiments=experiments, **data)


def test_from_the_profile_to_the_advice(tmp_path, simulated_path, monkeypatch, capsys, command):
    folder = written(tmp_path, data=str(simulated_path))
    study = load_study(folder, "labels")
    assert refusal(advise, study.runs_dir, 30) == (
        f"{study.runs_dir}: has no experiment on numbers of labels; make report PROFILE=labels runs one."
    )
    assert [page.notebook for page in study.pages][-1] == LABELS
    assert study.inputs(study.pages[-1])[1:] == [page.done for page in study.labels]
    assert {page.directory for page in study.labels} <= {page.directory for page in study.unshown}
    given = {(p.parameters["train_labels"], p.parameters["batch_size"], p.parameters["epochs"]) for p in study.labels}
    assert given == {(20, 5, 5), (40, 10, 5), (20, 5, 1), (40, 10, 1)}
    study.start().release()
    for place, page in enumerate(study.labels):
        if place == 1:
            assert refusal(collect_labels, study.runs_dir) == (
                f"{study.runs_dir}: 23 of 24 networks are not trained yet; make report goes on."
            )
        run_cells(study.source(page.notebook), page.parameters)
    assert len(run_directories(study.runs_dir, "labels")) == 24
    crossed, costs = collect_labels(study.runs_dir)
    assert crossed.correct.shape == (3, 2, 2, 2, len(crossed.labels))
    assert [*crossed.arms] == ["From scratch", "Simulated start", "Statistics"]
    # Each network stands where its folder says.
    for i, (arm, n, draw, seed) in enumerate(((0, 1, 0, 1), (1, 0, 1, 0))):
        name = study.runs_dir / "labels" / [*BLOCK["arms"]][arm] / f"n{crossed.n[n]}_draw{draw}" / f"seed{seed}"
        accuracy = json.loads((name / "metrics.json").read_text())["scores"]["accuracy"]
        assert crossed.correct[arm, n, draw, seed].mean() == pytest.approx(accuracy), i
    assert costs["n"].tolist() == [20, 40] * 3
    shown = []
    monkeypatch.setattr(display, "display", lambda own: shown.append(own.data))
    monkeypatch.setenv("GALUTILS_DATA", str(simulated_path.parent))  # papermill, which notes where it lies, is not here
    capsys.readouterr()
    run_cells(study.source(LABELS), {"runs_dir": str(study.runs_dir)})
    said = capsys.readouterr().out
    assert len(shown) == 2
    assert said.count("Simulated start against From scratch: ") == 2
    assert "Statistics is right" not in said
    # What the weights say as they come, computed once more.
    first = Run(study.labels[0].directory)
    galaxies, rows = first.galaxies(), first.predictions["row"].to_numpy()
    size = first.metrics["settings"]["image_size"]
    images = torch.from_numpy(galaxies.read_images(rows, size)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        answers = cnn.build("custom_cnn", weights="simulated").eval()(images).argmax(1).numpy()
    share = (answers == galaxies.labels[rows]).mean()
    (started,) = re.findall(r"^.*: before any label .*$", said, re.MULTILINE)
    assert re.fullmatch(
        rf"Simulated start: before any label {share:.1%} \(95% interval \d+\.\d% to \d+\.\d%\) of the 20 test galaxies "
        r"are classified correctly\.",
        started,
    )
    code, out, _ = command("advise", "--labels", 30, "--runs", study.runs_dir)
    assert code == 0
    assert re.fullmatch(
        r"With 30 labels \(between the numbers measured, which are 20, 40\): (From scratch|Simulated start) is right "
        r"most often of 2 ways, \d+\.\d% \(95% interval, for all ways at once, \d+\.\d% to \d+\.\d%\)\. (It is better "
        r"than|Not told apart from it): (From scratch|Simulated start)\. Training it took \d+ s with (20|40) labels, "
        r"and it classifies [\d,]+ images a second \(.+\)\. Measured on 20 test galaxies of simulated\.h5, with 2 "
        r"draws of the labels and 2 seeds each\.\n",
        out,
    )
    assert _advice(study) == list(zip((20, 28, 40), advise(study.runs_dir, (20, 28, 40)), strict=True))
    # The first page shows the curves, the first figure of the page.
    shown = ["<table></table>", '<figure class="drawing">curves</figure>', '<figure class="drawing">bands</figure>']
    outputs = [nbformat.v4.new_output("display_data", {"text/html": html}) for html in shown]
    executed = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=outputs)])
    study.pages[-1].directory.mkdir()
    nbformat.write(executed, study.pages[-1].executed)
    assert _curves(study) == shown[1]
    assert _curves(load_study(ROOT, "smoke")) == ""
    assert refusal(advise, study.runs_dir, [20, 50]) == (
        f"{study.runs_dir}: 20 to 40 labels were measured; ask for one of these."
    )
    first = describe_registered(study.runs_dir)
    (sum_,) = re.findall(r"SHA-256 of the plan: (\w{12})", first)
    planned = "Contrasts (Simulated start against From scratch; Simulated start against Statistics), margin ({}) and "
    planned += "stopping rule (all are trained once) stood in the profile when the study was started; SHA-256 of the "
    planned += "plan: {}…."
    assert first == planned.format("1 point", sum_)
    other = written(tmp_path / "other", {"margin": 0.05}, data=str(simulated_path))
    (study.root / "config/labels.yaml").write_text((other / "config/labels.yaml").read_text())
    load_study(folder, "labels").start().release()
    again = describe_registered(study.runs_dir)
    (other,) = re.findall(r"SHA-256 of the plan: (\w{12})", again)
    assert again == f"{planned.format('5 points', other)} It began with another plan: {sum_}."


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"n": [40, 20]}, "labels: n is [40, 20]; it must grow; mend it."),
        ({"n": [4]}, "labels.n.0: Input should be greater than or equal to 8; mend it."),
        ({"draws": 1}, "labels.draws: Input should be greater than or equal to 2; mend it."),
        ({"contrasts": [["scratch", "vgg"]]}, "labels: contrasts names ['vgg'], which are no arms; mend it."),
        (
            {"arms": {name: BLOCK["arms"][name] for name in ("scratch", "statistics")}, "contrasts": [["scratch"] * 2]},
            "labels: arms are to be two or more that are no controls, each with a title of its own; mend it.",
        ),
        (
            {"looks": 3},
            "labels.looks: Extra inputs are not permitted; it may have n, draws, seeds, updates, proportions, arms, "
            "contrasts, margin, stopping",
        ),
    ],
)  # fmt: skip
def test_what_a_block_cannot_say(tmp_path, changed, sentence):
    folder = written(tmp_path, changed)
    assert refusal(load_study, folder, "labels") == f"{folder / 'config/labels.yaml'}: {sentence}".rstrip(".") + "."


@pytest.mark.parametrize("balanced", [False, True])
def test_fewer_labels_are_among_more_and_of_every_class(simulated, balanced):
    split = split_rows(simulated)
    # Of class 0 a single row is left to train on.
    spare = split.train[simulated.labels[split.train] == 0][1:]
    split.part[spare] = "unused"
    split = type(split)(split.part, split.group)
    before = set()
    for count in (10, 25, 40, len(split.train)):
        drawn = draw_labels(split, simulated.labels, count, 1, balanced)
        assert len(drawn.train) == count
        assert before <= set(drawn.train) <= set(split.train)
        assert set(simulated.labels[drawn.train]) == set(range(10))
        np.testing.assert_array_equal(drawn.test, split.test)
        before = set(drawn.train)
    assert set(draw_labels(split, simulated.labels, 25, 2).train) != set(
        draw_labels(split, simulated.labels, 25, 1).train
    )
    assert refusal(draw_labels, split, simulated.labels, 9, 0) == (
        f"train_labels is 9; give 10, one for each class, to {len(split.train)}, all the training rows."
    )
