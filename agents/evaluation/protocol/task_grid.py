"""`TaskGrid`: several values per task setting, which span a grid of scenarios; its fields are `TaskConfig`'s."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from metaal_env.errors import InputError
from metaal_env.tasks import TaskConfig

VARIATIONS: dict[str, tuple[str, ...]] = {
    "way": ("5", "20"),
    "pool_size": ("50", "200"),
    "budget": ("10", "40"),
    "imbalance": ("0.3", "inf"),
    "label_noise": ("0.1",),
    "initial_labels": ("5",),
}
"""Task settings that a matrix changes, one at a time."""

if TYPE_CHECKING:

    class TaskGrid:
        """Texts of several values per setting of `TaskConfig`; an empty tuple leaves a setting alone."""

        def __init__(self, **values: tuple[str, ...]) -> None: ...

else:
    TaskGrid = make_dataclass(
        "TaskGrid", [(f.name, tuple[str, ...], field(default=())) for f in fields(TaskConfig)]
    )
    TaskGrid.__module__ = __name__
    TaskGrid.__doc__ = TaskConfig.__doc__  # the help texts of the command line


@dataclass(frozen=True)
class GridTask:
    """One task of a grid.

    Attributes:
        task: its settings.
        chosen: names of the settings that the user gave; these are never fitted to the data.
        is_variation: whether it is one of a matrix's variations, which may be left out where data do not suffice.
    """

    task: TaskConfig
    chosen: frozenset[str]
    is_variation: bool = False


def grid_tasks(grid: TaskGrid, base: TaskConfig, matrix: bool = False) -> Iterator[GridTask]:
    """Yields the product of the values given, and after each, with `matrix`, its one-at-a-time variations.

    Args:
        grid: values per setting.
        base: settings that the grid leaves alone.
        matrix: whether each task is followed by `VARIATIONS` of it.

    Raises:
        InputError: a value is no number or range, or outside what a task may have.
    """
    given = {f.name: getattr(grid, f.name) for f in fields(TaskConfig) if getattr(grid, f.name)}
    for values in itertools.product(*given.values()):
        chosen = {name: parse_setting(name, text) for name, text in zip(given, values, strict=True)}
        yield GridTask(replace(base, **chosen), frozenset(given))
        for name, alternatives in VARIATIONS.items() if matrix else ():
            for text in alternatives:
                try:
                    task = replace(base, **chosen | {name: parse_setting(name, text)})
                except InputError:
                    continue  # e.g. a budget beyond the pool: no such scenario
                yield GridTask(task, frozenset(given) | {name}, is_variation=True)


def parse_setting(name: str, text: str) -> Any:
    """Reads one value of a task setting: ``"10"``, ``"5-20"`` or, for probabilities and shares, ``"0.1"``.

    Raises:
        InputError: neither a number nor a range.
    """
    try:
        if isinstance(TaskConfig.__dataclass_fields__[name].default, float):
            return float(text)
        low, dash, high = text.partition("-")
        return (int(low), int(high)) if dash else int(low)
    except ValueError:
        raise InputError(f"{name}={text!r} is no number; write e.g. 10, or 5-20 for a range.") from None
