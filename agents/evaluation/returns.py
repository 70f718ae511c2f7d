"""`play_returns`: the return of a strategy under any terms, on seeded tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.episode import EpisodeState
from metaal_env.errors import InputError


class Returns(NamedTuple):
    """Holds the outcome of n episodes."""

    value: np.ndarray  # (n,) undiscounted return
    accuracy: np.ndarray  # (n,) on the reward set, at the end
    labels: np.ndarray  # (n,) actions but for the one that stops


@torch.no_grad()
def play_returns(core: Core, strategy: Strategy, seeds: Sequence[int], *, batch_size: int = 64) -> Returns:
    """Plays one episode per seed to its end, by its own terms, and returns the outcomes.

    Unlike `play`, which draws learning curves over the whole budget, an episode ends where the decision process says:
    when the strategy stops, the target is reached or nothing can be paid for. The same seeds give the same starts to
    every strategy.

    Args:
        core: supplies tasks, the learner and the reward.
        strategy: asked for one action per step; a privileged one is handed the oracle.
        batch_size: episodes played at once.

    Raises:
        InputError: there are no seeds.
    """
    if len(seeds) == 0:
        raise InputError("seeds is empty; give at least one.")
    parts = [
        _play(core, strategy, seeds[first : first + batch_size]) for first in range(0, len(seeds), batch_size)
    ]
    return Returns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _play(core: Core, strategy: Strategy, seeds: Sequence[int]) -> Returns:
    state = core.reset(core.sampler.sample([np.random.default_rng(int(seed)) for seed in seeds]))
    found = torch.zeros(3, len(state), dtype=torch.double)
    running, total = torch.arange(len(state)), torch.zeros(len(state), device=core.device)
    while True:
        oracle = core.oracle(state) if strategy.privileged else None
        total = total + core.step(state, strategy.select(core.view(state), oracle)).reward
        ended = state.ended.cpu()
        if bool(ended.any()):
            found[:, running[ended]] = _outcome(state, total)[:, ended]
            left = torch.nonzero(~ended).squeeze(1)
            if not len(left):
                return Returns(*found.numpy())
            running, on_device = running[left], left.to(core.device)
            state, total = state.rows(on_device), total[on_device]


def _outcome(state: EpisodeState, total: Tensor) -> Tensor:
    return torch.stack([total.double(), state.metrics.accuracy.double(), state.used.double()]).cpu()
