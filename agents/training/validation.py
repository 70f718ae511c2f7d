"""Validation: fixed tasks of validation classes, on which checkpoints are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.evaluation.measures import aulc
from agents.evaluation.play import play
from agents.strategies.base import Strategy
from agents.training.task_mixture import Families
from metaal_env.core import Core
from metaal_env.metrics import share_of_classes
from metaal_env.oracle import LabelOracle
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView
from metaal_env.runtime.executor import Executor, in_this_process

BLOCK = 32
"""Tasks that are played at once, and the least that a worker is given."""


def validation_seeds(n: int) -> range:
    """Returns the seeds of the fixed validation tasks; apart from the seeds of training and of evaluation."""
    return range(10**6, 10**6 + n)


def validate(
    families: Families, strategy: Strategy, n_tasks: int, executor: Executor | None = None
) -> tuple[float, float]:
    """Returns the mean area under the learning curve on the reward sets, and the share of classes found.

    In tasks with a price, batches, costs or a target, the mean return takes the place of the area. About `n_tasks`
    tasks are shared out evenly, and every family counts alike.

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
    of_core: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    for (_, number, place, _), result in zip(blocks, played, strict=True):
        of_core.setdefault((number, place), []).append(result)
    areas, found = [], []
    for number, family in enumerate(families):
        cores = [of_core[number, place] for place in range(len(family))]
        areas.append(np.mean([np.mean(np.concatenate([area for area, _ in parts])) for parts in cores]))
        found.append(
            np.mean([np.nanmean(np.concatenate([classes for _, classes in parts])) for parts in cores])
        )
    return float(np.mean(areas)), float(np.mean(found))


def play_block(
    families: Families, strategy: Strategy, family: int, place: int, seeds: range
) -> tuple[np.ndarray, np.ndarray]:
    """Plays some tasks of one core; returns their areas or returns, and the shares of classes found."""
    core = families[family][place]
    if core.config.terms:
        ends = play_returns(core, strategy, seeds)
        return ends["return"], ends["classes_seen"]
    episodes = play(core, strategy, seeds, measure_on="reward", batch_size=BLOCK)
    return aulc(episodes), episodes.curves["coverage"][:, -1]


@torch.no_grad()
def play_returns(
    core: Core, strategy: Strategy, seeds: Sequence[int], batch_size: int = 128
) -> dict[str, np.ndarray]:
    """Plays one episode per seed by the environment's own rules, and returns ``return``, ``labels`` and the like.

    Unlike `agents.evaluation.play`, it lets targets and the strategy itself end an episode.
    """

    def pick(view: PoolView, oracle: LabelOracle) -> Tensor:
        return strategy.select(view, oracle if strategy.privileged else None)

    parts: list[dict[str, np.ndarray]] = []
    for start in range(0, len(seeds), batch_size):
        task = core.sampler.sample(
            [np.random.default_rng(int(seed)) for seed in seeds[start : start + batch_size]]
        )
        names = ("return", "labels", "accuracy", "classes_seen")
        ends = {name: torch.zeros(len(task), device=core.device) for name in names}
        for moment in play_out(core, core.reset(task), pick, targets=True):
            rows, state = moment.running, moment.state
            ends["return"][rows] += moment.result.reward
            ends["labels"][rows] = state.count.float()
            ends["accuracy"][rows] = state.metrics.accuracy
            ends["classes_seen"][rows] = share_of_classes(state.labels, state.task.class_mask)
        parts.append({name: values.double().cpu().numpy() for name, values in ends.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
