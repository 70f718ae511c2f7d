"""Small stand-ins for the evaluation tests: a data set, a random strategy, a core, a protocol, made up episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers.clusters import cluster_dataset

from agents.evaluation.episodes import CURVES, Episodes
from agents.evaluation.protocol.protocol import Contestant, Protocol
from agents.evaluation.protocol.scenario import Scenario
from agents.strategies.base import Strategy
from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import LEARNERS
from metaal_env.pool.view import PoolView
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig

PROTOCOL = Protocol(
    (
        Scenario(
            "data/wine.npz", "test", TaskConfig(way=(3, 5), class_concentration=float("inf")), "prototype"
        ),
        Scenario("digits", "test", TaskConfig(way=5), "runs/a/learner", "d", "l"),
    ),
    (Contestant("policy", "runs/a", "123"), Contestant("random", "random")),
    n_tasks=130,
    seeds=(0, 3),
)


class RandomStub(Strategy):
    def score(self, view: PoolView) -> torch.Tensor:
        n = view.valid.shape[1]
        return view.random(lambda rng: rng.random(n), self.seed)


def evaluated_clusters(classes: int = 6) -> ClassDataset:
    return cluster_dataset(classes, spread=0.57)


def core(**task: Any) -> Core:
    settings = {"way": 3, "pool_size": 30, "budget": 5, "reward_per_class": 5, "test_per_class": 10} | task
    return Core(evaluated_clusters(), LEARNERS["prototype"]((8,)), TaskConfig(**settings), REWARDS["aulc"])


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
        np.full(e, 3),
        np.full(e, 30),
        np.full(e, t),
        curves=curves,
        picks=np.tile(np.arange(t), (e, 1)),
        seconds=np.full(e, 0.01),
    )
