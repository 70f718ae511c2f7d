"""Reads the characters of a table into header and rows: delimiter, title lines, comments, a header or none."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metaal_env.datasets.readers.header import KNOWN_NAMES, has_numbers, holds_units, is_header
from metaal_env.datasets.readers.header_rows import spaced_numbers, with_full_header
from metaal_env.errors import InputError, brief

MAX_CELLS = 2**25
"""Most cells of a file, and numbers that they become; a text becomes up to `MAX_CATEGORIES` numbers."""
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""Characters that separate cells, with their names."""
_SPELT = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|", "space": " "}
_ONE_COLUMN = "\x1f"
_SAMPLE = 2**16
_MAX_TITLES = 20


@dataclass(frozen=True)
class Grid:
    """Holds a table as texts; every row has as many cells as `header` has names.

    Attributes:
        delimiter: character between cells.
        notes: guesses that might be wrong, such as titles left out or no header.
    """

    header: list[str]
    rows: list[list[str]]
    delimiter: str
    notes: tuple[str, ...] = ()


def read_grid(
    text: str,
    subject: str,
    delimiter: str | None = None,
    header: bool | None = None,
    max_cells: int = MAX_CELLS,
) -> Grid:
    """Reads a text as a table.

    The delimiter is the one of comma, semicolon, tab and bar that gives rows of equal length, or the one in a first
    line ``sep=;``. Lines above the table that have another length or begin with ``#`` are titles and are left out.

    Args:
        subject: start of error messages, e.g. ``"data='a.csv'"``.
        delimiter: character between cells, if it is known.
        header: whether the first row holds the columns' names, if that is known.

    Raises:
        InputError: there are no rows, rows of unequal length, an open quote, or more than `max_cells` cells.
    """
    if delimiter is not None:
        delimiter = _SPELT.get(delimiter.lower(), delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise InputError(f"delimiter={delimiter!r} must be one character, or tab; e.g. ';'.")
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text = delimiter or first.strip()[4], rest
    comments, text = _without_comments(text)
    spaced = None if delimiter is not None else spaced_numbers(text)
    delimiter, text = ("\t", spaced) if spaced is not None else (delimiter or _delimiter(text), text)
    if text.count(delimiter) + text.count("\n") >= max_cells:
        raise InputError(f"{subject} has more than {max_cells:,} cells; convert it to npz.")
    try:
        lines = numbered_rows(text, delimiter)
    except csv.Error as error:
        raise InputError(f"{subject} is not a readable CSV file ({brief(error)}); save it again.") from error
    if not lines:
        raise InputError(f"{subject} is empty; give a table with a header.")
    lines = with_full_header(lines, subject)
    titles, lines = _without_titles(lines)
    rows, width = [row for _, row in lines], len(lines[0][1])
    number, wrong = next(((n, row) for n, row in lines if len(row) != width), (0, None))
    if wrong is not None:
        raise InputError(
            f"{subject}: row {number + comments} has {len(wrong)} cells but the first has {width}; make them equal."
        )
    notes = []
    if delimiter not in (",", _ONE_COLUMN):
        between = "spaces" if spaced is not None else DELIMITERS.get(delimiter, repr(delimiter))
        notes.append(f"cells between {between}")
    if titles + comments:
        notes.append(f"{titles + comments} line(s) above the table left out")
    has_header = is_header(rows) if header is None else header
    if not has_header:
        names = [f"column {i + 1}" for i in range(width)]
        return Grid(names, rows, delimiter, (*notes, "no header"))
    items = [row for row in rows[1:] if row != rows[0]]
    if not items:
        raise InputError(f"{subject} has a header but no items; add rows.")
    if len(items) < len(rows) - 1:
        notes.append(f"{len(rows) - 1 - len(items)} repeated header(s) left out")
    if has_numbers(rows[0]):
        notes.append("header of numbers")
    if header is None and width == 1 and rows[0][0].strip().lower() not in KNOWN_NAMES:
        notes.append(f"the first row {rows[0][0]!r:.60} is a header (else: --header False)")
    if holds_units(items):
        items = items[1:]
        notes.append("a row of units left out")
    return Grid(column_names(rows[0], subject), items, delimiter, tuple(notes))


def column_names(given: Iterable[str], subject: str) -> list[str]:
    """Returns the names of columns on one line each, pandas' ``Unnamed: 0`` for one without.

    Raises:
        InputError: two columns have the same name.
    """
    names = [" ".join(name.split()) or f"Unnamed: {i}" for i, name in enumerate(given)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InputError(f"{subject} has two columns called {twice!r}; rename one.")
    return names


def _without_comments(text: str) -> tuple[int, str]:
    """Returns the number of ``#`` lines left out, and the rest.

    A last ``#`` line with as many cells as the next line is a header.
    """
    count = 0
    while text.startswith("#"):
        first, _, rest = text.partition("\n")
        following = rest.partition("\n")[0]
        if not following.startswith("#"):
            delimiter = max(DELIMITERS, key=following.count)
            if following.count(delimiter) and first.count(delimiter) == following.count(delimiter):
                return count, text[1:].lstrip(" ")
        count, text = count + 1, rest
    return count, text


def _without_titles(lines: list[tuple[int, list[str]]]) -> tuple[int, list[tuple[int, list[str]]]]:
    """Leaves out the lines above the first row of the usual length, if all others have that length."""
    widths = [len(row) for _, row in lines]
    if not widths:
        return 0, lines
    usual = Counter(widths).most_common(1)[0][0]
    filled = [sum(1 for cell in row if cell.strip()) for _, row in lines[: _MAX_TITLES + 1]]
    start = 0
    # Spreadsheets pad a title with empty cells: one filled cell where the table has three columns or more.
    while start < len(filled) and (widths[start] != usual or (usual >= 3 and filled[start] == 1)):
        start += 1
    enough = 0 < start <= _MAX_TITLES and len(lines) - start >= 2
    if enough and widths[start:].count(usual) == len(lines) - start:
        return start, lines[start:]
    return 0, lines


def _delimiter(text: str) -> str:
    """Returns the delimiter that makes rows most equal in length, or `_ONE_COLUMN` where none separates anything."""
    sample = text[:_SAMPLE]
    if len(sample) < len(text):
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    first = next((line for line in sample.splitlines() if line.strip()), "")
    bare = not any(delimiter in first for delimiter in DELIMITERS)
    if bare and first.strip(' "').lower() in KNOWN_NAMES:  # sentences with commas below
        return _ONE_COLUMN
    if not first.strip("".join(DELIMITERS) + " "):
        return max(DELIMITERS, key=sample.count)
    best, result = (0.0, 0), _ONE_COLUMN
    for candidate in DELIMITERS:
        try:
            lines = numbered_rows(sample, candidate, strict=False)
        except csv.Error:
            continue
        widths = [len(row) for _, row in _without_titles(lines)[1]]
        usual, count = max(Counter(widths).items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        if usual > 1 and (count / len(widths), first.count(candidate)) > best:
            best, result = (count / len(widths), first.count(candidate)), candidate
    return _ONE_COLUMN if bare and best[0] < 1 else result


def numbered_rows(text: str, delimiter: str, strict: bool = True) -> list[tuple[int, list[str]]]:
    """Returns (number from 1, cells) of each row that is not blank. Raises: `csv.Error` for an open quote."""
    with _any_cell_size():
        try:
            return _rows(text, delimiter, strict)
        except csv.Error:
            if '\\"' not in text:
                raise
            return _rows(text, delimiter, strict, escapechar="\\", doublequote=False)  # as databases write


def _rows(text: str, delimiter: str, strict: bool, **dialect: Any) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict, **dialect)
    return [(n, row) for n, row in enumerate(reader, 1) if any(cell.strip() for cell in row)]


@contextmanager
def _any_cell_size() -> Iterator[None]:
    """Lifts the csv module's limit of 131,072 characters a cell, which a long document exceeds."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)
