"""`TaskGrid`: several values per task setting, which span a grid of scenarios; its fields are `TaskConfig`'s."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro

from metaal_env.errors import InputError
from metaal_env.tasks import TaskConfig

VARIATIONS: dict[str, tuple[Any, ...]] = {
    "way": (5, 20),
    "pool_size": (50, 200),
    "budget": (10, 40),
    "class_concentration": (0.3, float("inf")),
    "label_noise": (0.1,),
    "initial_labels": (5,),
}
"""Task settings that a matrix changes, one at a time."""

if TYPE_CHECKING:

    class TaskGrid:
        """Several values per setting of `TaskConfig`; an empty tuple leaves a setting alone."""

        def __init__(self, **values: tuple[Any, ...]) -> None: ...

else:
    # A subclass for the help texts alone: the command line reads them in the source of `TaskConfig`. An option that
    # is given again adds a value.
    TaskGrid = make_dataclass(
        "TaskGrid",
        [
            (name, Annotated[tuple[kind, ...], tyro.conf.UseAppendAction], field(default=()))
            for name, kind in get_type_hints(TaskConfig).items()
        ],
        bases=(TaskConfig,),
        namespace={"__post_init__": lambda self: None},
        frozen=True,
    )
    TaskGrid.__module__ = __name__


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
        InputError: a value is outside what a task may have.
    """
    given = {f.name: getattr(grid, f.name) for f in fields(TaskConfig) if getattr(grid, f.name)}
    for values in itertools.product(*given.values()):
        chosen: dict[str, Any] = dict(zip(given, values, strict=True))
        yield GridTask(replace(base, **chosen), frozenset(given))
        for name, alternatives in VARIATIONS.items() if matrix else ():
            for value in alternatives:
                try:
                    task = replace(base, **chosen | {name: value})
                except InputError:
                    continue  # e.g. a budget beyond the pool: no such scenario
                yield GridTask(task, frozenset(given) | {name}, is_variation=True)
