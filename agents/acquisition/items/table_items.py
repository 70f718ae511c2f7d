"""A user's table to items: texts, files or features, with ids and labels where columns hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from agents.acquisition.items.annotation_exports import flat_label_studio, is_flat_label_studio
from agents.acquisition.items.cells import as_cell
from agents.acquisition.items.items import Items, content_ids, text_ids
from agents.acquisition.items.media_columns import Media, named_media
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.table_roles import Roles, roles_of
from metaal_env.datasets.readers.cells import Grid, read_grid
from metaal_env.datasets.readers.columns import Column, as_vectors, columns_of, is_unnamed
from metaal_env.datasets.readers.decode import Decoded
from metaal_env.datasets.readers.label_values import Labels, read_labels
from metaal_env.errors import InputError

SHOWN_STRAYS = 3


def table_items(path: Path, decoded: Decoded, options: ReadOptions) -> Items:
    """Returns the items of a table of characters; see `column_items`.

    Raises:
        InputError: as `read_grid`, `flat_label_studio` and `column_items`.
    """
    what = f"data={str(path)!r}"
    grid = read_grid(decoded.text, what, options.delimiter, options.header)
    notes = [*decoded.notes, *grid.notes]
    if is_flat_label_studio(grid.header):
        cells = dict(zip(grid.header, map(list, zip(*grid.rows, strict=True)), strict=True))
        export = flat_label_studio(cells, options.label_column, what)
        rows = [list(map(as_cell, row)) for row in zip(*export.columns.values(), strict=True)]
        grid = Grid([*export.columns], rows, grid.delimiter)
        notes, options = [*notes, export.note], export.said(options)
    return column_items(str(path), columns_of(grid), options, notes=notes, folder=path.parent)


def column_items(
    source: str,
    columns: Sequence[Column],
    options: ReadOptions,
    *,
    notes: Sequence[str] = (),
    folder: Path | None = None,
    media: Media | None = None,
) -> Items:
    """Returns the items of a table's columns.

    A column of vectors, or of image or sound files, is what to look at. Else a table with a column of texts is a pool
    of these texts. Else columns of numbers, dates and few different texts are inputs; ids, counters and columns of
    many different texts are left out.

    Args:
        source: Path of the table, or what messages call it.
        notes: What else was recognised.
        folder: Where files that cells name are looked for; None where cells name none.
        media: Vectors or files that belong to the rows and are no column of `columns`.

    Raises:
        InputError: as `named_media`, `roles_of`, `read_labels` and `as_vectors`.
    """
    what = f"data={source!r}"
    if media is None and folder is not None:
        media = named_media(columns, options, folder, what)
    if media is not None:
        columns = media.left(columns)
    roles = roles_of(columns, options, what, media)
    n = len(media) if media is not None else len(columns[0].cells)
    labels = Labels((None,) * n)
    if roles.label is not None:
        place = f"{what}: the column {roles.label.name!r}"
        labels = read_labels(roles.label.cells, place, options.missing_label)
    notes = [*notes, *labels.notes]
    ids, id_source = _ids(columns, roles, media)
    said = roles.said
    unseen = {*said.hidden, *said.ignored, *said.exported} - {*said.meta}
    unseen |= {column.name for column in (roles.label, roles.text) if column is not None}
    cells = {column.name: column.cells for column in columns if column.name not in unseen}
    items = Items(
        source, ids, labels.values, [], left_out=roles.left_out, columns=cells, id_source=id_source,
        meta=tuple(name for name in said.meta if name in cells), costs=said.costs(what),
        groups=None if said.group is None else said.group.cells,
        label_source="" if roles.label is None else f"column {roles.label.name!r}",
    )  # fmt: skip
    texts = None
    if roles.text is not None:
        texts = list(roles.text.cells)
        notes.insert(0, f"texts: column {roles.text.name!r}")
        if not all(texts):
            notes.append(f"{texts.count('')} empty text(s)")
    if media is not None:
        return replace(
            items, shown=media.shown(texts, cells), vectors=media.vectors, texts=texts, images=media.images,
            sounds=media.sounds, notes=(*media.notes, *notes),
        )  # fmt: skip
    if texts is not None:
        return replace(items, shown=texts, texts=texts, notes=tuple(notes))
    return replace(
        items, shown=list(_shown(roles.inputs)), vectors=as_vectors(roles.inputs, what),
        used=tuple(column.name for column in roles.inputs), notes=(*notes, *_input_notes(roles.inputs)),
    )  # fmt: skip


def _ids(columns: Sequence[Column], roles: Roles, media: Media | None) -> tuple[tuple[str, ...], str]:
    """An id column's cells; else names of files, or hashes: of files, vectors, texts, or cells that are not hidden.

    Labels, row numbers and empty columns do not count among the cells.
    """
    if roles.ident is not None:
        return roles.ident.cells, f"column {roles.ident.name!r}"
    if media is not None:
        return (media.names, "file names") if media.names else (content_ids(media.contents()), "content")
    if roles.text is not None:
        return text_ids(roles.text.cells), "content"
    kept = sorted(
        (
            column
            for column in columns
            if column is not roles.label
            and column.kind not in ("counter", "empty")
            and column.name not in roles.said.hidden
        ),
        key=lambda column: column.name,
    )
    rows = zip(*(_canonical(column) for column in kept), strict=True)
    return content_ids("\x1f".join(row).encode("utf-8", "surrogatepass") for row in rows), "content"


def _canonical(column: Column) -> Iterator[str]:
    """Cells in one spelling: a spreadsheet that saves a file again writes 1.0 as 1."""
    numbers = () if column.kind == "dates" else column.numbers
    numbers = numbers or (None,) * len(column.cells)
    for cell, number in zip(column.cells, numbers, strict=True):
        yield cell if number is None else repr(float(number))


def _shown(inputs: Sequence[Column]) -> Iterator[str]:
    prefixes = ["" if is_unnamed(column.name) else f"{column.name}=" for column in inputs]
    for row in zip(*(column.cells for column in inputs), strict=True):
        yield ", ".join(map("".join, zip(prefixes, row, strict=True)))


def _input_notes(inputs: Sequence[Column]) -> list[str]:
    """Says how columns become numbers, and what was guessed on the way."""
    notes = []
    kinds = [f"{column.name} ({column.distinct})" for column in inputs if column.kind == "categories"]
    if kinds:
        notes.append(f"a column of 0 and 1 for each value of {', '.join(kinds)}")
    dates = [column.name for column in inputs if column.kind == "dates"]
    if dates:
        notes.append(f"times since the first in {', '.join(dates)}, and the time of day where it varies")
    commas = [column.name for column in inputs if column.decimal_comma]
    if commas:
        notes.append(f"decimal commas in {', '.join(commas)}")
    for column in inputs:
        strays = ", ".join(repr(cell) for cell in column.strays[:SHOWN_STRAYS])
        if strays:
            notes.append(f"{column.name}: {strays} taken for missing")
    gaps = [f"{column.name} ({column.n_missing})" for column in inputs if column.numbers and column.n_missing]
    if gaps:
        notes.append(f"missing values in {', '.join(gaps)}: column mean, and a column that says so")
    return notes


def no_columns(path: Path, options: ReadOptions) -> None:
    """Refuses options about columns for a file that has none."""
    given = {
        "--id-column": options.id_column,
        "--label-column": options.label_column,
        "--text-column": options.text_column,
        "--ignore": options.ignore,
        "--meta": options.meta,
        "--hide": options.hide,
        "--cost-column": options.cost_column,
        "--group-column": options.group_column,
        "--delimiter": options.delimiter,
    }
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise InputError(
            f"data={str(path)!r} has no columns; {wrong[0]} is for tables (.csv, .parquet, .jsonl, …)."
        )
