"""Columns of a table: their kinds, and the numbers that they become."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np

from metaal_env.datasets.prepare import standardise
from metaal_env.datasets.readers.cell_dates import is_date, moment_vectors, read_moments
from metaal_env.datasets.readers.cell_numbers import (
    has_decimal_commas,
    is_missing,
    read_number,
    without_unit,
)
from metaal_env.datasets.readers.cells import MAX_CELLS, Grid
from metaal_env.datasets.readers.header import MORE_TEXT_NAMES, TEXT_NAMES
from metaal_env.errors import InputError

MAX_CATEGORIES = 50
ColumnKind = Literal["numbers", "categories", "texts", "dates", "names", "counter", "empty"]
_COUNTERS = {*("", "#", "row", "nr", "no", "sno", "srno", "slno", "serialno", "serialnumber", "lfdnr", "idx")}
_INDICES = {*("index", "level0", "rowid", "rownames", "rownumber", "rowindex")}
"""Names of row numbers, without signs between letters; under the latter they may have gaps, as after a filter."""
_UNNAMED = re.compile(r"(unnamed: ?\d+(\.\d+)?(_level_\d+)?)?", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]{2}")
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")
"""Letters of scripts without spaces between words: Thai, Japanese, Chinese."""
_MOSTLY = 0.9
_LONG_WORDS, _FEW_ANSWERS = 5, 10
"""Texts of so many words are no categories where they are more than the answers that a form offers."""


@dataclass(frozen=True)
class Column:
    """Holds a column's name, its cells and their kind.

    Attributes:
        numbers: values of the cells of a column of numbers, None where a value is missing; of dates the seconds since
            1970, or nothing where they can be read in two ways.
        strays: different cells that are neither numbers or dates nor known signs of a missing value.
    """

    name: str
    cells: tuple[str, ...]
    kind: ColumnKind
    numbers: tuple[float | None, ...] = ()
    strays: tuple[str, ...] = ()
    decimal_comma: bool = False

    @property
    def n_missing(self) -> int:
        return self.numbers.count(None)

    @property
    def distinct(self) -> int:
        return len({cell for cell in self.cells if cell})


def columns_of(grid: Grid) -> list[Column]:
    """Returns every column of a table with its kind."""
    cells = [tuple(row[i].strip() for row in grid.rows) for i in range(len(grid.header))]
    return [_column(name, values, grid.delimiter) for name, values in zip(grid.header, cells, strict=True)]


def _column(name: str, cells: tuple[str, ...], delimiter: str) -> Column:
    plain = _plain_numbers(cells)
    if plain is not None:
        return Column(name, cells, "counter" if _is_counter(name, plain) else "numbers", plain)
    if not any(cells):
        return Column(name, cells, "empty")
    present = [cell for cell in cells if not is_missing(cell)]
    comma = has_decimal_commas(present, delimiter)
    numbers = tuple(None if is_missing(cell) else read_number(cell, comma) for cell in cells)
    read = len(numbers) - numbers.count(None)
    if present and read >= _MOSTLY * len(present):
        kind: ColumnKind = "counter" if _is_counter(name, numbers) else "numbers"
        return Column(name, cells, kind, numbers, _strays(cells, numbers), comma)
    if present and sum(map(is_date, present)) >= _MOSTLY * len(present):
        moments = read_moments(cells)
        return Column(name, cells, "dates", moments, _strays(cells, moments))
    bare, unit = without_unit(cells)
    if unit:
        column = _column(name, bare, delimiter)
        if column.kind == "numbers":
            return replace(column, cells=cells)
    filled = [cell for cell in cells if cell]
    different = set(filled)
    if _is_text(name, filled, different):
        return Column(name, cells, "texts")
    if len(different) > MAX_CATEGORIES or len(different) == len(cells) > 2:
        return Column(name, cells, "names")
    return Column(name, cells, "categories")


def _strays(cells: Sequence[str], numbers: Sequence[float | None]) -> tuple[str, ...]:
    """Returns the different cells that were not read and do not stand for a missing value; see `Column.strays`."""
    pairs = zip(cells, numbers, strict=False)  # no number at all where dates can be read in two ways
    return tuple(dict.fromkeys(cell for cell, number in pairs if number is None and not is_missing(cell)))


def _plain_numbers(cells: Sequence[str]) -> tuple[float, ...] | None:
    """Returns the numbers of a column without gaps in Python's notation, the frequent case, quickly; else None."""
    try:
        numbers = tuple(map(float, cells))
    except ValueError:
        return None
    return None if any(n != n for n in numbers) or any("_" in cell for cell in cells) else numbers


def is_unnamed(name: str) -> bool:
    """Returns whether a column has no name of its own, which pandas writes as ``Unnamed: 0``."""
    return bool(_UNNAMED.fullmatch(name.strip()))


def _is_counter(name: str, numbers: Sequence[float | None]) -> bool:
    """Returns whether whole numbers that never repeat stand under no name, or count the rows under a counter's."""
    if None in numbers or len(set(numbers)) < len(numbers):
        return False
    if is_unnamed(name):
        return all(number is not None and number % 1 == 0 for number in numbers)
    word, n = re.sub(r"[\W_]+", "", name.lower()) if name.strip() != "#" else "", len(numbers)
    if word in _INDICES:
        return all(number is not None and number % 1 == 0 for number in numbers)
    counts = sorted(n for n in numbers if n is not None) in ([*range(n)], [*range(1, n + 1)])
    return counts and word in _COUNTERS


def _is_text(name: str, filled: Sequence[str], different: set[str]) -> bool:
    word = name.strip().lower()
    if word in TEXT_NAMES:
        return True
    words = _median_words(different)
    if not any(map(_LETTER.search, different)):  # numbers of telephones, intervals, places
        return False
    if word in MORE_TEXT_NAMES and (words >= 3 or 3 * len(different) > len(filled)):
        return True
    return words >= 3 and (
        2 * len(different) > len(filled) or (words >= _LONG_WORDS and len(different) > _FEW_ANSWERS)
    )


def words_of(column: Column) -> float:
    """Returns the median number of words of a column's different cells, 0 if all are empty."""
    return _median_words({cell for cell in column.cells if cell})


def _median_words(different: set[str]) -> float:
    return median(map(_words, different)) if different else 0


def _words(cell: str) -> float:
    return max(len(cell.split()), len(_UNSPACED.findall(cell)) / 2)


def as_vectors(columns: Sequence[Column], subject: str, max_numbers: int = MAX_CELLS) -> np.ndarray:
    """Returns the columns as (M, D) float32: numbers standardised, categories one-hot, dates by `moment_vectors`.

    A missing number becomes the mean of its column and sets an extra column to 1. A missing category is a category.

    Raises:
        InputError: there is an infinite number, or more than `max_numbers` numbers in all.
    """
    parts: list[np.ndarray] = []
    width = 0
    for column in columns:
        if column.kind == "dates":
            parts.append(moment_vectors(column.numbers))
        else:
            parts.append(_standardised(column, subject) if column.kind == "numbers" else _one_hot(column))
        width += parts[-1].shape[1]
        if width * len(column.cells) > max_numbers:
            raise InputError(
                f"{subject}: texts and numbers up to column {column.name!r} become {width * len(column.cells):,} "
                f"numbers, at most {max_numbers:,} are allowed; drop columns or convert it to npz."
            )
    return np.concatenate(parts, axis=1)


def _standardised(column: Column, subject: str) -> np.ndarray:
    values = np.array([np.nan if n is None else n for n in column.numbers], dtype=np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        i = int(infinite[0])
        raise InputError(
            f"{subject}: item {i + 1} has {column.cells[i]!r} in column {column.name!r}; impute or drop it."
        )
    missing = np.isnan(values)
    result = np.zeros((len(values), 1), dtype=np.float32)
    result[~missing] = standardise(values[~missing, None])
    return np.hstack([result, missing[:, None].astype(np.float32)]) if missing.any() else result


def _one_hot(column: Column) -> np.ndarray:
    categories, index = np.unique(column.cells, return_inverse=True)
    return np.eye(len(categories), dtype=np.float32)[index]
