"""Environment steps per second: the vector environment against a Python loop of single environments.

``python -m benchmarks.speed.env_throughput`` prints a table. Both sides play random valid items on the same data with
the same learner in one process, alternating, so that the ratio does not depend on how busy the machine is.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from metaal_env.env import MetaALEnv
from metaal_env.learners import build_learner
from metaal_env.make import check_device, make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.vector_env import MetaALVectorEnv


@dataclass(frozen=True)
class Config:
    num_envs: int = 64
    """Episodes at once."""
    dataset: str = "glyphs"
    """Registered data set or file."""
    depths: tuple[str, ...] = ("head", "last_block", "all")
    """Adapted depths of MAML to time."""
    repeats: int = 5
    """Alternating measurements; the median ratio is reported."""
    budget: int = 20
    """Labels per episode; the environment's own default."""
    device: str = "auto"
    """auto, cpu or cuda. auto takes the GPU if there is one."""


def main(config: Config) -> None:
    processor = platform.processor() or platform.machine()
    table = Table(
        title=f"{config.num_envs} environments · {processor} · torch {torch.__version__} · "
        f"{torch.get_num_threads()} thread · {check_device(config.device)}"
    )
    for heading in ("adapted depth", "vector, steps/s", "loop, steps/s", "ratio, median [min, max]"):
        table.add_column(heading, justify="right")
    for depth in config.depths:
        vector, loop, ratios = measure(config, depth)
        ratio = f"{statistics.median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}]"
        table.add_row(depth, f"{statistics.median(vector):,.0f}", f"{statistics.median(loop):,.0f}", ratio)
    Console().print(table)


def measure(config: Config, depth: str) -> tuple[list[float], list[float], list[float]]:
    """Steps per second of both sides over `repeats` alternations, and their ratios."""
    torch.manual_seed(0)
    probe = make_core(config.dataset, learner="prototype", budget=config.budget)
    learner = build_learner("maml", probe.dataset.input_shape, depth=depth)
    core = make_core(config.dataset, learner=learner, budget=config.budget, device=config.device)
    envs = MetaALVectorEnv(config.num_envs, core=core)
    single = MetaALEnv(core=core)
    # The loop is timed on a share of the work: a step of one environment costs the same each time.
    loop_steps = max(config.budget, round({"head": 200, "last_block": 100, "all": 20}[depth]))
    vector_steps = config.budget if depth != "all" else 2
    vector, loop = [], []
    for seed in range(config.repeats + 1):
        vector.append(config.num_envs * vector_steps / play_vector(envs, seed, vector_steps))
        loop.append(loop_steps / play_single(single, seed, loop_steps))
    # The first round warms up allocators and caches.
    return vector[1:], loop[1:], [v / s for v, s in zip(vector[1:], loop[1:], strict=True)]


def play_vector(envs: MetaALVectorEnv, seed: int, steps: int) -> float:
    rng = np.random.default_rng(seed)
    observation, _ = envs.reset(seed=seed)
    begin = time.perf_counter()
    for _ in range(steps):
        mask = observation["action_mask"]
        observation, *_ = envs.step((rng.random(mask.shape) * mask).argmax(1))
    return time.perf_counter() - begin


def play_single(env: MetaALEnv, seed: int, steps: int) -> float:
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    begin = time.perf_counter()
    for _ in range(steps):
        mask = observation["action_mask"]
        observation, _, terminated, _, _ = env.step(int((rng.random(mask.shape) * mask).argmax()))
        if terminated:
            observation, _ = env.reset()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
