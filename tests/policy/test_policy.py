"""The policy in stable-baselines3: tensor path, paired baselines, learning to a known optimum, artifacts, resume."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from helpers.faults import Action, AtReport, killed
from helpers.tiny_training import saved
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import DictRolloutBuffer
from stable_baselines3.common.logger import configure

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy, SetPolicy
from agents.training.ppo.callback import Trainer
from agents.training.ppo.checkpoint import PPOCheckpoint
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.tensor_rollout import TensorRolloutBuffer, TensorVecEnv
from agents.training.ppo.train import make_ppo, train_ppo
from agents.training.task_mixture import TaskMixture
from metaal_env.core import Core, StepResult
from metaal_env.episode import EpisodeState
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.sb3 import SB3VecEnv
from metaal_env.vector_env import MetaALVectorEnv

TASK = {"way": 3, "pool_size": 16, "budget": 4, "reward_per_class": 5, "test_per_class": 5}


def tiny_core(**options: Any) -> Core:
    return make_core(cluster_dataset(), **(TASK | options))


def test_the_tensor_path_equals_the_numpy_path_bit_for_bit() -> None:
    def parameters(adapter: Any, buffer: type[DictRolloutBuffer]) -> torch.Tensor:
        envs = MetaALVectorEnv(4, core=tiny_core(), observation="full")
        envs.seed_episodes(0)
        model = PPO(
            SetPolicy, adapter(envs), n_steps=4, batch_size=8, n_epochs=2, gamma=1.0, seed=0,
            rollout_buffer_class=buffer, policy_kwargs={"network": {"width": 8}}, device="cpu",
        )  # fmt: skip
        model.set_logger(configure(None, []))
        model.learn(48)
        return model.policy.state_dict()

    ours = parameters(TensorVecEnv, TensorRolloutBuffer)
    theirs = parameters(SB3VecEnv, DictRolloutBuffer)
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_paired_roll_outs_are_each_others_baseline() -> None:
    envs = TensorVecEnv(MetaALVectorEnv(6, paired=3, core=tiny_core()))
    buffer = TensorRolloutBuffer(
        2, envs.observation_space, envs.action_space, "cpu", gae_lambda=1.0, gamma=1.0, n_envs=6, paired=3
    )
    rewards = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
    observation = envs.reset()
    for step in range(2):
        buffer.add(
            observation,
            np.zeros((6, 1)),
            rewards[step],
            np.full(6, step == 0),
            torch.zeros(6),
            torch.zeros(6),
        )
    buffer.compute_returns_and_advantage(torch.zeros(6), np.ones(6))
    to_go = np.stack([rewards.sum(0), rewards[1]])
    for i in range(6):
        companions = [j for j in range(6) if j // 3 == i // 3 and j != i]
        np.testing.assert_allclose(
            buffer.advantages[:, i], to_go[:, i] - to_go[:, companions].mean(1), atol=1e-5
        )
    np.testing.assert_allclose(buffer.returns, to_go, atol=1e-5)


def test_labelled_items_have_probability_zero() -> None:
    config = PPOConfig(n_envs=5, shapes_per_rollout=1, paired=1, width=8)
    mixture = TaskMixture([[tiny_core()]], n_envs=5, paired=1)
    envs, model = mixture.draw(0)[0], make_ppo(mixture, config)
    observation = envs.reset_tensors()
    for _ in range(3):
        distribution, _ = model.policy.run(observation)
        masked = observation["action_mask"] == 0
        assert (distribution.probs[masked] == 0).all()
        assert torch.isfinite(model.policy.evaluate_actions(observation, distribution.sample())[2]).all()
        observation, _, _ = envs.step_tensors(distribution.sample())


class DensestItems(Core):
    """Pays ¼ for each of four picks among the six densest of sixteen items: at best 1, at random ⅜."""

    def step(self, state: EpisodeState, actions: torch.Tensor) -> StepResult:
        density = self.view(state).geometry.density(0.2).masked_fill(~state.task.pool_mask, -1)
        best = density.topk(6).indices
        result = super().step(state, actions)
        hit = (best == actions.unsqueeze(1)).any(1) & result.valid
        return result._replace(reward=hit.float() / 4)


def test_ppo_reaches_a_known_optimum(tmp_path: Path) -> None:
    source = tiny_core()
    core = DensestItems(source.dataset, source.learner, source.config, source.reward)
    config = PPOConfig(iterations=40, n_envs=32, paired=4, batch_size=64, epochs=4, learning_rate=1e-2,
                       prior_weight=0.0, width=8, validate_every=40, validation_tasks=4)  # fmt: skip
    mixture = TaskMixture([[core]], n_envs=config.n_envs, paired=config.paired)
    model = make_ppo(mixture, config, configure(None, []))
    checkpoint = PPOCheckpoint(config, tmp_path / "ppo.pt")
    trainer = Trainer(config, [[core]], {}, checkpoint, tmp_path / "policy")
    checkpoint.restore(model)
    model.learn(sys.maxsize, callback=trainer)
    envs = mixture.draw(999)[0]
    observation, total = envs.reset_tensors(), 0.0
    for _ in range(4):
        action, _, _ = model.policy(observation, deterministic=True)
        observation, result, _ = envs.step_tensors(action)
        total += float(result.reward.mean())
    assert total > 0.95, f"the greedy policy earns {total:.2f} of 1; random earns 0.375"


SHORT = PPOConfig(iterations=6, n_envs=8, paired=2, batch_size=16, epochs=2, width=8,
                  validate_every=2, validation_tasks=4)  # fmt: skip


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    def train(folder: Path, actions: dict[int, Action]) -> dict[str, Any]:
        core = tiny_core()
        mixture = TaskMixture([[core], [core]], n_envs=SHORT.n_envs, paired=2, shapes_per_rollout=2)
        logger = configure(None, [])
        logger.output_formats.append(AtReport(actions, SHORT.n_envs * TASK["budget"]))
        train_ppo(mixture, [[core]], SHORT, {"random": 0.1}, folder, logger)
        return saved(folder)

    whole = train(tmp_path / "whole", {})
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "resumed", {3: killed})  # in the middle of the second interval
    resumed = train(tmp_path / "resumed", {})
    for name, value in whole["policy"].items():
        assert torch.equal(value, resumed["policy"][name]), name
    assert whole["best"] == resumed["best"] and whole["num_timesteps"] == resumed["num_timesteps"]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    core = tiny_core()
    mixture = TaskMixture([[core]], n_envs=SHORT.n_envs, paired=SHORT.paired)
    train_ppo(mixture, [[core]], SHORT, {}, tmp_path, configure(None, []))
    with pytest.raises(InputError, match="learning_rate"):
        changed = replace(SHORT, learning_rate=0.5)
        train_ppo(mixture, [[core]], changed, {}, tmp_path, configure(None, []))


def test_saved_policies_play_the_same_and_bad_files_are_refused(tmp_path: Path) -> None:
    strategy = LearnedStrategy(AcquisitionNetwork(width=8))
    torch.nn.init.normal_(strategy.network.correction.weight)
    strategy.save(tmp_path / "policy", {"note": 1})
    core = tiny_core()
    view = core.view(core.reset(core.sampler.sample([np.random.default_rng(0)])))
    assert torch.equal(LearnedStrategy.load(tmp_path).score(view), strategy.score(view))
    assert torch.equal(LearnedStrategy.load(tmp_path / "policy.json").score(view), strategy.score(view))

    card = json.loads((tmp_path / "policy.json").read_text())
    for change, says in [
        ({"kind": "learner"}, "does not describe"),
        ({"schema": 99}, "schema"),
        ({"config": {"network": {"width": 8}, "item_features": 44, "episode_features": 28}}, "does not name"),
        ({"config": card["config"] | {"network": {"width": 8, "depth": 1}}}, "unusable"),
        ({"config": card["config"] | {"network": {"width": 9}}}, "does not fit"),
    ]:
        (tmp_path / "policy.json").write_text(json.dumps(card | change))
        with pytest.raises(InputError, match=says):
            LearnedStrategy.load(tmp_path)
    with pytest.raises(InputError, match="missing"):
        LearnedStrategy.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    "options", [{"iterations": -1}, {"paired": 3}, {"n_envs": 0}, {"batch_size": 0}, {"validate_every": 0}]
)
def test_impossible_settings_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        PPOConfig(**options)


def test_unknown_prior_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'max_herding'"):
        AcquisitionNetwork(prior="maxherding")
