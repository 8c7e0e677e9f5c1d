"""Timing ways of doing one thing fairly: in turn, so that whatever else the machine does hits all of them."""

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from statistics import median

#: What one go at a way measured: seconds, or images per second, by name.
Measured = Mapping[str, float]


def in_turn(ways: Mapping[str, Callable[[], Measured]], repeats: int = 5) -> dict[str, list[Measured]]:
    """Call every way ``repeats`` times, one after the other in each round, after a round that does not count."""
    measured: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(repeats + 1):
        for name, way in ways.items():
            with contextlib.redirect_stdout(io.StringIO()):
                result = way()
            if number:
                measured[name].append(result)
    return measured


def middle(measured: list[Measured], key: str) -> float:
    """Median of one of the numbers."""
    return median(result[key] for result in measured)


def ratio(numerator: list[Measured], denominator: list[Measured], key: str) -> float:
    """Median over the rounds of the ratio of one of the numbers."""
    return median(first[key] / second[key] for first, second in zip(numerator, denominator, strict=True))


@contextlib.contextmanager
def stopwatch(device: str = "cpu"):
    """Give a function that tells the seconds since the block began, all work on the device included."""
    import torch

    def synchronize() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    synchronize()
    started = time.perf_counter()

    def elapsed() -> float:
        synchronize()
        return time.perf_counter() - started

    yield elapsed
