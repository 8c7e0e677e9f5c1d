"""What a survey's workers do, side by side on one device: JPEG bytes decoded, prepared, and through the network."""

import io
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from galutils.data.galaxies import Galaxies, open_galaxies, prepare
from galutils.data.image_files import Reading
from galutils.data.simulate.cutouts import write_simulated
from galutils.models import cnn
from galutils.predict import inputs

#: What the network sees of an image of 256 pixels, as a run of the small profile does.
SIZE, CROP = 64, 0.5


class Case(NamedTuple):
    """So many processes, in each so many threads that read and that PyTorch may use."""

    processes: int
    readers: int
    threads: int


def as_input(images: np.ndarray) -> torch.Tensor:
    """Square images (1, s, s, 3) uint8 as the network takes them."""
    return torch.from_numpy(np.ascontiguousarray(prepare(images, SIZE, CROP))).permute(0, 3, 1, 2)


def work(case: Case, device: str, files: list[bytes], seconds: float, barrier, results) -> None:
    """What one process does; puts its images per second."""
    torch.set_num_threads(case.threads)
    inputs.READERS = case.readers
    network = cnn.build("custom_cnn").to(device).eval()

    def go(entries: Iterator[dict]) -> int:
        seen = 0
        with torch.inference_mode():
            for block in inputs.prepare_blocks(entries, as_input, Reading(), None):
                seen += len(network(torch.cat(block.inputs).to(device)).cpu())
        return seen

    def until(end: float) -> Iterator[dict]:
        while time.perf_counter() < end:
            yield from ({"image": file, "name": "simulated"} for file in files[: inputs.BLOCK])

    go({"image": file, "name": "simulated"} for file in files)  # the first is slower, and does not count
    barrier.wait()
    started = time.perf_counter()
    seen = go(until(started + seconds))
    results.put(seen / (time.perf_counter() - started))


def time_case(case: Case, device: str, files: list[bytes], seconds: float) -> float:
    """Images per second of all processes of a case together."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(case.processes), context.Queue()
    target = partial(work, case, device, files, seconds, barrier, results)
    processes = [context.Process(target=target, daemon=True) for _ in range(case.processes)]
    for process in processes:
        process.start()
    rates = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return sum(rates)


def as_jpegs(galaxies: Galaxies) -> list[bytes]:
    """Their images as JPEG files."""
    files = []
    for start in range(0, len(galaxies), 512):
        for image in galaxies.read_images(np.arange(start, min(start + 512, len(galaxies)))):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=90)
            files.append(file.getvalue())
    return files


def simulated_files(count: int, size: int) -> list[bytes]:
    """So many simulated galaxies as JPEG."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simulated.h5"
        write_simulated(path, count, size, seed=0, processes=os.cpu_count() or 1)
        return as_jpegs(open_galaxies(path))


def measure_reading(device: str, count: int, size: int = 256, seconds: float = 4) -> dict:
    """One process with one reading thread and with four, and one process for each core; galaxies of so many pixels."""
    cores, files = os.cpu_count() or 1, simulated_files(count, size)
    cases = [Case(1, 1, 1), Case(1, 4, 1), Case(1, 4, cores), Case(cores, 1, 1), Case(cores, 4, 1)]
    rates = [case._asdict() | {"images_per_second": time_case(case, device, files, seconds)} for case in cases]
    for rate in rates:
        print(rate)
    return {"size": size, "bytes_per_image": sum(map(len, files)) / count, "cases": rates}
