"""Plays a protocol into a folder of results, and reads it back."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from agents.evaluation.episodes import Episodes
from agents.evaluation.protocol.cells import cells_of, pending
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.rows import read_results
from agents.evaluation.workers import run_cells

PROTOCOL = "protocol.json"
"""File of a folder of results that holds its protocol."""


def play_protocol(
    protocol: Protocol, folder: Path, *, workers: int = 1, title: str = "playing"
) -> dict[str, Episodes]:
    """Plays the cells that have no rows in `folder` yet; returns the episodes of every strategy of `protocol`.

    Args:
        workers: local processes.
        title: of the progress bar.

    Raises:
        InputError: the folder holds results of other tasks or of other versions of the strategies.
    """
    everything = protocol.joined_to(folder / PROTOCOL)
    todo = pending(cells_of(protocol, folder), protocol)
    everything.save(folder / PROTOCOL)
    with tqdm(total=len(todo), desc=title, unit="cell", disable=not todo) as bar:
        run_cells(todo, workers=workers, done=lambda cell: bar.update() and None)
    names = {contestant.name for contestant in protocol.contestants}
    return {name: found for name, found in read_results(folder, everything).items() if name in names}
