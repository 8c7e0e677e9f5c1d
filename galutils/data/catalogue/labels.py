"""From labels as people write them, numbers, names or vote fractions, to numbered classes with names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from galutils.data.catalogue.columns import Catalogue
from galutils.data.catalogue.tables import CatalogueError, listed
from galutils.data.galaxies import MOST_CLASSES

#: Rows read at once where no image is.
BLOCK = 65_536
#: Read beside the labels, so that a cell that is no number is told before any picture is read.
_NUMBERS = ("ra", "dec", "redshift", "pxscale")


@dataclass(frozen=True)
class Labels:
    """The class of every row of a catalogue; made by :func:`read_labels`."""

    of_row: np.ndarray  # (rows,) int32, numbers of ``classes``; -1 where a row is left out
    classes: tuple[str, ...]
    notes: tuple[str, ...]  # what was left out and why, and what became of the numbers


def read_labels(catalogue: Catalogue, classes: Sequence[str] = (), min_votes: float | None = None) -> Labels:
    """Read a whole catalogue but for its images.

    Whole numbers keep their order; they are named by ``classes``, by the catalogue's column of names, or "class 3".
    Names are sorted, unless ``classes`` gives their order. Of vote fractions the largest is the class, if there is
    one and it is at least ``min_votes``. Labels that cannot be classes are a CatalogueError.
    """
    path, votes = catalogue.table.path, catalogue.votes
    if len(set(classes)) < len(classes):
        raise CatalogueError(f"The classes {', '.join(classes)} are not all different; give each a name of its own.")
    if min_votes is not None and not votes:
        raise CatalogueError(
            f"The least share of votes is {min_votes:g}, but no columns with votes are given; name them with --votes."
        )
    if min_votes is not None and not 0 < min_votes <= 1:
        raise CatalogueError(f"The least share of votes is {min_votes:g}; it must lie above 0 and at most be 1.")
    if votes and classes and len(classes) != len(votes):
        raise CatalogueError(
            f"There are {len(classes)} names of classes but {len(votes)} columns with votes; give one for each."
        )
    labels = _from_votes(catalogue, tuple(classes or votes), min_votes or 0) if votes else _named(catalogue, classes)
    if (labels.of_row < 0).all():
        why = "; ".join(note.rstrip(".").lower() for note in labels.notes) or "it has no rows"
        raise CatalogueError(f"{path}: no galaxy has a class ({why}); mend that, or name another column.")
    if not 2 <= len(labels.classes) <= MOST_CLASSES:
        raise CatalogueError(
            f"{path}: has {len(labels.classes)} class{'es' * (len(labels.classes) != 1)} "
            f"({listed(labels.classes)}); give 2 to {MOST_CLASSES} of them."
        )
    return labels


def _from_votes(catalogue: Catalogue, classes: tuple[str, ...], least: float) -> Labels:
    found, reasons = [], []
    for block in catalogue.blocks(["votes", *_NUMBERS], BLOCK):
        votes = block[list(catalogue.votes)].to_numpy()
        largest = votes.max(axis=1)  # NaN of a row that has one
        tied = (votes == largest[:, None]).sum(axis=1) > 1
        found.append(votes.argmax(axis=1).astype(np.int32))
        reasons.append(np.select([~(largest > 0), tied, largest < least], [0, 1, 2], -1))
    best, reason = np.concatenate(found), np.concatenate(reasons)
    low = np.bincount(best[reason == 2], minlength=len(classes))
    by_class = ", ".join(f"{count:,} {name}" for name, count in zip(classes, low, strict=True))
    words = ("without votes", "without a largest share of votes",
             f"with less than {least:g} of the votes for a class ({by_class})")  # fmt: skip
    counts = [np.sum(reason == number) for number in range(len(words))]
    notes = [f"Left out: {count:,} {why}." for count, why in zip(counts, words, strict=True) if count]
    return Labels(np.where(reason < 0, best, -1), classes, tuple(notes))


def _named(catalogue: Catalogue, classes: Sequence[str]) -> Labels:
    """From the columns of labels and, where there is one, of their names; ``classes`` are the user's."""
    path, column = catalogue.table.path, catalogue.columns["label"]
    codes, found, names, notes = {}, [], {}, []
    for block in catalogue.blocks(["label", "class_name", *_NUMBERS], BLOCK):
        found.append(np.array([-1 if text is None else codes.setdefault(text, len(codes)) for text in block["label"]]))
        if len(codes) > MOST_CLASSES:
            raise CatalogueError(
                f"{path}: '{column}' has more than {MOST_CLASSES} different values, so it is no class; "
                "name another with --label-column."
            )
        pairs = block[["label", "class_name"]].dropna().drop_duplicates() if "class_name" in block else block[:0]
        for label, name, *_ in pairs.itertuples(index=False):
            if names.setdefault(label, name) != name:
                raise CatalogueError(
                    f"{path}: '{catalogue.columns['class_name']}' calls label {label} both {names[label]} and "
                    f"{name}; mend it, or name the column of the class with --label-column."
                )
    values = pd.to_numeric(pd.Series(codes.keys(), dtype=object), errors="coerce")
    numbers = {text: int(value) for text, value in zip(codes, values, strict=True) if value % 1 == 0}
    given = tuple(classes or (catalogue.table.classes.get(column, ()) if len(numbers) == len(codes) else ()))
    if len(numbers) < len(codes) or (names and set(given) == set(names.values())):
        called = {text: names.get(text, text) for text in codes}
        final = given or sorted(set(called.values()), key=str.casefold)
    elif given:
        called = {text: given[number] for text, number in numbers.items() if 0 <= number < len(given)}
        called |= {text: None for text, number in numbers.items() if number == -1}  # by custom: no label
        final = given
    else:
        called = {text: names.get(text, f"class {numbers[text]}") for text in sorted(codes, key=numbers.get)}
        final = dict.fromkeys(called.values())
        order = sorted(set(numbers.values()))
        if order != list(range(len(order))):
            changes = ", ".join(f"{number} becomes {new}" for new, number in enumerate(order))
            notes.append(f"Labels are numbered anew: {changes}.")
    place = {name: number for number, name in enumerate(final)} | {None: -1}
    if unknown := [text for text in codes if called.get(text, "") not in place]:
        raise CatalogueError(
            f"{path}: '{column}' has {listed(unknown)}, which is not among the classes {listed(list(final))}; "
            "name all of them with --classes."
        )
    of_row = np.array([*(place[called[text]] for text in codes), -1], np.int32)[np.concatenate(found).astype(int)]
    if missing := int((of_row < 0).sum()):
        notes.insert(0, f"Left out: {missing:,} without a label.")
    return Labels(of_row, tuple(final), tuple(notes))
