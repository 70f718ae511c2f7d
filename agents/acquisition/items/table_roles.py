"""Which column of a user's table names items, which holds labels, which the text, and which are inputs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.cell_numbers import is_missing
from metaal_env.datasets.readers.columns import Column, is_unnamed
from metaal_env.datasets.readers.header import ID_NAMES, LABEL_NAMES, MORE_TEXT_NAMES, TEXT_NAMES
from metaal_env.errors import InputError, unknown_name

_ANNOTATORS = re.compile(r"(label|annotator|rater|coder)[ _.-]?(\d+|[a-z])", re.IGNORECASE)
_ID_ENDINGS = re.compile(r"(.*[ _.-])?([Ii][Dd]|uuid|guid)|.*[a-z](Id|ID)")
_REMARKS = {"note", "notes", "remark", "remarks", "comments", "annotation", "annotations"}
MANY_NUMBERS = 3
"""More columns of numbers than this make it doubtful that a text beside them is what to label."""


@dataclass(frozen=True)
class Roles:
    """Says what each column of a table is for.

    Attributes:
        inputs: Columns that become vectors; empty where `text` is given.
        left_out: Name of each other column → why it is no input.
    """

    ident: Column | None
    label: Column | None
    text: Column | None
    inputs: tuple[Column, ...]
    left_out: dict[str, str]


def roles_of(columns: Sequence[Column], options: ReadOptions, what: str) -> Roles:
    """Returns the columns' roles: those that the user named, the others by name and content.

    Raises:
        InputError: a named column that is not there, several that fit, or none that is an input.
    """
    named = {column.name: column for column in columns}
    left_out = {_named(named, name, what).name: "ignored" for name in options.ignore}
    rest = [column for column in columns if column.name not in left_out]
    ident = _identity(named, rest, options, what)
    label = _label([column for column in rest if column is not ident], named, options, what)
    rest = [column for column in rest if column is not ident and column is not label]
    for column in rest:
        why = _no_input(column, rest)
        if why is not None:
            left_out[column.name] = why
    text = _text([column for column in rest if column.name not in left_out], rest, named, options, what)
    if text is not None:
        left_out.pop(text.name, None)
        others = {column.name: "beside the text" for column in rest if column is not text}
        return Roles(ident, label, text, (), others | left_out)
    for column in rest:
        if column.kind in ("texts", "names") and column.name not in left_out:
            left_out[column.name] = f"{column.distinct} different values"
    inputs = tuple(column for column in rest if column.name not in left_out)
    if not inputs:
        if ident is not None and options.id_column is None and ident.kind in ("names", "texts"):
            # Nothing else is there to look at: the names themselves are what to label.
            return Roles(None, label, ident, (), left_out)
        reasons = ", ".join(f"{name} ({why})" for name, why in left_out.items()) or "none"
        raise InputError(
            f"{what} has no column besides id and label that can be an input (left out: {reasons}); name the text "
            "with --text-column or give features."
        )
    return Roles(ident, label, None, inputs, left_out)


def _named(named: dict[str, Column], wanted: str, what: str) -> Column:
    """The column of that name, whatever its case where that is no question."""
    if wanted in named:
        return named[wanted]
    alike = [column for name, column in named.items() if name.lower() == wanted.strip().lower()]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{what} has no column {wanted!r}; " + str(unknown_name("column", wanted, named)).partition("; ")[2]
    )


def _identity(
    named: dict[str, Column], rest: Sequence[Column], options: ReadOptions, what: str
) -> Column | None:
    if options.id_column is not None:
        column = _named(named, options.id_column, what)
        first: dict[str, int] = {}
        for number, cell in enumerate(column.cells, 1):
            if not cell or cell in first:
                fault = f"as item {first[cell]}" if cell else "nothing"
                raise InputError(
                    f"{what}: the column {column.name!r} calls item {number} {cell!r}, {fault}; ids must be unique."
                )
            first[cell] = number
        return column
    taken = {options.label_column, options.text_column}
    unique = [
        column
        for column in rest
        if column.name not in taken and all(column.cells) and len(set(column.cells)) == len(column.cells)
    ]
    endings = [column for column in unique if _ID_ENDINGS.fullmatch(column.name.strip())]
    exact = [column for column in endings if column.name.strip().lower() == "id"]
    usual = [
        column for column in unique if column.name.strip().lower() in ID_NAMES and column.kind != "texts"
    ]
    unnamed = [
        column for column in unique if is_unnamed(column.name) and column.kind in ("names", "categories")
    ]
    for fitting in (exact, endings, usual, unnamed):
        if len(fitting) == 1:
            return fitting[0]
    return None


def _label(
    rest: Sequence[Column], named: dict[str, Column], options: ReadOptions, what: str
) -> Column | None:
    if options.label_column is not None:
        return _named(named, options.label_column, what)
    if options.no_label:
        return None
    several = [column.name for column in rest if _ANNOTATORS.fullmatch(column.name)]
    if len(several) > 1 and not any(column.name.lower() in ("label", "labels") for column in rest):
        raise InputError(
            f"{what} has the columns {', '.join(several)}; name the one whose labels count with --label-column, or "
            "say --no-label."
        )
    exact = [column for column in rest if column.name.lower() in ("label", "labels")]
    fitting = [
        column for column in rest if column.name.lower() in LABEL_NAMES and _may_be_label(column, rest)
    ]
    found = exact or fitting
    if len(found) > 1:
        names = " and ".join(repr(column.name) for column in found)
        raise InputError(f"{what}: the columns {names} may hold labels; name one with --label-column.")
    return found[0] if found else None


def _may_be_label(column: Column, rest: Sequence[Column]) -> bool:
    """A ``y`` beside an ``x`` of numbers is a coordinate; a text of its own is no class."""
    if column.name.lower() == "y" and column.kind == "numbers":
        return not any(other.name.lower() == "x" and other.kind == "numbers" for other in rest)
    return column.kind not in ("texts", "dates")


def _no_input(column: Column, rest: Sequence[Column]) -> str | None:
    """Why a column says nothing about what an item is like, whatever else the table holds."""
    if column.kind == "empty":
        return "empty"
    if column.kind == "counter":
        return "row numbers"
    if column.kind == "dates":
        return "dates"
    unique = len(set(column.cells)) == len(column.cells)
    if unique and len(column.cells) > 2 and _ID_ENDINGS.fullmatch(column.name.strip()):
        return "an id"
    if column.kind in ("texts", "names") and column.name.strip().lower() in _REMARKS:
        return "remarks"
    if column.kind == "texts" and column.name.lower() in ID_NAMES and any(c.kind == "numbers" for c in rest):
        return "names"
    if column.name.lower() == "id":
        return "an id, not unique"
    return None


def _text(
    fitting: Sequence[Column],
    rest: Sequence[Column],
    named: dict[str, Column],
    options: ReadOptions,
    what: str,
) -> Column | None:
    if options.text_column is not None:
        return _named(named, options.text_column, what)
    texts = [column for column in fitting if column.kind == "texts"]
    for words in (TEXT_NAMES, MORE_TEXT_NAMES):
        usual = [column for column in texts if column.name.strip().lower() in words]
        if len(usual) == 1:
            return usual[0]
        texts = usual or texts
        if usual:
            break
    numbers = [column for column in fitting if column.kind == "numbers"]
    if not texts:
        names = [column for column in fitting if column.kind == "names"]
        return names[0] if len(names) == len(fitting) == 1 else None
    filled = [c for c in texts if sum(not is_missing(cell) for cell in c.cells) > 0.5 * len(c.cells)]
    if len(filled) > 1:
        titles = " and ".join(repr(column.name) for column in filled)
        raise InputError(
            f"{what}: the columns {titles} hold texts; name one with --text-column or --ignore the rest."
        )
    if (
        filled
        and len(numbers) > MANY_NUMBERS
        and filled[0].name.strip().lower() not in (*TEXT_NAMES, *MORE_TEXT_NAMES)
    ):
        raise InputError(
            f"{what} has {len(numbers)} columns of numbers and texts in {filled[0].name!r}; say what to look at: "
            f"--text-column {filled[0].name} or --ignore {filled[0].name}."
        )
    return filled[0] if filled else None
