"""Columns of a table that the user says are no inputs: metadata, hidden ones, costs and groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agents.acquisition.items.column_choice import named_column
from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.columns import Column
from metaal_env.errors import InputError

EXPORTED = (
    *("item", "label", "drawn", "annotator", "time", "policy", "score", "seconds", "unsure", "opinions"),
    *("settled", "content"),
)
"""Columns that ``metaal export`` writes of each label."""
_MEANT = {"item", "label"}


@dataclass(frozen=True)
class SaidColumns:
    """Holds the columns that options name.

    Attributes:
        ignored: Names of columns that say nothing.
        exported: Names of columns of an export that tell how labels came about.
        hidden: Names of columns that nobody is shown.
        meta: Names of columns that are shown beside the item and exported, cost and group among them.
        cost: Column of prices.
        group: Column of groups.
    """

    ignored: tuple[str, ...] = ()
    exported: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()
    cost: Column | None = None
    group: Column | None = None

    def left_out(self) -> dict[str, str]:
        """Returns the name of each column → why it is no input."""
        found = dict.fromkeys(self.exported, "of an export") | dict.fromkeys(self.ignored, "ignored")
        found |= dict.fromkeys(self.meta, "metadata")
        found |= {column.name: why for column, why in ((self.cost, "cost"), (self.group, "group")) if column}
        return found | dict.fromkeys(self.hidden, "hidden")

    def may_name_items(self, columns: Sequence[Column]) -> list[Column]:
        """Returns the columns of metadata, which may be ids as well."""
        return [column for column in columns if column.name in self.meta]

    def costs(self, what: str) -> tuple[float, ...] | None:
        """Returns the price of each item's label; None without a column of prices.

        Raises:
            InputError: a cell that is no number above 0.
        """
        if self.cost is None:
            return None
        numbers = self.cost.numbers or (None,) * len(self.cost.cells)
        for row, (cell, number) in enumerate(zip(self.cost.cells, numbers, strict=True), 1):
            if number is None or not (math.isfinite(number) and number > 0):
                raise InputError(
                    f"{what}: the column {self.cost.name!r} says that item {row} costs {cell!r}; "
                    "give a number above 0 for every item."
                )
        return tuple(float(number) for number in numbers if number is not None)


def said_columns(named: dict[str, Column], options: ReadOptions, what: str) -> SaidColumns:
    """Finds the columns that options name.

    Raises:
        InputError: a column that is not there, or one that is to be shown and hidden.
    """

    def names(wanted: Sequence[str]) -> tuple[str, ...]:
        return tuple(named_column(named, name, what).name for name in wanted)

    cost, group = (
        None if name is None else named_column(named, name, what)
        for name in (options.cost_column, options.group_column)
    )
    hidden, meta = names(options.hide), names(options.meta)
    for name in meta:
        if name in hidden:
            raise InputError(f"{what}: the column {name!r} is named by --meta and by --hide; name it once.")
    shown = [*meta, *(column.name for column in (cost, group) if column is not None)]
    exported = tuple(name for name in EXPORTED if name not in _MEANT) if named.keys() >= set(EXPORTED) else ()
    beside = tuple(name for name in dict.fromkeys(shown) if name not in hidden)
    return SaidColumns(names(options.ignore), exported, hidden, beside, cost, group)
