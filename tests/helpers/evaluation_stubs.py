"""Small stand-ins for the evaluation tests: Gaussian clusters, a random strategy, a core."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agents.evaluation.episodes import CURVES, Episodes
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import LEARNERS
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig


class RandomStub(Strategy):
    def score(self, view: PoolView) -> torch.Tensor:
        n = view.valid.shape[1]
        return view.random(lambda rng: rng.random(n), self.seed)


def clusters(n_classes: int = 6, per_class: int = 40, spread: float = 0.8) -> ClassDataset:
    """Gaussian clusters in 8 dimensions."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n_classes).repeat_interleave(per_class)
    centres = torch.randn(n_classes, 8, generator=generator)
    inputs = centres[labels] + spread * torch.randn(len(labels), 8, generator=generator)
    names = tuple(f"c{i}" for i in range(n_classes))
    return ClassDataset("clusters", inputs, labels, names, names, "vector")


def core(**task: Any) -> Core:
    settings = {"way": 3, "pool_size": 30, "budget": 5, "reward_per_class": 5, "test_per_class": 10} | task
    return Core(clusters(), LEARNERS["prototype"]((8,)), TaskConfig(**settings), REWARDS["aulc"])


def made_up(
    name: str, aulc: np.ndarray, *, privileged: bool = False, strata: np.ndarray | None = None
) -> Episodes:
    """Episodes whose accuracy is `aulc` at every label count."""
    e, t = len(aulc), 4
    curves = {curve: np.repeat(aulc[:, None], t + 1, 1).astype(float) for curve in CURVES}
    return Episodes(
        name,
        privileged,
        np.full(e, "made up", dtype=object) if strata is None else strata,
        np.arange(e),
        *(np.full(e, n) for n in (3, 30, t)),
        curves=curves,
        picks=np.tile(np.arange(t), (e, 1)),
        seconds=np.full(e, 0.01),
    )
