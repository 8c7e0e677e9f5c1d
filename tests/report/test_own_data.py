"""The whole study on galaxies of one's own: other classes, sizes and proportions than the paper's."""

import os

import numpy as np
import pytest
from checkout import copy_checkout, make_report
from fakes import write_layout

from galutils.data.classes import GALAXY10
from galutils.data.simulate.cutouts import simulate
from galutils.study.results import load_results

PROFILE = """
data: simulated
simulate: {count: 20, size: 48}
seeds: [0]
threads: 1
common: {image_size: 32, epochs: 1, batch_size: 32}
experiments:
  vgg_scratch: {notebook: 02_vgg_scratch, channels: 4}
  custom_cnn: {notebook: 05_custom_cnn}
  dino_kmeans: {notebook: 06_dino_kmeans, weights: random, arch: vit_tiny_patch16_224, kmeans_seeds: 2}
ablations:
  custom_cnn: {calibration_fraction: [0.25]}
"""

#: Names and sizes of classes, the last one of a single galaxy, and pixels.
SETS = {
    "three": (["E / S0", "a spiral, of whatever kind there may be", 'odd & "irregular"'], (60, 25, 9), 88),
    "two": (["ring", "no ring"], (50, 30), 69),
    "ten": ([f"kind {number}" for number in range(10)], (12,) * 10, 256),
    "twelve": ([f"kind {number}" for number in range(12)], (*range(20, 9, -1), 1), 150),
}


def write_own(path, names, counts, size):
    """Simulated galaxies as if they were somebody's own; classes are those of the simulator, in turn."""
    found = simulate(sum(counts), size, seed=1)
    order = np.random.default_rng(0).permutation(sum(counts))
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
    return write_layout(path, {"images": found.images[order], "ans": labels[order]}, names)


@pytest.mark.parametrize(
    "kind", ["three", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("two", "ten", "twelve"))]
)
def test_the_study_runs_on_other_classes(tmp_path, monkeypatch, kind):
    """Chromium's print is that of the smoke graph; here it fails at once."""
    (unable := tmp_path / "bin" / "chromium").parent.mkdir()
    unable.write_text("#!/bin/sh\nexit 1\n")
    unable.chmod(0o755)
    monkeypatch.setenv("PATH", f"{unable.parent}{os.pathsep}{os.environ['PATH']}")
    names, counts, size = SETS[kind]
    folder = copy_checkout(tmp_path / "checkout")
    data = write_own(tmp_path / "own.h5", names, counts, size)
    (folder / "config/smoke.yaml").write_text(f"{PROFILE}other_data: ['{data}']\n")
    done = make_report(folder, f"data='{data}'")
    assert done.returncode == 0, done.stderr[-3000:]
    results = load_results(folder / "runs/smoke")
    run = results.runs["run"].iloc[0]
    assert run.classes == tuple(names)
    assert results.table["paper_accuracy"].isna().all()
    np.testing.assert_allclose(run.predictions[run.columns].sum(axis=1), 1, atol=1e-6)
    rare = names[-1] if counts[-1] == 1 else None
    pages = {path.stem: path.read_text() for path in (folder / "reports/smoke").glob("*.html")}
    assert len(pages) == 15
    for name, text in pages.items():
        assert not any(known in text for known in GALAXY10), name
        assert ("Left out for want of galaxies" in text) == (rare is not None)
    assert "Confusion matrices on own.h5." in pages["16_other_surveys"]
    assert 'class="mark theirs"' not in pages["index"]
    assert "the largest class alone would give" in pages["index"]
