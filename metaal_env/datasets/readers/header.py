"""Decides whether the first row of a table holds the names of its columns."""

from __future__ import annotations

import re
from itertools import pairwise

from metaal_env.datasets.readers.cell_numbers import is_missing, plain_number, read_number

LABEL_NAMES = ("label", "class", "target", "y")
ID_NAMES = ("id", "item", "name")
TEXT_NAMES = ("text", "sentence", "utterance", "document")
MORE_TEXT_NAMES = (
    *("review", "comment", "tweet", "message", "body", "content", "description", "question", "title"),
    *("abstract", "post", "headline", "query", "answer", "summary", "caption", "paragraph", "transcript"),
)
KNOWN_NAMES = {*LABEL_NAMES, *ID_NAMES, *TEXT_NAMES, *MORE_TEXT_NAMES, "labels", "index"}
_NAME = re.compile(r"[^\W\d][\w .:/#%()\[\]°²µ-]{0,60}")
_UNIT = re.compile(r"[(\[].{1,12}[)\]]|[^\W\d_]{1,4}[²³]?(/[^\W\d_]{1,4}[²³]?)?|[%°‰]\w?")
_SAMPLE = 1000


def is_header(rows: list[list[str]]) -> bool:
    """Returns whether the first row holds names.

    It does where its numbers, unlike those of any other row, count columns (0, 1, 2, …, as pandas writes them) or rise
    or fall like wavelengths. It also does where a text stands above numbers or a number above texts, or where its texts
    look like names. It does not where a number stands above numbers, one of its texts occurs again below, or it reads
    like a sentence.
    """
    first = [cell.strip() for cell in rows[0]]
    below = [cells for row in rows[1 : _SAMPLE + 1] if (cells := [cell.strip() for cell in row]) != first]
    repeated = len(below) < min(len(rows) - 1, _SAMPLE)
    pairs = [(cell, [row[i] for row in below]) for i, cell in enumerate(first)]
    text_above_numbers = any(
        plain_number(cell) is None and not is_missing(cell) and _is_numeric(column) for cell, column in pairs
    )
    known = any(cell.lower() in KNOWN_NAMES for cell in first)
    if repeated and not (known or text_above_numbers):
        return False
    if any(cell and plain_number(cell) is None and cell in column for cell, column in pairs):
        return False
    if any(plain_number(cell) is not None for cell in first):
        number_above_texts = any(
            plain_number(cell) is not None and below and not any(map(_is_number, column))
            for cell, column in pairs
        )
        return number_above_texts or _numbers_are_names(first, below)
    if known or text_above_numbers:
        return True
    return any(first) and all(_is_name(cell) for cell in first if cell)


def holds_units(rows: list[list[str]]) -> bool:
    """Returns whether the first of the rows below a header holds units, as instruments write them.

    It does where columns hold numbers, the first cell of each of them is none, and some of these stand in brackets or
    have at most four letters.
    """
    if len(rows) < 3:
        return False
    first, below = rows[0], rows[1 : _SAMPLE + 1]
    numeric = [i for i in range(len(first)) if _is_numeric([row[i] for row in below])]
    cells = [first[i].strip() for i in numeric]
    if not cells or any(_is_number(cell) for cell in cells):
        return False
    units = [cell for cell in cells if not is_missing(cell)]
    others = [first[i].strip() for i in range(len(first)) if i not in numeric]
    return (
        bool(units)
        and all(map(_UNIT.fullmatch, units))
        and all(c in ("", "-") or _UNIT.fullmatch(c) for c in others)
    )


def has_numbers(cells: list[str]) -> bool:
    """Returns whether a header names columns by numbers."""
    return any(plain_number(cell) is not None for cell in cells)


def _numbers_are_names(first: list[str], below: list[list[str]]) -> bool:
    numbers = _numbers(first)
    if numbers == [*range(len(numbers))]:
        return not any(_numbers(row) == numbers for row in below)
    if len(below) < 2:
        return False
    if _rises(numbers):
        return not any(_rises(_numbers(row)) for row in below)
    return _rises(numbers[::-1]) and not any(_rises(_numbers(row)[::-1]) for row in below)


def _numbers(cells: list[str]) -> list[float]:
    return [number for number in map(plain_number, cells) if number is not None]


def _rises(numbers: list[float]) -> bool:
    """Returns whether at least three numbers rise in equal steps, or at least six in any."""
    steps = [b - a for a, b in pairwise(numbers)]
    if len(numbers) < 3 or not min(steps) > 0:
        return False
    return len(numbers) >= 6 or max(steps) - min(steps) <= 1e-6 * max(map(abs, numbers))


def _is_number(cell: str) -> bool:
    return read_number(cell, decimal_comma=True) is not None


def _is_numeric(cells: list[str]) -> bool:
    known = [cell for cell in cells if not is_missing(cell)]
    return bool(known) and all(map(_is_number, known))


def _is_name(cell: str) -> bool:
    return bool(_NAME.fullmatch(cell)) and len(cell.split()) <= 3 and not cell.endswith(".")
