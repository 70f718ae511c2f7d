"""Repairs the first rows of a table: headers that are one name short, and cells between spaces."""

from __future__ import annotations

from collections import Counter

from metaal_env.datasets.readers.cell_numbers import is_missing, plain_number
from metaal_env.errors import InputError

_SAMPLE = 1000


def with_full_header(lines: list[tuple[int, list[str]]], subject: str) -> list[tuple[int, list[str]]]:
    """Completes a first row that has one cell less than all others.

    Where the last cells below are empty, the rows end in a delimiter. Where the first ones all differ and the row below
    begins with one, R wrote names of rows, which have no name of their own.

    Args:
        lines: (number, cells) of each row.
        subject: start of error messages.

    Raises:
        InputError: neither, so that names and cells cannot be told to belong together.
    """
    if len(lines) < 3 or {len(row) for _, row in lines[1:]} != {len(lines[0][1]) + 1}:
        return lines
    (number, header), below = lines[0], [row for _, row in lines[1:]]
    if len(header) < 2 or not all(cell.strip() for cell in header) or any(map(_is_number, header)):
        return lines  # a title
    if not any(row[-1].strip() for row in below):
        return [(number, [*header, ""]), *lines[1:]]
    first = [row[0].strip() for row in below]
    numbers = any(all(_is_number(row[i]) for row in below) for i in range(1, len(header) + 1))
    if numbers and all(first) and len(set(first)) == len(first):
        return [(number, ["", *header]), *lines[1:]]
    raise InputError(
        f"{subject}: the header has {len(header)} names, but each row has {len(header) + 1} cells; name every column, "
        "or put texts that hold the delimiter in quotes."
    )


def spaced_numbers(text: str) -> str | None:
    """Returns a table of numbers between spaces, as `numpy.savetxt` writes it, with tabs between its cells; else None.

    Every row has as many words as the others, at least two, and below the first row at least two of the columns and all
    but one hold nothing but numbers.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [line.split() for line in lines[:_SAMPLE]]
    if len(rows) < 2 or any(mark in line for line in lines[:_SAMPLE] for mark in ',;\t|"'):
        return None
    width = len(rows[-1])
    below = rows[1:] if len(rows) > 2 else rows
    if width < 2 or Counter(map(len, rows)) != {width: len(rows)}:
        return None
    numeric = sum(all(_is_number(row[i]) or is_missing(row[i]) for row in below) for i in range(width))
    if numeric < max(2, width - 1):
        return None
    return "\n".join("\t".join(line.split()) for line in lines)


def holds_numbers(lines: list[str]) -> bool:
    """Returns whether lines are rows of numbers, between spaces, commas or semicolons, rather than texts."""
    if spaced_numbers("\n".join(lines[:_SAMPLE])) is not None:
        return True
    for delimiter in ",;":
        rows = [line.split(delimiter) for line in lines[1:_SAMPLE]]
        if len(rows) < 2 or len({len(row) for row in rows}) > 1:
            continue
        numeric = sum(
            all(_is_number(row[i]) or is_missing(row[i]) for row in rows) for i in range(len(rows[0]))
        )
        if numeric >= max(2, len(rows[0]) - 1):
            return True
    return False


def _is_number(cell: str) -> bool:
    return plain_number(cell) is not None
