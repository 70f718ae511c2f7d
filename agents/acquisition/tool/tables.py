"""Small tables that come back from a spreadsheet: other delimiters, encodings, empty lines and columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from metaal_env.datasets.readers.cells import DELIMITERS, numbered_rows
from metaal_env.datasets.readers.decode import decode
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_bytes

MAX_BYTES = 2**29


@dataclass(frozen=True)
class Table:
    """Holds cells as text, every row as long as the header, and the bytes that they were read from."""

    header: list[str]
    rows: list[list[str]]
    data: bytes


def read_table(path: Path, what: str) -> Table:
    """Reads a table; empty lines are left out, missing cells at the end of a row are empty.

    Args:
        what: How messages begin, e.g. ``"labels='a.csv'"``.

    Raises:
        InputError: no readable table, or a row with more cells than the header.
    """
    data = read_bytes(path, what, MAX_BYTES)
    text = decode(data, what).text
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep="):  # what spreadsheets write so that others know
        text = rest
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    try:
        rows = [row for _, row in numbered_rows(text, delimiter)]
    except csv.Error as error:
        raise InputError(f"{what} is not a readable CSV file ({brief(error)}); save it again.") from error
    if not rows:
        raise InputError(f"{what} is empty; its first row must be a header.")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row[width:]):
            raise InputError(
                f"{what}: row {number} has {len(row)} cells, the header {width}; quote its cells."
            )
    padded = [[*row, *[""] * width][:width] for row in rows]
    return Table(padded[0], padded[1:], data)
