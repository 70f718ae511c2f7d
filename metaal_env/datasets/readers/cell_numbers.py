"""Cells of a table as numbers: decimal commas, thousands, per cent, currencies, missing values."""

from __future__ import annotations

import re
from collections.abc import Iterable

MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "nat", ".", "-", "--", "n.a."}
"""Signs of a missing number in any notation, in lower case."""
_SIGNS = re.compile(r"^\s*[$€£¥]|[%$€£¥]\s*$")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?")
_DOTTED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def plain_number(cell: str) -> float | None:
    """Returns the number that a cell holds in Python's notation, else None; ``1_000`` is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def is_missing(cell: str) -> bool:
    """Returns whether a cell stands for a missing value, wherever a number is expected."""
    return cell.strip().lower() in MISSING


def read_number(cell: str, decimal_comma: bool) -> float | None:
    """Returns the number that a cell holds, else None.

    Args:
        decimal_comma: whether ``1,234`` is between one and two rather than above a thousand.
    """
    cell = _SIGNS.sub("", cell.strip()).strip()
    if decimal_comma and (_DECIMAL_COMMA.fullmatch(cell) or _DOTTED.fullmatch(cell)):
        return float(cell.replace(".", "").replace(",", "."))
    number = plain_number(cell)
    if number is None and _THOUSANDS.fullmatch(cell):
        return float(cell.replace(",", ""))
    return number


def has_decimal_commas(cells: Iterable[str], delimiter: str) -> bool:
    """Returns whether the commas in a column's numbers are decimal rather than between thousands.

    Where both are possible, commas separate thousands only if they also separate the table's cells.
    """
    bare = [_SIGNS.sub("", cell.strip()).strip() for cell in cells if "," in cell]
    found = {cell for cell in bare if _DECIMAL_COMMA.fullmatch(cell)}
    if any(not _THOUSANDS.fullmatch(cell) or cell.lstrip("+-").startswith("0") for cell in found):
        return True
    return bool(found) and delimiter != ","
