"""`play`: one strategy on seeded tasks, many episodes at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from agents.evaluation.episodes import CURVES, Episodes, concatenate
from agents.evaluation.measures import quality
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.errors import InputError
from metaal_env.metrics import share_of_classes
from metaal_env.oracle import LabelOracle
from metaal_env.play_out import play_out
from metaal_env.pool.view import PoolView
from metaal_env.tasks import bounds

MeasureOn = Literal["test", "reward"]


@torch.no_grad()
def play(
    core: Core,
    strategy: Strategy,
    seeds: Sequence[int],
    *,
    measure_on: MeasureOn = "test",
    batch_size: int = 32,
    progress: Callable[[int], object] | None = None,
    name: str | None = None,
    stratum: str | None = None,
) -> Episodes:
    """Plays one episode per seed and records the learner's quality after every label.

    A seed determines the task and the random numbers of stochastic strategies: the same seeds give the same
    starts to every strategy, so results are paired.

    Args:
        core: supplies tasks and the inner learner. Its target accuracy is ignored: curves run to the budget.
        strategy: asked for one item per step; a privileged one is handed the oracle.
        measure_on: the set whose accuracy is recorded. ``"reward"`` is for choosing checkpoints, so that the
            test set stays unseen until the verdict.
        batch_size: episodes played at once; results depend on it only up to float rounding.
        progress: called with the number of episodes just finished.
        name, stratum: how the strategy and the scenario are called in the result.

    Raises:
        InputError: `measure_on` is unknown, or there are no seeds.
    """
    if measure_on not in ("test", "reward"):
        raise InputError(f"measure_on={measure_on!r} is unknown; choose 'test' or 'reward'.")
    if len(seeds) == 0:
        raise InputError("seeds is empty; give at least one.")
    parts = []
    for start in range(0, len(seeds), batch_size):
        block = np.asarray(seeds[start : start + batch_size], dtype=np.int64)
        parts.append(_play_batch(core, strategy, block, measure_on, name, stratum))
        if progress is not None:
            progress(len(block))
    return concatenate(parts)


def _play_batch(
    core: Core,
    strategy: Strategy,
    seeds: np.ndarray,
    measure_on: MeasureOn,
    name: str | None,
    stratum: str | None,
) -> Episodes:
    task = core.sampler.sample([np.random.default_rng(int(seed)) for seed in seeds])
    budget = task.budget.numpy()
    length, b = bounds(core.config.budget)[1], len(seeds)
    curves = {curve: np.full((b, length + 1), np.nan) for curve in CURVES}
    picks = np.full((b, length), -1, dtype=np.int64)
    seconds = 0.0

    def pick(view: PoolView, oracle: LabelOracle) -> Tensor:
        nonlocal seconds
        begin = time.perf_counter()
        action = strategy.select(view, oracle if strategy.privileged else None).cpu()  # an honest clock waits
        seconds += time.perf_counter() - begin
        return action

    state = core.reset(task)
    _record(core, state, measure_on, curves, np.arange(b), 0)
    for step, moment in enumerate(play_out(core, state, pick)):
        running = moment.running.cpu().numpy()
        picks[running, step] = moment.actions.numpy()
        _record(core, moment.state, measure_on, curves, running, step + 1)
    return Episodes(
        strategy=name or type(strategy).__name__,
        privileged=strategy.privileged,
        strata=np.full(b, stratum or core.dataset.name, dtype=object),
        seeds=seeds,
        way=task.class_mask.sum(1).numpy(),
        pool=task.pool_mask.sum(1).numpy(),
        budget=budget,
        curves=curves,
        picks=picks,
        seconds=np.full(b, seconds / max(1, int((picks >= 0).sum()))),
    )


def _record(
    core: Core,
    state: EpisodeState,
    measure_on: MeasureOn,
    curves: dict[str, np.ndarray],
    running: np.ndarray,
    labels: int,
) -> None:
    """Writes the quality of every running episode at one label count."""
    if measure_on == "test":
        values = quality(core.test_logits(state), state.task.test_labels)
    else:
        logits = core.learner.predict(state.adapted, state.prepared_reward)
        values = quality(logits, state.task.reward_labels)
    values["coverage"] = share_of_classes(state.labels, state.task.class_mask)
    for curve, value in values.items():
        curves[curve][running, labels] = value.double().cpu().numpy()
