"""Reads JSON and JSON Lines: records, columns, texts, vectors, and exports of annotation tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.acquisition.items.annotation_exports import (
    by_column,
    is_label_studio,
    is_prodigy,
    label_studio_tasks,
    prodigy_tasks,
)
from agents.acquisition.items.cells import is_vector
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.value_items import export_items, value_items
from metaal_env.datasets.readers.decode import Decoded
from metaal_env.errors import InputError, brief

SUFFIXES = {".json", ".jsonl", ".ndjson"}


def json_items(path: Path, decoded: Decoded, options: ReadOptions) -> Items:
    """Returns the items of a JSON file: a list of records, texts or vectors, a value a line, or columns by name.

    Raises:
        InputError: no JSON, values that are no items, or as `value_items`.
    """
    what, source = f"data={str(path)!r}", str(path)
    notes = [] if decoded.encoding == "utf-8" else [f"encoding {decoded.encoding}"]
    rows = _rows(_parsed(decoded.text, path, what), what)
    if isinstance(rows, dict):
        return value_items(source, rows, options, notes=notes, folder=path.parent)
    if not rows:
        raise InputError(f"{what} holds no items; give a list of records.")
    if all(isinstance(row, str) for row in rows):
        return value_items(source, {"text": rows}, options, notes=notes, folder=path.parent)
    if all(is_vector(row) for row in rows):
        return value_items(source, {"vector": rows}, options, notes=notes, folder=path.parent)
    wrong = next((i for i, row in enumerate(rows, 1) if not isinstance(row, Mapping)), None)
    if wrong is not None:
        raise InputError(
            f"{what}: item {wrong} is {type(rows[wrong - 1]).__name__}, no record; give records, texts or lists of "
            "numbers."
        )
    if is_label_studio(rows):
        return export_items(source, label_studio_tasks(rows), options, folder=path.parent)
    if is_prodigy(rows):
        return export_items(source, prodigy_tasks(rows), options, folder=path.parent)
    return value_items(source, by_column(rows), options, notes=notes, folder=path.parent)


def _parsed(text: str, path: Path, what: str) -> Any:
    """One value, or the list of values that stand one a line."""
    by_line = path.suffix.lower() != ".json" and ".json" not in [s.lower() for s in path.suffixes[-2:]]
    try:
        if not by_line:
            try:
                return json.loads(text)
            except ValueError as error:
                if not text.lstrip().startswith("{") or "\n" not in text.strip():
                    raise InputError(f"{what} is no JSON ({brief(error)}); save it again.") from error
        return [json.loads(line) if line.strip() else None for line in _lines(text)]
    except RecursionError as error:
        raise InputError(f"{what} is nested too deeply; give a list of records.") from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{what}: line {_broken(text)} is no JSON ({brief(error)}); mend or drop it."
        ) from error


def _lines(text: str) -> list[str]:
    """Lines that are not blank. Not splitlines: it also splits at separators that JSON allows inside a text."""
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def _broken(text: str) -> int:
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        try:
            if line.strip():
                json.loads(line)
        except (ValueError, RecursionError):
            return number
    return 1


def _rows(value: Any, what: str) -> list[Any] | dict[str, list[Any]]:
    """The list of items, or columns of equal length, in the layouts that pandas writes."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not value:
        raise InputError(f"{what} holds no list of records; give one.")
    if {"columns", "data"} <= set(value) and isinstance(value["columns"], list):  # pandas, orient="split"
        return [dict(zip(map(str, value["columns"]), row, strict=False)) for row in value["data"]]
    if {"schema", "data"} == set(value) and isinstance(value["schema"], dict):  # pandas, orient="table"
        return [{"" if name == "index" else name: row[name] for name in row} for row in value["data"]]
    lists = [name for name, part in value.items() if isinstance(part, list)]
    records = [name for name in lists if value[name] and all(isinstance(row, dict) for row in value[name])]
    if len(records) == 1:
        return list(value[records[0]])
    if len(lists) == len(value) and len({len(part) for part in value.values()}) == 1:
        return dict(value)
    parts = list(value.values())
    if all(isinstance(part, dict) and part.keys() == parts[0].keys() for part in parts):
        if (
            all(isinstance(cell, (dict, list)) for part in parts for cell in part.values())
            or _index(parts[0]) is None
        ):
            raise InputError(f"{what} is an object of objects; give a list of records.")
        return {name: list(part.values()) for name, part in value.items()}  # pandas' default
    raise InputError(
        f"{what} is an object whose parts are no columns of equal length; give a list of records."
    )


def _index(part: dict[str, Any]) -> list[str] | None:
    """The row names of pandas, if they are numbers."""
    return [*part] if all(name.lstrip("-").isdecimal() for name in part) else None
