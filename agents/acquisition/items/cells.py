"""Python values, as JSON, Arrow and data frames hold them, to the cells of a table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.acquisition.arrays import is_missing

FILE_KEYS = {"bytes", "path"}
"""Keys under which the data sets of Hugging Face hold an image or a sound."""


def as_cell(value: Any) -> str:
    """Returns a value as a spreadsheet would hold it: a missing one as the empty text, a date in ISO 8601.

    A list of texts or a mapping becomes JSON; a list of mappings, as chats are, becomes a line each.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, Mapping) for part in value):
        return "\n".join(": ".join(map(as_cell, part.values())) for part in value)
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=as_cell)
    if is_missing(value):
        return ""
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
    if isinstance(value, dt.timedelta):
        return repr(value.total_seconds())
    if isinstance(value, np.datetime64):
        return str(value).replace("T", " ")
    return str(value)


def is_file(value: Any) -> bool:
    """Returns whether a value holds a file: bytes, or a mapping of bytes and path."""
    if isinstance(value, Mapping):
        return set(value) == FILE_KEYS
    return isinstance(value, (bytes, bytearray))


def flattened(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Returns columns in which a mapping has become a column per key: ``meta`` with ``source`` is ``meta.source``."""
    found: dict[str, Sequence[Any]] = {}
    for name, values in columns.items():
        nested = [value for value in values if isinstance(value, Mapping)]
        if not nested or any(is_file(value) for value in nested):
            found[name] = values
            continue
        keys = dict.fromkeys(key for value in nested for key in value)
        parts = {
            f"{name}.{key}": [value.get(key) if isinstance(value, Mapping) else None for value in values]
            for key in keys
        }
        found |= flattened(parts)
        bare = [None if isinstance(value, Mapping) else value for value in values]
        if any(value is not None for value in bare):
            found[name] = bare
    return found


def is_vector(value: Any) -> bool:
    """Returns whether a value is a list of numbers, a list of such lists, or an array of numbers."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.size > 0 and value.dtype.kind in "iuf"
    if not isinstance(value, (list, tuple)) or not value:
        return False
    numbers = all(isinstance(part, (int, float, np.number)) and not isinstance(part, bool) for part in value)
    return numbers or all(isinstance(part, (list, tuple, np.ndarray)) and is_vector(part) for part in value)
