"""Shared by all tests: one thread per process, and small real-shaped data that needs no file."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Devices are chosen automatically: tests mean the same everywhere. CUDA_VISIBLE_DEVICES=0 pytest … tries a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import build_learner
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig

torch.set_num_threads(1)


def cluster_dataset(classes: int = 12, items: int = 40, dim: int = 8, spread: float = 0.45) -> ClassDataset:
    """Gaussian clusters around random directions; overlapping enough that labels matter."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dim))
    x = np.repeat(centres, items, 0) + spread * rng.normal(size=(classes * items, dim)) * np.sqrt(dim) / 2
    names = tuple(f"class {c}" for c in range(classes))
    labels = torch.arange(classes).repeat_interleave(items)
    return ClassDataset("clusters", torch.from_numpy(x).float(), labels, names, names, "vector")


def options_of(env_id: str) -> dict[str, Any]:
    """Options of an id; data sets that need a download are replaced by images of clusters, to check their ids too."""
    if env_id not in ("MetaAL-Omniglot-v0", "MetaAL-CIFAR100-v0"):
        return {}
    data = cluster_dataset(classes=40)
    images = (data.inputs.clamp(-2, 2) * 60 + 128).to(torch.uint8).view(-1, 1, 2, 4)
    return {"dataset": replace(data, inputs=images, modality="image")}


@pytest.fixture(scope="session")
def clusters() -> ClassDataset:
    return cluster_dataset()


@pytest.fixture(scope="session")
def small_task() -> TaskConfig:
    return TaskConfig(way=4, pool_size=24, budget=6, reward_per_class=6, test_per_class=6)


@pytest.fixture()
def core(clusters: ClassDataset, small_task: TaskConfig) -> Core:
    return Core(clusters, build_learner("prototype", clusters.input_shape), small_task, REWARDS["aulc"])


def same(a: ClassDataset, b: ClassDataset) -> bool:
    """Whether two data sets hold the same."""
    rest = ("name", "class_names", "groups", "modality", "class_split", "texts")
    equal = torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
    return equal and all(getattr(a, key) == getattr(b, key) for key in rest)


def generators(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng(seed + i) for i in range(n)]


@pytest.fixture()
def witness(tmp_path: Path) -> Any:
    """A path that payloads create; it must not be there in the end."""
    path = tmp_path / "code ran"
    yield path
    assert not path.exists(), "code ran"
