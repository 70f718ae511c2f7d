"""Validation: fixed tasks of validation classes, on which checkpoints are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.evaluation.episodes import Episodes, concatenate
from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.runtime.executor import Executor, in_this_process

BLOCK = 32
"""Tasks that are played at once, and the least that a worker is given."""


def validation_seeds(n: int) -> range:
    """Seeds of the fixed validation tasks; apart from the seeds of training and of evaluation."""
    return range(10**6, 10**6 + n)


def validate(
    families: Sequence[Sequence[Core]], strategy: Strategy, n_tasks: int, executor: Executor | None = None
) -> tuple[float, float]:
    """Mean area under the learning curve on the reward sets, and share of classes found.

    Every family counts alike; about `n_tasks` tasks are shared out evenly.

    Args:
        executor: plays the tasks; this process by default. The figures do not depend on it.
    """
    blocks, names = [], []
    for number, family in enumerate(families):
        seeds = validation_seeds(max(1, n_tasks // len(families) // len(family)))
        for place in range(len(family)):
            # The blocks in which `play` plays them: batches of other sizes round otherwise.
            for begin in range(0, len(seeds), BLOCK):
                blocks.append((strategy, number, place, seeds[begin : begin + BLOCK]))
                names.append(f"validation {number}.{place}.{begin}")
    # Signals are the caller's: a training goes on to its checkpoint.
    played = (executor or in_this_process()).map(
        play_block, blocks, shared=families, names=names, stopping=[]
    )
    areas, found = [], []
    for number, family in enumerate(families):
        of_core = [
            concatenate([p for p, b in zip(played, blocks, strict=True) if b[1:3] == (number, place)])
            for place in range(len(family))
        ]
        areas.append(np.mean([np.mean(aulc(episodes)) for episodes in of_core]))
        found.append(np.mean([np.nanmean(episodes.curves["coverage"][:, -1]) for episodes in of_core]))
    return float(np.mean(areas)), float(np.mean(found))


def play_block(
    families: Sequence[Sequence[Core]], strategy: Strategy, family: int, place: int, seeds: range
) -> Episodes:
    """Plays some tasks of one core."""
    return play(families[family][place], strategy, seeds, measure_on="reward", batch_size=BLOCK)
