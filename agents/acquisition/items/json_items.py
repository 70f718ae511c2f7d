"""Reads JSON and JSON Lines: records, columns, texts, vectors, and exports of annotation tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    rows = _rows(_parsed(decoded.text, path, what), what)
    columns: Mapping[str, Sequence[Any]]
    if isinstance(rows, dict):
        columns = rows
    elif not rows:
        raise InputError(f"{what} holds no items; give a list of records.")
    elif all(isinstance(row, str) for row in rows):
        columns = {"text": rows}
    elif all(is_vector(row) for row in rows):
        columns = {"vector": rows}
    elif (wrong := next((i for i, row in enumerate(rows) if not isinstance(row, Mapping)), None)) is not None:
        raise InputError(
            f"{what}: item {wrong + 1} is {type(rows[wrong]).__name__}, no record; give records, texts or lists of "
            "numbers."
        )
    elif is_label_studio(rows):
        return export_items(source, label_studio_tasks(rows), options, folder=path.parent)
    elif is_prodigy(rows):
        return export_items(source, prodigy_tasks(rows), options, folder=path.parent)
    else:
        columns = by_column(rows)
    return value_items(source, columns, options, notes=decoded.notes, folder=path.parent)


def _parsed(text: str, path: Path, what: str) -> Any:
    """One value, or the list of values that stand one a line."""
    if ".json" not in [suffix.lower() for suffix in path.suffixes[-2:]]:
        return _by_line(text, what)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep(what) from error
    except ValueError as error:
        if text.lstrip().startswith("{") and "\n" in text.strip():
            return _by_line(text, what)
        raise InputError(f"{what} is not valid JSON ({brief(error)}); save it again.") from error


def _by_line(text: str, what: str) -> list[Any]:
    values = []
    # Not splitlines: it also splits at separators that JSON allows inside a text.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        try:
            values += [json.loads(line)] if line.strip() else []
        except RecursionError as error:
            raise _too_deep(what) from error
        except ValueError as error:
            raise InputError(
                f"{what}: line {number} is not valid JSON ({brief(error)}); correct or drop it."
            ) from error
    return values


def _too_deep(what: str) -> InputError:
    return InputError(f"{what} is nested too deeply; give a list of records.")


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
        numbered = all(name.lstrip("-").isdecimal() for name in parts[0])
        if not numbered or all(isinstance(c, (dict, list)) for part in parts for c in part.values()):
            raise InputError(f"{what} is an object of objects; give a list of records.")
        return {name: list(part.values()) for name, part in value.items()}  # pandas' default
    raise InputError(
        f"{what} is an object whose parts are not columns of equal length; give a list of records."
    )
