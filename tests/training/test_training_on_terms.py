"""Training where labels have prices or costs, come in batches or end at a target; and the hand-made answers."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset
from stable_baselines3.common.logger import configure

from agents.loading import load_strategy
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.strategies.base import Strategy, far_from_batch
from agents.strategies.terms import PerCost, Stopping
from agents.training.imitation.examples import collect_examples, one_step_gains
from agents.training.imitation.imitate import ImitationConfig
from agents.training.imitation.vine import returns_to_go
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.train import initial_network, make_ppo, rollout_mixture, train_ppo
from agents.training.task_mixture import TaskMixture
from agents.training.validation import play_returns, validate
from benchmarks.policy.hand_made import best_answer
from metaal_env.core import Core
from metaal_env.make import make_core
from metaal_env.pool.view import PoolView

TASK: dict[str, Any] = {"way": 2, "pool_size": 12, "budget": 5, "reward_per_class": 3, "test_per_class": 3}
PROBLEMS: dict[str, dict[str, Any]] = {
    "stop": {"reward": "accuracy_gain", "price": (0.01, 0.2)},
    "batch": {"batch_size": 2},
    "cost": {"reward": "aulc_over_money", "item_costs": 0.4},
    "target": {"reward": "label_cost", "target": (0.5, 0.9)},
}
PPO = PPOConfig(iterations=2, n_envs=8, shapes_per_rollout=1, paired=4, batch_size=32, epochs=1, width=8,
                validate_every=1, validation_tasks=4, critic_rollouts=1, features=("standard",))  # fmt: skip


def core(problem: str, **more: Any) -> Core:
    return make_core(cluster_dataset(items=12), **(TASK | PROBLEMS[problem] | more))


def stopping(logit: float, task: Core) -> LearnedStrategy:
    network = initial_network(PPO, task.config)
    assert network.stop is not None
    with torch.no_grad():
        network.stop[2].bias.fill_(logit)  # type: ignore[union-attr, operator]
    return LearnedStrategy(network)


class Never(Strategy):
    """The first item, always."""

    def score(self, view: PoolView) -> torch.Tensor:
        return -torch.arange(view.valid.shape[1]).expand_as(view.valid).float()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_policy_is_trained_on_every_problem(problem: str, tmp_path: Path) -> None:
    tasks = core(problem)
    mixture = rollout_mixture(PPO, [[tasks]], random_task_shapes=False)
    imitation = ImitationConfig(
        iterations=2, rounds=2, gain="return", n_envs=4, shapes_per_rollout=1, epochs=1
    )
    found = train_ppo(mixture, [[tasks]], PPO, {}, tmp_path, configure(None, []), imitation)
    again = LearnedStrategy.load(tmp_path)
    assert (again.network.stop is not None) == (problem == "stop")
    played = [play_returns(tasks, policy, range(5)) for policy in (found, again)]
    np.testing.assert_array_equal(played[0]["return"], played[1]["return"])


def test_returns_are_what_the_environment_pays() -> None:
    tasks = core("stop")
    played = play_returns(tasks, Never(), range(6), batch_size=4)
    assert (played["labels"] == 5).all()
    state = tasks.reset(tasks.sampler.sample([np.random.default_rng(seed) for seed in range(6)]))
    start = state.metrics.accuracy.numpy()
    expected = played["accuracy"] - start - 5 * state.task.price.numpy()
    np.testing.assert_allclose(played["return"], expected, atol=1e-6)
    assert validate([[tasks]], Never(), 8)[0] == pytest.approx(
        play_returns(tasks, Never(), range(10**6, 10**6 + 8))["return"].mean()
    )


@pytest.mark.parametrize(("logit", "labels"), [(9.0, 0), (-9.0, 5)])
def test_the_learned_policy_stops_when_its_logit_says_so(logit: float, labels: int) -> None:
    tasks = core("stop")
    played = play_returns(tasks, stopping(logit, tasks), range(6))
    assert (played["labels"] == labels).all()
    assert labels or not played["return"].any()


def test_a_policy_that_may_stop_ranks_items_where_it_cannot() -> None:
    tasks = core("stop")
    plain = core("batch", batch_size=1)
    state = plain.reset(plain.sampler.sample([np.random.default_rng(0)]))
    policy = stopping(9.0, tasks)
    assert int(policy.select(plain.view(state))[0]) < 12


@pytest.mark.parametrize("problem", ["stop", "cost"])
def test_a_label_is_valued_less_its_price_and_for_a_unit_of_cost(problem: str) -> None:
    tasks = core(problem)
    state = tasks.reset(tasks.sampler.sample([np.random.default_rng(seed) for seed in range(6)]))
    tasks.step(state, torch.zeros(6, dtype=torch.long))
    places = torch.arange(1, 4).expand(6, -1)
    gains = one_step_gains(None, tasks.oracle(state), places, torch.ones(6, 3, dtype=torch.bool))
    for column in range(3):
        paid = tasks.step(deepcopy(state), places[:, column]).reward
        cost = state.terms.cost.gather(1, places[:, column : column + 1]).squeeze(1)
        torch.testing.assert_close(gains[:, column], paid / cost, atol=1e-5, rtol=1e-5)
    assert gains.std() > 0.001


def test_vine_returns_end_where_the_policy_stops() -> None:
    tasks = core("stop")
    state = tasks.reset(tasks.sampler.sample([np.random.default_rng(seed) for seed in range(4)]))
    places, real = torch.arange(3).expand(4, -1), torch.ones(4, 3, dtype=torch.bool)
    at_once = stopping(9.0, tasks).network
    found = returns_to_go(at_once, tasks.oracle(state), places, real)
    gains = one_step_gains(None, tasks.oracle(state), places, real)
    torch.testing.assert_close(found, gains, atol=1e-5, rtol=1e-5)


def test_examples_remember_what_stopping_is_worth() -> None:
    tasks = core("stop")
    (envs,) = TaskMixture([[tasks]], n_envs=4, paired=1, names=PPO.names(tasks.config)).draw(0)
    found = collect_examples(stopping(9.0, tasks).network, envs, np.random.default_rng(0))
    # Of any candidate: what it gains over stopping. Stopping at once ends no collection of states.
    assert len(found.gain) == 4 * 2
    assert ((found.gain - found.stop.unsqueeze(1)) * found.candidates).abs().max() > 0.01


def test_ppo_counts_no_label_after_the_end() -> None:
    tasks = core("stop")
    model = make_ppo(rollout_mixture(PPO, [[tasks]], False), PPO, configure(None, []))
    with torch.no_grad():
        model.policy.network.stop[2].bias.fill_(0.0)  # type: ignore[index, union-attr, operator]
    model.learn(8)
    buffer = model.rollout_buffer.parts[0]  # type: ignore[attr-defined]
    assert model.num_timesteps > 0 and 0 < buffer.running.mean() < 0.9
    assert not buffer.rewards[~buffer.running.reshape(buffer.rewards.shape)].any()


def test_the_tuned_answer_plays_as_it_was_tuned() -> None:
    tasks = core("stop")
    answer = best_answer(tasks, range(12))
    assert isinstance(answer.strategy, Stopping)
    assert play_returns(tasks, answer.strategy, range(12))["return"].mean() == pytest.approx(
        answer.validation, abs=1e-5
    )
    assert (
        answer.validation >= play_returns(tasks, load_strategy("uherding"), range(12))["return"].mean() - 1e-6
    )


@pytest.mark.parametrize("problem", ["batch", "cost", "target"])
def test_every_problem_has_a_hand_made_answer(problem: str) -> None:
    tasks = core(problem)
    answer = best_answer(tasks, range(6))
    assert answer.validation >= play_returns(tasks, load_strategy("margin"), range(6))["return"].mean() - 1e-6


def test_cheap_items_and_unlike_batches_are_preferred() -> None:
    tasks = core("cost")
    state = tasks.reset(tasks.sampler.sample([np.random.default_rng(0)]))
    assert int(PerCost(load_strategy("margin"), 50.0).select(tasks.view(state))) == int(
        state.terms.cost.argmin()
    )
    batch = core("batch")
    state = batch.reset(batch.sampler.sample([np.random.default_rng(0)]))
    batch.step(state, torch.tensor([0]))
    view = batch.view(state)
    flat = load_strategy("margin")
    flat.score = lambda view: torch.ones_like(view.valid, dtype=torch.float)  # type: ignore[method-assign]
    distance = view.geometry.sq_dist[0, 0].masked_fill(state.labelled[0], -torch.inf)
    assert int(far_from_batch(view)[0].argmin()) == 0
    assert distance[flat.select(view)[0]] == distance.max()


def test_networks_without_a_stop_keep_their_artifacts() -> None:
    assert "stop" not in AcquisitionNetwork(width=8).options
    assert not any(name.startswith("stop") for name in AcquisitionNetwork(width=8).state_dict())
