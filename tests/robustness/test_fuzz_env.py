"""Environments made by name, reset and stepped with anything: observations stay in their space, bad input is named."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers.hostile import EXAMPLES, fuzz, refused
from hypothesis import given
from hypothesis import strategies as st

import metaal_env  # noqa: F401 (registers the environments)
from metaal_env.errors import InputError

OPTIONS = {"way": 2, "pool_size": 10, "budget": 4, "reward_per_class": 3, "test_per_class": 3}
ID = "MetaAL-Iris-v0"
STEPS = 20
"""Inputs in one sequence."""
ODD = st.sampled_from(
    [-1, 10, 10**30, 2**63, 0.5, 3.0, float("nan"), None, "3", b"3", [], [1, 2], [[1]], {}, True, object(),
     np.float32(2), np.array([1, 2]), np.array(["a"]), np.nan]
)  # fmt: skip
ACTIONS = st.one_of(st.integers(0, 9), st.integers(0, 9).map(np.int64), st.integers(0, 9).map(np.int8), ODD)


def check_observation(env: Any, space: gym.Space[Any], observation: Any) -> None:
    assert space.contains(observation)
    for key, value in observation.items():
        assert np.isfinite(value).all(), key


@pytest.mark.parametrize("examples", EXAMPLES)
def test_one_environment(examples: int) -> None:
    """Any order of resets and steps; an input is one of them."""
    env = gym.make(ID, **OPTIONS, disable_env_checker=True)
    resets = st.tuples(st.just("reset"), st.sampled_from([None, 0, 1, 2**40]))
    steps = st.lists(st.one_of(st.tuples(st.just("step"), ACTIONS), resets), min_size=STEPS, max_size=STEPS)
    outcomes = {"steps": 0, "refused": 0, "wasted": 0}

    @fuzz(examples // 2 // STEPS)
    @given(steps)
    def check(sequence: list[tuple[str, Any]]) -> None:
        observation, info = env.reset(seed=3)
        running, total, bought = True, 0.0, 0
        for what, value in sequence:
            if what == "reset" or not running:
                observation, info = env.reset(seed=value if what == "reset" else None)
                running, total, bought = True, 0.0, 0
                continue
            mask = observation["action_mask"].copy()
            try:
                observation, reward, terminated, truncated, info = env.step(value)
            except InputError as error:
                outcomes["refused"] += 1
                refused(error, "action")
                assert np.array_equal(mask, env.unwrapped.batch.observe()["action_mask"][0].numpy())  # type: ignore[attr-defined]
                continue
            outcomes["steps"] += 1
            bought += 1
            total += reward
            valid = bool(mask[int(value)])
            outcomes["wasted"] += not valid
            assert np.isfinite(reward) and not truncated and info["valid"] == valid
            assert valid or reward == 0
            assert int(mask.sum()) - int(observation["action_mask"].sum()) == valid, "one item, once"
            assert terminated == (bought == OPTIONS["budget"])
            running = not terminated
            check_observation(env, env.observation_space, observation)
            if terminated:
                assert info["return"] == pytest.approx(total, abs=1e-5) and 0 <= info["aulc"] <= 1

    check()
    assert min(outcomes.values()) > examples // 100, outcomes


@pytest.mark.parametrize("examples", EXAMPLES)
def test_environments_at_once(examples: int) -> None:
    n = 3
    envs = gym.make_vec(ID, num_envs=n, **OPTIONS)
    good = st.lists(st.integers(0, 9), min_size=n, max_size=n).map(np.array)
    bad = st.one_of(ODD, st.lists(st.integers(-2, 12), max_size=4), st.lists(ODD, min_size=n, max_size=n))
    outcomes = {"steps": 0, "refused": 0}

    @fuzz(examples // 4 // STEPS)
    @given(
        st.lists(st.one_of(good, good, bad), min_size=STEPS, max_size=STEPS),
        st.sampled_from([None, 0, [1, 2, 3]]),
    )
    def check(sequence: list[Any], seed: Any) -> None:
        observation, _ = envs.reset(seed=seed)
        for actions in sequence:
            mask = observation["action_mask"].copy()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    observation, reward, terminated, truncated, info = envs.step(actions)
            except InputError as error:
                outcomes["refused"] += 1
                refused(error, "action")
                continue
            outcomes["steps"] += 1
            check_observation(envs, envs.observation_space, observation)
            valid = mask[np.arange(n), np.asarray(actions)].astype(bool)
            assert np.array_equal(info["valid"], valid) and (reward[~valid] == 0).all()
            assert np.isfinite(reward).all() and not truncated.any()
            left = observation["action_mask"].sum(1) - mask.sum(1)
            assert np.array_equal(left[~terminated], -valid[~terminated].astype(int))
            if terminated.any():
                assert (info["final_info"]["labels"][terminated] == OPTIONS["budget"]).all()

    check()
    assert min(outcomes.values()) > examples // 100, outcomes


VALUES = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([0.5, -0.5, 1.0, float("nan"), float("inf"), 10**30, None, "5", "", [], (2, 1), (2, 3), (1, 2, 3),
                     ("a", "b"), (2.5, 3), {}, True, "glyfs", "maml", "../x", "\0"]),
)  # fmt: skip
NAMES = (
    "way", "pool_size", "budget", "initial_labels", "class_concentration", "rare_share", "label_noise", "distractors",
    "reward_per_class", "test_per_class", "target_accuracy", "reward", "learner", "split", "device", "dataset",
    "num_envs", "paired", "colour",
)  # fmt: skip


@pytest.mark.parametrize("examples", EXAMPLES)
def test_options(examples: int) -> None:
    outcomes = {"made": 0, "refused": 0}

    @fuzz(examples // 4)
    @given(st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=2), st.booleans())
    def check(changes: dict[str, Any], many: bool) -> None:
        single = {"num_envs", "paired"} & set(changes)
        try:
            if many or single:
                from metaal_env.vector_env import MetaALVectorEnv

                env: Any = MetaALVectorEnv(**{"num_envs": 2, "dataset": "iris", **OPTIONS, **changes})
            else:
                env = gym.make(ID, **OPTIONS | changes, disable_env_checker=True)
        except InputError as error:
            outcomes["refused"] += 1
            refused(error, *NAMES)
            return
        outcomes["made"] += 1
        observation, _ = env.reset(seed=0)
        check_observation(env, env.observation_space, observation)

    check()
    assert min(outcomes.values()) > examples // 500, outcomes


@pytest.mark.parametrize("seed", [-1, 0.5, "0", [1], [1, 2, "3"], [None, -1, 2]])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises((InputError, gym.error.Error)) as caught:
        gym.make_vec(ID, num_envs=3, **OPTIONS).reset(seed=seed)
    if isinstance(caught.value, InputError):
        refused(caught.value, "seed")
