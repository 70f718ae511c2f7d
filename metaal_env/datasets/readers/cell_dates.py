"""Cells of a table as moments: dates, times of day, and both, in the notations that tools and people write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
from dateutil import parser

from metaal_env.datasets.prepare import standardise
from metaal_env.datasets.readers.cell_numbers import is_missing

DAY = 86_400.0
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]m)?( ?(z|utc|[+-]\d{2}:?\d{2}))?"
_DATE = re.compile(
    rf"({_TIME}|(\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](\d{{4}}|\d{{2}})"
    rf"|(\w+, )?\d{{1,2}} {_MONTH},? \d{{4}}|(\w+, )?{_MONTH} \d{{1,2}},? \d{{4}})([T ,]+{_TIME})?)",
    re.IGNORECASE,
)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})(?!\d)")
_TIME_ALONE = re.compile(_TIME, re.IGNORECASE)
_ORIGIN = datetime(1970, 1, 1)


def is_date(cell: str) -> bool:
    """Returns whether a cell reads like a date or a time of day."""
    return bool(_DATE.fullmatch(cell))


def read_moments(cells: Sequence[str]) -> tuple[float | None, ...]:
    """Returns the seconds since 1970 of each cell, None where it holds no date; those of times of day since midnight.

    Moments with an offset are taken in UTC. Whether the day or the month comes first is told by a number above 12, or
    by dots, before which the day stands.

    Returns:
        One number or None for each cell; nothing at all where day and month cannot be told apart.
    """
    day_first = _day_first(cells)
    if day_first is None:
        return ()
    return tuple(_moment(cell, day_first) for cell in cells)


def _day_first(cells: Sequence[str]) -> bool | None:
    """None where both readings are possible and differ, or where both are needed."""
    parts = [match for match in map(_YEAR_LAST.match, cells) if match]
    day = any(match[2] == "." or int(match[1]) > 12 for match in parts)
    month = any(int(match[3]) > 12 for match in parts)
    if day and month:
        return None
    same = all(match[1] == match[3] for match in parts)
    return day if day or month or same else None


def _moment(cell: str, day_first: bool) -> float | None:
    if is_missing(cell) or not is_date(cell):
        return None
    try:
        found = parser.parse(
            cell.replace(",", ".") if ":" in cell else cell, dayfirst=day_first, default=_ORIGIN
        )
    except (ValueError, OverflowError):  # the 31st of February
        return None
    if _TIME_ALONE.fullmatch(cell):
        found = found.replace(tzinfo=None)
    if found.tzinfo is not None:
        found = found.astimezone(timezone.utc).replace(tzinfo=None)
    return (found - _ORIGIN).total_seconds()


def moment_vectors(moments: Sequence[float | None]) -> np.ndarray:
    """Returns moments as (M, D) float32.

    The time since the first one is standardised. Where times of day differ, their sine and cosine follow, so that
    midnight is beside midnight; they stand alone where nothing else is given. A missing moment is the mean, at no time
    of day, and sets a last column to 1.
    """
    values = np.array([np.nan if moment is None else moment for moment in moments], dtype=np.float64)
    missing = np.isnan(values)
    known = values[~missing]
    parts = np.zeros((len(values), 3), dtype=np.float32)
    angle = 2 * np.pi * (known % DAY) / DAY
    parts[~missing] = np.column_stack([standardise(known[:, None]), np.sin(angle), np.cos(angle)])
    clock = len(np.unique(known % DAY)) > 1
    alone = clock and bool(((known >= 0) & (known < DAY)).all())
    kept = parts[:, (1 if alone else 0) : (3 if clock else 1)]
    return np.hstack([kept, missing[:, None].astype(np.float32)]) if missing.any() else kept
