"""Cores, data and states that are the same on any device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from helpers.clusters import cluster_dataset
from helpers.environments import generators

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.episode import EpisodeState
from metaal_env.learners import build_learner
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig

TASK = TaskConfig(
    way=(2, 4),
    pool_size=(14, 18),
    budget=(3, 4),
    distractors=0.1,
    initial_labels=(0, 2),
    reward_per_class=3,
    test_per_class=2,
)
ONLY_IMAGES = ("r2d2", "metaoptnet", "metaoptnet_logistic")


def data(modality: str = "vector") -> ClassDataset:
    if modality == "vector":
        return cluster_dataset(classes=8, items=20, dim=6)
    made = cluster_dataset(classes=8, items=20, dim=64)
    images = (made.inputs.clamp(-2, 2) * 60 + 128).to(torch.uint8).view(-1, 1, 8, 8)
    return replace(made, inputs=images, modality="image")


def core_on(
    device: str,
    learner: str = "prototype",
    reward: str = "aulc",
    dataset: ClassDataset | None = None,
    options: dict[str, Any] | None = None,
    **task: Any,
) -> Core:
    """The same on any device, weights included."""
    dataset = dataset or data()
    torch.manual_seed(0)
    made = build_learner(learner, dataset.input_shape, **(options or {}))
    return Core(dataset, made, replace(TASK, **task), REWARDS[reward], device=device)


def moment_of(core: Core, steps: int = 2, count: int = 3) -> EpisodeState:
    """`count` episodes after `steps` labels of the first selectable items, which pools have in random order."""
    state = core.reset(core.sampler.sample(generators(count)))
    for _ in range(steps):
        core.step(state, core.view(state).selectable.int().argmax(1))
    return state
