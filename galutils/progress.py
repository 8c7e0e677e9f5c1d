"""Progress: a live bar where a person watches, one line per step where nobody does."""

import sys
from collections.abc import Iterable, Iterator

from tqdm.auto import tqdm


def is_watched() -> bool:
    """Whether a person sees the output: a kernel that papermill or nbconvert runs may not ask for input."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if (kernel := getattr(shell, "kernel", None)) is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return sys.stderr.isatty()


def tracked(items: Iterable, total: int | None, unit: str, weight=lambda item: 1) -> Iterator:
    """Pass the items on; with a watcher, and after two seconds, a bar shows rate and remaining time.

    ``total`` counts units, None where nobody knows, and ``weight`` says how many of them an item is.
    """
    with tqdm(total=total, unit=unit, delay=2, leave=False, disable=not is_watched()) as bar:
        for item in items:
            yield item
            bar.update(weight(item))


class Steps:
    """Iterate over epochs; :meth:`note` says how one went: beside a live bar, or without a watcher on a line."""

    def __init__(self, steps: Iterable[int], total: int, done: int = 0):
        self.total = total
        if done == total:
            print("Trained before with these very settings, and taken from disk; change a parameter to train anew.")
        self.steps = tqdm(steps, total=total, initial=done, unit="epoch", disable=not is_watched())

    def __iter__(self) -> Iterator[int]:
        yield from self.steps

    def note(self, step: int, text: str) -> None:
        """Say how step number ``step`` (from 0) went."""
        if self.steps.disable:
            print(f"epoch {step + 1}/{self.total}: {text}", flush=True)
        else:
            self.steps.set_postfix_str(text)
