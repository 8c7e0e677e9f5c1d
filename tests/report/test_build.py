"""The whole graph with the smoke profile, and the report that it makes."""

import json
import re
import shlex
import shutil
import time

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from bs4 import BeautifulSoup
from checkout import copy_checkout, make_report, start_report
from conftest import CHROMIUM, ROOT
from fakes import refusal

from galutils.data.classes import GALAXY10, class_columns
from galutils.data.galaxies import open_galaxies
from galutils.data.loader import load_images
from galutils.models.embedding import embed
from galutils.report.build import build_report
from galutils.report.pdf import find_leaves
from galutils.study.collect import collect_runs, first_runs
from galutils.study.execute import execute
from galutils.study.pages import load_study
from galutils.study.profile import declared_parameters
from galutils.study.results import load_results
from galutils.study.runs import Run
from galutils.training.supervised import predict_probabilities


def report_pages(checkout):
    return sorted((checkout / "reports" / "smoke").glob("*.html"))


def test_every_page_is_there_and_opens_anywhere(checkout):
    names = {path.name for path in report_pages(checkout)}
    expected = {f"{page.slug}.html" for page in load_study(checkout, "smoke").pages}
    assert names == expected | {"index.html", "explorer.html"}
    parsed = {path.name: BeautifulSoup(path.read_text(), "html.parser") for path in report_pages(checkout)}
    assert len(parsed["index.html"].select("p a.number")) > 3
    for path in report_pages(checkout):
        text, page = path.read_text(), parsed[path.name]
        sources = [element.get("src", "") for element in page(["script", "img", "iframe", "source", "video"])]
        sources += [element["href"] for element in page("link")]
        beside = {"explorer/data.js", "explorer/plotly.js"} if path.stem == "explorer" else set()
        assert {source for source in sources if source and not source.startswith("data:")} == beside, path.name
        assert all((path.parent / source).is_file() for source in beside)
        assert not re.search(r"@import|url\(\s*['\"]?https?:", text), path.name
        for link in page("a", href=lambda href: not href.startswith("data:text/csv;base64,")):
            name, _, place = link["href"].partition("#")
            if name == "https://zenodo.org/records/10845026":  # where the data are; nothing is fetched from there
                continue
            if name.endswith(".csv"):
                assert (path.parent / name).is_file()
                continue
            assert (name or path.name) in parsed, f"{path.name}: {link['href']}"
            if name == "explorer.html":  # whose address says what is shown
                continue
            assert place == "" or parsed[name or path.name].find(id=place), f"{path.name}: {link['href']}"
        assert all(image.get("alt") for image in page("img")), f"{path.name} has an image without alternative text"
        for figure in page.select("figure.drawing"):
            assert figure.select_one("a.csv, image") or "Diagram of the network's layers" in figure.get_text(), (
                path.name
            )
        headings = [heading.name for heading in page(re.compile("^h[1-6]$"))]
        assert (headings[0], headings.count("h1")) == ("h1", 1), path.name
        assert path.stat().st_size < 3e6
        # Simulated data and controls are marked on every page; none shows an error or a progress bar.
        assert "Simulated galaxies: these numbers show that the study runs" in text, path.name
        assert "which bear on nothing but the machinery" in text, path.name
        assert not re.search(r"Traceback \(most recent|it/s\]", text), path.name


def test_the_pages_are_no_book(checkout):
    """What is read on them, without tables, drawings, code, and what opens on demand."""
    aside = "script, style, svg, table, nav, button, label, dialog, details, .input, .skip, header, footer, aside"
    words = {}
    for path in report_pages(checkout):
        page = BeautifulSoup(path.read_text(), "html.parser")
        for element in page.select(aside):
            element.decompose()
        words[path.name] = len(page.body.get_text(" ").split())
    assert max(words.values()) < 1500, words
    assert sum(words.values()) < 11_000, words


def test_beside_the_pages_stands_their_print(checkout):
    """Where there is no Chromium, the report is made all the same."""
    path = checkout / "reports" / "smoke" / "study.pdf"
    assert path.exists() == bool(CHROMIUM)
    if CHROMIUM:
        names = [page.slug for page in load_study(checkout, "smoke").pages]
        assert find_leaves(path.read_bytes(), ["index", *names]).keys() == {"index", *names}


def test_a_page_says_where_its_approach_stands_and_results_come_before_method(checkout):
    results, page = load_results(checkout / "runs" / "smoke"), checkout / "reports" / "smoke" / "05_custom_cnn.html"
    page = BeautifulSoup(page.read_text(), "html.parser")
    runs = results.runs[results.runs["experiment"] == "custom_cnn"].set_index("seed")["accuracy"]
    labelled = results.table[results.table["supervised"]].set_index("experiment")
    own, place = labelled.loc["custom_cnn"], labelled["accuracy"].rank(ascending=False, method="min")["custom_cnn"]
    assert page.select_one("h1").find_next("p", string=None).find_next("p").get_text() == (
        f"{runs.mean():.1%} (95% interval {own.low:.1%} to {own.high:.1%}, 2 seeds); number {place:.0f} of 6 by "
        "accuracy of what learns from labels; the paper, on Galaxy10: 76%. This page shows seed 0; "
        f"seed 1: {runs[1]:.1%}. Which differences are shown."
    )
    assert [heading.get_text() for heading in page("h2")][:5] == [
        "Scores on the test rows", "Sure and right, sure and wrong, undecided", "The network", "Training",
        "What to take along",
    ]  # fmt: skip
    mark = page.select_one("figure.strip .track > .mark")["style"]
    assert float(re.search(r"left: (.*)%", mark)[1]) == pytest.approx(100 * runs.mean())
    assert len(page.select("figure.strip .tick")) == 5 + len(results.baselines)
    told = [link.find_parent("p").get_text() for link in page.select("a[href='index.html#claims']")]
    about = [row for row in results.claims.itertuples() if "custom_cnn" in row.experiments]
    assert told == [f"The paper: {row.claim} Verdict: {row.verdict}." for row in about]
    assert len(told) == 2


def test_an_approach_leaves_its_predictions_and_the_command_that_repeats_it(checkout):
    study = load_study(checkout, "smoke")
    (shown,) = [page for page in study.pages if page.experiment == "custom_cnn"]
    page = BeautifulSoup((checkout / "reports" / "smoke" / f"{shown.slug}.html").read_text(), "html.parser")
    table = pd.read_csv(checkout / "reports" / "smoke" / page.select_one(".beside a")["href"])
    for seed, own in table.groupby("seed"):
        kept = Run(shown.directory.parent / f"seed{seed}").predictions
        shared = [*kept.columns.intersection(own.columns)]
        pd.testing.assert_frame_equal(own[shared].reset_index(drop=True), kept[shared], rtol=1e-5)
        assert {"row", "y_true", "y_pred", *class_columns(GALAXY10)} <= {*shared}
    assert table["seed"].unique().tolist() == [0, 1]
    words = shlex.split(page.select_one(".beside pre").get_text())
    assert words[:-1] == ["galutils", "execute", "notebooks/05_custom_cnn.ipynb", "mine.ipynb", "-p"]
    given, usual = json.loads(words[-1]), declared_parameters(study.source(shown.notebook))
    assert given["data_path"] == "../runs/smoke/simulated.h5"
    places = {"run_dir", "data_path"}
    asked = {name: value for name, value in (usual | shown.parameters).items() if name not in places}
    assert {name: value for name, value in (usual | given).items() if name not in places} == asked
    assert all(value != usual[name] for name, value in given.items())


def test_sections_that_have_nothing_to_say_are_left_out(checkout):
    """This profile varies none of what 14_ablations has curves of, and its galaxies carry no votes."""
    left = {"14_ablations": ["One change at a time", "What to take along"]}
    left["13_label_noise"] = ["Copies that contradict each other", "Suspects", "What the search is worth"]
    for name, expected in left.items():
        page = BeautifulSoup((checkout / "reports" / "smoke" / f"{name}.html").read_text(), "html.parser")
        assert [heading.get_text() for heading in page("h2")][: len(expected)] == expected


def test_runs_hold_what_they_promise(checkout):
    table = collect_runs(checkout / "runs" / "smoke")
    study = load_study(checkout, "smoke")
    assert {*table["experiment"]} == {*study.config.experiments}
    assert len(table) == len(study.experiments)
    for entry in table.itertuples():
        run, predictions = entry.run, entry.run.predictions
        np.testing.assert_allclose(predictions[class_columns(GALAXY10)].sum(axis=1), 1, rtol=1e-6)
        right = (predictions["y_true"] == predictions["y_pred"]).mean()
        scores = run.metrics["scores"]
        assert scores["accuracy"] == pytest.approx(right)
        assert len(run.metrics["data"]["sha256"]) == 64
        assert run.metrics["environment"]["device"] == "cpu"
        if run.supervised:
            assert predictions["row"].tolist() == run.split.test.tolist()
        else:
            assert predictions["row"].tolist() == list(range(120))
            assert predictions.groupby("cluster")["y_pred"].nunique().max() == 1
            assert run.seeds.loc[run.seeds["reported"], "accuracy"].tolist() == [pytest.approx(right)]
            assert scores["roc_auc"] == scores["roc_auc_hard"]
            assert run.metrics["over_seeds"]["nmi"]["mean"] == pytest.approx(run.seeds["nmi"].mean())
            assert (run.metrics["trained_parameters"] > 0) == (run.experiment == "dino_lora_kmeans")
            assert run.metrics["weights"]["source"] == "random"
        if run.experiment != "dino_kmeans":
            assert len(run.history) == run.metrics["settings"]["epochs"] == 2


def test_saved_network_gives_the_saved_predictions(checkout):
    galaxies = open_galaxies(checkout / "runs" / "smoke" / "simulated.h5")
    for run in first_runs(collect_runs(checkout / "runs" / "smoke"), supervised=True)["run"]:
        rows = run.predictions["row"].to_numpy()
        images = load_images(galaxies, rows, run.metrics["settings"]["image_size"], torch.device("cpu"))
        probabilities = predict_probabilities(run.network(), images, rows)
        np.testing.assert_allclose(probabilities, run.predictions[class_columns(GALAXY10)], atol=1e-5)


def test_saved_transformer_gives_the_embedding_that_was_clustered(checkout):
    smoke = checkout / "runs" / "smoke"
    galaxies = open_galaxies(smoke / "simulated.h5")
    kept = sorted((smoke / "embeddings").iterdir())
    for run in first_runs(collect_runs(smoke), supervised=False)["run"]:
        found = embed(run.network(), galaxies, run.preprocessing, cache_dir=smoke / "embeddings")
        assert sorted((smoke / "embeddings").iterdir()) == kept  # it is known: the very same network and key
        assert found.seconds is None
        again = embed(run.network(), galaxies, run.preprocessing)
        assert again.seconds > 0
        np.testing.assert_allclose(again.values, found.values, atol=1e-5)


def test_index_shows_the_scores_of_the_runs_beside_the_papers(checkout):
    _, table, times = pd.read_html(checkout / "reports" / "smoke" / "index.html")
    results = load_results(checkout / "runs" / "smoke")
    assert len(times) == len(results.table) == len(results.shown) - 3  # baselines take no time
    found = results.shown["accuracy"]
    for shown, accuracy in zip(table.filter(like="Accuracy: simulated").iloc[:, 0], found, strict=True):
        assert shown.startswith(f"{accuracy:.1%} ±")
    page = BeautifulSoup((checkout / "reports" / "smoke" / "index.html").read_text(), "html.parser")
    doors = {
        door.strong.get_text(): {link["href"] for link in door.select("a.number")} for door in page.select(".doors li")
    }
    (hardest,) = (links for title, links in doors.items() if title in ("The hardest class", "The hardest classes"))
    assert hardest == {"10_results.html#recall-and-precision-by-class"}
    papers = [str(value) for value in table["Accuracy: paper"]]
    assert papers == ["73%", "74%", "–", "58%", "76%", "16%", "16%", *"––––"]  # noqa: RUF001


def test_ablations_are_shown_on_their_pages_and_nowhere_among_the_results(checkout):
    names = ("index", "10_results", "12_calibration", "14_ablations")
    text = {name: (checkout / "reports" / "smoke" / f"{name}.html").read_text() for name in names}
    assert "calibration_fraction = 0.25" in text["14_ablations"]
    # Of a run that has collapsed no temperature is told, and the section is left out.
    fitted = load_results(checkout / "runs" / "smoke").temperatures
    assert (
        ("Galaxies set aside" in text["12_calibration"])
        == ("One number to mend it" in text["12_calibration"])
        == (len(fitted) > 0)
    )
    assert not any("calibration_fraction" in text[name] for name in ("index", "10_results"))
    run = Run(checkout / "runs/smoke/ablations/custom_cnn/calibration_fraction=0.25/seed0")
    assert run.calibration["row"].tolist() == run.split.calibration.tolist() != []


def test_a_finished_study_is_not_run_again_and_a_changed_notebook_is(checkout, tmp_path):
    """Here to a cell that fails: it is named, and no report is made."""

    def executed_at(root):
        pages = [page for page in load_study(root, "smoke").pages if page.executed.exists()]
        return {page.slug: page.executed.stat().st_mtime_ns for page in pages}

    before = executed_at(checkout)
    assert make_report(checkout).returncode == 0
    assert executed_at(checkout) == before
    broken = copy_checkout(tmp_path)
    shutil.copytree(checkout / "runs", broken / "runs")
    path = broken / "notebooks" / "10_results.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("raise RuntimeError('the sky fell')", id="broken"))
    nbformat.write(notebook, path)
    done = make_report(broken)
    assert done.returncode != 0
    assert re.search(r"10_results\.ipynb, cell \d+: RuntimeError: the sky fell", done.stderr)
    assert "no report was made" in done.stderr
    assert not (broken / "reports" / "smoke" / "index.html").exists()
    assert {slug for slug, _ in executed_at(broken).items() ^ before.items()} == {"10_results"}
    assert not (broken / "runs" / "smoke" / "10_results" / "notebook.ipynb").exists()


def refused(done, sentence):
    """Nothing was made, and why is said without a traceback."""
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


NO_GALAXIES = "is not an HDF5 file; galutils pack makes such a file, and Galaxy10_DECals.h5 from "
NO_GALAXIES += "https://zenodo.org/records/10845026 is one."
NO_WEIGHTS = "is no weights file, or not a whole one; get it again."


@pytest.mark.parametrize(
    ("choice", "said"), [("data", NO_GALAXIES), ("vgg_weights", NO_WEIGHTS), ("dino_weights", NO_WEIGHTS)]
)
def test_a_wrong_choice_is_one_sentence(tmp_path, choice, said):
    (page := tmp_path / "page.txt").write_text("<html>Sign in to go on</html>")
    assert refusal(load_study(ROOT, "smoke", **{choice: str(page)}).check_files) == f"{page}: {said}"


def test_nothing_runs_after_a_wrong_choice(tmp_path):
    checkout = copy_checkout(tmp_path)
    refused(make_report(checkout, "data=absent.h5"), "absent.h5: there is no such file; give the path of an HDF5 file.")
    assert not (checkout / "runs").exists()


def test_a_copied_checkout_runs_its_own_code(tmp_path):
    checkout = copy_checkout(tmp_path)
    with (checkout / "galutils" / "data" / "simulate" / "cutouts.py").open("a") as file:
        file.write('raise RuntimeError("this is the code of the copy")\n')
    done = make_report(checkout)
    assert done.returncode != 0
    assert "RuntimeError: this is the code of the copy" in done.stderr


@pytest.mark.parametrize("place", ["", "def load_study(*study, **choices):\n    "], ids=["imported", "called"])
def test_code_that_cannot_be_loaded_is_not_passed_over_in_silence(tmp_path, place):
    checkout = copy_checkout(tmp_path)
    with (checkout / "galutils" / "study" / "pages.py").open("a") as file:
        file.write(f"\n\n{place}raise RuntimeError('this is broken')\n")
    done = make_report(checkout)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-2:] == [
        "RuntimeError: this is broken",
        "make report: the study cannot be loaded, see above; undo what was changed, or delete .venv to install anew.",
    ]


def test_a_study_that_is_asked_to_stop_ends_its_kernels(tmp_path):
    checkout = copy_checkout(tmp_path)
    process = start_report(checkout)
    end, below = time.monotonic() + 120, []
    while not any("ipykernel_launcher" in " ".join(child.info["cmdline"] or []) for child in below):
        assert time.monotonic() < end
        time.sleep(0.2)
        ours = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        below = [child for child in psutil.process_iter(["cmdline"]) if child.pid in ours]
    process.terminate()
    end = time.monotonic() + 60  # ten seconds on a quiet machine; a notebook to its end takes longer, and is marked
    process.communicate(timeout=60)
    assert process.returncode != 0
    # A process that has ended and that nobody has asked for its status yet is a zombie.
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in below):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert not any(page.done.exists() for page in load_study(checkout, "smoke").pages)


def test_a_folder_that_is_read_only_is_named_before_anything_runs(tmp_path):
    checkout = copy_checkout(tmp_path)
    (run_dir := checkout / "runs/smoke/custom_cnn/seed0").mkdir(parents=True)
    kept = run_dir / "metrics.json"
    kept.write_text("{}")
    checkout.chmod(0o555)
    try:
        done = make_report(checkout, powerless=True)
    finally:
        checkout.chmod(0o755)
    refused(done, f"{checkout}: cannot be written to; mend its permissions, or work in another checkout.")
    assert [path for path in (checkout / "runs").rglob("*") if path.is_file()] == [kept]
    assert kept.read_text() == "{}"


@pytest.mark.parametrize("folder", ["runs", "runs/smoke", "runs/smoke/custom_cnn/seed0", "reports/smoke"])
def test_a_folder_of_results_that_is_read_only_is_named(tmp_path, monkeypatch, folder):
    study = load_study(copy_checkout(tmp_path), "smoke")
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, _: path != tmp_path / folder)
    assert refusal(study.check_folders) == (
        f"{tmp_path / folder}: cannot be written to; mend its permissions, or work in another checkout."
    )


def test_nothing_from_a_file_becomes_markup(checkout, tmp_path):
    evil = "<script>alert(1)</script>.h5"
    copied = copy_checkout(tmp_path)
    shutil.copytree(checkout / "runs", copied / "runs")
    for path in (copied / "runs" / "smoke").glob("*/seed0/metrics.json"):
        metrics = json.loads(path.read_text())
        metrics["data"] |= {"file": evil, "simulated": False}
        path.write_text(json.dumps(metrics))
    study = load_study(copied, "smoke")
    vars(study)["pages"] = [page for page in study.pages if page.notebook in ("01_data_exploration", "10_results")]
    execute(study.source("10_results"), study.pages[1].executed, {"runs_dir": str(study.runs_dir)})
    build_report(study)
    for name in ("index", "10_results"):
        text = (copied / "reports" / "smoke" / f"{name}.html").read_text()
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
