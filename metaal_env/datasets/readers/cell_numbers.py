"""Cells of a table as numbers: decimal commas, thousands, signs, per cent, currencies, units, missing values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

MISSING = {"", "?", "na", "n/a", "nan", "null", "none", "#n/a", "<na>", "nat", ".", "-", "--", "n.a."}
"""Signs of a missing number in any notation, in lower case."""
_SIGNS = re.compile(r"^\s*[$€£¥]|[%$€£¥]\s*$")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+([eE][+-]?\d+)?")
_DOTTED = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_SPACED = re.compile(r"(?<=\d)[ '\u00a0\u2009\u2019\u202f](?=\d{3}(?!\d))")
"""Spaces and apostrophes between thousands, as the French and the Swiss write them."""
_SPACED_NUMBER = re.compile(r"[+-]?\d{1,3}([ '\u00a0\u2009\u2019\u202f]\d{3})+([.,]\d+)?")
_BEHIND = re.compile(r"\((\d[\d.,]*)\)|(\d[\d.,]*)-")
"""Numbers below zero as accountants write them: in brackets, or with the sign at the end."""
_UNIT = re.compile(
    r"\s+[^\W\d_]{1,4}(/[^\W\d_]{1,3})?|\s*(°[CFK]?|[^\W\d_]{1,2}[²³]|[kmµ][gmslVAW]|cm|min|[kMG]?Hz)"
)
"""A unit, which codes such as 12A do not have: after a space, or one of the usual."""


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
    cell = _bare(cell)
    if decimal_comma and (_DECIMAL_COMMA.fullmatch(cell) or _DOTTED.fullmatch(cell)):
        return float(cell.replace(".", "").replace(",", "."))
    number = plain_number(cell)
    if number is None and _THOUSANDS.fullmatch(cell):
        return float(cell.replace(",", ""))
    return number


def _bare(cell: str) -> str:
    """The digits of a number and its sign, in front."""
    cell = _SIGNS.sub("", cell.strip()).strip().replace("\u2212", "-")
    below = _BEHIND.fullmatch(cell)
    if below:
        cell = f"-{below[1] or below[2]}"
    return _SPACED.sub("", cell) if _SPACED_NUMBER.fullmatch(cell) else cell


def without_unit(cells: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Returns the cells without the unit that stands behind all of them, and this unit; the empty text if none does."""
    units = {cell.lstrip("+-\u22120123456789.,") for cell in cells if not is_missing(cell)}
    unit = units.pop() if len(units) == 1 else ""
    if not _UNIT.fullmatch(unit):
        return tuple(cells), ""
    return tuple(cell.removesuffix(unit) for cell in cells), unit.strip()


def has_decimal_commas(cells: Iterable[str], delimiter: str) -> bool:
    """Returns whether the commas in a column's numbers are decimal rather than between thousands.

    Where both are possible, commas separate thousands only if they also separate the table's cells.
    """
    bare = [_bare(cell) for cell in cells if "," in cell]
    found = {cell for cell in bare if _DECIMAL_COMMA.fullmatch(cell)}
    if any(not _THOUSANDS.fullmatch(cell) or cell.lstrip("+-").startswith("0") for cell in found):
        return True
    return bool(found) and delimiter != ","
