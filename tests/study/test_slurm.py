"""The study and a survey on a real Slurm: Debian's, on this machine."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from checkout import COMMAND, copy_checkout, environment
from fakes import refusal, train_run
from slurm import AVAILABLE, slurm

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.data.splits import split_rows
from galutils.predict.survey import Where, classify_survey
from galutils.training.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AVAILABLE, reason="needs root, slurm-wlm and munge, and no other Slurm"),
]


def test_jobs_on_slurm_make_the_same_run_and_one_that_fails_is_said(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    here, there = copy_checkout(tmp_path / "here"), copy_checkout(tmp_path / "there")
    local = [*COMMAND[:3], "05_custom_cnn", *COMMAND[-2:]]
    remote = ["snakemake", "--profile", "config/slurm", "--slurm-init-seconds-before-status-checks", "5"]
    remote += ["05_custom_cnn", *COMMAND[-2:]]

    def call(words, checkout):
        return subprocess.run(
            words, cwd=checkout, env=environment(checkout), capture_output=True, text=True, timeout=900
        )

    assert call(local, here).returncode == 0
    notebook = there / "notebooks" / "05_custom_cnn.ipynb"
    whole = notebook.read_text()
    cells = json.loads(whole)
    code = [cell for cell in cells["cells"] if cell["cell_type"] == "code"]
    code[1]["source"] = ["raise ValueError('broken')"]
    with slurm(tmp_path / "slurm"):
        notebook.write_text(json.dumps(cells))
        failed = call(remote, there)
        notebook.write_text(whole)
        done = call(remote, there)
    assert failed.returncode == 1
    (sentence, last) = [line for line in failed.stderr.splitlines() if line.startswith("make report: ")]
    assert "ValueError: broken" in sentence
    assert last == "make report: no report was made."
    assert done.returncode == 0, done.stderr
    of_run = [json.loads((place / "runs/smoke/custom_cnn/seed0/metrics.json").read_text()) for place in (here, there)]
    assert of_run[0]["scores"] == of_run[1]["scores"]


def test_a_survey_is_classified_by_jobs(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.chdir(tmp_path)  # where the jobs' logs are
    write_simulated(tmp_path / "sky.h5", 60, 32, seed=0)
    galaxies = open_galaxies(tmp_path / "sky.h5")
    train_run(tmp_path / "run", galaxies, split_rows(galaxies), Settings(epochs=1, image_size=32, device="cpu"))

    def run(target, **where):
        run_dir = tmp_path / "run" / "custom_cnn" / "seed0"
        path = classify_survey(run_dir, tmp_path / "sky.h5", target, where=Where(memory=2, **where), device="cpu")
        table = pd.concat(map(pd.read_parquet, path.rglob("dataset/**/*.parquet")))
        return table.sort_values("path", ignore_index=True)

    with slurm(tmp_path / "slurm"):
        told = refusal(run, tmp_path / "out", slurm="partition=none")
        why = "sbatch: error: invalid partition specified: none"
        assert told == f"--slurm partition=none: Slurm takes no such job ({why}); change it."
        assert refusal(run, tmp_path / "out", slurm="all") == (
            "--slurm all: is no list of sbatch's options; write partition=...,time=..., say."
        )
        found = run(tmp_path / "out", slurm="partition=all,time=00:10:00")
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            told = refusal(run, tmp_path / "other", slurm="partition=all")
        jobs = {path.stem.split("-")[1] for path in tmp_path.glob("slurm-*.out")}
        assert told in {f"Slurm's job {job} ended before its worker began; slurm-{job}.out says why." for job in jobs}
    pd.testing.assert_frame_equal(found, run(tmp_path / "local", workers=1))
