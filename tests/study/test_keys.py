"""A notebook is run again where what it depends on has changed, and only there."""

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from fakes import refusal, write_notebook, write_run

from galutils.files import SIMULATED_CNN, SIMULATED_VIT, sha256, write_json
from galutils.study import execute, keys
from galutils.study.keys import describe_changes, notebook_key, read_key
from galutils.study.profile import check_files


@pytest.fixture
def source(tmp_path):
    """A notebook of an experiment."""
    declared = 'data_path = "simulated"  # a file\nepochs = 3  # a number\nrun_dir = ""  # a folder'
    (tmp_path / "notebooks").mkdir()
    return write_notebook(tmp_path / "notebooks" / "n.ipynb", "1", parameters=declared)


@pytest.fixture
def call(source, monkeypatch, command):
    """Execute the notebook with some parameters; what the command says, and how often it has run well by then.

    said: the sentence that it is refused with.

    No kernel is started: what a kernel does is of no matter here.
    """
    ran = []

    def run(source, target, parameters):
        ran.append(parameters)
        shutil.copy(source, target)
        write_json(Path(parameters["run_dir"]) / "metrics.json", {"format": keys.FORMAT, "classes": []})

    monkeypatch.setattr(execute, "_run", run)

    def call(run_dir, said="", **given):
        run_dir.mkdir(exist_ok=True)
        parameters = json.dumps(given | {"run_dir": str(run_dir)})
        code, out, err = command("execute", source, run_dir / "o.ipynb", "-p", parameters)
        assert (code, err) == ((1, f"galutils: {said}\n") if said else (0, ""))
        return out, len(ran)

    return call


def test_a_finished_notebook_stays_finished_wherever_it_lies(call, source, tmp_path):
    assert call(tmp_path / "run")[1] == 1
    said, times = call(tmp_path / "run")
    assert times == 1
    assert said == f"n is finished, and nothing that it depends on has changed: {tmp_path / 'run' / 'o.ipynb'}\n"
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    source.touch()
    assert call(tmp_path / "copy")[1] == 1


def test_what_changes_is_said_and_run_again(call, source, tmp_path, monkeypatch):
    run_dir = tmp_path / "run"
    call(run_dir)
    said, times = call(run_dir, epochs=4)
    assert (said.splitlines()[0], times) == (f"n is run again (epochs 3 → 4): {run_dir / 'o.ipynb'}", 2)
    monkeypatch.setattr(keys, "code_of", lambda experiment: "other code")
    assert call(run_dir, epochs=4)[0].splitlines()[0] == f"n is run again (another code): {run_dir / 'o.ipynb'}"
    notebook = nbformat.read(source, 4)
    notebook.cells[1].source += "\n"
    nbformat.write(notebook, source)
    assert call(run_dir, epochs=4)[0].splitlines()[0] == f"n is run again (another notebook): {run_dir / 'o.ipynb'}"
    (run_dir / "metrics.json").unlink()
    said, times = call(run_dir, epochs=4)
    assert ("again" in said, times) == (False, 5)  # there is nothing finished to speak of


def test_a_finished_notebook_is_lost_to_no_run_that_fails(call, tmp_path, monkeypatch):
    """Where the failing one has begun to write the run, it is finished no longer."""
    run_dir, target = tmp_path / "run", tmp_path / "run" / "o.ipynb"
    call(run_dir)
    finished, well = target.read_text(), execute._run
    monkeypatch.setattr(execute, "_run", lambda *arguments: "n.ipynb, cell 2: no.")
    assert call(run_dir, epochs=0, said="n.ipynb, cell 2: no.")[1] == 1
    assert target.read_text() == finished
    assert (run_dir / "o.failed.txt").exists()
    assert call(run_dir)[0] == f"n is finished, and nothing that it depends on has changed: {target}\n"
    assert not (run_dir / "o.failed.txt").exists()

    def half_done(*arguments):
        well(*arguments)
        return "n.ipynb, cell 2: no."

    monkeypatch.setattr(execute, "_run", half_done)
    call(run_dir, epochs=4, said="n.ipynb, cell 2: no.")
    assert not target.exists()
    assert (run_dir / "o.before.ipynb").read_text() == finished
    monkeypatch.setattr(execute, "_run", well)
    assert call(run_dir)[0] == f"n ran in 0 s: {target}\n"
    assert {path.name for path in run_dir.iterdir()} == {"metrics.json", "o.ipynb", "o.lock"}


def test_a_page_that_fails_does_not_look_executed_but_is_not_lost(tmp_path, monkeypatch):
    source, target = write_notebook(tmp_path / "n.ipynb", "1"), tmp_path / "o.ipynb"
    target.write_text(page := '{"metadata": {"galutils": {"code": "older"}}}')
    monkeypatch.setattr(execute, "_run", lambda *arguments: "n.ipynb, cell 2: no.")
    assert refusal(execute.execute, source, target, {}) == "n.ipynb, cell 2: no."
    assert not target.exists()
    assert (tmp_path / "o.before.ipynb").read_text() == page


def test_no_other_notebook_is_written_over(call, source, tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    shutil.copy(source, run_dir / "o.ipynb")
    said = f"{run_dir}/o.ipynb: is there, and galutils did not write it; choose another name."
    assert call(run_dir, said=said)[1] == 0
    assert (run_dir / "o.ipynb").read_text() == source.read_text()


@pytest.mark.parametrize("name", ["n.ipynb", "n.failed.ipynb"])
def test_the_notebook_to_run_is_not_written_over(command, source, monkeypatch, name):
    monkeypatch.chdir(source.parent)
    source.rename(name)
    content = Path(name).read_text()
    said = f"galutils: n.ipynb: {name} is the notebook to run, and would be lost; choose another name.\n"
    assert command("execute", name, "n.ipynb") == (1, "", said)
    assert Path(name).read_text() == content


def test_files_count_by_their_content(source, tmp_path, monkeypatch):
    for name, content in (("a.h5", "galaxies"), ("copy.h5", "galaxies"), ("b.h5", "others")):
        (tmp_path / name).write_text(content)
    one, copy, other = (notebook_key(source, {"data_path": f"../{name}.h5"}) for name in ("a", "copy", "b"))
    assert one == copy != other
    assert describe_changes(one, other) == "data_path file ed49013cca0… → file 01db91d0603…"


def test_device_threads_torch_and_runs_count(source, tmp_path, monkeypatch):
    before = notebook_key(source, {})
    monkeypatch.setattr(keys, "version", lambda package: "0.0")
    monkeypatch.setattr(keys, "find_gpus", lambda: ["a"])
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert describe_changes(before, notebook_key(source, {})) == "torch 0.0, device cuda, threads 7"
    closing = ROOT / "notebooks" / "09_confusion_matrices.ipynb"
    write_run(tmp_path / "runs", "custom_cnn", 0, 20)
    first = notebook_key(closing, {"runs_dir": str(tmp_path / "runs")})
    assert first == notebook_key(closing, {"runs_dir": str(tmp_path / "runs")})
    write_run(tmp_path / "runs", "custom_cnn", 1, 20)
    assert describe_changes(first, notebook_key(closing, {"runs_dir": str(tmp_path / "runs")})) == "another runs"


def test_pretrained_weights_that_come_to_hand_count(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    notebook = ROOT / "notebooks" / "03_vgg11_deep.ipynb"
    before = notebook_key(notebook, {"weights": "auto"})
    weights = tmp_path / "hub" / "checkpoints" / "vgg11-8a719046.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    after = notebook_key(notebook, {"weights": "auto"})
    assert describe_changes(before, after) == "pretrained weights at hand ['vgg11-8a719046.pth']"
    assert "pretrained weights at hand" not in notebook_key(notebook, {"weights": "random"})


def test_of_weights_that_are_taken_no_longer_the_parameter_says_all():
    notebook = ROOT / "notebooks" / "05_custom_cnn.ipynb"
    simulated, random = (notebook_key(notebook, {"weights": weights}) for weights in ("simulated", "random"))
    assert describe_changes(simulated, random) == "weights simulated → random"
    assert describe_changes(random, simulated) == "weights random → simulated"
    other = simulated | {"simulated weights": "0"}
    assert describe_changes(simulated, other) == "other simulated weights"


@pytest.mark.parametrize(
    ("name", "file"),
    [("05_custom_cnn", SIMULATED_CNN), ("05b_encoder", SIMULATED_VIT), ("06_dino_kmeans", SIMULATED_VIT)],
)
def test_packaged_weights_count_and_are_known_before_anything_runs(name, file):
    notebook, given = ROOT / "notebooks" / f"{name}.ipynb", {"weights": "simulated"}
    assert notebook_key(notebook, given)["simulated weights"] == sha256(file)
    check_files(notebook, given)


def test_a_notebook_without_a_key_is_not_finished(tmp_path):
    assert read_key(tmp_path / "absent.ipynb") is None
    for content in ('{"metadata": {"gal', '{"metadata": {}}', "{}"):
        (tmp_path / "cut.ipynb").write_text(content)
        assert read_key(tmp_path / "cut.ipynb") is None
