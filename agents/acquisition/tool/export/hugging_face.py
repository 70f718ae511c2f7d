"""Exports for Hugging Face's library `datasets`: a folder that ``datasets.load_from_disk`` opens."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agents.acquisition.items.items import Items
from agents.acquisition.tool.export.records import Record
from metaal_env.errors import InputError


def check_installed() -> None:
    """Refuses to start without the package. Raises: `InputError`."""
    found = importlib.util.find_spec("datasets")
    if found is None or found.origin is None:  # a folder of that name in the working directory is no package
        raise InputError("--format datasets needs the package datasets: pip install datasets.")


def write_dataset(found: Sequence[Record], items: Items, classes: Sequence[str], folder: Path) -> None:
    """Writes the items with their labels as numbers of classes; images and sounds lie inside, as bytes."""
    import datasets

    rows = [record.flat() for record in found]
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    columns["opinions"] = [row["opinions"] and [*map(list, row["opinions"].items())] for row in rows]
    columns["label"] = [None if row["label"] is None else list(classes).index(row["label"]) for row in rows]
    features = {name: _feature(values) for name, values in columns.items()}
    for name in ("drawn", "annotator", "time", "policy"):
        features[name] = datasets.Value("string")
    features |= {"label": datasets.ClassLabel(names=list(classes)), "item": datasets.Value("string")}
    features |= {name: datasets.Value("float64") for name in ("score", "seconds")}
    features |= {name: datasets.Value("bool") for name in ("unsure", "settled")}
    for name in ("unsure", "settled"):
        columns[name] = [bool(value) for value in columns[name]]
    features["opinions"] = datasets.Sequence(datasets.Sequence(datasets.Value("string")))
    files = items.images or items.sounds
    if files is not None:
        name = "image" if items.images is not None else "audio"
        bytes_of = [{"bytes": files[r.position].read_bytes(), "path": files[r.position].name} for r in found]
        columns[name] = bytes_of
        features[name] = datasets.Image() if items.images is not None else _sound_feature()
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    silent = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        table.save_to_disk(str(folder))
    finally:
        if not silent:
            datasets.enable_progress_bars()


def _feature(values: Sequence[Any]) -> Any:
    """The type of a column of the data: numbers, lists of numbers, or text."""
    import datasets

    present = [value for value in values if value is not None]
    depth, first = 0, present[0] if present else ""
    while isinstance(first, list):
        depth, first = depth + 1, first[0] if first else 0.0
    kinds = {type(value) for value in present} if not depth else {float}
    kind = "int64" if kinds == {int} else "float64" if kinds <= {int, float} and kinds else "string"
    feature = datasets.Value(kind)
    for _ in range(depth):
        feature = datasets.Sequence(feature)
    return feature


def _sound_feature() -> Any:
    """Bytes and name: `datasets.Audio` itself needs a decoder to write; ``cast_column`` makes it one."""
    import datasets

    return {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
