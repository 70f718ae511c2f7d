"""Reads Parquet, Feather and Arrow files, and data sets that the library of Hugging Face saved on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.value_items import value_items
from metaal_env.errors import InputError, brief

SUFFIXES = {".parquet", ".pq", ".feather", ".arrow", ".ipc", ".arrows"}
_PARQUET = {".parquet", ".pq"}
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def arrow_items(path: Path, options: ReadOptions) -> Items:
    """Returns the items of a Parquet, Feather or Arrow file.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or as `value_items`.
    """
    what = f"data={str(path)!r}"
    table = _read([path], what)
    return value_items(str(path), arrow_columns(table), options, folder=path.parent)


def is_saved_data_set(path: Path) -> bool:
    """Returns whether a folder is what ``save_to_disk`` of Hugging Face's library writes, or holds Parquet files."""
    return any((path / name).is_file() for name in (_STATE, _SPLITS)) or bool(_parquet_files(path))


def saved_data_set_items(path: Path, options: ReadOptions) -> Items:
    """Returns the items of a data set in a folder; its classes are labels.

    Raises:
        InputError: several splits, a damaged data set, or as `arrow_items`.
    """
    what = f"data={str(path)!r}"
    if (path / _SPLITS).is_file():
        splits = [name for name in _json(path / _SPLITS, what).get("splits", []) if isinstance(name, str)]
        if len(splits) != 1:
            names = " or ".join(repr(str(path / name)) for name in splits) or "a folder with state.json"
            raise InputError(f"{what} holds the splits {', '.join(splits)}; give one of them: {names}.")
        return saved_data_set_items(path / splits[0], options)
    if not (path / _STATE).is_file():
        table = _read(_parquet_files(path), what)
        return value_items(str(path), arrow_columns(table), options, folder=path)
    state = _json(path / _STATE, what)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise InputError(f"{what} is a selection of another data set; save it again with flatten_indices().")
    files = [path / entry["filename"] for entry in state.get("_data_files", []) if isinstance(entry, dict)]
    if not files:
        raise InputError(f"{what} names no files of data; save it again with save_to_disk.")
    notes = ["a data set of Hugging Face"]
    return value_items(str(path), arrow_columns(_read(files, what)), options, notes=notes, folder=path)


def _parquet_files(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("*.parquet") if not file.name.startswith("."))


def _json(path: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{what}: {path.name} cannot be read ({brief(error)}); save it again.") from error
    return found if isinstance(found, dict) else {}


def _read(files: Sequence[Path], what: str) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{what} needs the package pyarrow: pip install pyarrow.") from error
    splits = {file.name.partition("-0")[0] for file in files if "-of-" in file.name}
    if len(splits) > 1 and not splits <= {"data"}:
        raise InputError(
            f"{what} holds files of the splits {', '.join(sorted(splits))}; give the files of one."
        )
    tables = []
    for file in files:
        try:
            if file.suffix.lower() in _PARQUET:
                tables.append(parquet.ParquetFile(file).read())
            else:
                tables.append(_arrow_file(file, pa))
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{what}: {file.name} is not a readable {'Parquet' if file.suffix in _PARQUET else 'Arrow'} file "
                f"({brief(error)}); save it again."
            ) from error
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise InputError(f"{what}: its files have different columns ({brief(error)}); give one.") from error


def _arrow_file(file: Path, pa: Any) -> Any:
    """A file with a footer, a stream without one, or the first version of Feather."""
    with pa.memory_map(str(file)) as source:
        start = bytes(source.read(6))
    if start == b"ARROW1":
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    if start[:4] == b"FEA1":
        from pyarrow import feather

        return feather.read_table(file)
    return pa.ipc.open_stream(pa.memory_map(str(file))).read_all()


def arrow_columns(table: Any) -> dict[str, Sequence[Any]]:
    """Returns a pyarrow table as columns of values; numbers that stand for classes become their names.

    Hugging Face's library writes the names of classes into the table's metadata.
    """
    features = _features(table.schema.metadata or {})
    found: dict[str, Sequence[Any]] = {}
    for i, name in enumerate(table.column_names):
        values = _values(table.column(i))
        classes = features.get(name, {}).get("names") if isinstance(features.get(name), Mapping) else None
        if isinstance(classes, list):
            values = [_class_name(value, classes) for value in values]
        found["" if name.startswith("__index_level_") else name] = values
    return found


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_name(value: Any, classes: list[Any]) -> Any:
    known = isinstance(value, int) and 0 <= value < len(classes)
    return str(classes[value]) if known else None if value in (None, -1) else value


def _values(column: Any) -> Sequence[Any]:
    """A column's values in Python; numbers keep their precision, so that they are written as in the file."""
    import pyarrow as pa

    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_timestamp(kind):  # nanoseconds need pandas
        column = column.cast(pa.timestamp("us", tz=kind.tz), safe=False)
    if pa.types.is_duration(kind):
        column = column.cast(pa.duration("us"), safe=False)
    if pa.types.is_float32(kind) or pa.types.is_float16(kind):
        return list(column.to_numpy())  # nulls become NaN
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _lists(column, pa)
    return list(column.to_pylist())


def _lists(column: Any, pa: Any) -> Sequence[Any]:
    """Lists of numbers of one length as the rows of an array, without a Python object for each number."""
    inner = column.type.value_type
    plain = pa.types.is_integer(inner) or pa.types.is_floating(inner)
    if not plain or column.null_count or not len(column):
        return list(column.to_pylist())
    chunk = column.combine_chunks()
    chunk = chunk if isinstance(chunk, pa.Array) else pa.concat_arrays(chunk.chunks)
    flat = chunk.flatten()
    if flat.null_count or len(flat) % len(column):
        return list(column.to_pylist())
    width = len(flat) // len(column)
    lengths = {len(chunk[0]), len(chunk[-1])} if not pa.types.is_fixed_size_list(column.type) else {width}
    if lengths != {width} or (pa.types.is_list(column.type) and _uneven(chunk, width)):
        return list(column.to_pylist())
    return list(np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(column), width))


def _uneven(chunk: Any, width: int) -> bool:
    return bool((np.diff(chunk.offsets.to_numpy()) != width).any())
