"""Rate and memory of ``galutils classify``: simulated cutouts as JPEG in a HATS catalogue, with 1 and 2 workers.

They are set against decoding and the network in sequence, in one process, of as many threads.
"""

import argparse
import io
import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
from PIL import Image

from galutils.data.galaxies import open_galaxies
from galutils.data.simulate.cutouts import write_simulated
from galutils.predict.survey import Where, classify_survey
from galutils.study.runs import Run


def write_catalogue(folder: Path, count: int, size: int, partition: int) -> Path:
    """A catalogue of so many simulated galaxies, at most ``partition`` in each, kept in ``folder``."""
    import lsdb

    path = folder / f"simulated-{count}-{size}px"
    if path.exists():
        return path
    pixels = folder / f"{path.name}.h5"
    write_simulated(pixels, count, size, seed=0, processes=os.cpu_count() or 1)
    galaxies, images = open_galaxies(pixels), []
    for start in range(0, count, 512):
        for one in galaxies.read_images(np.arange(start, min(start + 512, count))):
            file = io.BytesIO()
            Image.fromarray(one).save(file, "JPEG", quality=90)
            images.append(file.getvalue())
    table = {"object_id": np.arange(count), "ra": galaxies.ra, "dec": galaxies.dec}
    frame = pd.DataFrame(table | {"image": pd.Series(images, dtype=pd.ArrowDtype(pa.binary()))})
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


def measure_survey(run_dir: Path, folder: Path, count: int, size: int, partition: int) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
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
    given = parser.parse_args()
    print(json.dumps(measure_survey(given.run, given.folder, given.count, given.size, given.partition), indent=2))
