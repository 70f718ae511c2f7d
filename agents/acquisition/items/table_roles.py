"""Finds which column of a user's table names items, which holds labels, which the text, and which are inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.acquisition.items.column_choice import (
    ID_ENDINGS,
    REMARKS,
    identity_column,
    label_column,
    text_column,
)
from agents.acquisition.items.media_columns import Media, names_files
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.said_columns import SaidColumns, said_columns
from metaal_env.datasets.readers.columns import Column
from metaal_env.datasets.readers.header import ID_NAMES
from metaal_env.errors import InputError


@dataclass(frozen=True)
class Roles:
    """Says what each column of a table is for.

    Attributes:
        inputs: Columns that become vectors; empty where `text` is given.
        left_out: Name of each other column → why it is no input.
        said: What the user said of columns that are no inputs.
    """

    ident: Column | None
    label: Column | None
    text: Column | None
    inputs: tuple[Column, ...]
    left_out: dict[str, str]
    said: SaidColumns


def roles_of(columns: Sequence[Column], options: ReadOptions, what: str, media: Media | None = None) -> Roles:
    """Returns the columns' roles: those that the user named, the others by name and content.

    Args:
        media: What to look at, where that are vectors or files; then no column is an input.

    Raises:
        InputError: a named column that is not there, several that fit, or none that is an input.
    """
    named = {column.name: column for column in columns}
    said = said_columns(named, options, what)
    left_out = said.left_out()
    rest = [column for column in columns if column.name not in left_out]
    ident = identity_column(named, [*rest, *said.may_name_items(columns)], options, what)
    if ident is not None and ident.name in said.hidden:
        raise InputError(
            f"{what}: the column {ident.name!r} is to be hidden, but would name the items in every file; "
            "give another --id-column, or none."
        )
    label = label_column([column for column in rest if column is not ident], named, options, what)
    rest = [column for column in rest if column is not ident and column is not label]
    if media is not None:
        text = None if media.vectors is None or media.files else _only_text(rest, named, options, what)
        beside = [column for column in rest if column is not text and column.name != media.column]
        others = {column.name: f"beside {media.column!r}" for column in beside}
        return Roles(ident, label, text, (), others | left_out, said)
    for column in rest:
        why = _no_input(column, rest)
        if why is not None:
            left_out[column.name] = why
    text = text_column([column for column in rest if column.name not in left_out], named, options, what)
    if text is not None:
        left_out.pop(text.name, None)
        others = {column.name: "beside the text" for column in rest if column is not text}
        return Roles(ident, label, text, (), others | left_out, said)
    for column in rest:
        if column.kind in ("texts", "names") and column.name not in left_out:
            left_out[column.name] = f"{column.distinct} different values"
    inputs = tuple(column for column in rest if column.name not in left_out)
    if not inputs:
        names = ident is not None and ident.kind in ("names", "texts") and not names_files(ident.cells)
        if names and options.id_column is None:
            # Nothing else is there to look at: the names themselves are what to label.
            return Roles(None, label, ident, (), left_out, said)
        reasons = ", ".join(f"{name} ({why})" for name, why in left_out.items()) or "none"
        raise InputError(
            f"{what} has no column besides id and label that can be an input (left out: {reasons}); name the text "
            "with --text-column or give features."
        )
    return Roles(ident, label, None, inputs, left_out, said)


def _only_text(
    rest: Sequence[Column], named: dict[str, Column], options: ReadOptions, what: str
) -> Column | None:
    """The text that a person reads beside vectors, if there is one."""
    if options.text_column is not None:
        return text_column(rest, named, options, what)
    texts = [column for column in rest if column.kind == "texts"]
    return texts[0] if len(texts) == 1 else None


def _no_input(column: Column, rest: Sequence[Column]) -> str | None:
    """Says why a column tells nothing about what an item is like, whatever else the table holds."""
    if column.kind == "empty":
        return "empty"
    if column.kind == "counter":
        return "row numbers"
    if column.kind == "dates":
        return None if column.numbers else "dates that can be read in two ways"
    if column.kind in ("names", "categories") and names_files(list(filter(None, column.cells))):
        return "names of files that are not there"
    unique = len(set(column.cells)) == len(column.cells)
    if unique and len(column.cells) > 2 and ID_ENDINGS.fullmatch(column.name.strip()):
        return "an id"
    if column.kind in ("texts", "names") and column.name.strip().lower() in REMARKS:
        return "remarks"
    if column.kind == "texts" and column.name.lower() in ID_NAMES and any(c.kind == "numbers" for c in rest):
        return "names"
    if column.name.lower() == "id":
        return "an id, not unique"
    return None
