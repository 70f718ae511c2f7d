"""What a user can say about a file instead of leaving it to be recognised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """Overrides what `read_items` recognises by itself. None leaves the recognition as it is.

    Attributes:
        id_column: Column of a table that names each item.
        label_column: Column of a table that holds labels, empty where unknown.
        text_column: Column of a table that holds the text to label.
        no_label: Whether no column holds labels.
        ignore: Columns of a table that are no inputs.
        missing_label: What stands for "unlabelled" beside an empty cell, e.g. ``"NA"`` or ``"-1"``. The empty
            string says that only empty cells (and NaN in arrays) are unlabelled.
        encoding: Python's name of a text file's encoding, e.g. ``"cp1251"``.
        delimiter: Character between the cells of a table.
        header: Whether the first row of a table holds the columns' names.
        skip_unreadable: Whether damaged images are left out, with a warning that lists them.
    """

    id_column: str | None = None
    label_column: str | None = None
    text_column: str | None = None
    no_label: bool = False
    ignore: tuple[str, ...] = ()
    missing_label: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: bool | None = None
    skip_unreadable: bool = False
