"""Measures one checkout: reads one JSON request a line from stdin and answers each with seconds per environment step.

`compare.py` starts one such process for each checkout, with that checkout first on the path, so only interfaces that
every version has are used here.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import torch

import metaal_env  # registers the ids

EPISODE = 20
"""Labels of the default task: each measurement plays whole episodes, so that it pays for their starts as well."""


def core_alone(core: Any, num_envs: int, episodes: int) -> tuple[float, int]:
    """Draws tasks, starts episodes and plays random unlabelled items without any observation."""
    order = torch.stack([torch.randperm(core.config.max_pool)[:EPISODE] for _ in range(num_envs)], 1)
    generators = [np.random.default_rng(row) for row in range(num_envs)]
    begin = time.perf_counter()
    for _ in range(episodes):
        state = core.reset(core.sampler.sample(generators))
        for actions in order:
            core.step(state, actions)
    return time.perf_counter() - begin, episodes * EPISODE * num_envs


def vector(envs: Any, episodes: int) -> tuple[float, int]:
    """Plays random items through Gymnasium's vector interface; ended episodes start anew."""
    rng = np.random.default_rng(0)
    observation, _ = envs.reset(seed=0)
    begin = time.perf_counter()
    for _ in range(episodes * EPISODE):
        mask = observation["action_mask"]
        observation, *_ = envs.step((rng.random(mask.shape) * mask).argmax(1))
    return time.perf_counter() - begin, episodes * EPISODE * envs.num_envs


def single(env: Any, episodes: int) -> tuple[float, int]:
    """Plays random items in one environment through Gymnasium's interface: a step of a loop of singles."""
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        for _ in range(EPISODE):
            mask = observation["action_mask"]
            observation, *_ = env.step(int((rng.random(mask.shape) * mask).argmax()))
    return time.perf_counter() - begin, episodes * EPISODE


def prepare(request: dict[str, Any]) -> Any:
    """Returns a function that measures what `request` asks for: number of episodes -> seconds, environment steps."""
    torch.manual_seed(0)  # of fresh learners
    options = request["options"]
    if request["what"] == "single":
        env = gym.make("MetaAL-v0", disable_env_checker=True, **options).unwrapped
        return lambda episodes: single(env, episodes)
    envs: Any = gym.make_vec("MetaAL-v0", num_envs=request["num_envs"], **options)
    if request["what"] == "core":
        return lambda episodes: core_alone(envs.core, request["num_envs"], episodes)
    return lambda episodes: vector(envs, episodes)


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request = json.loads(line)
        play = prepare(request)
        play(1)  # warms up allocators and caches
        print(json.dumps({"checkout": metaal_env.__file__}), flush=True)
        for again in sys.stdin:
            episodes = json.loads(again)
            if not episodes:
                break
            seconds, steps = play(episodes)
            print(json.dumps({"seconds_per_step": seconds / steps}), flush=True)


if __name__ == "__main__":
    main()
