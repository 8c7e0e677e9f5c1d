"""The notebooks in a real JupyterLab, by hand: started as ``make lab`` does it, driven by Chromium."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT, needs_chromium
from fakes import wait_until
from playwright.sync_api import expect

from galutils.data.simulate.cutouts import write_simulated
from galutils.study.runs import Run

pytestmark = needs_chromium

SMALL = {"image_size": 32, "epochs": 1, "measured_per_class": 3}


def shrink(notebook, data_path):
    """Set small parameters as a person would, in the parameters cell."""
    content = nbformat.read(notebook, as_version=4)
    (cell,) = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    for name, value in {**SMALL, "data_path": str(data_path)}.items():
        cell.source = re.sub(rf"(?m)^{name} = .*?  #", f"{name} = {value!r}  #", cell.source)
    nbformat.write(content, notebook)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server on a copy of the notebooks; its address, with what make lab opens, and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    write_simulated(folder / "sky.h5", 100, 32)
    for name in ("01_data_exploration", "05_custom_cnn"):
        shrink(folder / "notebooks" / f"{name}.ipynb", folder / "sky.h5")
    # Cells out of sight are drawn too, so that the test sees all figures.
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (recipe,) = re.findall(r"^lab:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shape = r"JUPYTER_CONFIG_PATH=(\S+) exec \S+/jupyter lab .*default_url=(\S+) \$\(LAB\)"
    config, start = re.fullmatch(shape, recipe).groups()
    command = [Path(sys.executable).parent / "jupyter-lab", "--notebook-dir", folder / "notebooks", "--no-browser"]
    command += [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--allow-root"]
    command += [f"--LabApp.default_url={start}"]
    environment = os.environ | {
        "JUPYTER_CONFIG_PATH": str(ROOT / config),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"

    def answers():
        assert process.poll() is None, "JupyterLab ended"
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{address}/api", timeout=5)

    wait_until(answers)
    yield address, folder
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


@pytest.fixture
def page(lab, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    yield page
    page.close()


def wait_for_kernel(page, address, name):
    """Until the notebook's kernel is idle and the page is connected to it: what is run before is forgotten."""
    for _ in range(240):
        sessions = page.request.get(f"{address}/api/sessions").json()
        kernels = [one["kernel"] for one in sessions if one["path"] == f"{name}.ipynb"]
        if kernels and kernels[0]["execution_state"] == "idle" and kernels[0]["connections"]:
            break
        page.wait_for_timeout(500)
    expect(page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1000)


def test_the_start_page_opens_first_and_explains_the_order(lab, page):
    page.goto(lab[0])
    start = page.locator(".jp-MarkdownViewer")
    expect(start.get_by_role("heading", name="Start here")).to_be_visible(timeout=120_000)
    expect(start.get_by_role("link", name="A custom network that averages first")).to_be_visible()


@pytest.mark.parametrize(("name", "figures"), [("01_data_exploration", 4), ("05_custom_cnn", 4)])
def test_a_notebook_runs_by_hand(lab, page, name, figures):
    address, folder = lab
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset")
    wait_for_kernel(page, address, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt")
    expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=120_000)
    shown = page.locator(".jp-OutputArea figure[aria-label]")
    assert shown.count() >= figures
    for figure in shown.all():
        box = figure.bounding_box()
        assert box["width"] > 200
        assert box["height"] > 60
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    if name == "05_custom_cnn":  # beside the batch runs
        run = Run(folder / "runs" / "hand" / "custom_cnn" / "seed0")
        assert run.metrics["settings"]["epochs"] == 1
        told = page.locator(".jp-RenderedText", has_text="The run lies in").inner_text().splitlines()
        assert told[-2:] == [
            f"Accuracy {run.metrics['scores']['accuracy']:.1%}. The run lies in ../runs/hand/custom_cnn/seed0;",
            "galutils predict runs/hand/custom_cnn/seed0 galaxy.jpg classifies another image.",
        ]


def test_links_of_the_start_page_lead_to_notebooks():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "notebooks" / "00_start.md").read_text())
    assert len(links) >= 11
    assert all((ROOT / "notebooks" / link).is_file() for link in links)
