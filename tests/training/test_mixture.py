"""Mixtures: what a roll-out is made of, minibatches of several shapes, and sources given as text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure

from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import make_ppo
from agents.training.ppo.training_policy import TrainingPolicy
from agents.training.task_mixture import TaskMixture, load_sources, one_shape, random_task_shape
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.make import make_core
from metaal_env.tasks import TaskConfig

TASK = {"way": 3, "pool_size": 16, "budget": 4, "reward_per_class": 5, "test_per_class": 5}


def core(learner: str = "prototype", **options: Any) -> Core:
    return make_core(cluster_dataset(), learner=learner, **(TASK | options))


def test_a_roll_out_depends_on_its_number_alone() -> None:
    families = [[core()], [core("ridge"), core("logistic")]]

    def pools(mixture: TaskMixture, number: int) -> list[torch.Tensor]:
        return [envs.reset_tensors()["item_features"] for envs in mixture.draw(number)]

    first, second = (
        TaskMixture(families, n_envs=8, paired=2, shapes_per_rollout=2, random_task_shapes=True, seed=1)
        for _ in range(2)
    )
    pools(first, 0)
    for ours, theirs in zip(pools(first, 3), pools(second, 3), strict=True):
        assert torch.equal(ours, theirs)
    assert [p.shape for p in pools(first, 3)] != [p.shape for p in pools(first, 4)]
    for place, ours in enumerate(pools(first, 3)):  # a worker makes its own part alone
        assert torch.equal(ours, second.draw_part(3, place).reset_tensors()["item_features"])


def test_every_family_comes_before_any_comes_twice() -> None:
    families = [[core()], [core("ridge")], [core("logistic")]]
    mixture = TaskMixture(families, n_envs=3, paired=1, shapes_per_rollout=3)
    for number in range(5):
        assert {id(envs.core.learner) for envs in mixture.draw(number)} == {
            id(family[0].learner) for family in families
        }


def test_ranges_become_one_shape_per_group() -> None:
    rng = np.random.default_rng(0)
    config = TaskConfig(way=(3, 8), pool_size=(50, 90), budget=(5, 9), initial_labels=(0, 2))
    shapes = [one_shape(config, rng) for _ in range(40)]
    assert {s.way for s in shapes} == set(range(3, 9)) and {s.initial_labels for s in shapes} == {0, 1, 2}
    assert all(isinstance(s.pool_size, int) and 50 <= s.pool_size <= 90 for s in shapes)


def test_varied_shapes_stay_within_what_is_promised() -> None:
    data, rng = cluster_dataset(), np.random.default_rng(0)
    shapes = [random_task_shape(TaskConfig(), data, rng) for _ in range(400)]
    for shape in shapes:
        assert 2 <= shape.way <= min(20, data.n_classes) and 5 <= shape.budget <= 80
        assert shape.pool_size >= 2 * (shape.budget + shape.initial_labels)
        assert shape.rare_share == 0 or (shape.way == 2 and 0.01 <= shape.rare_share <= 0.1)
    assert 0.18 < np.mean([shape.way == 2 for shape in shapes]) < 0.32
    assert 0.08 < np.mean([shape.rare_share > 0 for shape in shapes]) < 0.18


def ppo(mixture: TaskMixture, **options: Any) -> PPO:
    config = PPOConfig(
        n_envs=mixture.size * mixture.shapes_per_rollout,
        shapes_per_rollout=mixture.shapes_per_rollout,
        paired=mixture.paired,
        width=8,
        iterations=1,
        **options,
    )
    return make_ppo(mixture, config, configure(None, []))


class Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True


def test_minibatches_equal_evaluation_one_by_one() -> None:
    """Samples of several shapes are computed together; each must get what it gets alone."""
    mixture = TaskMixture([[core(pool_size=16)], [core("ridge", pool_size=20, budget=6)]],
                      n_envs=16, paired=4, shapes_per_rollout=2)  # fmt: skip
    model = ppo(mixture, batch_size=24)
    torch.nn.init.normal_(model.policy.network.correction.weight)
    model.learn(1, callback=Silent())
    model.iteration = 0
    model.collect_rollouts(model.env, Silent(), model.rollout_buffer, 0)
    buffer, policy = model.rollout_buffer, model.policy
    seen = 0
    for batch in buffer.get(24):
        assert isinstance(batch.observations, list)
        value, log_prob, _ = policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
        # Nothing has been updated since the roll-out, where each moment was evaluated in a batch of its own.
        torch.testing.assert_close(log_prob, batch.old_log_prob, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(value, batch.old_values, atol=1e-4, rtol=1e-4)
        seen += len(value)
    assert seen == 8 * 4 + 8 * 6


def test_long_episodes_do_not_drown_short_ones() -> None:
    mixture = TaskMixture(
        [[core(budget=2)], [core(pool_size=90, budget=60)]], n_envs=8, paired=2, shapes_per_rollout=2
    )
    model = ppo(mixture, batch_size=1000)
    model.learn(1, callback=Silent())
    sizes = [len(o["item_features"]) for batch in model.rollout_buffer.get(1000) for o in batch.observations]
    assert sorted(sizes) == [4 * 2, 4 * model.rollout_buffer.most_steps]
    for part in model.rollout_buffer.parts:
        assert part.advantages.std() == pytest.approx(1, abs=1e-3) or part.advantages.std() == 0


def test_sources_are_split_by_class_or_by_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for i in range(6):
        files.append(tmp_path / f"table{i}.npz")
        np.savez(files[-1], X=rng.normal(size=(90, 3)).astype(np.float32), y=np.arange(90) % 2)
    task = TaskConfig(way=2, pool_size=30, budget=5, reward_per_class=5, test_per_class=5)
    training, validation = load_sources(
        ["digits", "+".join(map(str, files)) + "@ridge"], task, "likelihood_aulc"
    )
    assert [len(f) for f in training] == [1, 4] and [len(f) for f in validation] == [1, 2]
    assert type(training[0][0].learner) is type(make_core("digits", **TASK).learner)
    assert not {c.dataset.name for c in training[1]} & {c.dataset.name for c in validation[1]}
    with pytest.raises(InputError, match="nowhere"):
        load_sources(["nowhere.npz@ridge"], task, "aulc")
    with pytest.raises(InputError, match="rigde"):
        load_sources(["digits@rigde"], task, "aulc")


def test_the_policy_is_the_one_that_stable_baselines_builds() -> None:
    model = ppo(TaskMixture([[core()]], n_envs=2, paired=1), batch_size=8)
    assert type(model.policy) is TrainingPolicy and model.gamma == 1.0
