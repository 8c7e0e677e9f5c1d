"""A catalogue of galaxies: a table, and which of its columns is the image, the label, a position.

What columns mean is said by whoever opens the catalogue, or guessed where one name is obvious.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd

from galutils.data.catalogue.tables import ENDINGS, CatalogueError, Table, as_text, listed, open_table
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

    @property
    def embedded(self) -> bool:
        """Whether the table holds the images themselves."""
        return self.columns["image"] in self.table.embedded

    def describe(self) -> str:
        """One line: which columns were taken for what, and where images are looked for."""
        if self.table.told:
            return f"{self.table.path}: {self.table.told}"
        taken = [f"{role.replace('_', ' ')} from '{column}'" for role, column in self.columns.items()]
        taken += [f"votes from {', '.join(map(repr, self.votes))}"] * bool(self.votes)
        place = "" if self.embedded else f"; images in {self.images}{f', ending in {self.ending}' * bool(self.ending)}"
        return f"{self.table.path}: {', '.join(taken)}{place}"

    def blocks(self, roles: Sequence[str], rows: int = 256, sample: bool = False) -> Iterator[pd.DataFrame]:
        """All rows in blocks of at most ``rows``, with a column for each of ``roles`` that the catalogue has.

        ``image`` is a Path, bytes of an image file, pixels (H, W, 3) uint8, or None where a row names none; with it
        comes ``name``, what to call it. ``label`` and ``class_name`` are text or None. All others, and ``votes``, a
        column for each under the table's name, are float64, NaN where unknown. A cell that is no number or no
        direction is a CatalogueError.

        sample: about so many rows instead, of a table that holds its images, without reading it all.
        """
        taken = {role: self.columns[role] for role in roles if role in self.columns}
        votes = self.votes if "votes" in roles else ()
        needed, row = list(dict.fromkeys([*taken.values(), *votes])), self.table.start
        read = self.table.sample if sample and self.table.sample else self.table.blocks
        for block in islice(read(needed, rows), 1 if sample and not self.table.sample else None):
            block, out = block.set_axis(range(row, row + len(block))), {}
            row += len(block)
            for role, column in taken.items():
                if role == "image":
                    found = [self.locate(row, cell) for row, cell in block[column].items()]
                    out["image"], out["name"] = ([one[place] for one in found] for place in (0, 1))
                elif role in ("label", "class_name"):
                    out[role] = list(map(as_text, block[column]))
                else:
                    out[role] = self._as_numbers(block[column], *DEGREES.get(role, (-np.inf, np.inf)))
            # As pandas would not leave them: text that is missing as None, pixels as an array in each cell.
            out = {name: pd.Series(cells, block.index, getattr(cells, "dtype", object)) for name, cells in out.items()}
            yield pd.DataFrame(out | {column: self._as_numbers(block[column], 0, 1) for column in votes})

    def locate(self, row: int, cell: object) -> tuple[Path | bytes | np.ndarray | None, str]:
        """The image that a cell of a row holds or names, and what to call it."""
        content, path = (cell, None) if self.embedded else (None, cell)
        if isinstance(cell, dict):
            content, path = cell.get("bytes") or None, cell.get("path")
        path = as_text(path)
        if content is None and path:
            content = self.images / (path + self.ending)
        return content, path or f"{self.table.path.name}[{row}]"

    def _as_numbers(self, cells: pd.Series, low: float, high: float) -> pd.Series:
        numbers = pd.to_numeric(cells, errors="coerce").astype(np.float64)
        wrong = (numbers.isna() & cells.notna()) | (numbers < low) | (numbers > high + 1e-6)
        if wrong.any():
            kind = "a number" if np.isinf(low) else f"a number from {low} to {high}"
            raise CatalogueError(
                f"{self.table.path}: '{cells.name}' has {as_text(cells[wrong].iloc[0])} in row {wrong.idxmax()}, "
                f"not {kind}; leave the cell empty where it is unknown."
            )
        return numbers


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
        path: of this machine, or one of fsspec (UPath) of a Parquet file, whose images are inside.
        images: the folder that image files are named in; if None the table's own, or ``images`` beside it.
        image_column, label_column: guessed if None; votes: columns with fractions, which are labels too.
        labelled: whether a label is needed.

    What is not there, is damaged, or cannot be guessed is a CatalogueError.
    """
    path = Path(path) if isinstance(path, str) else path
    table = open_table(path)
    called = {role: [name for name in table.columns if name.lower() in names] for role, names in _CALLED.items()}

    def guess(role: str, found: list[str]) -> str:
        if len(found) == 1:
            return found[0]
        told = f"several columns that may be the {role} ({listed(found)})" if found else f"no obvious {role} column"
        raise CatalogueError(f"{path}: has {told}; name it with --{role}-column, of {listed(table.columns)}.")

    if label_column and votes:
        raise CatalogueError("Both a label column and votes are given; choose one of them as the class.")
    for name in filter(None, (image_column, label_column, *votes)):
        if name not in table.columns:
            raise CatalogueError(f"{path}: has no column '{name}'; it has {listed(table.columns)}.")
    columns = {"image": image_column or guess("image", called["image"])}
    if labelled and not votes:
        columns["label"] = label = label_column or guess("label", called["label"] or called["class_name"])
        own = [name for name in table.columns if name.lower() == f"{label}_name".lower()]
        names = own or (called["class_name"] if label in called["label"] else [])
        columns |= {"class_name": names[0]} if names else {}
    columns |= {role: called[role][0] for role in ("ra", "dec", "redshift", "pxscale") if len(called[role]) == 1}
    if table.check:
        table.check([*columns.values(), *votes])
    home = (path if path.is_dir() else path.parent) if isinstance(path, Path) else Path()
    catalogue = Catalogue(table, columns, tuple(votes), home if images is None else Path(images))
    if images is not None and not catalogue.images.is_dir():
        raise CatalogueError(f"{images}: there is no such folder; say with --images where the images are.")
    if images is None and catalogue.embedded:
        return catalogue
    # Where the first images are that the table names, of which a few may not be there, and what their names lack.
    for folder, ending in product([home, home / "images"] if images is None else [catalogue.images], ("", *ENDINGS)):
        found = replace(catalogue, images=folder, ending=ending)
        first = next(found.blocks(["image"], 20), {"image": []})["image"]
        if any(isinstance(image, Path) and image.is_file() for image in first):
            return found
    return catalogue
