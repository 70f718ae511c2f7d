"""Cells: scenario × strategy × block of tasks; independent, each with its own row file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import torch

from agents.evaluation.play import MeasureOn, play
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.rows import SUFFIX, check_header, read_rows, write_rows
from agents.evaluation.protocol.scenario import Scenario
from agents.loading import load_strategy
from metaal_env.core import Core
from metaal_env.datasets.base import Split
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.runtime.files import write_atomic


@dataclass(frozen=True)
class Cell:
    """One unit of work: all that a worker needs, and small enough to send anywhere."""

    scenario: Scenario
    contestant: Contestant
    seed: int
    block: int
    task_seeds: tuple[int, ...]
    measure_on: MeasureOn
    protocol: str  # digest
    folder: Path
    device: str

    @property
    def stem(self) -> str:
        """Returns the file name, readable and with the scenario's own hash."""
        data = _slug(self.scenario.axes["data"])
        digest = self.scenario.key.rpartition("#")[2]
        return f"{data}-{digest}__{_slug(self.contestant.name)}__seed{self.seed}-block{self.block}"

    @property
    def path(self) -> Path:
        return self.folder / "rows" / (self.stem + SUFFIX)

    @property
    def header(self) -> dict[str, object]:
        """Returns the identity of the rows."""
        return {
            "protocol": self.protocol,
            "scenario": self.scenario.key,
            "strategy": self.contestant.name,
            "strategy_digest": self.contestant.digest,
            "seed": self.seed,
            "block": self.block,
        }


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)[:40]


def cells_of(protocol: Protocol, folder: Path, device: str = "cpu") -> list[Cell]:
    """Returns every cell of a protocol."""
    return [
        Cell(
            scenario=scenario,
            contestant=contestant,
            seed=seed,
            block=block,
            task_seeds=tuple(tasks),
            measure_on=cast(MeasureOn, protocol.measure_on),
            protocol=protocol.digest,
            folder=folder,
            device=device,
        )
        for scenario in protocol.scenarios
        for seed, block, tasks in protocol.blocks()
        for contestant in protocol.contestants
    ]


def pending(cells: list[Cell], protocol: Protocol) -> list[Cell]:
    """Returns the cells without rows yet.

    Raises:
        InputError: a row file is there but belongs to another protocol, or is damaged.
    """
    todo = []
    for cell in cells:
        if cell.path.is_file():
            check_header(cell.path, read_rows(cell.path)[0], protocol)
        else:
            todo.append(cell)
    return todo


@lru_cache(maxsize=2)
def core_of(scenario: Scenario, device: str = "cpu") -> Core:
    """Returns the environment core of a scenario; cells of one scenario share it within a process."""
    torch.manual_seed(0)  # a learner given by name alone starts from the same weights everywhere
    return make_core(
        scenario.dataset,
        split=cast(Split, scenario.split),
        learner=scenario.learner,
        task=scenario.task,
        device=device,
    )


def run_cell(cell: Cell) -> Path:
    """Plays one cell and writes its rows, whole or not at all.

    Raises:
        InputError: the strategy raised; names it and the scenario.
    """
    core = core_of(cell.scenario, cell.device)
    try:
        strategy = load_strategy(cell.contestant.spec, seed=cell.seed)
        episodes = play(
            core,
            strategy,
            cell.task_seeds,
            measure_on=cell.measure_on,
            name=cell.contestant.name,
            stratum=cell.scenario.key,
        )
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"strategy={cell.contestant.spec!r} failed on {cell.scenario.key!r}: {error!r}; "
            "correct it and run again."
        ) from error
    # Timing first: a row file means that its cell is complete.
    timing = {"seconds_per_query": float(np.mean(episodes.seconds)), "tasks": len(episodes)}
    write_atomic(cell.folder / "timing" / (cell.stem + ".json"), json.dumps(timing).encode())
    write_rows(cell.path, cell.header, episodes)
    return cell.path
