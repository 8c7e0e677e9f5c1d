"""How fast the study is, in ratios: prints them and stores them as JSON for the report's appendix.

    python benchmarks/run.py [--device cuda] [--repeats 5] [--parts speed memory startup full_size] [--quick]

Pairs are measured in turn, in one process, and a ratio is the median over the rounds. Everything runs with as
many threads as PyTorch takes by default; close other programs first. With a GPU, the paper's rows at full size
are timed too.
"""

import argparse
import json
from pathlib import Path

import torch
from full_size import measure_full_size
from memory import FULL, measure_memory
from speed import measure_speed
from startup import ROOT, measure_startup

from galutils.files import write_json
from galutils.runs import describe_environment
from galutils.trainer import device_name

PARTS = ("speed", "memory", "startup", "full_size")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--repeats", type=int, default=5, help="rounds that count")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="all that suit the device if not given")
    parser.add_argument("--quick", action="store_true", help="very few images: to see that it works, not how fast")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "benchmarks", help="where large files are kept")
    parser.add_argument("--json", type=Path, help="else benchmarks/measured-<device>.json")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; leave --device out to measure the CPU.")
    parts = options.parts or (PARTS if options.device == "cuda" else PARTS[:3])
    target = options.json or ROOT / "benchmarks" / f"measured-{options.device}.json"

    # A part that is not measured now keeps what was measured before, and says when that was.
    stored = json.loads(target.read_text()) if target.exists() else {}
    counts = {64: 20, 128: 20} if options.quick else {64: 320, 128: 160, 256: 80}  # whole batches to train on
    if options.device == "cuda" and not options.quick:
        counts = dict.fromkeys(counts, 4000)
    measures = {
        "speed": lambda: measure_speed(options.repeats, counts, options.device, epochs=1),
        "memory": lambda: measure_memory(
            options.folder, [100, 200] if options.quick else [2000, 8000, FULL], 32 if options.quick else 256,
            options.device,
        ),
        "startup": lambda: measure_startup(options.repeats),
        "full_size": lambda: measure_full_size(
            options.folder, ROOT, options.device, 2 if options.quick else 3, 200 if options.quick else FULL
        ),
    }  # fmt: skip
    for part in parts:
        print(f"\n== {part}")
        environment = describe_environment(device_name(torch.device(options.device)))
        stored[part] = {**measures[part](), "repeats": options.repeats, "environment": environment}
        write_json(target, stored)
    print(f"\n{target}")


if __name__ == "__main__":
    main()
