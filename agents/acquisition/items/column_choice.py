"""Chooses the columns of a user's table that name items, hold labels or hold the text to label."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.cell_numbers import is_missing
from metaal_env.datasets.readers.columns import Column, is_unnamed, words_of
from metaal_env.datasets.readers.header import ID_NAMES, LABEL_NAMES, MORE_TEXT_NAMES, TEXT_NAMES
from metaal_env.errors import InputError, unknown_name

_ANNOTATORS = re.compile(r"(label|annotator|rater|coder)[ _.-]?(\d+|[a-z])", re.IGNORECASE)
ID_ENDINGS = re.compile(
    r"(.*[ _.-])?([Ii][Dd]|[Uu][Ii][Dd]|uuid|guid)|.*[a-z](Id|ID)|[Ii][Dd][ _.-]?(no|nr|num|number)"
)
REMARKS = {"note", "notes", "remark", "remarks", "comments", "annotation", "annotations"}
MANY_NUMBERS = 3
"""More columns of numbers than this make it doubtful that a text beside them is what to label."""
SHORT_WORDS = 5
"""So do two columns beside texts of fewer words, which may be names or addresses."""


def named_column(named: dict[str, Column], wanted: str, what: str) -> Column:
    """Returns the column of that name, whatever its case where that is no question; `InputError` if there is none."""
    if wanted in named:
        return named[wanted]
    alike = [column for name, column in named.items() if name.lower() == wanted.strip().lower()]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{what} has no column {wanted!r}; " + str(unknown_name("column", wanted, named)).partition("; ")[2]
    )


def identity_column(
    named: dict[str, Column], rest: Sequence[Column], options: ReadOptions, what: str
) -> Column | None:
    """Returns the column that names each item: the user's choice, else one called an id whose cells differ.

    Raises:
        InputError: the user's choice is missing or names two items alike.
    """
    if options.id_column is not None:
        column = named_column(named, options.id_column, what)
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
    endings = [column for column in unique if ID_ENDINGS.fullmatch(column.name.strip())]
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


def label_column(
    rest: Sequence[Column], named: dict[str, Column], options: ReadOptions, what: str
) -> Column | None:
    """Returns the column that holds labels: the user's choice, else the only one whose name says so.

    Raises:
        InputError: the user's choice is missing, or several columns fit.
    """
    if options.label_column is not None:
        return named_column(named, options.label_column, what)
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
    if not found:
        _ask_about_answers([column for column in rest if column.name not in _others(options)], what)
    if len(found) > 1:
        names = " and ".join(repr(column.name) for column in found)
        raise InputError(f"{what}: the columns {names} may hold labels; name one with --label-column.")
    return found[0] if found else None


def _others(options: ReadOptions) -> set[str | None]:
    return {options.id_column, options.text_column}


def _ask_about_answers(columns: Sequence[Column], what: str) -> None:
    """Asks what a column is that looks like answers given so far: mostly empty, a few words or whole numbers.

    As an input it would make the labelled items alike; beside a text it would be lost.

    Raises:
        InputError: there is such a column.
    """
    remarks = REMARKS - {"annotation", "annotations"}  # a few words again and again are no remarks
    for column in columns:
        filled = [cell for cell in column.cells if cell]
        classes = column.kind == "categories" or (column.kind == "numbers" and _repeats(column))
        if classes and 0 < 2 * len(filled) < len(column.cells) and column.name.strip().lower() not in remarks:
            raise InputError(
                f"{what}: the column {column.name!r} is filled in {len(filled)} of {len(column.cells)} rows; say "
                f"--label-column {column.name} if it holds labels, --ignore {column.name} if it tells "
                "nothing, or --no-label if it is an input like others."
            )


def _repeats(column: Column) -> bool:
    """Whether whole numbers stand there, each twice on average, as classes do."""
    known = [number for number in column.numbers if number is not None]
    return all(number % 1 == 0 for number in known) and 2 * len(set(known)) <= len(known)


def _may_be_label(column: Column, rest: Sequence[Column]) -> bool:
    """A ``y`` beside an ``x`` of numbers is a coordinate; a text of its own is no class."""
    if column.name.lower() == "y" and column.kind == "numbers":
        return not any(other.name.lower() == "x" and other.kind == "numbers" for other in rest)
    return column.kind not in ("texts", "dates")


def text_column(
    fitting: Sequence[Column], named: dict[str, Column], options: ReadOptions, what: str
) -> Column | None:
    """Returns the column that holds the text to label: the user's choice, else the only one filled with texts.

    Raises:
        InputError: the user's choice is missing, several columns fit, or one beside many columns of numbers.
    """
    if options.text_column is not None:
        return named_column(named, options.text_column, what)
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
        and (len(numbers) > MANY_NUMBERS or (len(numbers) > 1 and words_of(filled[0]) < SHORT_WORDS))
        and filled[0].name.strip().lower() not in (*TEXT_NAMES, *MORE_TEXT_NAMES)
    ):
        raise InputError(
            f"{what} has {len(numbers)} columns of numbers and texts in {filled[0].name!r}; say what to look at: "
            f"--text-column {filled[0].name} or --ignore {filled[0].name}."
        )
    return filled[0] if filled else None
