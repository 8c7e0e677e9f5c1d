"""What a run of the study needs before it is started: of one network on one's own galaxies, or of a whole profile."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from galutils.data.galaxies import open_galaxies
from galutils.evaluation.paper import starting_weights
from galutils.files import data_home
from galutils.study.keys import weights_at_hand
from galutils.study.pages import Page, Study, load_study
from galutils.study.profile import (
    StudyError,
    advise_weights,
    declared_parameters,
    find_file,
    find_gpus,
    words_of_weights,
)

#: Seconds for an image at 256 pixels, once and in each epoch, and megabytes that a run leaves, by notebook. Of the
#: first four measured on two CPU cores (benchmarks/measured-cpu.json), of the others half the seconds of a single core.
COSTS = {
    "02_vgg_scratch": (0, 1 / 46.9, 180),
    "03_vgg11_deep": (0.1, 1 / 8.2, 100),
    "04_vgg11_shallow": (0.15, 1 / 3350, 70),
    "05_custom_cnn": (0, 1 / 162.5, 1),
    "05b_encoder": (0.033, 0.07, 30),
    "06_dino_kmeans": (0.07, 0, 2),
    "07_dino_lora_kmeans": (0.07, 1.2, 85),
}
#: Images per second of the custom network, by which another device is compared with those cores.
_PROBE = 162.5


def describe_plan(study: Study) -> Iterator[str]:
    """Downloads, disk, runs, hours on this device, and what is there already, a line each."""
    runs = [*study.experiments, *study.ablations, *study.labels]
    left = [page for page in runs if not page.done.exists()]
    rows = len(study.config.experiments)
    arms = f", {len(study.labels)} of them with fewer labels" if study.labels else ""
    yield f"{len(runs)} runs of {rows} rows and their ablations{arms}, {len(runs) - len(left)} of them finished."
    yield f"Downloads: {'; '.join(_downloads(study)) or 'none'}."
    need, free = sum(COSTS[page.notebook][2] for page in left) / 1000, shutil.disk_usage(study.root).free / 1e9
    yield f"Disk: about {need:.1f} GB for what runs leave, {free:.0f} GB free."
    if not left:
        return
    cores, gpus = os.cpu_count() or 1, 0 if study.config.common.get("device") == "cpu" else len(find_gpus())
    threads = min(cores, study.config.threads)
    beside = gpus or cores // threads
    counted = [page for page in left if any(COSTS[page.notebook][:2]) and _is_known(page)]
    speed = _relative_speed("cuda" if gpus else "cpu", threads)
    hours = sum(_seconds(page, study) for page in counted) / speed / beside / 3600
    others = sorted({page.experiment.split()[0] for page in left if page not in counted})
    others += ["the lessons of notebook 18"] * bool(study.config.lessons)
    yield (
        f"Time: about {hours:,.{int(hours < 10)}f} hours for {len(counted)} runs, {beside} side by side on "
        f"{'CUDA' if gpus else 'the CPU'}: an estimate, good to a factor of two or three, from seconds measured on two "
        f"CPU cores, where the custom network trained at {1 / speed:.2g} times the speed that it has here just now."
        + (f" Not in it: {', '.join(others)}." if others else "")
    )


def _downloads(study: Study) -> Iterator[str]:
    """Each file that has to be there, with its size and whether it is."""
    from galutils.data.sources import GALAXY10

    if study.config.data == "galaxy10":
        yield _told(GALAXY10.name, GALAXY10.size, (data_home() / GALAXY10.name).exists())
    wanted = {}
    for experiment in study.config.experiments.values():
        given, kind = experiment.model_extra, starting_weights(experiment.notebook)
        if given.get("weights") in ("imagenet", "dino", "official"):
            wanted[given["weights"], given.get("arch", "auto")] = kind
    for (weights, arch), kind in wanted.items():
        name, size = _official(weights, arch)
        yield _told(name, size, bool(weights_at_hand(kind, arch)))


def _official(weights: str, arch: str) -> tuple[str, float | None]:
    """Name of a network and bytes of its official weights, None where only their server knows."""
    import torch

    from galutils.models.weights import DINO_ARCH

    if weights == "imagenet":
        import torchvision

        arch = "vgg11" if arch == "auto" else arch
        return arch, torchvision.models.get_model_weights(arch).IMAGENET1K_V1.meta["_file_size"] * 2**20
    arch = DINO_ARCH if arch == "auto" else arch
    if arch.startswith("hf_hub:"):
        return arch, None
    import timm

    with torch.device("meta"):
        return arch, 4 * sum(p.numel() for p in timm.create_model(arch.split(".")[0]).parameters())


def _told(name: str, size: float | None, there: bool) -> str:
    return f"{name} ({f'{size / 1e6:,.0f} MB' if size else 'size not known'}, {'there' if there else 'to be brought'})"


def _is_known(page: Page) -> bool:
    return page.notebook != "05b_encoder" or page.parameters.get("arch") == "tf_efficientnet_lite0"


def _seconds(page: Page, study: Study) -> float:
    """Of a run, on the two cores of :data:`COSTS`."""
    given = declared_parameters(study.source(page.notebook)) | page.parameters
    rows = 17_736 if study.config.data == "galaxy10" else len(open_galaxies(study.data_path))
    once, each, _ = COSTS[page.notebook]
    if given.get("adapt", "none") != "none":
        once = 0
    elif "adapt" in given:
        each = 0
    share = (given.get("input_size") or given["image_size"]) / 256
    trained = given.get("train_labels") or rows * (1 - given.get("test_size", 0)) * given.get("train_fraction", 1)
    return share**2 * (rows * once + trained * given.get("epochs", 0) * each)


def _relative_speed(device: str, threads: int) -> float:
    """How many times as fast as on those cores this device trains the custom network: the best of some steps."""
    import torch

    from galutils.models import cnn

    torch.set_num_threads(threads)
    network, seconds = cnn.build("custom_cnn").to(device).train(), []
    images = torch.zeros(64, 3, 256, 256, dtype=torch.uint8, device=device)
    for _ in range(4):
        started = time.perf_counter()
        network(images).sum().backward()
        next(network.parameters()).grad.sum().item()  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    return len(images) / min(seconds) / _PROBE


def plan_run(
    root: str | Path,
    data: str,
    approach: str,
    run_dir: str | Path,
    weights: str = "",
    device: str = "",
    seed: int = 0,
    changed: Mapping[str, Any] | None = None,
) -> tuple[Path, Page]:
    """One run on a file of galaxies, as the profile ``own`` has it: its notebook's path, and where and how it runs.

    changed: parameters of the notebook that are to be others than the profile's.

    Raises:
        StudyError: the profile has no such approach, or it does not take what it is given.
        DataError: the file cannot be used.
    """
    study = load_study(root, "own", data)
    if approach not in study.config.experiments:
        raise StudyError(f"There is no approach '{approach}'; choose one of {', '.join(study.config.experiments)}.")
    page = study.run_pages(approach)[0]
    if Path(run_dir).is_file():
        raise StudyError(f"{run_dir}: is a file, but a run is a folder; give --to another name.")
    run_dir, notebook = Path(run_dir).resolve(), study.source(page.notebook)
    given = page.parameters | {"run_dir": str(run_dir), "seed": seed} | ({"device": device} if device else {})
    if "cache_dir" in given:
        given["cache_dir"] = str(run_dir / "embeddings")
    # Enlarged images show no more than they have.
    given["image_size"] = max(32, min(given["image_size"], open_galaxies(study.data_path).image_size))
    if weights:
        if "weights" not in declared_parameters(notebook):
            raise StudyError(f"{approach} starts from no weights; leave --weights out.")
        given["weights"] = find_file(weights, *words_of_weights(notebook), advice=advise_weights(notebook))
    return notebook, replace(page, directory=run_dir, parameters=given | dict(changed or {}), seed=seed)
