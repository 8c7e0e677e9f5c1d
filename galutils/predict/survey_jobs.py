"""Workers of a survey as jobs of Slurm, through dask-jobqueue."""

from __future__ import annotations

import subprocess
import time
from shutil import which
from typing import TYPE_CHECKING

from galutils.errors import first_line
from galutils.predict.survey_parts import SurveyError, needs_extra

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster


def submit_workers(options: str, count: int, memory: float) -> SLURMCluster:
    """A Dask cluster of so many workers, in jobs that are given again when their time is up.

    A job is one worker; where GPUs are asked for it is one for each core, which share them, since a process reads far
    less than a GPU can see.

    options: of sbatch, such as ``partition=gpu,gpus=1,cpus-per-task=8,time=12:00:00``; memory: of a worker, in GB.
    """
    needs_extra("dask_jobqueue")
    from dask_jobqueue import SLURMCluster

    pairs = [pair.strip().partition("=") for pair in options.split(",")]
    given = {name: value for name, _, value in pairs}
    cores = given.pop("cpus-per-task", "1")
    if not cores.isdigit() or not all(name and value for name, _, value in pairs):
        raise SurveyError(f"--slurm {options}: is no list of sbatch's options; write partition=...,time=..., say.")
    gpus = any(name.startswith("gpus") or (name == "gres" and value.startswith("gpu")) for name, value in given.items())
    each, threads = (int(cores), 1) if gpus else (1, int(cores))
    if not which("sbatch"):
        raise SurveyError("--slurm: there is no sbatch here; give the command where jobs are submitted.")
    extra = [f"--{name}={value}" for name, value in given.items() if name != "time"]
    cluster = SLURMCluster(
        cores=each, processes=each, memory=f"{memory * each}GB", walltime=given.get("time", "12:00:00"),
        job_cpu=int(cores), job_extra_directives=extra, job_script_prologue=[f"export OMP_NUM_THREADS={threads}"],
        scheduler_options={"dashboard_address": None}, silence_logs=50,
    )  # fmt: skip
    # Dask asks for jobs in the background, where a refusal is not heard of.
    asked = subprocess.run(["sbatch", "--test-only"], input=cluster.job_script(), capture_output=True, text=True)
    if asked.returncode:
        cluster.close()
        raise SurveyError(f"--slurm {options}: Slurm takes no such job ({first_line(asked.stderr)}); change it.")
    cluster.adapt(minimum=count, maximum=count)
    return cluster


def await_worker(cluster: SLURMCluster) -> None:
    """Wait until a job has begun, however long the queue is; a SurveyError if all jobs end before a worker comes."""
    while not cluster.scheduler_info["workers"]:
        jobs = [str(job) for worker in cluster.workers.values() if (job := getattr(worker, "job_id", None))]
        queue = subprocess.run(["squeue", "-h", "-o", "%i", "-j", ",".join(jobs)], capture_output=True, text=True)
        if jobs and not queue.stdout.strip() and not cluster.scheduler_info["workers"]:
            raise SurveyError(f"Slurm's job {jobs[0]} ended before its worker began; slurm-{jobs[0]}.out says why.")
        time.sleep(1)
