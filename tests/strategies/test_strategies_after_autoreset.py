"""What is kept of the pools that an autoreset leaves alone never changes a strategy's scores."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from agents.strategies import STRATEGIES
from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import build_learner
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig
from metaal_env.vector_env import MetaALVectorEnv

SHAPE = TaskConfig(way=(3, 4), pool_size=(18, 24), budget=5, reward_per_class=4, test_per_class=4)


@pytest.mark.parametrize("name", [n for n, kind in STRATEGIES.items() if not kind().privileged])
def test_scores_after_an_autoreset_are_those_of_pools_seen_for_the_first_time(
    name: str, clusters: ClassDataset
) -> None:
    core = Core(
        clusters,
        build_learner("prototype", clusters.input_shape),
        SHAPE,
        REWARDS["aulc"],
        target_accuracy=0.6,
    )
    env = MetaALVectorEnv(4, core=core)
    env.reset(seed=3)
    strategy, ended = STRATEGIES[name](), 0
    for _ in range(9):
        actions = strategy.select(env.view())
        *_, terminated, _, _ = env.step(actions.numpy())
        ended += int(terminated.sum())
        view = env.view()
        anew = env.core.view(replace(env.state, geometry=None))
        torch.testing.assert_close(
            strategy.score(view).masked_fill(~view.selectable, 0),
            strategy.score(anew).masked_fill(~view.selectable, 0),
            rtol=1e-3,
            atol=1e-4,
        )
    assert ended > 4  # episodes end one by one, at the target accuracy
