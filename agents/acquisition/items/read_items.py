"""What the command line reads: a file or folder of one's own items, labelled in part or not at all."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agents.acquisition.items.image_items import read_image_items
from agents.acquisition.items.items import Items, content_ids, row_contents
from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.class_labels import strings
from metaal_env.datasets.readers.npz import DAMAGE, read_arrays
from metaal_env.datasets.readers.table import (
    LABEL_NAMES,
    MAX_BYTES,
    MAX_CATEGORIES,
    MISSING,
    as_number,
    named_column,
    read_cells,
)
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_text

ID_COLUMNS = ("id", "item", "name")
TEXT_COLUMNS = ("text", "sentence", "utterance", "document")


def read_items(path: Path, options: ReadOptions | None = None) -> Items:
    """Reads ``*.npz``, ``*.npy``, ``*.csv``, ``*.txt`` (one text a line) or a folder of images.

    The first row of a CSV file is a header unless it holds numbers alone (0, 1, 2, … are names, as pandas writes
    them).

    Args:
        options: What the user says about the file; the rest is recognised.

    Raises:
        InputError: nothing there, another kind of file, no items, or contents that cannot be used.
    """
    path, options = Path(path), options or ReadOptions()
    label_column, text_column = options.label_column, options.text_column
    if path.is_dir():
        return read_image_items(path, options.skip_unreadable)
    if not path.is_file():
        raise InputError(f"data={str(path)!r}: there is no such file or folder; check the path.")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _table(path, label_column, text_column)
    if label_column or text_column:
        raise InputError(f"data={str(path)!r} has no columns; label and text columns are for CSV files.")
    if suffix == ".npz":
        return _npz(path)
    if suffix == ".npy":
        try:
            x = np.load(path, mmap_mode="r", allow_pickle=False)
        except DAMAGE as error:
            raise InputError(
                f"data={str(path)!r} is no array of numbers ({brief(error)}); use numpy.save."
            ) from error
        if not isinstance(x, np.ndarray) or x.ndim < 2 or not x.size:
            shape = getattr(x, "shape", None)
            raise InputError(
                f"data={str(path)!r} has shape {shape}; save vectors (N, D) or images (N, H, W, C)."
            )
        return _arrays(path, x, [None] * len(x))
    if suffix == ".txt":
        texts = [line for line in _text(path).splitlines() if line.strip()]
        return Items(str(path), _text_ids(_some(path, texts)), [None] * len(texts), texts, texts=texts)
    raise InputError(
        f"data={str(path)!r} has the suffix {suffix!r}; give .npz, .npy, .csv, .txt or a folder."
    )


def _some(path: Path, items: list[str]) -> list[str]:
    if not items:
        raise InputError(f"data={str(path)!r} holds no items.")
    return items


def _text_ids(texts: Sequence[str]) -> tuple[str, ...]:
    return content_ids(text.strip().encode("utf-8", "surrogatepass") for text in texts)


def _text(path: Path) -> str:
    return read_text(path, f"data={str(path)!r}", MAX_BYTES)


def _arrays(path: Path, x: np.ndarray, labels: Sequence[str | None]) -> Items:
    if x.ndim < 2 or len(x) != len(labels) or not len(x):
        raise InputError(f"data={str(path)!r}: X has shape {x.shape} for {len(labels)} labels.")
    shown = [f"item {i} of {path.name}" for i in range(1, len(x) + 1)]
    return Items(str(path), content_ids(row_contents(x)), labels, shown, vectors=x)


def _npz(path: Path) -> Items:
    arrays = read_arrays(path, str(path), lambda key: key in ("X", "y", "text"))
    text = arrays.get("text")
    x = arrays.get("X")
    if x is None and text is None:
        raise InputError(f"data={str(path)!r} has neither an array X nor text; save one of them.")
    what = f"data={str(path)!r}"
    n = len(x) if x is not None else len(text) if text is not None else 0
    y = arrays.get("y", np.full(n, np.nan))
    y = y[:, 0] if y.shape == (n, 1) else y
    if y.shape != (n,):
        raise InputError(f"{what}: y has shape {y.shape} for {n} items; give one label per item.")
    labels = [None if value.lower() in MISSING else value for value in strings(what, "y", y)]
    texts = None if text is None else list(strings(what, "text", text))
    if x is None:
        assert texts is not None
        return Items(str(path), _text_ids(_some(path, texts)), labels, texts, texts=texts)
    items = _arrays(path, x, labels)
    return items if texts is None else Items(str(path), items.ids, labels, texts, vectors=x)


def _table(path: Path, label_column: str | None, text_column: str | None) -> Items:
    header, rows = _cells(path)

    def column(wanted: str | None, usual: tuple[str, ...]) -> int | None:
        found = named_column(header, usual if wanted is None else (wanted.strip().lower(),))
        if wanted is not None and found is None:
            raise InputError(f"data={str(path)!r} has no column {wanted!r}; it has: {', '.join(header)}.")
        return found

    label, ident = column(label_column, LABEL_NAMES), column(None, ID_COLUMNS)
    text = column(text_column, TEXT_COLUMNS)
    contents = (repr([cell.strip() for i, cell in enumerate(row) if i != label]).encode() for row in rows)
    ids = list(content_ids(contents)) if ident is None else [row[ident].strip() for row in rows]
    if len(set(ids)) < len(ids):
        raise InputError(f"data={str(path)!r}: the column {header[ident or 0]!r} names two items alike.")
    labels = [
        None if label is None or row[label].strip().lower() in MISSING else row[label].strip() for row in rows
    ]
    rest = [i for i in range(len(header)) if i not in (label, ident)]
    if text is None:
        wordy = [i for i in rest if _is_wordy([row[i] for row in rows])]
        text = wordy[0] if len(wordy) == 1 else None
    if text is not None:
        texts = [row[text] for row in rows]
        return Items(str(path), ids, labels, texts, texts=texts)
    if not rest:
        raise InputError(f"data={str(path)!r} has no column besides id and label; give features.")
    x = np.concatenate([_column(path, header[i], [row[i].strip() for row in rows]) for i in rest], axis=1)
    shown = [", ".join(f"{header[i]}={row[i].strip()}" for i in rest) for row in rows]
    return Items(str(path), ids, labels, shown, vectors=x, scale=True)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        rows = read_cells(_text(path), f"data={str(path)!r}")
    except csv.Error as error:
        raise InputError(
            f"data={str(path)!r} is no readable CSV file ({brief(error)}); save it again."
        ) from error
    if not rows:
        raise InputError(f"data={str(path)!r} is empty; give a table with a header.")
    numbers = [as_number(cell) for cell in rows[0]]
    if None not in numbers and numbers != [*range(len(numbers))]:
        rows.insert(0, [f"column {i + 1}" for i in range(len(numbers))])
    header, rows = rows[0], rows[1:]
    if not rows:
        raise InputError(f"data={str(path)!r} has a header but no items; add rows.")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise InputError(
                f"data={str(path)!r}: row {number} has {len(row)} cells, the header {len(header)}."
            )
    return header, rows


def _is_wordy(cells: list[str]) -> bool:
    return any(as_number(cell) is None for cell in cells) and len(set(cells)) > MAX_CATEGORIES


def _column(path: Path, name: str, cells: list[str]) -> np.ndarray:
    """(N, 1) numbers or (N, C) one-hot."""
    for number, cell in enumerate(cells, start=1):
        if cell.lower() in MISSING:
            raise InputError(
                f"data={str(path)!r}: item {number} has no value in {name!r}; impute or drop it."
            )
    numbers = [as_number(cell) for cell in cells]
    if None not in numbers:
        return np.array(numbers, dtype=np.float64)[:, None]
    categories, index = np.unique(cells, return_inverse=True)
    if len(categories) > MAX_CATEGORIES:
        raise InputError(
            f"data={str(path)!r}: column {name!r} has {len(categories)} different texts; name it with "
            "--text-column if it is what to label, else drop it."
        )
    return np.eye(len(categories))[index]
