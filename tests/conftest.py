"""Shared by all tests: one thread per process, and small real-shaped data that needs no file."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Devices are chosen automatically: tests mean the same everywhere. CUDA_VISIBLE_DEVICES=0 pytest … tries a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.paths import ROOT

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.learners import build_learner
from metaal_env.rewards import REWARDS
from metaal_env.tasks import TaskConfig

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def clean_checkout() -> Iterator[None]:
    """Fails where a test leaves a file beside `pyproject.toml`, as a command does that runs without a folder."""
    before = set(os.listdir(ROOT))
    yield
    left = {name for name in set(os.listdir(ROOT)) - before if not name.startswith((".", "__"))}
    assert not left, f"left in the checkout: {sorted(left)}"


@pytest.fixture(scope="session")
def clusters() -> ClassDataset:
    return cluster_dataset()


@pytest.fixture(scope="session")
def small_task() -> TaskConfig:
    return TaskConfig(way=4, pool_size=24, budget=6, reward_per_class=6, test_per_class=6)


@pytest.fixture()
def core(clusters: ClassDataset, small_task: TaskConfig) -> Core:
    return Core(clusters, build_learner("prototype", clusters.input_shape), small_task, REWARDS["aulc"])


@pytest.fixture()
def witness(tmp_path: Path) -> Any:
    """A path that payloads create; it must not be there in the end."""
    path = tmp_path / "code ran"
    yield path
    assert not path.exists(), "code ran"
