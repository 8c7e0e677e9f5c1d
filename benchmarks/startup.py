"""How long until something happens: imports, a kernel's first cell, and the whole smoke graph."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import nbformat

ROOT = Path(__file__).resolve().parents[1]

#: What is imported where, from the lightest on.
MODULES = ("galutils", "galutils.cli", "galutils.galaxy10", "galutils.models", "galutils.trainer", "galutils.dino")


def import_seconds(module: str, repeats: int) -> float:
    """Seconds that a fresh interpreter needs more for importing the module than for nothing; median."""

    def seconds(program: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
        return time.perf_counter() - started

    return median(seconds(f"import {module}") - seconds("pass") for _ in range(repeats))


def kernel_seconds(repeats: int) -> float:
    """Seconds from asking for a Jupyter kernel to the end of its first, empty cell; median."""
    from jupyter_client.manager import start_new_kernel

    def seconds() -> float:
        started = time.perf_counter()
        manager, client = start_new_kernel(kernel_name="python3")
        client.execute_interactive("pass", timeout=60)
        elapsed = time.perf_counter() - started
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        return elapsed

    return median(seconds() for _ in range(repeats))


def graph_seconds() -> dict:
    """The whole smoke graph anew: seconds by the clock, and of each notebook as papermill counted them."""
    programs = Path(sys.executable).parent
    started = time.perf_counter()
    subprocess.run(
        [
            programs / "snakemake",
            "--cores",
            "all",
            "--forceall",
            "--nolock",
            "--quiet",
            "all",
            "--config",
            "profile=smoke",
        ],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
    )
    seconds = time.perf_counter() - started
    runs = ROOT / "runs" / "smoke"
    notebooks = {
        str(path.parent.relative_to(runs)): nbformat.read(path, as_version=4).metadata.papermill.duration
        for path in sorted(runs.rglob("notebook.ipynb"))
    }
    return {"seconds": seconds, "notebooks": notebooks}


def measure_startup(repeats: int) -> dict:
    """Imports, kernel and graph."""
    imports = {module: import_seconds(module, repeats) for module in MODULES}
    for module, seconds in imports.items():
        print(f"import {module:18} {seconds:6.3f} s")
    kernel = kernel_seconds(repeats)
    print(f"kernel to its first cell  {kernel:6.2f} s")
    graph = graph_seconds()
    print(f"smoke graph               {graph['seconds']:6.1f} s, "
          f"of which notebooks, added up, {sum(graph['notebooks'].values()):.1f} s")  # fmt: skip
    return {"repeats": repeats, "imports": imports, "kernel": kernel, "graph": graph}
