"""Cores of small random tasks, and states with some labels."""

from __future__ import annotations

import numpy as np
import torch
from helpers.clusters import cluster_dataset

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.episode import EpisodeState
from metaal_env.learners import LEARNERS
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskBatch, TaskConfig


def make_core(learner: str = "prototype", dataset: ClassDataset | None = None, **task: object) -> Core:
    dataset = dataset or cluster_dataset(8, 30, dim=6)
    options = {
        "way": (2, 4),
        "pool_size": (14, 18),
        "budget": (4, 6),
        "distractors": 0.1,
        "initial_labels": (0, 2),
    }
    config = TaskConfig(**(options | {"reward_per_class": 3, "test_per_class": 1} | task))  # type: ignore[arg-type]
    torch.manual_seed(0)
    return Core(dataset, LEARNERS[learner](dataset.input_shape), config, REWARDS["aulc"])


def sample(core: Core, count: int, seed: int = 0) -> TaskBatch:
    return core.sampler.sample([np.random.default_rng([seed, i]) for i in range(count)])


def label(core: Core, state: EpisodeState, steps: int) -> None:
    """Labels the first selectable items, which pools have in random order."""
    for _ in range(steps):
        core.step(state, core.view(state).selectable.int().argmax(1))
