"""Peak memory and time against the number of galaxies, at 256 pixels: each case in a process of its own."""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from galutils.data.simulate.cutouts import write_simulated

#: Galaxy10 DECaLS has as many.
FULL = 17_736


def full_file(folder: Path, size: int = 256, count: int = FULL) -> tuple[Path, float | None]:
    """A simulated file of the full size, kept in ``folder``, and the seconds that making it took (None if kept)."""
    path = folder / f"simulated-{count}-{size}px.h5"
    if path.exists():
        return path, None
    started = time.perf_counter()
    write_simulated(path, count, size, seed=0, proportions="galaxy10", processes=os.cpu_count() or 1)
    return path, time.perf_counter() - started


def subset(full: Path, count: int) -> Path:
    """A file of ``count`` galaxies, taken evenly from the full one."""
    path = full.with_name(f"subset-{count}.h5")
    with h5py.File(full, "r") as source:
        rows = np.linspace(0, len(source["ans"]) - 1, count).astype(int)
        with h5py.File(path, "w") as target:
            target.attrs.update(source.attrs)
            target.create_dataset("images", (count, *source["images"].shape[1:]), np.uint8)
            for start in range(0, count, 512):
                target["images"][start : start + 512] = source["images"][rows[start : start + 512]]
            for name in set(source) - {"images"}:
                target[name] = source[name][rows]
    return path


def one_case(path: Path, resident: bool, size: int, device: str) -> dict:
    """Open, split and train the custom network for an epoch; seconds to the first batch, of it all, and peak bytes."""
    started = time.perf_counter()
    from galutils.data.galaxies import open_galaxies
    from galutils.data.splits import split_rows
    from galutils.models import cnn
    from galutils.training.settings import Settings
    from galutils.training.supervised import train

    imported = time.perf_counter()
    galaxies = open_galaxies(path)
    split = split_rows(galaxies)
    network = cnn.build("custom_cnn")
    opened = time.perf_counter()
    result = train(network, galaxies, split, Settings(epochs=1, image_size=size, device=device, keep_images=resident))
    return {
        "count": len(galaxies),
        "resident": resident,
        "image_bytes": len(galaxies) * size * size * 3,
        "import_seconds": imported - started,
        "start_seconds": opened - imported + result.setup_seconds,
        "seconds": time.perf_counter() - started,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Peak of this process's resident memory. Linux's own count in ``getrusage`` starts from the parent's peak."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def measure_memory(folder: Path, counts: list[int], size: int, device: str) -> dict:
    """Each number of galaxies, resident and streamed; and the exponent k of a fit seconds ~ count^k to each."""
    folder.mkdir(parents=True, exist_ok=True)
    full, made = full_file(folder, size, max(counts))
    if made:
        print(f"simulated {max(counts):,} galaxies of {size} pixels in {made:.0f} s")
    cases = []
    for count in sorted(counts):
        path = full if count == max(counts) else subset(full, count)
        for mode in ("resident", "streamed"):
            command = [sys.executable, __file__, str(path), mode, "--size", str(size), "--device", device]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            case = json.loads(done.stdout.splitlines()[-1])
            cases.append(case)
            print(
                f"{count:6,} galaxies {mode}: peak {case['peak_bytes'] / 1e9:.2f} GB, images "
                f"{case['image_bytes'] / 1e9:.2f} GB, first batch after {case['start_seconds']:.1f} s, "
                f"in all {case['seconds']:.1f} s"
            )
        if path != full:
            path.unlink()
    exponents = {}
    for mode in (True, False):
        own = [case for case in cases if case["resident"] == mode]
        if len(own) > 1:
            logs = np.log([[case["count"], case["seconds"] - case["import_seconds"]] for case in own])
            exponents["resident" if mode else "streamed"] = float(np.polyfit(*logs.T, 1)[0])
    print("time grows as N to the power", ", ".join(f"{value:.2f} ({mode})" for mode, value in exponents.items()))
    allocator = os.environ.get("GLIBC_TUNABLES")  # make sets it; the peak depends on it
    return {"size": size, "allocator": allocator, "simulate_seconds": made, "cases": cases, "exponents": exponents}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("mode", choices=("resident", "streamed"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    print(json.dumps(one_case(options.path, options.mode == "resident", options.size, options.device)))
