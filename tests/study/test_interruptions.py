"""Power cuts, and the same numbers twice. Minutes long: ``pytest -m slow``."""

import contextlib
import json
import os
import random
import signal
import time

import pytest
from checkout import copy_checkout, make_report, start_report

pytestmark = pytest.mark.slow


def numbers(checkout):
    """All metrics of all runs but for timings and the folder's git commit, by run."""
    found = {}
    for path in sorted((checkout / "runs" / "smoke").glob("*/seed*/metrics.json")):
        metrics = json.loads(path.read_text())
        del metrics["timing"], metrics["environment"]
        found[str(path.parent.relative_to(checkout))] = metrics
    return found


def test_killed_at_ten_moments_it_ends_with_the_same_numbers_as_another_clone(tmp_path):
    undisturbed, checkout = copy_checkout(tmp_path / "undisturbed"), copy_checkout(tmp_path / "killed")
    done = make_report(undisturbed)
    assert done.returncode == 0, done.stderr[-3000:]
    moments = random.Random(0)
    finished = {}
    for _ in range(10):
        process = start_report(checkout)
        time.sleep(moments.uniform(5, 60))
        # The whole machine goes down: every process of the run, kernels included.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        killed = time.time()
        process.communicate()
        pages = {path: path.stat().st_mtime for path in (checkout / "runs").rglob("notebook.ipynb")}
        assert finished.items() <= pages.items()  # no finished notebook was run again
        # One that ended within the last seconds, before Snakemake took note of it, may be: from its checkpoint.
        finished = {path: ended for path, ended in pages.items() if ended < killed - 5}
    done = make_report(checkout)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(expected := numbers(undisturbed)) == 9
    assert numbers(checkout) == expected
