"""Reads tables with a label column as data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.readers.cells import Grid, read_grid
from metaal_env.datasets.readers.columns import Column, as_vectors, columns_of
from metaal_env.datasets.readers.decode import read_decoded
from metaal_env.datasets.readers.header import LABEL_NAMES
from metaal_env.datasets.readers.label_values import read_labels
from metaal_env.errors import InputError, unknown_name

MAX_BYTES = 2**29
TABLES = (".csv", ".tsv", ".tab")
PACKED = (".gz", ".bz2", ".xz")


def load_csv(path: Path, name: str, label: str | None = None, max_bytes: int = MAX_BYTES) -> ClassDataset:
    """Reads a table as vectors: numeric columns standardised, columns of text one-hot.

    The label column is called ``label``, ``class``, ``target`` or ``y``, or it is the only one that can hold classes.
    Row numbers without a name, as pandas writes them, are left out. See `read_grid` for the format.

    Args:
        label: name of the label column, if it is known.

    Raises:
        InputError: the file is no table, has rows of unequal length, missing or infinite values, a column of dates,
            ids or many different texts, or no single column that can hold classes.
    """
    subject = f"dataset={name!r}"
    grid = read_grid(read_decoded(path, subject, max_bytes).text, subject)
    if label is not None and label not in grid.header:
        raise unknown_name(f"{subject}: column", label, grid.header)
    return _dataset(name, grid, None if label is None else grid.header.index(label))


def is_table(path: Path) -> bool:
    """Returns whether a file is a table by its name, compressed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in TABLES


def named_column(header: list[str], words: tuple[str, ...]) -> int | None:
    """Returns the position of the first of `words` that names a column, whatever its case; else None."""
    known = [column.strip().lower() for column in header]
    return next((known.index(word) for word in words if word in known), None)


def table_dataset(
    name: str, header: list[str], rows: list[list[str]], label: int | None = None
) -> ClassDataset:
    """Returns the data set of a table given as texts, with the rules and errors of `load_csv`.

    Args:
        label: position of the label column, if it is known.
    """
    return _dataset(name, Grid(header, rows, ","), label)


def _dataset(name: str, grid: Grid, label: int | None) -> ClassDataset:
    subject = f"dataset={name!r}"
    if len(grid.header) == 1:
        raise InputError(f"{subject} has one column only; give features beside the label column.")
    columns = columns_of(grid)
    truth = columns[label] if label is not None else _label_column(subject, columns)
    features = [
        column for column in columns if column is not truth and column.kind not in ("counter", "empty")
    ]
    if not features:
        raise InputError(f"{subject} has one column only; give features beside the label column.")
    _refuse_gaps(subject, [*features, truth])
    for column in features:
        if column.kind not in ("numbers", "categories"):
            raise InputError(
                f"{subject}: column {column.name!r} has {column.distinct} different texts in {len(column.cells)} "
                "items; drop or encode it."
            )
    vectors = as_vectors(features, subject)
    read = read_labels(truth.cells, f"{subject}: the label column {truth.name!r}", partial=False)
    unlabelled = next((i for i, value in enumerate(read.values) if value is None), None)
    if unlabelled is not None:
        raise InputError(
            f"{subject}: item {unlabelled + 1} has no value ({truth.cells[unlabelled]!r}) in column {truth.name!r}; "
            "drop unlabelled items."
        )
    class_names, labels = np.unique([str(value) for value in read.values], return_inverse=True)
    if len(class_names) < 2 or 2 * len(class_names) > len(labels):
        raise InputError(
            f"{subject}: the label column {truth.name!r} has {len(class_names)} different "
            f"value(s) in {len(labels)} items; at least 2 classes of 2 items are needed: "
            "name the right column 'label' or append #COLUMN to the path."
        )
    names = tuple(str(value) for value in class_names)
    return ClassDataset(
        name=name,
        inputs=torch.from_numpy(vectors),
        labels=torch.from_numpy(labels.astype(np.int64)),
        class_names=names,
        groups=names,
        modality="vector",
    )


def _label_column(subject: str, columns: Sequence[Column]) -> Column:
    """By its name; else the only column of repeated texts, or the last one if it is the only one of few numbers."""
    usual = named_column([column.name for column in columns], LABEL_NAMES)
    if usual is not None:
        return columns[usual]
    texts = [column for column in columns if column.kind == "categories"]
    whole = [column for column in columns if column.kind == "numbers" and _may_be_classes(column)]
    fitting = texts or whole
    if len(fitting) > 1:
        names = ", ".join(repr(column.name) for column in fitting)
        raise InputError(
            f"{subject}: the columns {names} may hold the classes; call one 'label' or append #COLUMN to the path."
        )
    return fitting[0] if fitting else columns[-1]


def _may_be_classes(column: Column) -> bool:
    """Returns whether whole numbers repeat as classes do."""
    values = set(column.numbers)
    return (
        1 < len(values) <= max(2, len(column.cells) // 2)
        and len(values) <= 50
        and all(value is not None and value % 1 == 0 for value in values)
    )


def _refuse_gaps(subject: str, columns: Sequence[Column]) -> None:
    for column in columns:
        for number, cell in enumerate(column.cells, start=1):
            missing = bool(column.numbers) and column.numbers[number - 1] is None
            if not cell or missing:
                raise InputError(
                    f"{subject}: item {number} has no value ({cell!r}) in column {column.name!r}; impute or drop it."
                )
