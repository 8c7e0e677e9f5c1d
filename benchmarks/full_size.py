"""The paper's rows at full size: seconds, images per second, and their share of what the device can do.

One or a few epochs are timed, and the profile's epochs computed from them. Operations are counted by PyTorch.
Bytes are those of the layers' inputs and outputs, read and written once in the forward pass and twice in the
backward pass: what no fusion of layers would leave. The larger of the two shares is the limit that is nearer.
"""

from pathlib import Path

import torch
from memory import full_file
from speed import ROWS
from timing import stopwatch
from torch.utils.flop_counter import FlopCounterMode

from galutils.data.galaxies import Galaxies, open_galaxies
from galutils.data.splits import split_rows
from galutils.models import cnn, embedding, vit
from galutils.models.lora import add_lora
from galutils.models.weights import DINO_ARCH
from galutils.study.profile import Profile, read_profile
from galutils.training import replay
from galutils.training.dino import DinoResult, distill
from galutils.training.dino_loss import DinoNetwork, Head
from galutils.training.settings import DinoSettings, Settings
from galutils.training.supervised import TrainResult, train

#: Dense bf16 operations and bytes of memory per second, from NVIDIA's data sheets (SXM).
LIMITS = {"H100": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}


def work_per_image(network: cnn.GalaxyNet, size: int, element_bytes: int = 2) -> tuple[float, float]:
    """Operations and bytes for training the trained part on one image of ``size`` pixels."""
    network = network.cpu().float().train()
    with torch.no_grad():
        inputs = network.frozen(torch.zeros(2, 3, size, size, dtype=torch.uint8))
    moved = 0

    def count(_, given, result):
        nonlocal moved
        moved += given[0].numel() + result.numel()

    hooks = [layer.register_forward_hook(count) for layer in network.trained]
    with FlopCounterMode(display=False) as counter:
        network.trained(inputs).sum().backward()
    for hook in hooks:
        hook.remove()
    return counter.get_total_flops() / 2, 3 * moved * element_bytes / 2


def measure_full_size(folder: Path, root: Path, device: str, epochs: int, count: int) -> dict:
    """Every experiment of the paper profile on ``count`` simulated galaxies, its epochs computed from ``epochs``."""
    profile = read_profile(root / "config" / "paper.yaml")
    size, wanted = profile.common["image_size"], profile.common["epochs"]
    folder.mkdir(parents=True, exist_ok=True)
    path, _ = full_file(folder, size, count)
    galaxies = open_galaxies(path)
    with stopwatch() as elapsed:
        split = split_rows(galaxies)
        result = {"count": count, "size": size, "epochs": wanted, "split_seconds": elapsed(), "rows": {}}
    limits = next((v for name, v in LIMITS.items() if device == "cuda" and name in torch.cuda.get_device_name()), None)
    for row in ROWS:
        network = cnn.build(**ROWS[row])
        _forget_peak(device)
        operations, moved = work_per_image(network, size)
        settings = Settings(epochs=epochs, image_size=size, device=device)
        trained = train(network, galaxies, split, settings)
        peak, speed = _peak_bytes(device), _speed(trained)
        replay.SHAPES, shapes = 0, replay.SHAPES  # nothing is recorded
        plain = _speed(train(cnn.build(**ROWS[row]), galaxies, split, settings))
        replay.SHAPES = shapes
        seconds = trained.setup_seconds + wanted * len(split.train) / speed
        result["rows"][row] = {
            "images_per_second": speed,
            "plain_images_per_second": plain,
            "setup_seconds": trained.setup_seconds,
            "seconds": seconds,
            "operations_per_image": operations,
            "bytes_per_image": moved,
            "share_of_arithmetic": speed * operations / limits[0] if limits else None,
            "share_of_bandwidth": speed * moved / limits[1] if limits else None,
            "peak_bytes": peak,
        }
        print(f"{row:16} {speed:8.0f} images/s, {wanted} epochs in {seconds / 60:.1f} min")
    result["rows"] |= _unsupervised(galaxies, profile, device, epochs, limits)
    result["minutes"] = sum(row["seconds"] for row in result["rows"].values()) / 60
    print(f"all rows: {result['minutes']:.1f} min")
    return result


def _speed(trained: TrainResult | DinoResult) -> float:
    """Images per second of an epoch; the first one chooses kernels and fills caches."""
    return float(trained.history["images_per_second"].iloc[1:].median())


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak_bytes(device: str) -> int | None:
    """The most that PyTorch held of a GPU's memory, images and recordings included."""
    return torch.cuda.max_memory_reserved() if device == "cuda" else None


def work_of_transformers(backbone: vit.Backbone, settings: DinoSettings) -> tuple[float, float]:
    """Operations for embedding one image, and for self-distillation on one with its crops.

    What a second image adds: adapters are multiplied out once a batch.
    """
    student = DinoNetwork(add_lora(backbone), Head(backbone.dim, settings.prototypes, settings.head_width))
    large, small = (torch.zeros(2, 3, size, size) for size in (settings.image_size, settings.local_size))
    counts = {}
    for name, image, learns in (("embedded", large, False), ("large", large, True), ("small", small, True)):
        totals = []
        for batch in (image[:1], image):
            with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(learns):
                output = student(batch) if learns else backbone(batch)
                if learns:
                    output.sum().backward()
            totals.append(counter.get_total_flops())
        counts[name] = totals[1] - totals[0]
    teacher = 2 * (counts["embedded"] + 2 * sum(parameter.numel() for parameter in student.head.parameters()))
    return counts["embedded"], teacher + 2 * counts["large"] + settings.local_crops * counts["small"]


def _unsupervised(galaxies: Galaxies, profile: Profile, device: str, epochs: int, limits) -> dict:
    given = profile.common | profile.experiments["dino_lora_kmeans"].model_extra
    backbone = vit.load_backbone("random", DINO_ARCH)
    settings = DinoSettings.pick(given, epochs=epochs, device=device, image_size=given["train_size"])
    operations = dict(zip(("dino_kmeans", "dino_lora_kmeans"), work_of_transformers(backbone, settings), strict=True))
    _forget_peak(device)
    embedded = embedding.embed(backbone, galaxies, embedding.Preprocessing(given["image_size"]), device=device)
    rows = {"dino_kmeans": {"images_per_second": len(galaxies) / embedded.seconds, "seconds": embedded.seconds}}
    rows["dino_kmeans"]["peak_bytes"] = _peak_bytes(device)
    _forget_peak(device)
    distilled = distill(backbone, galaxies, settings)
    speed = _speed(distilled)
    rows["dino_lora_kmeans"] = {
        "images_per_second": speed,
        "setup_seconds": distilled.setup_seconds,
        "seconds": distilled.setup_seconds + given["epochs"] * len(galaxies) / speed + embedded.seconds,
        "peak_bytes": _peak_bytes(device),
    }
    for name, row in rows.items():
        row["operations_per_image"] = operations[name]
        row["share_of_arithmetic"] = row["images_per_second"] * operations[name] / limits[0] if limits else None
        row["share_of_bandwidth"] = None
        print(f"{name:16} {row['images_per_second']:8.0f} images/s")
    return rows
