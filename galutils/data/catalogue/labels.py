"""From labels as people write them, numbers, names or vote fractions, to numbered classes with names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    path = catalogue.table.path
    if len(set(classes)) < len(classes):
        raise CatalogueError(f"The classes {', '.join(classes)} are not all different; give each a name of its own.")
    if min_votes is not None and not catalogue.votes:
        raise CatalogueError(
            f"The least share of votes is {min_votes:g}, but no columns with votes are given; name them with --votes."
        )
    if min_votes is not None and not 0 < min_votes <= 1:
        raise CatalogueError(f"The least share of votes is {min_votes:g}; it must lie above 0 and at most be 1.")
    labels = _from_votes(catalogue, classes, min_votes or 0) if catalogue.votes else _from_column(catalogue, classes)
    if (labels.of_row < 0).all():
        why = "; ".join(note.rstrip(".").lower() for note in labels.notes) or "it has no rows"
        raise CatalogueError(f"{path}: no galaxy has a class ({why}); mend that, or name another column.")
    if not 2 <= len(labels.classes) <= MOST_CLASSES:
        raise CatalogueError(
            f"{path}: has {len(labels.classes)} class{'es' * (len(labels.classes) != 1)} "
            f"({listed(labels.classes)}); give 2 to {MOST_CLASSES} of them."
        )
    return labels


def _from_votes(catalogue: Catalogue, classes: Sequence[str], least: float) -> Labels:
    classes = tuple(classes or catalogue.votes)
    if len(classes) != len(catalogue.votes):
        raise CatalogueError(
            f"There are {len(classes)} names of classes but {len(catalogue.votes)} columns with votes; "
            "give one for each."
        )
    found, left_out = [], {"without votes": [], "without a largest share of votes": [], "low": []}
    for block in catalogue.blocks(["votes", *_NUMBERS], BLOCK):
        votes = block[list(catalogue.votes)].to_numpy()
        largest, best = votes.max(axis=1), votes.argmax(axis=1).astype(np.int32)
        none = ~(largest > 0)  # NaN is the largest of a row that has one
        tied = ~none & ((votes == largest[:, None]).sum(axis=1) > 1)
        low = ~none & ~tied & (largest < least)
        for reason, rows in zip(left_out, (none, tied, low), strict=True):
            left_out[reason].append(best[rows])
        found.append(np.where(none | tied | low, -1, best))
    counts = {reason: np.bincount(np.concatenate(rows), minlength=len(classes)) for reason, rows in left_out.items()}
    by_class = ", ".join(f"{count:,} {name}" for name, count in zip(classes, counts["low"], strict=True))
    words = {"low": f"with less than {least:g} of the votes for a class ({by_class})"}
    notes = [f"Left out: {sum(n):,} {words.get(reason, reason)}." for reason, n in counts.items() if sum(n)]
    return Labels(np.concatenate(found), classes, tuple(notes))


def _from_column(catalogue: Catalogue, classes: Sequence[str]) -> Labels:
    path, column = catalogue.table.path, catalogue.columns["label"]
    codes, found, names = {None: -1}, [], {}
    for block in catalogue.blocks(["label", "class_name", *_NUMBERS], BLOCK):
        found.append(np.array([codes.setdefault(text, len(codes) - 1) for text in block["label"]], np.int32))
        if len(codes) - 1 > MOST_CLASSES:
            raise CatalogueError(
                f"{path}: '{column}' has more than {MOST_CLASSES} different values, so it is no class; "
                "name another with --label-column."
            )
        if "class_name" in block:
            for label, name in block[["label", "class_name"]].dropna().drop_duplicates().itertuples(index=False):
                if names.setdefault(label, name) != name:
                    raise CatalogueError(
                        f"{path}: '{catalogue.columns['class_name']}' calls label {label} both {names[label]} and "
                        f"{name}; mend it, or name the column of the class with --label-column."
                    )
    texts = [text for text in codes if text is not None]
    called, final, notes = _name(texts, names, classes, catalogue.table.names(column))
    if unknown := [text for text in texts if called.get(text, "") not in (None, *final)]:
        raise CatalogueError(
            f"{path}: '{column}' has {listed(unknown)}, which is not among the classes {listed(final)}; "
            "name all of them with --classes."
        )
    new = np.array([-1 if called[text] is None else final.index(called[text]) for text in texts] + [-1], np.int32)
    of_row = new[np.concatenate(found)]
    if missing := int((of_row < 0).sum()):
        notes.insert(0, f"Left out: {missing:,} without a label.")
    return Labels(of_row, final, tuple(notes))


def _name(
    texts: list[str], names: dict[str, str], classes: Sequence[str], told: Sequence[str]
) -> tuple[dict[str, str | None], tuple[str, ...], list[str]]:
    """The class of each label that occurs, None for no class; all classes in their order; and notes.

    ``names`` is what a column calls the labels, ``classes`` what the user and ``told`` what the table calls numbers.
    """
    notes = []
    numbers = {text: int(float(text)) for text in texts if _is_whole(text)}
    given = tuple(classes or (told if len(numbers) == len(texts) else ()))
    if len(numbers) < len(texts) or (names and set(given) == set(names.values())):
        called = {text: names.get(text, text) for text in texts}
        called = dict(sorted(called.items(), key=lambda item: item[1].casefold()))
    elif given:
        called = {text: given[number] for text, number in numbers.items() if 0 <= number < len(given)}
        called |= {text: None for text, number in numbers.items() if number == -1}  # by custom: no label
    else:
        called = {text: names.get(text, f"class {numbers[text]}") for text in sorted(texts, key=numbers.get)}
        found = sorted(set(numbers.values()))
        if found != list(range(len(found))):
            changes = ", ".join(f"{number} becomes {new}" for new, number in enumerate(found))
            notes.append(f"Labels are numbered anew: {changes}.")
    return called, given or tuple(dict.fromkeys(called.values())), notes


def _is_whole(text: str) -> bool:
    try:
        return float(text).is_integer()
    except ValueError:
        return False
