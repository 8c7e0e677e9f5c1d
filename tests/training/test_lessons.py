"""What simulated galaxies teach: from the plan of lessons to the page, on simulated galaxies."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from checkout import write_profile
from conftest import ROOT
from fakes import refusal, run_cells

from galutils.data.galaxies import open_galaxies
from galutils.data.splits import split_rows
from galutils.models import cnn
from galutils.models.weights import describe_weights
from galutils.report.figures import display
from galutils.study.pages import load_study
from galutils.study.profile import Lessons
from galutils.training import lessons
from galutils.training.lessons import LACKING, ask, describe_lessons, plan_lessons, teach
from galutils.training.pretrain import CONTROLS


def test_the_plan_worked_out_by_hand():
    told, pairs = plan_lessons([20, 600], ["arms", "labels"], 20, [8])
    assert told == {
        "20 galaxies": {"count": 20},
        "600 galaxies": {"count": 600},
        "600 galaxies, 8 channels": {"count": 600, "channels": 8},
        "20 galaxies without arms": {"count": 20, "control": "arms"},
        "20 galaxies with shuffled labels": {"count": 20, "control": "labels"},
    }
    assert pairs == [
        ("20 galaxies", "600 galaxies"),
        ("600 galaxies", "600 galaxies, 8 channels"),
        ("20 galaxies", "20 galaxies without arms"),
        ("20 galaxies", "20 galaxies with shuffled labels"),
    ]


def test_a_profile_and_the_plan_know_the_same_controls():
    assert [*LACKING] == [*get_args(get_args(Lessons.model_fields["controls"].annotation)[0])] == [*CONTROLS[1:]]


def test_a_profile_asks_for_the_page(tmp_path):
    lessons = {"counts": [20, 40], "controls": ["arms"], "control_count": 20, "updates": 2}
    study = load_study(write_profile(tmp_path, "own", lessons=lessons), "own")
    page = study.pages[-1]
    assert page.notebook == "18_simulated_galaxies"
    defaults = {"channels": [], "lesson_seeds": [100], "version": "U", "processes": 1}
    given = lessons | defaults | {"lessons_dir": str(study.runs_dir / "lessons"), "data_path": study.data_path}
    assert {name: page.parameters[name] for name in given} == given
    assert study.inputs(page) == [study.source(page.notebook), Path(study.data_path)]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"counts": [40, 20]}, "lessons: counts is [40, 20]; it must grow; mend it."),
        ({"control_count": 30}, "lessons: control_count is 30, which is none of counts; mend it."),
        (
            {"dust": 1},
            "lessons.dust: Extra inputs are not permitted; it may have counts, controls, control_count, channels, "
            "updates, lesson_seeds, version, processes.",
        ),
    ],
)
def test_profiles_with_other_lessons_are_refused(tmp_path, changed, sentence):
    lessons = {"counts": [20, 40], "controls": ["arms"], "control_count": 20, "updates": 2} | changed
    path = write_profile(tmp_path, "own", lessons=lessons) / "config/own.yaml"
    assert refusal(load_study, tmp_path, "own") == f"{path}: {sentence}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([600, 20], [], 0, []), "counts is [600, 20]; give numbers of simulated galaxies that grow."),
        (([], [], 0, []), "counts is []; give numbers of simulated galaxies that grow."),
        (
            ([20], ["dust"], 20, []),
            "controls has ['dust']; choose from labels, shapes, arms, bars, seeing, noise, neighbours.",
        ),
        (([20, 40], ["arms"], 30, []), "control_count is 30; give one of counts, 20, 40."),
    ],
)
def test_plans_that_cannot_be_are_refused(arguments, sentence):
    assert refusal(plan_lessons, *arguments) == sentence


def test_lessons_are_learnt_once_in_as_many_steps_each(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    told = {"wide": {"count": 130, "channels": 8}, "few": {"count": 20}}
    made = teach(tmp_path / "made", told, updates=6, seeds=[100, 101])
    assert {title: [*own] for title, own in made.items()} == {"wide": [100, 101], "few": [100, 101]}
    files = sorted((tmp_path / "made").iterdir())
    assert files == sorted(path for own in made.values() for path in own.values())
    said = capsys.readouterr().out.splitlines()
    reached = r"\d+\.\d% of simulated galaxies that were held out are classified correctly"
    patterns = [f"{title}, seed {seed}: {reached}" for title in told for seed in (100, 101)]
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, said, strict=True))
    recipe = describe_weights(made["wide"][101]).splitlines()[3]
    # Of 130 galaxies some are held out: two batches, three times; 20 are one batch, six times.
    assert '"count": 130, "control": "none", "version": "U", "epochs": 3' in recipe
    assert '"epochs": 6' in describe_weights(made["few"][100])
    assert refusal(cnn.build, "custom_cnn", weights=str(made["wide"][100])) == (
        f"{made['wide'][100]}: is of convolutions with 8 channels, not 32; set channels to 8."
    )
    monkeypatch.setattr(lessons, "pretrain", lambda *_, **__: pytest.fail("it was there"))
    assert teach(tmp_path / "made", told, updates=6, seeds=[100, 101]) == made
    with pytest.raises(pytest.fail.Exception):
        teach(tmp_path / "made", told, updates=9, seeds=[100])


def test_a_network_of_simulated_galaxies_knows_their_classes_alone(tmp_path, monkeypatch, simulated_path):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    ((path,),) = (own.values() for own in teach(tmp_path, {"some": {"count": 600}}, updates=200, seeds=[7]).values())
    galaxies = open_galaxies(simulated_path)
    rows = split_rows(galaxies).test
    answers = ask(path, galaxies, rows, crop=0.5)
    assert answers.shape == (len(rows), 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    everything = np.arange(len(galaxies))
    assert np.mean(ask(path, galaxies, everything, 0.5).argmax(axis=1) == galaxies.labels) > 0.25  # chance is 0.1
    object.__setattr__(galaxies, "classes", tuple("abcdefghij"))
    assert refusal(ask, path, galaxies, rows, 0.5) == (
        f"{galaxies.path}: has other classes than simulated galaxies; name a file of Galaxy10's."
    )


def test_lessons_are_told_as_the_comparisons_have_them():
    scores = {
        title: pd.DataFrame({"mean": [value], "low": [value - 0.1], "high": [value + 0.1]}, index=["accuracy"])
        for title, value in {"20 galaxies": 0.3, "600 galaxies": 0.5, "600 galaxies without arms": 0.49}.items()
    }
    compared = pd.DataFrame(
        {
            "first": ["20 galaxies", "600 galaxies"],
            "second": ["600 galaxies", "600 galaxies without arms"],
            "difference": [0.2, -0.01],
            "told": ["better, of these trained networks", "open, and equivalence cannot be shown here"],
        }
    )
    assert describe_lessons(scores, compared, 2) == [
        "Right without a label, with 95% intervals, after 20 galaxies: 30.0% (20.0% to 40.0%); 600 galaxies: 50.0% "
        "(40.0% to 60.0%).",
        "Better, of these trained networks: 600 galaxies against 20 galaxies, +20.0 points.",
        "Open, and equivalence cannot be shown here: 600 galaxies without arms against 600 galaxies, -1.0 points.",
    ]
    assert describe_lessons({"20 galaxies": scores["20 galaxies"]}, compared.iloc[:0], 1) == [
        "Right without a label, with 95% intervals, after 20 galaxies: 30.0% (20.0% to 40.0%)."
    ]


@pytest.mark.parametrize("counts", [[20], [20, 40]])
def test_the_page_asks_and_tells(tmp_path, monkeypatch, capsys, simulated_path, counts):
    monkeypatch.setenv("GALUTILS_DATA", str(tmp_path))
    shown = []
    monkeypatch.setattr(display, "display", lambda own, **_: shown.append(own))
    given = {"data_path": str(simulated_path), "lessons_dir": str(tmp_path / "lessons"), "counts": counts}
    given |= {"controls": ["noise"], "control_count": 20, "updates": 2, "crop": 0.5}
    names = run_cells(ROOT / "notebooks/18_simulated_galaxies.ipynb", given)
    said = capsys.readouterr().out
    assert said.splitlines()[1] == (
        "The galaxies asked about are simulated, too, if with another seed: here these networks are at home."
    )
    assert re.search(r"20 galaxies without noise against 20 galaxies, [+-]\d+\.\d points\.$", said, re.MULTILINE)
    assert len(shown) == 4  # three galaxies, and a curve or why there is none
    assert [len(own) for own in (names["comparisons"], names["estimates"])] == [len(counts), 1 + len(counts)]
