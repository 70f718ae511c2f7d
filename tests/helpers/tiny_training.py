"""The smallest training of a policy that has every stage: imitation, PPO, validation, checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from helpers.clusters import cluster_dataset
from helpers.faults import Action, AtReport
from stable_baselines3.common.logger import configure

from agents.training.imitation.imitate import ImitationConfig
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import train_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.make import make_core
from metaal_env.runtime.executor import Executor

TASK: dict[str, Any] = {"way": 2, "pool_size": 12, "budget": 3, "reward_per_class": 3, "test_per_class": 3}
CONFIG = PPOConfig(iterations=5, n_envs=4, shapes_per_rollout=1, paired=2, batch_size=8, epochs=1, width=8,
                   validate_every=2, validation_tasks=2)  # fmt: skip
WARM = ImitationConfig(iterations=4, rounds=2, n_envs=4, shapes_per_rollout=1, epochs=2)
JOINED = [f"examples-{number:03d}.pt" for number in range(WARM.iterations)]
"""Files of the roll-outs of a round that is fitted."""
EXAMPLES = [f"examples-{number:03d}-00.pt" for number in range(WARM.iterations)]
"""Files of the roll-outs' only parts, until their round is fitted."""


def train(
    folder: Path,
    config: PPOConfig = CONFIG,
    warm: ImitationConfig | None = None,
    reward: str = "aulc",
    formats: Sequence[str] = (),
    actions: dict[int, Action] | None = None,
    rates: list[float] | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
    """Trains in `folder` or goes on there; returns the last checkpoint.

    Args:
        formats: of the logger.
        actions: what happens when an update is reported, by its number.
        rates: the learning rate of every update is added to it.
        executor: plays roll-outs and validation tasks.
    """
    core = make_core(cluster_dataset(items=12), reward=reward, **TASK)
    mixture = TaskMixture([[core]], n_envs=config.n_envs, paired=config.paired)
    logger = configure(str(folder / "tensorboard"), list(formats))
    report = AtReport(actions or {}, config.n_envs * TASK["budget"])
    logger.output_formats.append(report)
    try:
        train_ppo(mixture, [[core]], config, {}, folder, logger, warm, executor)
    finally:
        if rates is not None:
            rates += report.learning_rates
    return saved(folder)


def saved(folder: Path) -> dict[str, Any]:
    """Returns what a training's last checkpoint holds."""
    return torch.load(folder / "checkpoints" / "ppo.pt", weights_only=True)


def assert_equal(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Everything that a checkpoint holds."""
    assert left.keys() == right.keys()
    for key, value in left.items():
        if isinstance(value, dict):
            assert_equal(value, right[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, right[key]), key
        else:
            assert value == right[key], key
