"""How often the host waits for a GPU: in a step, in an observation, and in drawing random numbers."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.simulated_gpu import DEVICE, simulated_gpu
from helpers.simulated_tasks import core_on, moment_of

from agents.loading import load_strategy
from metaal_env.observation import observe, parse_observation
from metaal_env.vector_env import MetaALVectorEnv

SHOWN = parse_observation("full")

WAITS_PER_STEP = 1
"""How often the host waits for the device in one step of a vector environment.

- 0 in `Core.step`: supports are padded to the budget on a GPU, so shapes never change.
- 1 in `MetaALVectorEnv.step_tensors`: which episodes ended, because the host draws their next tasks.

Observations add none, whatever the number of environments; see `test_observations_wait_once_per_pool`.
"""

WAITS_PER_POOL = 2
"""In the first observation of a pool: whether any item is padding, which saves masks, and the number of clusters."""


@pytest.mark.parametrize(
    ("learner", "count", "more"), [("maml", 2, 0), ("maml", 5, 0), ("ridge", 2, 0), ("meta_sgd", 2, 1)]
)
def test_waits_of_a_step(learner: str, count: int, more: int) -> None:
    """One more for embeddings that change: whether any item is padding, which saves masks."""
    with simulated_gpu() as log:
        envs = MetaALVectorEnv(count, core=core_on(DEVICE, learner, budget=5))
        envs.seed_episodes(0)
        observation = envs.reset_tensors()
        for _ in range(2):
            actions = observation["action_mask"].argmax(1)
            log.clear()
            observation, _, final = envs.step_tensors(actions)
            assert not final and log.waits.total() == WAITS_PER_STEP + more, str(log)


@pytest.mark.parametrize(
    ("options", "later"), [({}, 0), ({"depth": "last_block"}, WAITS_PER_POOL)], ids=["head", "last_block"]
)
def test_observations_wait_once_per_pool(options: dict[str, Any], later: int) -> None:
    """A learner that adapts its body embeds the pool anew at every step."""
    with simulated_gpu() as log:
        core = core_on(DEVICE, "maml", options=options)
        state = moment_of(core, steps=0)
        observe(core.view(state), SHOWN)  # constants are sent to the device
        for waited in (WAITS_PER_POOL, later):
            state.geometry = None if waited else state.geometry
            log.clear()
            observe(core.view(state), SHOWN)
            assert log.waits.total() == waited, str(log)


@pytest.mark.parametrize("name", ["random", "power_margin", "badge"])
def test_random_numbers_wait_once_for_all_pools(name: str) -> None:
    counts = []
    for pools in (2, 6):
        with simulated_gpu() as log:
            core = core_on(DEVICE)
            view, strategy = core.view(moment_of(core, count=pools)), load_strategy(name)
            log.clear()
            strategy.score(view)
            counts.append(log.waits.total())
    assert counts[0] == counts[1]
