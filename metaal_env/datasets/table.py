"""CSV files with a label column."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.prepare import standardise
from metaal_env.errors import InputError

LABEL_NAMES = ("label", "class", "target", "y")
MAX_CATEGORIES = 50
MAX_BYTES = 2**29
_DELIMITERS = ",;\t|"
_MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}


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


def table_dataset(name: str, header: list[str], rows: list[list[str]]) -> ClassDataset:
    """A table given as texts; the rules and errors of `load_csv`."""
    known = [column.strip().lower() for column in header]
    label = next((known.index(word) for word in LABEL_NAMES if word in known), len(header) - 1)
    columns = [i for i in range(len(header)) if i != label]
    if not columns:
        raise InputError(f"dataset={name!r} has one column only; give features beside the label column.")
    for number, row in enumerate(rows, start=1):
        for i, cell in enumerate(row):
            if cell.strip().lower() in _MISSING:
                raise InputError(
                    f"dataset={name!r}: item {number} has no value ({cell!r}) in column {header[i]!r}; "
                    "impute or drop it."
                )
    features = np.concatenate(
        [_column(name, header[i], [row[i].strip() for row in rows]) for i in columns], axis=1
    )
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


def _read(path: Path, name: str) -> tuple[list[str], list[list[str]]]:
    """Column names and rows, all of one length."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"dataset={name!r} exceeds {MAX_BYTES:,} bytes; convert it to npz.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(_DELIMITERS, key=first.count)
            lines = [row for row in csv.reader(file, delimiter=delimiter, strict=True) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"dataset={name!r} is no readable CSV file ({error}); save it as UTF-8.") from error
    if not lines:
        raise InputError(f"dataset={name!r} is empty; give a table with a label column.")
    width = len(lines[0])
    for number, row in enumerate(lines, start=1):
        if len(row) != width:
            raise InputError(
                f"dataset={name!r}: row {number} has {len(row)} cells but the first has {width}; "
                "make them equal."
            )
    if any(_number(cell) is not None for cell in lines[0]):
        return [f"column {i + 1}" for i in range(width)], lines
    if len(lines) == 1:
        raise InputError(f"dataset={name!r} has a header but no items; add rows.")
    return lines[0], lines[1:]


def _column(name: str, column: str, cells: list[str]) -> np.ndarray:
    """One column as (M, 1) standardised numbers, or (M, n_values) one-hot; float32."""
    numbers = [_number(cell) for cell in cells]
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


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
