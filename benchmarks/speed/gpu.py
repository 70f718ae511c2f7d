"""What a GPU is worth: environment steps per second, meta-training of all layers, and one default training.

``python -m benchmarks.speed.gpu`` runs from the root of a clone and prints a table with the card's name. Its limits
of time are chosen so that it ends after about five minutes. It refuses to run without a GPU.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table

from metaal_env.core import Core
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.make import check_device, make_core
from metaal_env.meta_training.config import MetaTrainConfig
from metaal_env.meta_training.train import Training
from metaal_env.runtime.command_line import run_cli
from metaal_env.vector_env import MetaALVectorEnv

SCRIPT = Path(__file__).parents[2] / "train_policy.py"


@dataclass(frozen=True)
class Config:
    num_envs: tuple[int, ...] = (64, 512, 4096)
    """Episodes at once."""
    depths: tuple[str, ...] = ("head", "all")
    """Adapted depths of MAML to time."""
    dataset: str = "glyphs"
    steps: int = 4
    """Steps of a measurement, none of which ends an episode."""
    repeats: int = 3
    """Measurements; the median is reported."""
    updates: int = 20
    """Meta-updates of a measurement."""
    training_seconds: float = 180.0
    """The default training is stopped after so long; 0 leaves it out."""
    device: str = "cuda"


def main(config: Config) -> None:
    """Prints the table. Raises: `InputError` without a GPU."""
    if not torch.accelerator.is_available():
        raise InputError(
            f"device={config.device!r}: this machine has no usable GPU; run this benchmark where there is one."
        )
    device = check_device(config.device)
    if device.type == "cpu":
        raise InputError(f"device={config.device!r} must be a GPU, such as 'cuda'.")
    table = Table("measured", "result", title=title(device))
    data = make_core(config.dataset, learner="prototype").dataset
    for depth in config.depths:
        for num_envs in config.num_envs:
            table.add_row(f"{num_envs:,} environments, MAML {depth}", throughput(config, depth, num_envs))
    for precision in ("float32", "bfloat16"):
        table.add_row(f"meta-training of all layers, {precision}", meta_training(config, data, precision))
    if config.training_seconds:
        table.add_row("train_policy.py with its defaults", default_training(config))
    Console().print(table)


def title(device: torch.device) -> str:
    """Names the card and the versions that a figure depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    return f"{name} · CUDA {torch.version.cuda} · torch {torch.__version__} · one thread"


def throughput(config: Config, depth: str, num_envs: int) -> str:
    """Steps per second of the tensor interface with the standard observation, and of the core alone."""
    try:
        core = core_on(config, depth)
        with_observation = [
            num_envs / play(config, core, num_envs, observe=True) for _ in range(config.repeats + 1)
        ]
        alone = [num_envs / play(config, core, num_envs, observe=False) for _ in range(config.repeats + 1)]
    except torch.OutOfMemoryError:
        return "out of memory"
    # The first of each warms up allocators and caches.
    whole, bare = statistics.median(with_observation[1:]), statistics.median(alone[1:])
    return f"{whole:,.0f} steps/s; {bare:,.0f} without observation"


def core_on(config: Config, depth: str) -> Core:
    """Tasks whose episodes outlast a measurement."""
    torch.manual_seed(0)
    probe = make_core(config.dataset, learner="prototype")
    learner = build_learner("maml", probe.dataset.input_shape, depth=depth)
    return make_core(config.dataset, learner=learner, budget=config.steps + 2, device=config.device)


@torch.no_grad()
def play(config: Config, core: Core, num_envs: int, *, observe: bool) -> float:
    """Seconds per step of all environments, picking selectable items at random on the device."""
    envs = MetaALVectorEnv(num_envs, core=core)
    envs.seed_episodes(0)
    envs.begin()
    if observe:
        envs.observe()  # what is computed once per pool is not part of a step
    synchronise(core.device)
    begin = time.perf_counter()
    for _ in range(config.steps):
        open_ = core.view(envs.state).selectable
        actions = torch.rand(open_.shape, device=core.device).masked_fill(~open_, -1).argmax(1)
        if observe:
            envs.step_tensors(actions)
        else:
            core.step(envs.state, actions)
    synchronise(core.device)
    return (time.perf_counter() - begin) / config.steps


def meta_training(config: Config, data: ClassDataset, precision: Any) -> str:
    """Meta-updates per second of MAML that adapts all layers, second derivatives included."""
    torch.manual_seed(0)
    learner = build_learner("maml", data.input_shape, depth="all").to(config.device)
    training = Training(learner, MetaTrainConfig(precision=precision))
    device = torch.device(config.device)
    seconds = []
    for _ in range(config.repeats + 1):
        synchronise(device)
        begin = time.perf_counter()
        for _ in range(config.updates):
            training.update(data)
        synchronise(device)
        seconds.append((time.perf_counter() - begin) / config.updates)
    return f"{1 / statistics.median(seconds[1:]):.1f} updates/s"


def default_training(config: Config) -> str:
    """Wall time of ``train_policy.py`` in a folder that is thrown away."""
    command = [sys.executable, str(SCRIPT), "--dataset", config.dataset, "--device", config.device]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=config.training_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"not done after {config.training_seconds:.0f} s"
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1]}"
    return f"{time.perf_counter() - begin:.0f} s"


def synchronise(device: torch.device) -> None:
    """Waits until a GPU has done what was asked of it; other devices do it at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(run_cli(lambda: main(tyro.cli(Config, description=__doc__))))
