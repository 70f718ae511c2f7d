"""Memory and open files over 10⁶ environment steps and 10⁴ queries.

``python -m benchmarks.robustness.soak`` asks ``query`` for picks in pools of changing size and columns, by
the default policy and by a rule, then plays random valid items in the vector environment. Resident set and open files
are sampled forty times each; growth compares the median of the last quarter with that of the quarter after warm-up
(the first), so that it does not hang on one sample.
"""

from __future__ import annotations

import ctypes
import gc
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import psutil
from tqdm import tqdm

from agents.acquisition import query
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.runtime.command_line import run_command
from metaal_env.vector_env import MetaALVectorEnv

SAMPLES = 40


@dataclass(frozen=True)
class Config:
    steps: int = 10**6
    """Steps of single environments."""
    queries: int = 10**4
    """Calls of agents.acquisition.query."""
    num_envs: int = 64
    """Environments that step together."""
    dataset: str = "glyphs"
    """Registered data set or file."""
    learner: str = "prototype"
    """Inner learner: a registered name or a saved one."""
    way: int = 10
    """Classes per task."""
    budget: int = 20
    """Labels per episode."""
    seed: int = 0
    """Seed of pools and actions."""

    def __post_init__(self) -> None:
        for name, least in (("steps", SAMPLES * self.num_envs * self.budget), ("queries", SAMPLES)):
            if getattr(self, name) < least:
                raise InputError(
                    f"{name}={getattr(self, name)} must be at least {least}: one for every sample."
                )


class Usage(NamedTuple):
    """Of this process: resident bytes and open files."""

    resident: int
    files: int


def usage() -> Usage:
    """After the collection of garbage and the return of free memory to the system: neither is a leak, and freed
    blocks of 20 MB would drown one."""
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # glibc's
        trim(0)
    process = psutil.Process()
    on_windows = not hasattr(process, "num_fds")
    files = process.num_handles() if on_windows else process.num_fds()
    return Usage(process.memory_info().rss, files)


def episodes(config: Config) -> Iterator[None]:
    """One episode of all environments each time, so that samples meet them at the same step: what an observation
    takes depends on how many of them are alive."""
    core = make_core(config.dataset, learner=config.learner, way=config.way, budget=config.budget)
    envs = MetaALVectorEnv(config.num_envs, core=core)
    rng = np.random.default_rng(config.seed)
    observation, _ = envs.reset(seed=config.seed)
    while True:
        for _ in range(config.budget):
            mask = observation["action_mask"]
            observation, *_ = envs.step((rng.random(mask.shape) * mask).argmax(1))
        yield


def queries(config: Config) -> Iterator[None]:
    """One query each time, about a pool of its own."""
    rng = np.random.default_rng(config.seed)
    while True:
        n, columns = int(rng.integers(20, 200)), int(rng.choice([2, 16, 784]))
        labels = np.where(rng.random(n) < 0.2, rng.integers(5, size=n), np.nan)
        policy = None if rng.random() < 0.5 else "uherding"
        query(rng.normal(size=(n, columns)), labels, policy=policy, batch_size=int(rng.integers(1, 5)))
        yield


def soak(
    work: Iterator[None], times: int, samples: int = SAMPLES, tell: Callable[[], object] = lambda: None
) -> list[Usage]:
    """Usage at equally spaced moments of `times` pieces of work."""
    found: list[Usage] = []
    for done in range(1, times + 1):
        next(work)
        tell()
        if done * samples // times > len(found):
            found.append(usage())
    return found


def growth(values: list[int]) -> float:
    """Per cent, from the quarter after the first to the last."""
    quarter = len(values) // 4
    before, after = statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])
    return 100 * (after / before - 1)


def main(config: Config) -> None:
    # Queries first: they are small, and memory that the environment has freed could hide what they keep.
    rounds = config.steps // (config.num_envs * config.budget)
    for name, work, times, number in (
        ("queries", queries(config), config.queries, config.queries),
        ("environment steps", episodes(config), rounds, config.steps),
    ):
        with tqdm(total=times, desc=name, mininterval=1) as bar:
            found = soak(work, times, tell=bar.update)
        resident, files = [u.resident for u in found], [u.files for u in found]
        report = {
            "work": name,
            "number": number,
            "resident_MB": [round(value / 1e6, 1) for value in resident[:: SAMPLES // 10]],
            "growth_percent": round(growth(resident), 2),
            "open_files": [files[0], files[SAMPLES // 4], files[-1]],
        }
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    sys.exit(run_command(Config, main, __doc__))
