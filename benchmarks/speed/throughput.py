"""Environment steps per second of one checkout by observation, learner, depth, environments, pool size and threads.

``python -m benchmarks.speed.throughput --output FILE`` writes one JSON record per measurement as soon as it has it;
`page.py` runs this once for each number of threads and turns the records into docs/speed.md.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.inner_loop import Flops, peaks
from metaal_env.core import Core
from metaal_env.learners import build_learner
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.vector_env import MetaALVectorEnv

CELLS: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("raw", "prototype", (1, 16, 64, 256, 1024)),
    ("raw", "maml head", (1, 16, 64, 256, 1024, 4096)),
    ("standard", "maml head", (1, 16, 64, 256, 1024, 4096)),
    ("full", "maml head", (1, 16, 64, 256)),
    ("raw", "maml last_block", (1, 16, 64, 256)),
    ("raw", "maml all", (1, 16, 64)),
)
"""Observation, learner with its depth, and numbers of environments."""

POOL_SIZES = (30, 100, 300, 1000)


@dataclass(frozen=True)
class Config:
    output: Path
    """File of the records, one a line; it is written over."""
    threads: int = 1
    """Threads of PyTorch."""
    seconds: float = 2.0
    """A cell's time; at least one step is measured."""
    quick: bool = False
    """Only the two smallest numbers of environments and pool sizes, for a tenth of the time."""
    cells: tuple[str, ...] = field(default=("environments", "pools", "queries"))
    """What to measure."""


def main(config: Config) -> None:
    torch.set_num_threads(config.threads)
    flops, bandwidth = peaks(torch.device("cpu"))
    with config.output.open("w") as file:
        for record in records(config):
            if "flops" in record:
                record["bound"] = min(flops / record.pop("flops"), bandwidth / record.pop("bytes"))
            print(json.dumps({"threads": config.threads, **record}), file=file, flush=True)


def records(config: Config) -> Iterator[dict[str, Any]]:
    seconds = config.seconds / 10 if config.quick else config.seconds
    if "environments" in config.cells:
        for observation, learner, sizes in CELLS:
            core = core_of(learner)
            for num_envs in sizes[:2] if config.quick else sizes:
                found = measure(core, num_envs, observation, seconds)
                yield {"kind": "environments", "learner": learner, "observation": observation, **found}
    if "pools" in config.cells:
        for observation in ("raw", "standard", "full"):
            for pool_size in POOL_SIZES[:2] if config.quick else POOL_SIZES:
                core = core_of("maml head", pool_size=pool_size, budget=min(20, pool_size // 2))
                found = measure(core, 16, observation, seconds)
                yield {"kind": "pools", "observation": observation, "pool_size": pool_size, **found}
    if "queries" in config.cells:
        for policy in ("max_herding", "uherding", "metaal-pools", "metaal-general"):
            for pool_size in POOL_SIZES[:2] if config.quick else POOL_SIZES:
                yield {
                    "kind": "queries",
                    "policy": policy,
                    "pool_size": pool_size,
                    "ms": query_times(policy, pool_size, 3 if config.quick else 12),
                }


def core_of(learner: str, **task: Any) -> Core:
    """Returns the default task with a fresh learner, such as ``"maml head"``."""
    torch.manual_seed(0)
    name, *depth = learner.split()
    shape = make_core(learner="prototype").dataset.input_shape
    return make_core(learner=build_learner(name, shape, **({"depth": depth[0]} if depth else {})), **task)


def measure(core: Core, num_envs: int, observation: str, seconds: float) -> dict[str, Any]:
    """Returns steps per second of whole episodes, and the work of a step.

    Starts are timed once and steps for `seconds`, from an episode's beginning on; an episode is one start and as many
    steps as it has labels.
    """
    envs = MetaALVectorEnv(num_envs, core=core, observation=observation)
    rng = np.random.default_rng(0)
    found, _ = envs.reset(seed=0)  # warms up
    with Flops() as starting:
        envs.reset()
    begin = time.perf_counter()
    found, _ = envs.reset()
    starts = time.perf_counter() - begin
    budget, work = core.config.max_labels, 0.0
    times: list[float] = []
    while len(times) < budget - 1 and (sum(times) < seconds or len(times) < 2):
        mask = found["action_mask"]
        actions = (rng.random(mask.shape) * mask).argmax(1)
        begin = time.perf_counter()
        if len(times) == 1:
            with Flops() as counter:
                found, *_ = envs.step(actions)
            work = counter.total
        else:
            found, *_ = envs.step(actions)
        times.append(time.perf_counter() - begin)
    clocked = [times[0], *times[2:]]  # the second step was watched
    whole = starts + budget * float(np.mean(clocked))
    shown = sum(array.nbytes for array in found.values())
    logits = num_envs * core.config.max_way * (core.config.max_pool + core.config.max_way * 10) * 4
    return {
        "num_envs": num_envs,
        "steps_per_second": num_envs * budget / whole,
        "flops": (starting.total / budget + work) / num_envs + 1,
        "bytes": (shown + logits) / num_envs,
    }


def query_times(policy: str, pool_size: int, repeats: int) -> dict[str, float]:
    """Returns median milliseconds of a query: in a session on one pool, and on a new pool."""
    from agents.acquisition import query

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, pool_size)
    x = rng.normal(size=(5, 64))[truth] + 1.5 * rng.normal(size=(pool_size, 64))
    times: dict[str, list[float]] = {"session": [], "new pool": []}
    # One after the other: what follows from a pool's vectors is kept of the last pool alone.
    for name, spent in times.items():
        for repeat in range(repeats):
            y = np.where(np.arange(pool_size) < 10 + repeat, truth, np.nan)
            pool = x if name == "session" else x + 1e-3 * rng.normal(size=x.shape)
            spent.append(_milliseconds(partial(query, pool, y, policy=policy)))
    return {name: float(np.median(spent[1:])) for name, spent in times.items()}


def _milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
