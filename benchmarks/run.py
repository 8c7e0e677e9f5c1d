"""How fast the study is, in ratios: prints them and stores them as JSON for the report's appendix.

    python benchmarks/run.py [--device cuda] [--parts usual bare …] [--data FILE] [--quick]

Pairs are measured in turn, in one process, and a ratio is the median over the rounds. Everything runs with as
many threads as PyTorch takes by default; close other programs first. The parts:

    usual      the supervised rows against the notebook that people write
    bare       the trainer against its network alone
    memory     peak memory and time against the number of galaxies
    full_size  on a GPU: the paper's rows at full size
    reading    on a GPU: a survey's images through one process, and through one for each core
    precision  given galaxies with --data: bf16 against float32
"""

import argparse
import json
from pathlib import Path

import torch
from full_size import measure_full_size
from memory import FULL, measure_memory
from precision import measure_precision
from reading import measure_reading
from speed import measure_bare, measure_usual

from galutils.device import device_name
from galutils.files import write_json
from galutils.study.provenance import describe_environment
from galutils.training.settings import Settings

ROOT = Path(__file__).resolve().parents[1]

PARTS = ("usual", "bare", "memory", "full_size", "reading", "precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, help="rounds that count; 5, or 1 with --quick")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="all that suit the device if not given")
    parser.add_argument("--data", type=Path, help="HDF5 file in Galaxy10's layout, for the part precision")
    parser.add_argument("--seeds", type=int, default=12, help="of the part precision")
    parser.add_argument("--quick", action="store_true", help="very few images: to see that it works, not how fast")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmarks", help="where large files are kept")
    parser.add_argument("--json", type=Path, help="else benchmarks/measured-cpu.json or measured-gpu.json")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; leave --device out to measure the CPU.")
    on_gpu = options.device == "cuda"
    suitable = {"full_size": on_gpu, "reading": on_gpu, "precision": options.data is not None}
    parts = options.parts or [part for part in PARTS if suitable.get(part, True)]
    if "precision" in parts and not options.data:
        parser.error("precision compares runs on real galaxies; name their file with --data.")
    target = options.json or ROOT / "benchmarks" / f"measured-{'gpu' if on_gpu else 'cpu'}.json"

    # A part that is not measured now keeps what was measured before, and says when that was.
    stored = json.loads(target.read_text()) if target.exists() else {}
    repeats = options.repeats or (1 if options.quick else 5)
    if options.quick:
        counts = longer = {32: 80, 64: 80}  # a whole batch to train on, else the usual notebook trains on none
    elif options.device == "cuda":
        counts, longer = dict.fromkeys((64, 128, 256), 2000), dict.fromkeys((64, 128, 256), 4000)
    else:  # whole batches to train on, and several where what an epoch costs must not show
        counts, longer = {64: 320, 128: 160, 256: 80}, {64: 640, 128: 320, 256: 320}
    measures = {
        "usual": lambda: measure_usual(repeats, counts, options.device),
        "bare": lambda: measure_bare(repeats, longer, options.device),
        "memory": lambda: measure_memory(
            options.folder, [100, 200] if options.quick else [2000, 8000, FULL], 32 if options.quick else 256,
            options.device,
        ),
        "full_size": lambda: measure_full_size(
            options.folder, ROOT, options.device, 2 if options.quick else 3, 200 if options.quick else FULL
        ),
        "reading": lambda: measure_reading(options.device, 64 if options.quick else 1024),
        "precision": lambda: measure_precision(
            options.data, Settings(epochs=2 if options.quick else 30, image_size=64, crop=0.5, device=options.device),
            options.seeds,
        ),
    }  # fmt: skip
    environment = describe_environment(device_name(torch.device(options.device)))
    for part in parts:
        print(f"\n== {part}")
        stored[part] = {**measures[part](), "environment": environment}
        write_json(target, stored)
    print(f"\n{target}")


if __name__ == "__main__":
    main()
