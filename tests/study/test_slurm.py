"""The study and a survey on a real Slurm: Debian's, on this machine."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from checkout import COMMAND, copy_checkout, environment
from fakes import refusal, train_run, wait_until
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

REMOTE = ["snakemake", "--profile", "config/slurm", "--slurm-init-seconds-before-status-checks", "5", "05_custom_cnn"]
REMOTE += COMMAND[-2:]


def call(words, checkout):
    env = environment(checkout)
    return subprocess.run(words, cwd=checkout, env=env, capture_output=True, text=True, timeout=1800)


def squeue(column):
    """Of the only job."""
    return subprocess.run(["squeue", "-h", "-o", column], capture_output=True, text=True, check=True).stdout.strip()


def test_jobs_on_slurm_make_the_same_run_and_one_that_fails_is_said(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    here, there = copy_checkout(tmp_path / "here"), copy_checkout(tmp_path / "there")
    local = [*COMMAND[:3], "05_custom_cnn", *COMMAND[-2:]]

    assert call(local, here).returncode == 0
    notebook = there / "notebooks" / "05_custom_cnn.ipynb"
    whole = notebook.read_text()
    cells = json.loads(whole)
    code = [cell for cell in cells["cells"] if cell["cell_type"] == "code"]
    code[1]["source"] = ["raise ValueError('broken')"]
    with slurm(tmp_path / "slurm"):
        notebook.write_text(json.dumps(cells))
        failed = call(REMOTE, there)
        notebook.write_text(whole)
        done = call(REMOTE, there)
    assert failed.returncode == 1
    (sentence, last) = [line for line in failed.stderr.splitlines() if line.startswith("make report: ")]
    assert "ValueError: broken" in sentence
    assert last == "make report: no report was made."
    assert done.returncode == 0, done.stderr
    of_run = [json.loads((place / "runs/smoke/custom_cnn/seed0/metrics.json").read_text()) for place in (here, there)]
    assert of_run[0]["scores"] == of_run[1]["scores"]


def test_a_job_that_is_requeued_goes_on_from_its_last_epoch(tmp_path):
    """Slurm ends it by SIGTERM in mid-training, and starts it again some two minutes later."""
    pytest.importorskip("snakemake_executor_plugin_slurm")
    checkout = copy_checkout(tmp_path / "there")
    profile, run_dir = checkout / "config" / "smoke.yaml", checkout / "runs" / "smoke" / "custom_cnn" / "seed0"
    profile.write_text(profile.read_text().replace("epochs: 2", "epochs: 100").replace("seeds: [0, 1]", "seeds: [0]"))
    saved = run_dir / "checkpoint.pt"
    with slurm(tmp_path / "slurm"), ThreadPoolExecutor(1) as pool:
        command = pool.submit(call, REMOTE, checkout)
        wait_until(lambda: saved.exists() or command.done(), 900)
        subprocess.run(["scontrol", "requeue", squeue("%i")], check=True)
        wait_until(lambda: squeue("%T") == "PENDING", 120)
        before = torch.load(saved, weights_only=True)["history"]
        assert 0 < len(before) < 100
        done = command.result()
    assert done.returncode == 0, done.stderr
    history = pd.read_csv(run_dir / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 101))
    # An epoch that was trained again would have taken another time.
    np.testing.assert_allclose(history["seconds"][: len(before)], [row["seconds"] for row in before], rtol=1e-6)


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
