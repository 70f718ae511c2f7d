"""Plays a protocol into a folder of results, and reads it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from agents.evaluation.episodes import Episodes
from agents.evaluation.protocol.cells import Cell, cells_of, pending, run_cell
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.rows import read_results
from metaal_env.runtime.executor import Executor, Part, in_this_process

PROTOCOL = "protocol.json"
"""File of a folder of results that holds its protocol."""


class Missing(NamedTuple):
    """Lists what a folder of results lacks of a protocol."""

    everything: Protocol
    """The protocol, with the strategies that the folder holds already."""
    todo: list[Cell]
    """Cells without rows."""
    total: int
    """Number of the protocol's cells."""


def find_missing(protocol: Protocol, folder: Path, device: str = "cpu") -> Missing:
    """Returns what `folder` lacks of `protocol`.

    Raises:
        InputError: the folder holds results of other tasks, or of other versions of the strategies.
    """
    cells = cells_of(protocol, folder, device)
    return Missing(protocol.joined_to(folder / PROTOCOL), pending(cells, protocol), len(cells))


def run_cells(
    cells: Sequence[Cell], executor: Executor | None = None, done: Callable[[Cell], None] = lambda cell: None
) -> None:
    """Plays cells.

    Args:
        executor: computes them; this process by default.
        done: called after each cell.

    Raises:
        InputError: names the cells that failed; all others have their rows.
    """
    of = {cell.stem: cell for cell in cells}
    parts = [Part(stem, run_cell, (cell,), kind=cell.contestant.name) for stem, cell in of.items()]
    (executor or in_this_process()).run(parts, done=lambda part, _: done(of[part.name]))


def play_missing(missing: Missing, executor: Executor | None = None, title: str = "playing") -> None:
    """Plays the cells that are missing, under a progress bar.

    Args:
        executor: computes them; this process by default.
        title: of the progress bar.
    """
    todo, total = missing.todo, missing.total
    with tqdm(total=total, initial=total - len(todo), desc=title, unit="cell", disable=not todo) as bar:

        def done(cell: Cell) -> None:
            bar.set_postfix_str(f"{cell.contestant.name} on {cell.scenario.axes['data']}")
            bar.update()

        if todo:
            run_cells(todo, executor, done)


def play_protocol(
    protocol: Protocol, folder: Path, *, executor: Executor | None = None, title: str = "playing"
) -> dict[str, Episodes]:
    """Plays what `folder` lacks of `protocol`; returns the episodes of every strategy of `protocol`.

    Args:
        executor: plays the cells; this process by default.
        title: of the progress bar.

    Raises:
        InputError: the folder holds results of other tasks, or of other versions of the strategies.
    """
    missing = find_missing(protocol, folder)
    missing.everything.save(folder / PROTOCOL)
    play_missing(missing, executor, title)
    names = {contestant.name for contestant in protocol.contestants}
    results = read_results(folder, missing.everything)
    return {name: episodes for name, episodes in results.items() if name in names}
