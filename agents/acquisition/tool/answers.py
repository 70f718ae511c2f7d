"""The file of answers: a table with a row for every item that a person labelled or skipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.acquisition.items.items import is_content_id
from agents.acquisition.tool.outputs import as_csv
from agents.acquisition.tool.tables import Table, read_table
from metaal_env.datasets.readers.label_values import whole_numbers
from metaal_env.errors import InputError

COLUMNS = ["item", "label", "drawn", "number", "content", "shown"]
"""Columns that this tool writes, before those that a person added."""
CHOSEN, RANDOM = "chosen", "random"
SHOWN = 200  # characters


@dataclass(frozen=True)
class Answer:
    """Holds what is known of one item.

    Attributes:
        label: Class name; None where the item was skipped.
        drawn: `RANDOM` for items of the yardstick, which are never used for choosing, else `CHOSEN`.
        content: Fingerprint of the item when it was answered; empty in files of others.
        shown: What the person saw, for readers of the file.
        number: Number of the class in the menu.
        further: Cells of the columns that a person added.
    """

    label: str | None
    drawn: str = CHOSEN
    content: str = ""
    shown: str = ""
    number: int | None = None
    further: tuple[str, ...] = ()

    def row(self, item: str) -> list[object]:
        number = "" if self.number is None or self.label is None else self.number
        return [item, self.label or "", self.drawn, number, self.content, self.shown, *self.further]


@dataclass(frozen=True)
class AnswerFile:
    """Holds what a file of answers says.

    Attributes:
        rows: Item and answer, in the order in which they were given.
        further: Names of the columns that a person added.
        exact: Whether this tool wrote the file as it is; else a copy is kept before it is rewritten.
        has_contents: Whether it tells contents; files of earlier versions and of others do not.
        time: When it was written, in ns.
    """

    rows: list[tuple[str, Answer]]
    further: list[str]
    exact: bool
    has_contents: bool
    time: int


def read_answers(path: Path, what: str, *, skips: bool = True) -> AnswerFile:
    """Reads a file of answers as a spreadsheet or this tool saved it.

    Args:
        what: How messages begin, e.g. ``"labels='a.csv'"``.
        skips: Whether an item without label was skipped; else such a row says nothing.

    Raises:
        InputError: no table with the columns item and label; a label without item; two labels of one item.
    """
    table = read_table(path, what)
    names = [name.strip().lower() for name in table.header]
    if (
        "item" not in names
        or "label" not in names
        or len(set(filter(None, names))) < len(list(filter(None, names)))
    ):
        raise InputError(
            f"{what} is not a file of answers; its header must name item and label once, it is: "
            f"{', '.join(table.header)}."
        )
    column = {name: names.index(name) for name in COLUMNS if name in names}
    others = [i for i, name in enumerate(names) if name not in COLUMNS and _is_used(table, i)]
    rows: dict[str, Answer] = {}
    # Beside skipped items pandas writes the classes 0 and 1 as 0.0 and 1.0.
    labels = whole_numbers([cells[column["label"]].strip() or None for cells in table.rows])
    for line, (cells, label) in enumerate(zip(table.rows, labels, strict=True), start=2):
        item = cells[column["item"]]
        if not item.strip():
            if label:
                raise InputError(
                    f"{what}: row {line} has the label {label!r} but no item; add the item or delete it."
                )
            continue
        if not label and not skips:
            continue
        answer = _answer(cells, column, label, tuple(cells[i] for i in others))
        earlier = rows.get(item)
        if earlier is not None and earlier.label != answer.label:
            raise InputError(
                f"{what} gives {item!r} the labels {earlier.label or ''!r} and {label or ''!r}; delete one of the rows."
            )
        rows.setdefault(item, answer)
    further = [table.header[i].strip() or f"column {i + 1}" for i in others]
    found = list(rows.items())
    exact = table.data == written(found, further)
    return AnswerFile(found, further, exact, any(a.content for a in rows.values()), path.stat().st_mtime_ns)


def written(rows: Sequence[tuple[str, Answer]], further: Sequence[str]) -> bytes:
    """Returns the contents of the file."""
    return as_csv([[*COLUMNS, *further], *(answer.row(item) for item, answer in rows)])


def _answer(
    cells: Sequence[str], column: Mapping[str, int], label: str | None, further: tuple[str, ...]
) -> Answer:
    def cell(name: str) -> str:
        return cells[column[name]].strip() if name in column else ""

    number = cell("number").removesuffix(".0")  # pandas writes whole numbers beside blanks so
    return Answer(
        label,
        RANDOM if cell("drawn") == RANDOM else CHOSEN,
        cell("content") if is_content_id(cell("content")) else "",
        cells[column["shown"]] if "shown" in column else "",
        int(number) if number.isascii() and number.isdecimal() and int(number) > 0 else None,
        further,
    )


def _is_used(table: Table, i: int) -> bool:
    """Whether a column has a name or cells: spreadsheets append empty ones."""
    return bool(table.header[i].strip()) or any(row[i].strip() for row in table.rows)
