"""Lists what a user can say about a file instead of leaving it to be recognised."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Overrides what `read_items` recognises by itself. None leaves the recognition as it is."""

    skip_unreadable: bool = False
    """Leave out damaged images of a folder, and list them."""
    id_column: str | None = None
    """Column of a table that names each item."""
    label_column: str | None = None
    """Column of a table that holds labels, empty where unknown."""
    text_column: str | None = None
    """Column of a table that holds the text to label."""
    no_label: bool = False
    """No column of the data holds labels."""
    ignore: tuple[str, ...] = ()
    """Columns of a table that are no inputs."""
    meta: tuple[str, ...] = ()
    """Columns of a table that are no inputs, but shown beside the item and exported."""
    hide: tuple[str, ...] = ()
    """Columns of a table that identify persons: no inputs, shown to nobody, and in no file that is written."""
    cost_column: str | None = None
    """Column of a table with the price of each item's label; --budget then counts money."""
    group_column: str | None = None
    """Column of a table with what items belong to, e.g. patients: no group is split between training and estimate."""
    missing_label: str | None = None
    """What stands for unlabelled in the data beside an empty cell, e.g. NA or -1; the empty string says that only
    empty cells, and NaN in arrays, do."""
    encoding: str | None = None
    """Encoding of a text file, e.g. cp1251; recognised by default."""
    delimiter: str | None = None
    """Character between the cells of a table; recognised by default."""
    header: bool | None = None
    """Whether the first row of a table holds the columns' names; recognised by default."""
