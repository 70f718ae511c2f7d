"""CSV files with a label column."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.prepare import standardise
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_text

LABEL_NAMES = ("label", "class", "target", "y")
MAX_CATEGORIES = 50
MAX_BYTES = 2**29
MAX_CELLS = 2**25
"""Cells of a file, and numbers that they become: texts take up to `MAX_CATEGORIES` each."""
_DELIMITERS = ",;\t|"
MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}


def load_csv(path: Path, name: str) -> ClassDataset:
    """Reads a table as vectors: numeric columns standardised, columns of text one-hot.

    The first row is a header unless it holds a number. The label column is called ``label``, ``class``,
    ``target`` or ``y``, else it is the last one. Commas, semicolons, tabs and bars separate cells.

    Raises:
        InputError: no table, rows of unequal length, missing or infinite values (with row and column), a
            text column with more than `MAX_CATEGORIES` values, fewer than two classes, or a label column
            whose values hardly ever repeat.
    """
    return table_dataset(name, *_read(path, name))


def named_column(header: list[str], words: tuple[str, ...]) -> int | None:
    """Position of the first of `words` that is a column's name, whatever its case; None if none is."""
    known = [column.strip().lower() for column in header]
    return next((known.index(word) for word in words if word in known), None)


def table_dataset(
    name: str, header: list[str], rows: list[list[str]], label: int | None = None
) -> ClassDataset:
    """A table given as texts; the rules and errors of `load_csv`. `label` is the label column if it is known."""
    if label is None:
        label = named_column(header, LABEL_NAMES)
    label = len(header) - 1 if label is None else label
    columns = [i for i in range(len(header)) if i != label]
    if not columns:
        raise InputError(f"dataset={name!r} has one column only; give features beside the label column.")
    for number, row in enumerate(rows, start=1):
        for i, cell in enumerate(row):
            if cell.strip().lower() in MISSING:
                raise InputError(
                    f"dataset={name!r}: item {number} has no value ({cell!r}) in column {header[i]!r}; "
                    "impute or drop it."
                )
    parts, width = [], 0
    for i in columns:
        parts.append(_column(name, header[i], [row[i].strip() for row in rows]))
        width += parts[-1].shape[1]
        if width * len(rows) > MAX_CELLS:
            raise InputError(
                f"dataset={name!r}: texts and numbers up to column {header[i]!r} become {width * len(rows):,} numbers, "
                f"at most {MAX_CELLS:,} are allowed; drop columns or convert it to npz."
            )
    features = np.concatenate(parts, axis=1)
    class_names, labels = np.unique([row[label].strip() for row in rows], return_inverse=True)
    if len(class_names) < 2 or 2 * len(class_names) > len(rows):
        raise InputError(
            f"dataset={name!r}: the label column {header[label]!r} has {len(class_names)} different "
            f"value(s) in {len(rows)} items; at least 2 classes of 2 items are needed: "
            "name the right column 'label'."
        )
    names = tuple(str(value) for value in class_names)
    return ClassDataset(
        name=name,
        inputs=torch.from_numpy(features),
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=names,
        groups=names,
        modality="vector",
    )


def read_cells(text: str, what: str) -> list[list[str]]:
    """The rows of a CSV file that are not empty; the first line tells the delimiter.

    Raises:
        InputError: more than `MAX_CELLS` cells.
        csv.Error: an open quote, or a cell of more than 128 KiB.
    """
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    if text.count(delimiter) + text.count("\n") >= MAX_CELLS:
        raise InputError(f"{what} has more than {MAX_CELLS:,} cells; convert it to npz.")
    return [
        row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)
    ]


def _read(path: Path, name: str) -> tuple[list[str], list[list[str]]]:
    """Column names and rows, all of one length."""
    what = f"dataset={name!r}"
    text = read_text(path, what, MAX_BYTES)
    try:
        lines = read_cells(text, what)
    except csv.Error as error:
        raise InputError(f"{what} is no readable CSV file ({brief(error)}); save it again.") from error
    if not lines:
        raise InputError(f"dataset={name!r} is empty; give a table with a label column.")
    width = len(lines[0])
    for number, row in enumerate(lines, start=1):
        if len(row) != width:
            raise InputError(
                f"dataset={name!r}: row {number} has {len(row)} cells but the first has {width}; "
                "make them equal."
            )
    if any(as_number(cell) is not None for cell in lines[0]):
        return [f"column {i + 1}" for i in range(width)], lines
    if len(lines) == 1:
        raise InputError(f"dataset={name!r} has a header but no items; add rows.")
    return lines[0], lines[1:]


def _column(name: str, column: str, cells: list[str]) -> np.ndarray:
    """One column as (M, 1) standardised numbers, or (M, n_values) one-hot; float32."""
    numbers = [as_number(cell) for cell in cells]
    if None not in numbers:
        values = np.array(numbers, dtype=np.float64)[:, None]
        bad = np.flatnonzero(~np.isfinite(values[:, 0]))
        if len(bad):
            raise InputError(
                f"dataset={name!r}: item {bad[0] + 1} has {cells[bad[0]]!r} in column {column!r}; "
                "impute or drop it."
            )
        return standardise(values)
    categories, index = np.unique(cells, return_inverse=True)
    if len(categories) > MAX_CATEGORIES:
        raise InputError(
            f"dataset={name!r}: column {column!r} has {len(categories)} different texts, at most "
            f"{MAX_CATEGORIES} are one-hot encoded; drop or encode it."
        )
    return np.eye(len(categories), dtype=np.float32)[index]


def as_number(cell: str) -> float | None:
    """The number that a cell holds, if it does."""
    try:
        return float(cell)
    except ValueError:
        return None
