"""The study as a graph: simulated data where asked for, each notebook once, the statistics, then the report."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path


def give_up():
    """Snakemake, which is told to be quiet, would say nothing of what nobody foresaw."""
    traceback.print_exc()
    sys.exit("make report: the study cannot be loaded, see above; undo what was changed, or delete .venv to install anew.")


try:
    from galutils.errors import GalutilsError
    from galutils.study.execute import FAILURE_SUFFIX, forward_termination
    from galutils.study.keys import code_of
    from galutils.study.pages import load_study
except Exception:
    give_up()

# This folder's code and the galutils command of the Python that runs this, however it was started: also where a
# virtual environment was copied along, which knows the code of the folder that it was made for.
os.environ["PYTHONPATH"] = str(workflow.basedir)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

try:
    choices = {name: config.get(name) or "" for name in ("data", "vgg_weights", "dino_weights", "device")}
    study = load_study(workflow.basedir, str(config.get("profile", "quick")), **choices)
    if workflow.is_main_process:
        study.check_folders()
        study.check_files()
        lock = study.start()  # held until this process ends, however it ends
        forward_termination()
        for note in study.notes:
            print(note, file=sys.stderr)
        if not study.simulated:  # in a process of its own, which takes no GPU along
            given = [f"--{name.replace('_', '-')}={value}" for name, value in choices.items() if value]
            subprocess.run([sys.executable, "-m", "galutils.cli", "plan", study.profile, *given], cwd=study.root)
except GalutilsError as error:
    sys.exit(f"make report: {error}")
except Exception:
    give_up()

rule all:
    input:
        str(study.report_dir / "index.html"),


if study.simulated:

    rule simulate:
        input:
            [str(path) for path in sorted((study.root / "galutils" / "data" / "simulate").glob("*.py"))],
        output:
            study.data_path,
        params:
            options=" ".join(f"--{name} {value}" for name, value in dict(study.config.simulate).items()),
        shell:
            "galutils simulate {output:q} {params.options}"


for page in [*study.pages, *study.unshown]:

    rule:
        name:
            page.slug.replace("-", "_")
        input:
            list(map(str, study.inputs(page))),
        output:
            touch(str(page.done)),
        log:
            str(page.directory / "log.txt"),
        params:
            given=json.dumps(page.parameters),
            executed=str(page.executed),
            code=code_of(page.experiment is not None),  # another code runs the rule again
        threads: study.config.threads
        shell:
            # The number of threads changes the order of additions, so it belongs to the run. The log takes
            # the kernel's chatter; why a notebook failed is told at the end.
            "OMP_NUM_THREADS={threads} galutils execute {input[0]:q} {params.executed:q} -p {params.given:q} 2> {log:q}"


rule results:
    input:
        [str(page.done) for page in [*study.experiments, *study.ablations]],
    output:
        str(study.results_file),
    log:
        str(study.runs_dir / "results.txt"),
    params:
        runs=str(study.runs_dir),
    shell:
        "galutils results {params.runs:q} > {log:q}"


rule report:
    input:
        [str(page.done) for page in study.pages],
        [str(path) for path in sorted((study.root / "galutils" / "report").rglob("*.*")) if path.suffix != ".pyc"],
    output:
        str(study.report_dir / "index.html"),
    params:
        profile=study.profile,
        root=str(study.root),
    shell:
        # Where there is no Chromium a line says so, and the pages stand alone.
        "galutils report {params.profile} --root {params.root:q} --pdf"


onerror:
    for failure in sorted(study.runs_dir.rglob(f"*{FAILURE_SUFFIX}")):
        print(f"make report: {failure.read_text().strip()}", file=sys.stderr)
    print("make report: no report was made.", file=sys.stderr)
