"""A catalogue of galaxies: a table, and which of its columns is the image, the label, a position.

What columns mean is said by whoever opens the catalogue, or guessed where one name is obvious.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.catalogue.tables import ENDINGS, CatalogueError, Folders, Table, as_text, listed, open_table
from galutils.data.galaxies import DEGREES

#: What a column may be called to be taken for what it is, in lower case.
_CALLED = {
    "image": "image images img image_path image_file img_path file files filename file_name file_path filepath "
    "file_loc path picture pictures png png_loc jpg jpeg",
    "label": "label labels class classes kind ans target galaxy_class category",
    "class_name": "class_name classname label_name class_names label_names",
    "ra": "ra ra_deg raj2000 right_ascension",
    "dec": "dec dec_deg de decl dej2000 decj2000 declination",
    "redshift": "redshift zspec z_spec specz",
    "pxscale": "pxscale pixscale pixel_scale",
}
_CALLED = {role: names.split() for role, names in _CALLED.items()}


@dataclass(frozen=True)
class Catalogue:
    """A table and what its columns mean; made by :func:`open_catalogue`."""

    table: Table
    columns: dict[str, str]  # "image", "label", "class_name", "ra", ... and the table's own name for it
    votes: tuple[str, ...] = ()  # columns of vote fractions, one for each class
    images: Path = Path()  # where image files are
    ending: str = ""  # what their names lack

    @cached_property
    def embedded(self) -> bool:
        """Whether the table holds the images themselves."""
        return self.table.holds_images(self.columns["image"])

    def describe(self) -> str:
        """One line: which columns were taken for what, and where images are looked for."""
        taken = [f"{role.replace('_', ' ')} from '{column}'" for role, column in self.columns.items()]
        taken += [f"votes from {', '.join(map(repr, self.votes))}"] * bool(self.votes)
        place = "" if self.embedded else f"; images in {self.images}{f', ending in {self.ending}' * bool(self.ending)}"
        return f"{self.table.path}: {', '.join(taken)}{place}"

    def blocks(self, roles: Sequence[str], rows: int = 256) -> Iterator[pd.DataFrame]:
        """All rows in blocks of at most ``rows``, with a column for each of ``roles`` that the catalogue has.

        ``image`` is a Path, bytes of an image file, pixels (H, W, 3) uint8, or None where a row names none; with it
        comes ``name``, what to call it. ``label`` and ``class_name`` are text or None. All others, and ``votes``, a
        column for each under the table's name, are float64, NaN where unknown. A cell that is no number or no
        direction is a CatalogueError.
        """
        row = 0
        for block in self.table.blocks(self._needed(roles), rows):
            yield self._interpret(block.set_axis(range(row, row + len(block))), roles)
            row += len(block)

    def sample(self, roles: Sequence[str], rows: int) -> pd.DataFrame:
        """About ``rows`` rows of a table that holds its images, without reading it all; as in :meth:`blocks`."""
        blocks = self.table.sample(self._needed(roles), rows)
        return pd.concat([self._interpret(block, roles) for block in blocks], ignore_index=True)

    def _needed(self, roles: Sequence[str]) -> list[str]:
        needed = [self.columns[role] for role in roles if role in self.columns]
        return list(dict.fromkeys([*needed, *(self.votes if "votes" in roles else ())]))

    def _interpret(self, block: pd.DataFrame, roles: Sequence[str]) -> pd.DataFrame:
        out = {}
        for role in [role for role in roles if role in self.columns]:
            column = self.columns[role]
            if role == "image":
                out["image"] = [self._image(cell) for cell in block[column]]
                out["name"] = [self._call(row, cell) for row, cell in block[column].items()]
            elif role in ("label", "class_name"):
                out[role] = [as_text(cell) for cell in block[column]]
            else:
                out[role] = self._as_numbers(block[column], *DEGREES.get(role, (-np.inf, np.inf)))
        out |= {column: self._as_numbers(block[column], 0, 1) for column in self.votes if "votes" in roles}
        return pd.DataFrame(
            {name: pd.Series(cells, block.index, getattr(cells, "dtype", object)) for name, cells in out.items()}
        )

    def _image(self, cell: object) -> Path | bytes | np.ndarray | None:
        if isinstance(cell, dict):
            cell = cell.get("bytes") or cell.get("path")
        if self.embedded and not isinstance(cell, str):
            return cell
        name = as_text(cell)
        return None if name is None else self.images / (name + self.ending)

    def _call(self, row: int, cell: object) -> str:
        path = cell.get("path") if isinstance(cell, dict) else None if self.embedded else cell
        return as_text(path) or f"{self.table.path.name}[{row}]"

    def _as_numbers(self, cells: pd.Series, low: float, high: float) -> np.ndarray:
        numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
        wrong = (numbers.isna() & cells.notna()) | (numbers < low) | (numbers > high + 1e-6)
        if wrong.any():
            kind = "a number" if np.isinf(low) else f"a number from {low} to {high}"
            raise CatalogueError(
                f"{self.table.path}: '{cells.name}' has {as_text(cells[wrong].iloc[0])} in row {wrong.idxmax()}, "
                f"not {kind}; leave the cell empty where it is unknown."
            )
        return numbers.to_numpy()


def open_catalogue(
    path: str | Path,
    images: str | Path | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    votes: Sequence[str] = (),
    labelled: bool = True,
) -> Catalogue:
    """Open a folder or table and settle what its columns mean; only its beginning is read.

    Args:
        images: the folder that image files are named in; if None the table's own, or ``images`` beside it.
        image_column, label_column: guessed if None; votes: columns with fractions, which are labels too.
        labelled: whether a label is needed.

    What is not there, is damaged, or cannot be guessed is a CatalogueError.
    """
    path = Path(path)
    table = open_table(path)
    chosen = {"image": _choose(table, "image", image_column)}
    if label_column and votes:
        raise CatalogueError("Both a label column and votes are given; choose one of them as the class.")
    for name in votes:
        _must_have(table, name)
    if labelled and not votes:
        chosen["label"] = label = _choose(table, "label", label_column)
        own = [name for name in table.columns if name.lower() == f"{label}_name".lower()]
        called = own or (_called(table, "class_name") if label in _called(table, "label") else [])
        chosen |= {"class_name": called[0]} if called else {}
    for role in ("ra", "dec", "redshift", "pxscale"):
        found = _called(table, role)
        chosen |= {role: found[0]} if len(found) == 1 else {}
    table.check([*chosen.values(), *votes])
    home = path if path.is_dir() else path.parent
    catalogue = Catalogue(table, chosen, tuple(votes), home)
    if isinstance(table, Folders) or (catalogue.embedded and images is None):
        return catalogue
    return _find_images(catalogue, [home, home / "images"] if images is None else [Path(images)])


def _called(table: Table, role: str) -> list[str]:
    return [name for name in table.columns if name.lower() in _CALLED[role]]


def _must_have(table: Table, name: str) -> None:
    if name not in table.columns:
        raise CatalogueError(f"{table.path}: has no column '{name}'; it has {listed(table.columns)}.")


def _choose(table: Table, role: str, given: str | None) -> str:
    """The column that is given, or the only one that is called as such a column is."""
    if given is not None:
        _must_have(table, given)
        return given
    found = _called(table, role) or (_called(table, "class_name") if role == "label" else [])
    if len(found) != 1:
        told = f"several columns that may be the {role} ({listed(found)})" if found else f"no obvious {role} column"
        raise CatalogueError(f"{table.path}: has {told}; name it with --{role}-column, of {listed(table.columns)}.")
    return found[0]


def _find_images(catalogue: Catalogue, folders: list[Path]) -> Catalogue:
    """Where the first images that a table names are, and what ending their names lack."""
    if not folders[0].is_dir():
        raise CatalogueError(f"{folders[0]}: there is no such folder; say with --images where the images are.")
    for folder, ending in product(folders, ("", *ENDINGS)):
        found = replace(catalogue, images=folder, ending=ending)
        first = next(found.blocks(["image"], 20), pd.DataFrame({"image": []}))["image"]
        if any(isinstance(path, Path) and path.is_file() for path in first):
            return found
    return replace(catalogue, images=folders[0])
