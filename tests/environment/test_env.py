"""Gymnasium's and stable-baselines3's contracts, over every registered id."""

import copy
import itertools
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from helpers.clusters import cluster_dataset
from helpers.environments import options_of
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import metaal_env
from agents.loading import load_strategy
from metaal_env.errors import InputError
from metaal_env.learners import build_learner
from metaal_env.vector_env import MetaALVectorEnv

SMALL = {"way": 4, "pool_size": 24, "budget": 6, "reward_per_class": 5, "test_per_class": 5}


def small(**options: Any) -> dict[str, Any]:
    return {"dataset": cluster_dataset()} | SMALL | options


@pytest.mark.parametrize("env_id", sorted(metaal_env.VARIANTS))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_id_passes_both_checkers_alone_and_in_batches(env_id: Any) -> None:
    options = options_of(env_id)
    env = gym.make(env_id, render_mode="rgb_array", **options)
    check_env(env.unwrapped)
    check_env_sb3(env.unwrapped)
    envs = gym.make_vec(env_id, num_envs=3, **options)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    observation, info = envs.reset(seed=5)
    assert envs.observation_space.contains(observation)
    assert np.array_equal(info["action_mask"], observation["action_mask"])
    for _ in range(3):  # `test_autoreset` goes on past the end of episodes
        observation, reward, _, truncated, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation) and np.isfinite(reward).all()
        assert not truncated.any()


CHOSEN = ["herding_wide", "margin_absolute", "classes_seen", "class_probabilities"]


@pytest.mark.parametrize("observation", ["raw", "compact", "standard", "full", CHOSEN, ["mean_margin"]])
def test_every_observation_passes_both_checkers_and_shows_what_was_asked_for(observation: Any) -> None:
    whole = gym.make("MetaAL-v0", observation="full", **small())
    env = gym.make("MetaAL-v0", observation=observation, **small())
    check_env(env.unwrapped)
    check_env_sb3(env.unwrapped)
    full, _ = whole.reset(seed=3)
    found, _ = env.reset(seed=3)
    for action in (5, 9):
        for key in ("item_features", "pool_features"):
            names = getattr(env.observation_space.spaces.get(key), "names", ())
            columns = [whole.observation_space[key].names.index(name) for name in names]
            if columns:
                np.testing.assert_allclose(found[key], full[key][..., columns], atol=1e-5)
            else:
                assert key not in found
        assert all(
            np.array_equal(found[key], full[key]) for key in set(found) - {"item_features", "pool_features"}
        )
        found, full = env.step(action)[0], whole.step(action)[0]
    if observation == CHOSEN:
        assert env.observation_space["item_features"].names == ("herding_wide", "margin_absolute")
        assert "embeddings" not in found and found["class_probabilities"].sum(-1) == pytest.approx(1)
    assert (env.observation_space == whole.observation_space) == (observation == "full")


def test_same_seed_same_episode_and_other_seed_another() -> None:
    env = gym.make("MetaAL-v0", **small())

    def play(seed: int) -> list[dict[str, np.ndarray]]:
        observation, _ = env.reset(seed=seed)
        trace = [observation]
        for action in range(SMALL["budget"]):
            observation, reward, *_ = env.step(action)
            trace += [observation, {"reward": np.array(reward)}]
        return trace

    first, again, other = play(3), play(3), play(4)
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not all(np.array_equal(a[k], b[k]) for a, b in zip(first, other, strict=True) for k in a)


@pytest.mark.parametrize("learner", ["maml", "matching"])  # the latter's adapted state grows with the labels
def test_vector_env_equals_single_envs_through_autoreset(learner: str) -> None:
    torch.manual_seed(0)
    fitted = build_learner(learner, (8,))
    options = small(budget=(2, 5), way=(2, 4), initial_labels=(0, 3), learner=fitted, observation="full")
    envs = gym.make_vec("MetaAL-v0", num_envs=3, **options)
    singles = [gym.make("MetaAL-v0", **options).unwrapped for _ in range(3)]
    batch, _ = envs.reset(seed=11)
    alone = [env.reset(seed=11 + i)[0] for i, env in enumerate(singles)]
    rng = np.random.default_rng(0)
    endings = 0
    for _ in range(15):
        for i in range(3):
            for key in alone[i]:
                np.testing.assert_allclose(batch[key][i], alone[i][key], atol=2e-4, err_msg=key)
        actions = rng.integers(0, SMALL["pool_size"], 3)
        batch, rewards, terminated, _, info = envs.step(actions)
        for i, env in enumerate(singles):
            alone[i], reward, done, _, single_info = env.step(int(actions[i]))
            assert rewards[i] == pytest.approx(reward, abs=1e-6) and terminated[i] == done
            if done:
                endings += 1
                np.testing.assert_allclose(
                    info["final_obs"][i]["item_features"], alone[i]["item_features"], atol=2e-4
                )
                assert info["final_info"]["aulc"][i] == pytest.approx(single_info["aulc"], abs=1e-6)
                assert info["_final_info"][i]
                alone[i], _ = env.reset()
    assert endings >= 6


@pytest.mark.parametrize("double", [lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy])
def test_pickled_and_copied_environments_go_on_alike(double: Any) -> None:
    options = small(observation="full", price=0.01, budget=(2, 5))
    env, envs = gym.make("MetaAL-v0", **options), gym.make_vec("MetaAL-v0", num_envs=3, **options)
    env.reset(seed=0), envs.reset(seed=0)
    env.step(3), envs.step(np.arange(3))
    twin, twins = double(env), double(envs)
    for action in range(5, 11):  # some episodes of the batch end and start anew
        one, other = envs.step(np.full(3, action)), twins.step(np.full(3, action))
        assert all(np.array_equal(one[0][key], other[0][key]) for key in one[0])
        assert np.array_equal(one[1], other[1]) and np.array_equal(one[2], other[2])
    labels = twin.unwrapped.view().labels.clone()
    expected = env.step(5)
    assert torch.equal(twin.unwrapped.view().labels, labels), "a copy stands alone"
    found = twin.step(5)
    assert all(np.array_equal(found[0][key], expected[0][key]) for key in expected[0])
    assert found[1] == expected[1]
    found, expected = twin.reset()[0], env.reset()[0]
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("learner", ["prototype", "matching"])
def test_observations_keep_their_values_when_episodes_start_anew(learner: str, copy: bool) -> None:
    envs = gym.make_vec("MetaAL-v0", num_envs=3, **small(budget=(2, 4), learner=learner, copy=copy))
    observation, _ = envs.reset(seed=2)
    shown, before, rng = [], [], np.random.default_rng(0)
    for _ in range(9):
        actions = (rng.random((3, SMALL["pool_size"])) * observation["action_mask"]).argmax(1)
        observation, _, _, _, info = envs.step(actions)
        for new in (observation, *info.get("final_obs", ())):
            if new is not None:
                shown.append(new)
                before.append({key: value.copy() for key, value in new.items()})
    assert len(shown) > 12  # some ended
    for now, then in zip(shown, before, strict=True):
        assert all(np.array_equal(now[key], then[key]) for key in then)
        assert all(now[key].flags.writeable for key in then if copy or key != "embeddings")
    alike = [np.shares_memory(a["embeddings"], b["embeddings"]) for a, b in itertools.pairwise(shown)]
    assert any(alike) != copy
    if not copy:
        with pytest.raises(ValueError, match="read-only"):
            shown[-1]["embeddings"][:] = 0


def test_masks_repicks_and_budget_end() -> None:
    env = gym.make("MetaAL-v0", **small()).unwrapped
    observation, info = env.reset(seed=0)
    assert observation["action_mask"].sum() == SMALL["pool_size"]
    observation, _, _, _, info = env.step(2)
    assert info["valid"] and observation["action_mask"][2] == 0 and observation["labels"][2] >= 0
    _, reward, _, _, info = env.step(2)
    assert not info["valid"] and reward == 0.0
    for step in range(2, SMALL["budget"]):
        _, _, terminated, truncated, info = env.step(10 + step)
        assert terminated == (step == SMALL["budget"] - 1) and not truncated
    assert info["labels"] == SMALL["budget"] and 0 <= info["aulc"] <= 1
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)


def test_a_view_shows_what_strategies_may_know_and_no_hidden_label() -> None:
    env = gym.make("MetaAL-v0", **small())
    with pytest.raises(gym.error.ResetNeeded, match=r"view\(\)"):
        env.unwrapped.view()
    observation, _ = env.reset(seed=1)
    before = env.unwrapped.view()
    pick = int(load_strategy("uherding").select(before)[0])
    observation, *_ = env.step(pick)
    view = env.unwrapped.view()
    assert torch.equal(view.labelled[0].nonzero(), torch.tensor([[pick]])) and not before.labelled.any()
    assert np.array_equal(view.selectable[0].numpy(), observation["action_mask"] == 1)
    assert view.labels[0, pick] >= 0 and (view.labels[0] >= 0).sum() == 1
    envs = MetaALVectorEnv(3, **small())
    envs.reset(seed=1)
    assert len(envs.view()) == 3
    assert torch.equal(envs.view().embeddings[:1], before.embeddings)


def test_paired_environments_play_the_same_tasks() -> None:
    envs = MetaALVectorEnv(6, paired=3, **small())
    envs.seed_episodes(0)
    observation = envs.reset_tensors()
    for _ in range(2 * SMALL["budget"]):
        pools = envs.state.task.pool
        assert (pools[0] == pools[1]).all() and (pools[3] == pools[5]).all() and (pools[0] != pools[3]).any()
        actions = (torch.rand(6, SMALL["pool_size"]) * observation["action_mask"]).argmax(1)
        observation, _, _ = envs.step_tensors(actions)


def test_rendering_shows_the_picks() -> None:
    env = gym.make("MetaAL-v0", render_mode="ansi", **small())
    env.reset(seed=0)
    env.step(7)
    assert "1/6 labels" in env.render() and "7→" in env.render()
    env = gym.make("MetaAL-v0", render_mode="rgb_array", **small())
    env.reset(seed=0)
    before = env.render()
    env.step(7)
    after = env.render()
    assert before.shape == (400, 400, 3) and before.dtype == np.uint8 and (before != after).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dataset": "glyfs"}, "did you mean 'glyphs'"),
        ({"dataset": "no/such/file.npz"}, "no/such/file.npz"),
        ({"learner": "mamal"}, "did you mean 'maml'"),
        ({"reward": "aulk"}, "did you mean 'aulc'"),
        ({"way": 40}, "way"),
        ({"budget": 24, "pool_size": 20}, "budget"),
        ({"pool": 20}, "pool"),
        ({"split": "trian"}, "split"),
        ({"target_accuracy": 1.5}, "target_accuracy"),
        ({"device": "cuda:77" if torch.cuda.is_available() else "cuda"}, "device"),
        ({"device": "warp"}, "device"),
        ({"render_mode": "human"}, "render_mode"),
        ({"observation": "row"}, "observation='row'"),
        ({"observation": ["margin_absolut"]}, "did you mean 'margin_absolute'"),
        ({"observation": 3}, "observation"),
    ],
)
def test_bad_input_is_one_sentence_that_names_it(options: dict[str, Any], says: str) -> None:
    from metaal_env.env import MetaALEnv

    with pytest.raises(InputError, match=says) as caught:
        MetaALEnv(**small(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("action", [-1, 24, 1.5, None, True, [1, 2], [[1], []], np.array([3])])
def test_actions_out_of_range_are_refused(action: Any) -> None:
    env = gym.make("MetaAL-v0", **small()).unwrapped
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"^action=.* must be one whole number in \[0, 23\]"):
        env.step(action)
