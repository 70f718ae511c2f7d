"""Gymnasium's three autoreset modes, its vector wrappers and CleanRL's loop."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils import env_checker
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import (
    DictInfoToList,
    FilterObservation,
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
)
from helpers.clusters import cluster_dataset
from helpers.environments import FIXED, options_of
from torch import nn
from torch.distributions import Categorical

import metaal_env
from metaal_env.errors import InputError
from metaal_env.vector_env import MetaALVectorEnv

TINY = {"way": 2, "pool_size": 9, "budget": 3, "reward_per_class": 3, "test_per_class": 3}
UNEQUAL = TINY | {"budget": (2, 5)}
OUTCOME = {"aulc", "accuracy", "classes_seen", "labels", "return"}
MODES = list(AutoresetMode)
CHECKS = (
    "check_reset_options",
    "check_reset_return_type",
    "check_reset_return_info_deprecation",
    "check_seed_deprecation",
    "check_returned_data_not_reused",
)
"""Those of Gymnasium's checks that its own vector environment of one passes; `check_env` takes single ones alone."""


def make(mode: AutoresetMode, n: int = 3, **options: Any) -> MetaALVectorEnv:
    options = {"dataset": cluster_dataset()} | UNEQUAL | options
    return gym.make_vec("MetaAL-v0", num_envs=n, autoreset_mode=mode, **options)  # type: ignore[return-value]


def loop(mode: AutoresetMode, n: int = 3) -> SyncVectorEnv:
    """Gymnasium's own loop of single environments, the reference."""
    options = {"dataset": cluster_dataset()} | UNEQUAL
    return SyncVectorEnv([lambda: gym.make("MetaAL-v0", **options)] * n, autoreset_mode=mode)


def check_same(ours: Any, theirs: Any) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, atol=2e-4, err_msg=key)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("env_id", sorted(metaal_env.VARIANTS))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_id_passes_gymnasium_s_checks_in_every_mode(env_id: str, mode: AutoresetMode) -> None:
    envs: Any = gym.make_vec(env_id, num_envs=2, autoreset_mode=mode, **TINY | options_of(env_id))
    assert envs.metadata["autoreset_mode"] is mode
    assert MetaALVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    alone = gym.make_vec(env_id, num_envs=1, autoreset_mode=mode, **TINY | options_of(env_id))
    for check in CHECKS:
        if hasattr(env_checker, check):  # the last is new in Gymnasium 1.4
            getattr(env_checker, check)(alone)
    observation, _ = envs.reset(seed=1)
    terminated = np.zeros(2, dtype=bool)
    ends = (3, 7) if mode is AutoresetMode.NEXT_STEP else (3, 6, 9)
    for step in range(1, 10):
        if mode is AutoresetMode.DISABLED and terminated.any():
            observation, _ = envs.reset(options={"reset_mask": terminated})
        observation, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert observation in envs.observation_space and not truncated.any()
        assert reward.dtype == np.float64 and terminated.dtype == truncated.dtype == bool
        if env_id in FIXED:
            assert terminated.all() == terminated.any() == (step in ends)


@pytest.mark.parametrize("mode", MODES)
def test_the_checks_are_those_that_gymnasium_s_own_loop_passes(mode: AutoresetMode) -> None:
    for check in CHECKS:
        if hasattr(env_checker, check):
            getattr(env_checker, check)(loop(mode, 1))


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_equals_gymnasium_s_loop(mode: AutoresetMode) -> None:
    """Same seeds and actions, budgets of unequal length: the same steps, resets and outcomes."""
    ours, theirs = make(mode), loop(mode)
    observation, info = ours.reset(seed=7)
    expected, expected_info = theirs.reset(seed=7)
    rng = np.random.default_rng(0)
    endings = apart = 0
    for _ in range(20):
        check_same(observation, expected)
        assert np.array_equal(ours.action_masks(), np.stack(theirs.call("action_masks")))
        for random, expected_random in zip(ours.np_random, theirs.np_random, strict=True):
            assert random.bit_generator.state == expected_random.bit_generator.state
        assert all(
            np.array_equal(info[key], expected_info[key]) for key in ("_valid", "_accuracy", "_action_mask")
        )
        actions = rng.integers(0, 9, 3)
        observation, reward, ended, truncated, info = ours.step(actions)
        expected, expected_reward, expected_ended, _, expected_info = theirs.step(actions)
        np.testing.assert_allclose(reward, expected_reward, atol=1e-6)
        assert np.array_equal(ended, expected_ended) and not truncated.any()
        endings, apart = endings + ended.sum(), apart + (ended.any() and not ended.all())
        check_outcomes(mode, info, expected_info, ended)
        if mode is AutoresetMode.DISABLED and ended.any():
            check_same(observation, expected)
            with pytest.raises(gym.error.ResetNeeded, match="reset_mask"):
                ours.step(actions)
            observation, info = ours.reset(options={"reset_mask": ended})
            expected, expected_info = theirs.reset(options={"reset_mask": ended.copy()})
    assert endings >= 9 and apart >= 3, "the loop was about nothing"


def check_outcomes(mode: AutoresetMode, info: Any, expected: Any, ended: np.ndarray) -> None:
    """The outcome is where Gymnasium's mode puts it, for the environments that ended."""
    assert (
        ("final_obs" in info)
        == ("final_obs" in expected)
        == (mode is AutoresetMode.SAME_STEP and ended.any())
    )
    if not ended.any():
        assert not ({"aulc", "final_info"} & info.keys())
        return
    if mode is AutoresetMode.SAME_STEP:
        assert np.array_equal(info["_final_info"], ended) and np.array_equal(info["_final_obs"], ended)
        for row in np.flatnonzero(ended):
            check_same(info["final_obs"][row], expected["final_obs"][row])
        info, expected = info["final_info"], expected["final_info"]
    for key in OUTCOME:
        assert np.array_equal(info[f"_{key}"][ended], expected[f"_{key}"][ended]), key
        np.testing.assert_allclose(info[key][ended], expected[key][ended], atol=1e-5, err_msg=key)
    assert np.array_equal(info["_aulc"], ended)


def test_next_step_ignores_the_action_of_the_step_that_resets() -> None:
    traces = []
    for action in (0, 8):
        envs = make(AutoresetMode.NEXT_STEP, 1, budget=2)
        envs.reset(seed=0)
        envs.step(np.array([1]))
        _, _, terminated, _, info = envs.step(np.array([2]))
        assert terminated.all() and info["labels"] == 2
        observation, reward, terminated, _, info = envs.step(np.array([action]))
        assert reward == 0 and not terminated.any() and info["valid"].all() and "aulc" not in info
        assert observation["action_mask"].sum() == TINY["pool_size"]
        traces.append(observation)
    assert all(np.array_equal(traces[0][key], traces[1][key]) for key in traces[0])


def test_a_masked_reset_leaves_the_others_alone_and_takes_seeds() -> None:
    envs = make(AutoresetMode.DISABLED)
    before, _ = envs.reset(seed=3)
    before, *_ = envs.step(np.array([0, 1, 2]))
    mask = np.array([False, True, False])
    after, info = envs.reset(seed=[None, 3, None], options={"reset_mask": mask})
    assert np.array_equal(info["_valid"], mask)
    for key, value in after.items():
        np.testing.assert_allclose(value[~mask], before[key][~mask], atol=2e-4, err_msg=key)
    first, _ = envs.reset(seed=3)
    for key, value in first.items():
        np.testing.assert_allclose(after[key][1], value[0], atol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    "mask", [[True, False, False], np.ones(2, bool), np.zeros(3, bool), np.ones(3, np.int8), None, "all"]
)
def test_bad_reset_masks_are_refused_and_change_nothing(mask: Any) -> None:
    envs = make(AutoresetMode.DISABLED)
    before, _ = envs.reset(seed=0)
    with pytest.raises(InputError, match="reset_mask"):
        envs.reset(options={"reset_mask": mask})
    check_same({key: value.numpy() for key, value in envs.observe().items()}, before)


def test_bad_modes_are_refused() -> None:
    with pytest.raises(InputError, match="'NextStep', 'SameStep', 'Disabled'"):
        make("next")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="make_vec"):
        gym.make("MetaAL-v0", autoreset_mode="NextStep", dataset=cluster_dataset(), **TINY)
    envs = make(AutoresetMode.DISABLED)
    for call in (
        lambda: envs.step(np.zeros(3, int)),
        lambda: envs.reset(options={"reset_mask": np.eye(3, dtype=bool)[0]}),
    ):
        with pytest.raises(gym.error.ResetNeeded):
            call()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_gymnasium_s_vector_wrappers_count_and_flatten(mode: AutoresetMode) -> None:
    envs: Any = RecordEpisodeStatistics(make(mode, 4, budget=3))
    if mode is AutoresetMode.NEXT_STEP:  # the only mode that all of them take
        envs = FlattenObservation(FilterObservation(envs, ["item_features", "pool_features"]))
        envs = NormalizeObservation(envs)
    observation, _ = envs.reset(seed=0)
    assert observation in envs.observation_space
    totals = np.zeros(4)
    for _ in range(3):
        observation, reward, ended, _, info = envs.step(np.arange(4))
        totals += reward
    assert ended.all() and observation in envs.observation_space
    outcome = info["final_info"] if mode is AutoresetMode.SAME_STEP else info
    assert np.array_equal(info["episode"]["l"], outcome["labels"])
    np.testing.assert_allclose(info["episode"]["r"], totals)
    np.testing.assert_allclose(outcome["return"], totals, atol=1e-6)


def test_gymnasium_s_list_of_infos() -> None:
    envs = DictInfoToList(make(AutoresetMode.NEXT_STEP, 2, budget=2))
    _, infos = envs.reset(seed=0)
    assert [set(info) for info in infos] == [{"action_mask", "valid", "accuracy"}] * 2
    for _ in range(2):
        *_, infos = envs.step(np.arange(2))
    assert [set(info) for info in infos] == [{"action_mask", "valid"} | OUTCOME] * 2


@pytest.mark.parametrize("kind", ["their loop", "our batch"])
def test_cleanrl_s_loop(kind: str) -> None:
    """The loop of its ``ppo.py`` with its arguments' names, on flattened observations."""
    num_envs, num_steps, gamma, gae_lambda = 4, 8, 1.0, 0.95
    if kind == "their loop":
        options = {"dataset": cluster_dataset()} | TINY
        envs: Any = SyncVectorEnv(
            [lambda: gym.wrappers.FlattenObservation(gym.make("MetaAL-v0", **options))] * num_envs
        )
    else:
        envs = FlattenObservation(make(AutoresetMode.NEXT_STEP, num_envs, **TINY))
    envs = RecordEpisodeStatistics(envs)
    torch.manual_seed(1)
    width = int(np.prod(envs.single_observation_space.shape))
    critic = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, 1))
    actor = nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, int(envs.single_action_space.n)))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=2.5e-4, eps=1e-5)
    obs = torch.zeros((num_steps, num_envs, *envs.single_observation_space.shape))
    actions, logprobs, rewards, dones, values = (torch.zeros((num_steps, num_envs)) for _ in range(5))

    next_obs = torch.Tensor(envs.reset(seed=1)[0])
    next_done = torch.zeros(num_envs)
    episodes = []
    for _ in range(2):
        for step in range(num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                distribution = Categorical(logits=actor(next_obs))
                action = distribution.sample()
                values[step] = critic(next_obs).flatten()
            actions[step], logprobs[step] = action, distribution.log_prob(action)
            array, reward, terminations, truncations, infos = envs.step(action.numpy())
            rewards[step] = torch.tensor(reward).view(-1)
            next_obs = torch.Tensor(array)
            next_done = torch.Tensor(np.logical_or(terminations, truncations))
            if "episode" in infos:
                episodes += infos["episode"]["l"][infos["_episode"]].tolist()
        with torch.no_grad():
            next_value, advantages, last = (
                critic(next_obs).flatten(),
                torch.zeros_like(rewards),
                torch.zeros(num_envs),
            )
            for t in reversed(range(num_steps)):
                nonterminal = 1.0 - (next_done if t == num_steps - 1 else dones[t + 1])
                following = next_value if t == num_steps - 1 else values[t + 1]
                delta = rewards[t] + gamma * following * nonterminal - values[t]
                advantages[t] = last = delta + gamma * gae_lambda * nonterminal * last
        new = Categorical(logits=actor(obs.flatten(0, 1)))
        ratio = (new.log_prob(actions.flatten()) - logprobs.flatten()).exp()
        gain = torch.minimum(ratio * advantages.flatten(), ratio.clamp(0.8, 1.2) * advantages.flatten())
        error = (critic(obs.flatten(0, 1)).flatten() - (advantages + values).flatten()).square()
        optimizer.zero_grad()
        (0.25 * error - gain - 0.01 * new.entropy()).mean().backward()
        optimizer.step()
    assert set(episodes) == {TINY["budget"]}
    assert len(episodes) == num_envs * (2 * num_steps // (TINY["budget"] + 1))
    assert all(bool(weight.isfinite().all()) for weight in actor.parameters())
