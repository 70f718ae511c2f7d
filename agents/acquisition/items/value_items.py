"""Columns of Python values to items: what JSON, Arrow, data frames and exports of annotation tools become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.annotation_exports import Export, flat_label_studio, is_flat_label_studio
from agents.acquisition.items.cells import as_cell, flattened, is_vector
from agents.acquisition.items.items import Items
from agents.acquisition.items.media_columns import Media, file_media, holds_files, vector_media
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.table_items import column_items
from metaal_env.datasets.readers.cells import MAX_CELLS, Grid, column_names
from metaal_env.datasets.readers.columns import columns_of
from metaal_env.datasets.readers.header import LABEL_NAMES
from metaal_env.datasets.readers.label_values import array_cells
from metaal_env.errors import InputError


def value_items(
    source: str,
    columns: Mapping[Any, Sequence[Any]],
    options: ReadOptions,
    *,
    notes: Sequence[str] = (),
    folder: Path | None = None,
) -> Items:
    """Returns the items of columns of values, which mean what the cells of a CSV table with them would mean.

    A column of lists of numbers holds vectors, and one of bytes holds images or sounds.

    Args:
        source: Path of the file, or what messages call it.
        columns: Name → N values. A mapping among them becomes a column per key.
        notes: What was recognised before.
        folder: Where files that cells name are looked for.

    Raises:
        InputError: no items, two columns of one name or of vectors, too many cells; or as `column_items`.
    """
    what = f"data={source!r}"
    named = _named(columns, what)
    n = len(next(iter(named.values()), ()))
    if not n:
        raise InputError(f"{what} holds no items; add rows.")
    if is_flat_label_studio([*named]):
        return export_items(
            source, flat_label_studio(named, options.label_column, what), options, folder=folder
        )
    flat = flattened(named)
    flat = {name: _classes(name, values, options, what) for name, values in flat.items()}
    media = _media(flat, options, folder, what)
    rest = {name: values for name, values in flat.items() if media is None or name != media.column}
    if n * len(rest) > MAX_CELLS:
        raise InputError(
            f"{what} has {n * len(rest):,} cells, at most {MAX_CELLS:,} are read; save vectors as .npy or as one "
            "column of lists."
        )
    cells = [_cells(values) for values in rest.values()]
    grid = Grid(
        [*rest], [list(row) for row in zip(*cells, strict=True)] if cells else [[] for _ in range(n)], ""
    )
    return column_items(source, columns_of(grid), options, notes=notes, folder=folder, media=media)


def export_items(source: str, export: Export, options: ReadOptions, *, folder: Path | None) -> Items:
    """Returns the items of an annotation tool's export, with its answers unless options name other columns."""
    given = export.said(options)
    columns = {
        name: values
        for name, values in export.columns.items()
        if name != export.label or not options.no_label
    }
    return value_items(source, columns, given, notes=[export.note], folder=folder)


def _named(columns: Mapping[Any, Sequence[Any]], what: str) -> dict[str, Sequence[Any]]:
    """Columns by names that are texts, see `column_names`."""
    given = (" ".join(map(str, name)) if isinstance(name, tuple) else str(name) for name in columns)
    return dict(zip(column_names(given, what), columns.values(), strict=True))


def _classes(name: str, values: Sequence[Any], options: ReadOptions, what: str) -> Sequence[Any]:
    """A column of labels given one-hot as classes; every other column as it is."""
    is_label = name == options.label_column or (options.label_column is None and name.lower() in _LABELS)
    if not is_label or options.no_label or not any(is_vector(value) for value in values):
        return values
    try:
        return array_cells(np.asarray(values), len(values), f"{what}: the column {name!r}")
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{what}: the column {name!r} holds lists of different lengths; give one class per item."
        ) from error


def _cells(values: Sequence[Any]) -> list[str]:
    """Values as cells; moments that are all midnight are dates, as pandas writes them to CSV."""
    cells = list(map(as_cell, values))
    filled = [cell for cell in cells if cell]
    if (
        filled
        and not any(isinstance(value, str) for value in values)
        and all(c.endswith(_MIDNIGHT) for c in filled)
    ):
        return [cell.removesuffix(_MIDNIGHT) for cell in cells]
    return cells


_MIDNIGHT = " 00:00:00"
_LABELS = {*LABEL_NAMES, "labels"}


def _media(
    columns: Mapping[str, Sequence[Any]], options: ReadOptions, folder: Path | None, what: str
) -> Media | None:
    """The column of vectors or files, if there is one that is not left out."""
    out = {name.strip().lower() for name in (*options.ignore, *options.hide, *options.meta)}
    may_be = {name: values for name, values in columns.items() if name.strip().lower() not in out}
    vectors = [name for name, values in may_be.items() if any(is_vector(value) for value in values)]
    files = [name for name, values in may_be.items() if holds_files(values)]
    for found in (vectors, files):
        if len(found) > 1:
            names = " and ".join(map(repr, found))
            raise InputError(f"{what}: the columns {names} may be what to look at; --ignore all but one.")
    shown = None
    if files:
        shown = file_media(files[0], columns[files[0]], folder, what, options.skip_unreadable)
    if not vectors:
        return shown
    given = vector_media(vectors[0], columns[vectors[0]], what)
    if shown is None:
        return given
    assert given.vectors is not None
    vectors_left = given.vectors if shown.rows is None else given.vectors[list(shown.rows)]
    return replace(shown, vectors=vectors_left, notes=(*shown.notes, *given.notes))
