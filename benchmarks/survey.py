"""Rate and memory of ``galutils classify``: simulated cutouts as JPEG in a HATS catalogue, with 1 and 2 workers.

They are set against decoding and the network in sequence, in one process, of as many threads. With ``--kills`` it is
killed at so many random moments instead, each time in a catalogue of its own, and begun again.
"""

import argparse
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from PIL import Image
from reading import as_jpegs

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.predict.survey import Where, classify_survey
from galutils.study.runs import Run


def write_catalogue(folder: Path, count: int, size: int, partition: int) -> Path:
    """A catalogue of so many simulated galaxies, at most ``partition`` in each, kept in ``folder``."""
    import lsdb

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"simulated-{count}-{size}px"
    if path.exists():
        return path
    pixels = folder / f"{path.name}.h5"
    write_simulated(pixels, count, size, seed=0, processes=os.cpu_count() or 1)
    galaxies = open_galaxies(pixels)
    table = {"object_id": np.arange(count), "ra": galaxies.ra, "dec": galaxies.dec}
    frame = pd.DataFrame(table | {"image": pd.Series(as_jpegs(galaxies), dtype=pd.ArrowDtype(pa.binary()))})
    written = lsdb.from_dataframe(frame, partition_rows=partition)
    written.write_catalog(path, catalog_name=path.name, as_collection=False, progress_bar=False)
    pixels.unlink()
    return path


def time_sequence(run_dir: Path, catalogue: Path, most: int) -> float:
    """Images per second of decoding and the network, a batch after the other, of at most so many images."""
    import torch
    from pyarrow.parquet import ParquetFile

    from galutils.study.features import Classifier

    classifier, files = Classifier(Run(run_dir), "cpu"), sorted(catalogue.rglob("Npix=*.parquet"))
    batches = (batch for file in files for batch in ParquetFile(file).iter_batches(64, columns=["image"]))
    started, seen = None, 0
    for batch in batches:
        images = [np.array(Image.open(io.BytesIO(one)).convert("RGB")) for one in batch["image"].to_pylist()]
        classifier.of_batch(torch.cat([classifier.prepare(image[None]) for image in images]))
        if started is None:
            started = time.perf_counter()  # the first batch is slower, and does not count
        else:
            seen += len(images)
        if seen >= most:
            break
    return seen / (time.perf_counter() - started)


def time_workers(run_dir: Path, catalogue: Path, target: Path, workers: int) -> dict:
    """Seconds of a command, images per second once all workers work, and the peak bytes of the largest worker."""
    shutil.rmtree(target, ignore_errors=True)
    peak, ended, started = [0], threading.Event(), time.time()

    def watch() -> None:
        while not ended.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                try:
                    peak[0] = max(peak[0], child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        classify_survey(run_dir, catalogue, target, where=Where(workers), device="cpu", say=lambda sentence: None)
    finally:
        ended.set()
        watcher.join()
    seconds = time.time() - started
    files = sorted(target.rglob("Npix=*.parquet"), key=lambda file: file.stat().st_mtime_ns)
    times, rows = zip(
        *((file.stat().st_mtime, len(pd.read_parquet(file, columns=["class"]))) for file in files), strict=True
    )
    began = workers - 1  # a part of each worker is done, and with it all is loaded
    rate = sum(rows[workers:]) / (times[-1] - times[began]) if len(files) > workers else None
    return {"workers": workers, "seconds": seconds, "images_per_second": rate, "peak_bytes": peak[0]}


def time_kills(run_dir: Path, catalogue: Path, target: Path, kills: int, seed: int = 0) -> dict:
    """Seconds that a kill costs: those before and after it, less those of a command that nobody disturbs.

    Raises:
        AssertionError: a row differs from the undisturbed command's.
    """
    command = [sys.executable, "-m", "galutils.cli", "classify", run_dir, catalogue, "--device", "cpu", "--to"]

    def go(folder: Path, most: float | None = None) -> float:
        """Seconds of the command, which is killed with all its processes after the ``most``."""
        started = time.perf_counter()
        process = subprocess.Popen([*command, folder], start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            assert process.wait(most) == 0, f"{folder}: the command failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return time.perf_counter() - started

    def rows(folder: Path) -> pd.DataFrame:
        files = (folder / "dataset").rglob("Npix=*.parquet")
        return pd.concat(map(pd.read_parquet, files)).sort_values("object_id", ignore_index=True)

    shutil.rmtree(target, ignore_errors=True)
    undisturbed = go(target / "undisturbed")
    wanted, cases = rows(target / "undisturbed"), []
    for number, moment in enumerate(np.random.default_rng(seed).uniform(0, undisturbed, kills)):
        folder = target / str(number)
        before = go(folder, moment)
        done = sum(1 for _ in (folder / "dataset").rglob("Npix=*.parquet"))
        after = go(folder)
        pd.testing.assert_frame_equal(rows(folder), wanted, check_exact=True)
        cases.append({"killed_after": before, "partitions_done": done, "lost": before + after - undisturbed})
    return {"rows": len(wanted), "undisturbed": undisturbed, "kills": cases}


def measure_survey(run_dir: Path, folder: Path, count: int, size: int, partition: int) -> dict:
    catalogue = write_catalogue(folder, count, size, partition)
    cases = [time_workers(run_dir, catalogue, folder / "classified", workers) for workers in (1, 2)]
    return {"count": count, "size": size, "sequence": time_sequence(run_dir, catalogue, 2000), "cases": cases}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run's directory")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/galutils-survey"))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--partition", type=int, default=1000)
    parser.add_argument("--kills", type=int, help="how often it is killed; its rate is not measured then")
    given = parser.parse_args()
    if given.kills:
        source = write_catalogue(given.folder, given.count, given.size, given.partition)
        print(json.dumps(time_kills(given.run, source, given.folder / "killed", given.kills), indent=2))
        sys.exit()
    print(json.dumps(measure_survey(given.run, given.folder, given.count, given.size, given.partition), indent=2))
