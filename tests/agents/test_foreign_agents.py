"""Agents of other libraries, unmodified, on every registered id; examples run as printed."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers.environments import FIXED, options_of
from helpers.paths import ROOT
from sb3_contrib import MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize
from torch import nn

import metaal_env
from agents.policy.sb3_policy import SetPolicy
from metaal_env.errors import InputError
from metaal_env.sb3 import SB3VecEnv
from metaal_env.vector_env import MetaALVectorEnv

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

IDS = sorted(metaal_env.VARIANTS)
TINY = {"way": 2, "pool_size": (7, 9), "budget": 3, "reward_per_class": 3, "test_per_class": 3}
EXAMPLES = ROOT / "docs" / "examples"
MEASUREMENTS = ["item_features", "pool_features", "embeddings"]

ON_POLICY = {"n_steps": 4, "device": "cpu", "seed": 0}
MAKERS: dict[str, Any] = {
    "PPO": partial(PPO, "MultiInputPolicy", batch_size=16, n_epochs=1, **ON_POLICY),
    "A2C": partial(A2C, "MultiInputPolicy", **ON_POLICY),
    "DQN": partial(
        DQN, "MultiInputPolicy", buffer_size=256, learning_starts=8, batch_size=8, device="cpu", seed=0
    ),
    "RecurrentPPO": partial(
        RecurrentPPO,
        "MultiInputLstmPolicy",
        batch_size=16,
        n_epochs=1,
        policy_kwargs={"lstm_hidden_size": 8},
        **ON_POLICY,
    ),
    "MaskablePPO": partial(MaskablePPO, "MultiInputPolicy", batch_size=16, n_epochs=1, **ON_POLICY),
}


def single(env_id: str) -> gym.Env[Any, Any]:
    return gym.make(env_id, **TINY | options_of(env_id))


def batch(env_id: str, num_envs: int = 8) -> SB3VecEnv:
    return SB3VecEnv(gym.make_vec(env_id, num_envs=num_envs, **TINY | options_of(env_id)))  # type: ignore[arg-type]


def weights(model: BaseAlgorithm) -> torch.Tensor:
    return nn.utils.parameters_to_vector(model.policy.parameters()).detach().clone()


def check_learning(model: BaseAlgorithm, steps: int, fixed: bool = True) -> None:
    before = weights(model)
    model.learn(steps)
    after = weights(model)
    assert model.num_timesteps >= steps and after.isfinite().all() and not torch.equal(before, after)
    assert model.ep_info_buffer, "no episode was noticed"
    lengths = {info["l"] for info in model.ep_info_buffer}
    assert lengths == {TINY["budget"]} if fixed else max(lengths) <= longest(model)


def longest(model: BaseAlgorithm) -> int:
    """Most actions of an episode."""
    env = model.get_env()
    assert env is not None
    core = env.envs.core if isinstance(env, SB3VecEnv) else env.get_attr("unwrapped")[0].batch.core  # type: ignore[attr-defined]
    return core.config.max_actions


@pytest.mark.parametrize("env_id", IDS)
def test_no_key_of_an_observation_is_an_attribute_of_a_module_dict(env_id: str) -> None:
    """Extractors per key are kept in one; ``items`` broke every algorithm."""
    keys = single(env_id).observation_space.spaces  # type: ignore[attr-defined]
    assert keys and not [key for key in keys if hasattr(nn.ModuleDict(), key)]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("env_id", IDS)
def test_stock_algorithms_learn_alone_and_in_batches(env_id: str, name: str, tmp_path: Path) -> None:
    check_learning(MAKERS[name](single(env_id)), 16, env_id in FIXED)

    model = MAKERS[name](batch(env_id))
    check_learning(model, 32, env_id in FIXED)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", device="cpu")
    env = Monitor(single(env_id))
    observation, _ = env.reset(seed=0)
    masks = {"action_masks": env.get_wrapper_attr("action_masks")()} if name == "MaskablePPO" else {}
    action, _ = loaded.predict(observation, deterministic=True, **masks)
    assert action == model.predict(observation, deterministic=True, **masks)[0]
    assert env.action_space.contains(np.int64(action))


@pytest.mark.parametrize("make", [single, batch])
def test_maskable_ppo_never_wastes_a_label(make: Any) -> None:
    invalid = []
    model = MAKERS["MaskablePPO"](make("MetaAL-Iris-v0"))

    def note(local: dict[str, Any], _: Any) -> bool:
        invalid.extend(info["valid"] is not True for info in local["infos"])
        return True

    model.learn(32, callback=note)
    assert len(invalid) >= 32 and not any(invalid)


def wrapped(kind: str) -> VecEnv:
    if kind == "single":
        return make_vec_env("MetaAL-Wine-v0", n_envs=2, env_kwargs=TINY)
    return VecMonitor(batch("MetaAL-Wine-v0"), info_keywords=("aulc",))


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_wrappers_and_evaluation(kind: str, tmp_path: Path) -> None:
    envs = VecNormalize(wrapped(kind), norm_obs_keys=MEASUREMENTS)
    model = MAKERS["PPO"](envs)
    check_learning(model, 32)
    observation = envs.reset()
    assert isinstance(observation, dict)
    assert set(np.unique(observation["action_mask"])) <= {0, 1} and observation["labels"].dtype == np.int64
    envs.save(str(tmp_path / "normalisation.pkl"))
    envs = VecNormalize.load(str(tmp_path / "normalisation.pkl"), wrapped(kind))
    envs.training = False
    model.save(tmp_path / "model")
    mean, deviation = evaluate_policy(PPO.load(tmp_path / "model", device="cpu"), envs, n_eval_episodes=4)
    assert -1 <= mean <= 1 and deviation >= 0

    stacked = VecFrameStack(wrapped(kind), n_stack=2)
    check_learning(MAKERS["PPO"](stacked), 32)


def test_the_adapter_behaves_like_stable_baselines3_s_own() -> None:
    """Same seeds and actions: same observations, rewards, endings and infos as its loop of monitored environments."""
    theirs, ours = make_vec_env("MetaAL-Iris-v0", n_envs=3, env_kwargs=TINY), batch("MetaAL-Iris-v0", 3)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.seed(5) == theirs.seed(5) == [5, 6, 7]
    expected, got = theirs.reset(), ours.reset()
    rng = np.random.default_rng(0)
    endings = 0
    for _ in range(8):
        check_same(got, expected)
        masks, given = (np.stack(envs.env_method("action_masks")) for envs in (theirs, ours))
        assert np.array_equal(masks, given) and given.dtype == bool
        actions = np.array([rng.choice(9, p=mask / mask.sum()) for mask in masks])
        expected, reward, done, infos = theirs.step(actions)
        got, our_reward, our_done, our_infos = ours.step(actions)
        np.testing.assert_allclose(our_reward, reward, atol=1e-6)
        assert our_reward.dtype == reward.dtype and np.array_equal(our_done, done)
        for info, our_info, ended in zip(infos, our_infos, done, strict=True):
            assert our_info.keys() == info.keys()
            if ended:
                endings += 1
                check_same(our_info["terminal_observation"], info["terminal_observation"])
                assert our_info["episode"]["r"] == pytest.approx(info["episode"]["r"], abs=1e-5)
                assert our_info["episode"]["l"] == info["episode"]["l"]
                assert our_info["aulc"] == pytest.approx(info["aulc"], abs=1e-6)
        for info, our_info in zip(theirs.reset_infos, ours.reset_infos, strict=True):
            assert our_info.keys() - {"TimeLimit.truncated"} == info.keys()
    assert endings == 6


def check_same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert value.dtype == other[key].dtype
        np.testing.assert_allclose(value, other[key], atol=2e-4, err_msg=key)


def test_the_adapter_answers_for_single_environments() -> None:
    envs = batch("MetaAL-Iris-v0", 3)
    envs.reset()
    assert envs.has_attr("action_masks") and not envs.has_attr("no_such_thing")
    assert envs.get_attr("render_mode") == [None] * 3
    assert len(envs.env_method("action_masks", indices=[0, 2])) == 2
    assert len(envs.env_method("action_masks", indices=1)) == 1
    envs.set_attr("note", "first", indices=0)
    envs.set_attr("note", "others", indices=[1, 2])
    assert envs.get_attr("note") == ["first", "others", "others"]
    assert envs.env_is_wrapped(Monitor) == [False] * 3 and envs.env_is_wrapped(Monitor, indices=0) == [False]
    with pytest.raises(AttributeError):
        envs.env_method("no_such_thing")


def test_masks_need_an_episode() -> None:
    env, envs = single("MetaAL-Iris-v0"), batch("MetaAL-Iris-v0", 2)
    for ask in (env.unwrapped.action_masks, envs.envs.action_masks):  # type: ignore[attr-defined]
        with pytest.raises(gym.error.ResetNeeded):
            ask()


def test_what_the_adapter_cannot_serve_is_refused() -> None:
    options = TINY | {"dataset": "iris"}
    with pytest.raises(InputError, match="MetaALVectorEnv"):
        SB3VecEnv(gym.make("MetaAL-Iris-v0", **TINY))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="autoreset_mode='NextStep'"):
        SB3VecEnv(MetaALVectorEnv(2, autoreset_mode="NextStep", **options))
    envs = batch("MetaAL-Iris-v0", 2)
    with pytest.raises(NotImplementedError, match="draws no images"):
        envs.get_images()
    envs.set_options({"difficulty": 3})
    with pytest.raises(InputError, match="difficulty"):
        envs.reset()


def test_a_policy_refuses_an_observation_without_its_features() -> None:
    env = gym.make("MetaAL-Iris-v0", **TINY)
    with pytest.raises(InputError, match=r"lacks 'least_confident'.*observation=\"full\"") as caught:
        PPO(SetPolicy, env, device="cpu")
    assert "\n" not in str(caught.value)


def test_models_of_the_former_keys_are_refused_by_name_and_can_be_loaded(tmp_path: Path) -> None:
    env = gym.make("MetaAL-Iris-v0", observation="full", **TINY)
    model = PPO(
        SetPolicy, env, n_steps=4, batch_size=4, policy_kwargs={"network": {"width": 8}}, device="cpu"
    )
    spaces = env.observation_space.spaces  # type: ignore[attr-defined]
    former = {"item_features": "items", "pool_features": "episode"}
    model.observation_space = gym.spaces.Dict({former.get(key, key): space for key, space in spaces.items()})
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"'item_features', 'pool_features'.*custom_objects"):
        PPO.load(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", custom_objects={"observation_space": env.observation_space})
    observation, _ = env.reset(seed=0)
    assert loaded.predict(observation, deterministic=True) == model.predict(observation, deterministic=True)


@pytest.mark.parametrize("name", ["ppo_min", "sb3_ppo", "sb3_maskable", "torchrl_ppo", "rllib_ppo"])
def test_examples_run(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for library, module in {"torchrl": "torchrl", "rllib": "ray.rllib"}.items():
        if name.startswith(library):
            pytest.importorskip(module)
    fewer = ["--episodes", "2"] if name == "sb3_maskable" else []
    monkeypatch.setattr("sys.argv", [name, "--steps", "320", *fewer])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert "learning curve" in capsys.readouterr().out


def test_the_minimal_example_is_short_and_needs_nothing_of_ours_but_the_ids() -> None:
    code = (EXAMPLES / "ppo_min.py").read_text()
    assert len(code.splitlines()) <= 60
    assert "agents" not in code and "stable_baselines3" not in code and code.count("metaal_env") == 1
