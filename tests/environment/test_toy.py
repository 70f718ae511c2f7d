"""`MetaAL-Toy-v0`: the returns that its description states, computed over all sets of labelled items."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import metaal_env
from agents.loading import load_strategy
from agents.training.validation import play_returns
from metaal_env.datasets.sources import toy
from metaal_env.make import make_core
from metaal_env.sb3 import SB3VecEnv

ID = "MetaAL-Toy-v0"
N, BUDGET, PRICE = 8, 7, 0.05
OPTIMAL, GREEDY, RANDOM = 0.6, 0.0, 0.3389


def core_of_toy() -> Any:
    return make_core(metaal_env.VARIANTS[ID], **metaal_env.PROBLEMS[ID])


def accuracies(seed: int) -> dict[frozenset[int], float]:
    """The accuracy on the reward set of every set of at most seven labelled items of one task."""
    core = core_of_toy()
    task, found = core.sampler.sample([np.random.default_rng(seed)]), {}
    for size in range(BUDGET + 1):
        sets = list(combinations(range(N), size))
        state = core.reset(task.rows(torch.zeros(len(sets), dtype=torch.long)))
        for number in range(size):
            core.step(state, torch.tensor([members[number] for members in sets]))
        found |= {frozenset(s): float(a) for s, a in zip(sets, state.metrics.accuracy, strict=True)}
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_stated_returns_are_exact(seed: int) -> None:
    accuracy = accuracies(seed)

    @cache
    def best(labelled: frozenset[int]) -> float:
        return max([0.0, *(after(labelled, item) + best(labelled | {item}) for item in left(labelled))])

    @cache
    def at_random(labelled: frozenset[int]) -> float:
        """The return of uniform choice among the actions that the mask allows."""
        actions = [after(labelled, item) + at_random(labelled | {item}) for item in left(labelled)]
        return sum(actions) / (len(actions) + 1) if actions else 0.0

    @cache
    def greedy(labelled: frozenset[int]) -> float:
        gains = {item: after(labelled, item) for item in left(labelled)}
        item = max(gains, key=lambda item: gains[item], default=None)
        return 0.0 if item is None or gains[item] <= 0 else gains[item] + greedy(labelled | {item})

    def left(labelled: frozenset[int]) -> list[int]:
        return [] if len(labelled) == BUDGET else [item for item in range(N) if item not in labelled]

    def after(labelled: frozenset[int], item: int) -> float:
        return accuracy[labelled | {item}] - accuracy[labelled] - PRICE

    nothing: frozenset[int] = frozenset()
    assert best(nothing) == pytest.approx(OPTIMAL)
    assert at_random(nothing) == pytest.approx(RANDOM, abs=1e-4)
    assert greedy(nothing) == pytest.approx(GREEDY)


def test_the_description_states_these_returns() -> None:
    assert toy.__doc__ is not None
    for value in (OPTIMAL, GREEDY, RANDOM):
        assert f"{value:.4f}" in toy.__doc__
    assert metaal_env.PROBLEMS[ID]["price"] == PRICE and metaal_env.PROBLEMS[ID]["budget"] == BUDGET


def test_the_environment_pays_what_was_computed() -> None:
    core = core_of_toy()
    assert play_returns(core, load_strategy("greedy_on_terms"), range(8))["return"].mean() == GREEDY
    envs, rng = gym.make_vec(ID, num_envs=100), np.random.default_rng(0)
    observation, _ = envs.reset(seed=0)
    total, first = np.zeros(100), np.ones(100, dtype=bool)
    while first.any():
        mask = observation["action_mask"]
        observation, reward, ended, _, _ = envs.step((rng.random(mask.shape) * mask).argmax(1))
        total += reward * first
        first &= ~ended
    assert np.mean(total) == pytest.approx(RANDOM, abs=4 * np.std(total) / 100**0.5)


@pytest.mark.slow
def test_stock_ppo_learns_the_optimum() -> None:
    envs = SB3VecEnv(gym.make_vec(ID, num_envs=16))  # type: ignore[arg-type]
    model = PPO(
        "MultiInputPolicy", envs, n_steps=64, batch_size=256, gamma=1.0, ent_coef=0.01, seed=0, device="cpu"
    )
    model.learn(30_000)
    returns = [info["r"] for info in model.ep_info_buffer or []]
    assert np.mean(returns) > OPTIMAL - 0.06
