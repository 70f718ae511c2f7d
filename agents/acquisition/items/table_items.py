"""A user's table to items: texts or features, with ids and labels where columns hold them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from agents.acquisition.items.items import Items, content_ids, text_ids
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.table_roles import Roles, roles_of
from metaal_env.datasets.readers.cells import read_grid
from metaal_env.datasets.readers.columns import Column, as_vectors, columns_of, is_unnamed
from metaal_env.datasets.readers.decode import Decoded
from metaal_env.datasets.readers.label_values import Labels, read_labels
from metaal_env.errors import InputError

SHOWN_STRAYS = 3


def table_items(path: Path, decoded: Decoded, options: ReadOptions) -> Items:
    """Returns the items of a table.

    A table with a column of texts is a pool of these texts. Else columns of numbers and of few different texts
    are inputs; dates, ids, counters and columns of many different texts are left out.

    Raises:
        InputError: as `read_grid`, `roles_of`, `read_labels` and `as_vectors`.
    """
    what = f"data={str(path)!r}"
    grid = read_grid(decoded.text, what, options.delimiter, options.header)
    columns = columns_of(grid)
    roles = roles_of(columns, options, what)
    labels = Labels((None,) * len(grid.rows))
    if roles.label is not None:
        place = f"{what}: the column {roles.label.name!r}"
        labels = read_labels(roles.label.cells, place, options.missing_label)
    notes = [*([] if decoded.encoding == "utf-8" else [f"encoding {decoded.encoding}"]), *grid.notes]
    notes += labels.notes
    ids, id_source = _ids(columns, roles)
    said = roles.said
    unseen = {*said.hidden, *said.ignored, *said.exported} - {*said.meta}
    unseen |= {column.name for column in (roles.label, roles.text) if column is not None}
    cells = {column.name: column.cells for column in columns if column.name not in unseen}
    meta, costs = tuple(name for name in said.meta if name in cells), said.costs(what)
    groups = None if said.group is None else said.group.cells
    label_source = "" if roles.label is None else f"column {roles.label.name!r}"
    if roles.text is not None:
        texts = list(roles.text.cells)
        notes.insert(0, f"texts: column {roles.text.name!r}")
        if not all(texts):
            notes.append(f"{texts.count('')} empty text(s)")
        return Items(
            str(path), ids, labels.values, texts, texts=texts, left_out=roles.left_out,
            meta=meta, costs=costs, groups=groups, columns=cells, id_source=id_source, label_source=label_source,
            notes=tuple(notes),
        )  # fmt: skip
    vectors = as_vectors(roles.inputs, what)
    return Items(
        str(path), ids, labels.values, list(_shown(roles.inputs)), vectors=vectors, left_out=roles.left_out,
        meta=meta, costs=costs, groups=groups,
        used=tuple(column.name for column in roles.inputs), columns=cells, id_source=id_source,
        label_source=label_source, notes=(*notes, *_number_notes(roles.inputs)),
    )  # fmt: skip


def _ids(columns: Sequence[Column], roles: Roles) -> tuple[tuple[str, ...], str]:
    """An id column's cells; else hashes of texts, or of all cells but labels, row numbers and empty or hidden ones."""
    if roles.ident is not None:
        return roles.ident.cells, f"column {roles.ident.name!r}"
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
    numbers = column.numbers or (None,) * len(column.cells)
    for cell, number in zip(column.cells, numbers, strict=True):
        yield cell if number is None else repr(float(number))


def _shown(inputs: Sequence[Column]) -> Iterator[str]:
    prefixes = ["" if is_unnamed(column.name) else f"{column.name}=" for column in inputs]
    for row in zip(*(column.cells for column in inputs), strict=True):
        yield ", ".join(map("".join, zip(prefixes, row, strict=True)))


def _number_notes(inputs: Sequence[Column]) -> list[str]:
    notes = []
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
        raise InputError(f"data={str(path)!r} has no columns; {wrong[0]} is for tables (.csv, .tsv).")
