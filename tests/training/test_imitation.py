"""Imitation of look-ahead: what is remembered is right, the fit finds what pays, and bad settings are refused."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clusters import cluster_dataset

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from agents.training.imitation.examples import Examples, centred, collect_examples, one_step_gains
from agents.training.imitation.imitate import ImitationConfig, fit, fit_mean
from agents.training.imitation.rounds import imitate
from agents.training.task_mixture import TaskMixture
from agents.training.validation import validate
from metaal_env.batched import masked_deviation
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.features import FeatureNames
from metaal_env.make import make_core
from metaal_env.rewards import REWARDS

TASK = {"way": 3, "pool_size": 20, "budget": 6, "reward_per_class": 4, "test_per_class": 2}
CONFIG = ImitationConfig(iterations=6, rounds=2, n_envs=32, shapes_per_rollout=2, epochs=40)


def core(reward: str = "aulc") -> Core:
    return make_core(cluster_dataset(items=16), reward=reward, **TASK)


def mixture(reward: str = "aulc") -> TaskMixture:
    return TaskMixture([[core(reward)]], n_envs=32, paired=1, shapes_per_rollout=2)


def states(network: AcquisitionNetwork, number: int = 0) -> Examples:
    rng = np.random.default_rng(number)
    return Examples.joined([collect_examples(network, envs, rng) for envs in mixture().draw(number)])


def worst() -> AcquisitionNetwork:
    torch.manual_seed(0)
    network = AcquisitionNetwork(width=8)
    with torch.no_grad():
        network.rule_weights.neg_()
    return network


def test_gains_are_what_a_step_would_pay() -> None:
    env = core()
    state = env.reset(env.sampler.sample([np.random.default_rng(seed) for seed in range(8)]))
    env.step(state, torch.zeros(8, dtype=torch.long))
    places = torch.arange(1, 20).expand(8, -1)
    real = torch.ones_like(places, dtype=torch.bool)
    paid = torch.stack([env.step(deepcopy(state), places[:, place]).reward for place in range(19)], 1)
    gain = centred(one_step_gains(None, env.oracle(state), places, real), real)[0]
    torch.testing.assert_close(gain, paid - paid.mean(1, keepdim=True), atol=1e-5, rtol=0)
    assert paid.std() > 0.01


def test_what_is_remembered_has_one_shape_and_no_padding_counts() -> None:
    found = states(AcquisitionNetwork(width=8))
    names = FeatureNames.registered()
    assert found.items.shape[1:] == (64, len(names.items))
    assert found.episode.shape[1] == len(names.pool_features)
    assert found.candidates.sum(1).max() <= 20 and found.candidates.sum(1).min() >= 14
    assert not found.items[~found.candidates].any() and not found.gain[~found.candidates].any()


@pytest.mark.parametrize("budget", [1, 2, 7])
def test_the_shortest_episodes_and_nearly_whole_pools_are_remembered(budget: int) -> None:
    task = TASK | {"budget": budget, "pool_size": 8}
    source = make_core(cluster_dataset(items=16), reward="aulc", **task)
    (envs,) = TaskMixture([[source]], n_envs=4, paired=1).draw(0)
    found = collect_examples(AcquisitionNetwork(width=8), envs, np.random.default_rng(0))
    assert (
        len(found.gain) == 4 * min(budget, max(2, budget // 2))
        and found.gain.isfinite().all()
        and found.candidates.any(1).all()
    )


@pytest.fixture(scope="module")
def imitated(tmp_path_factory: pytest.TempPathFactory) -> AcquisitionNetwork:
    """The worst policy after imitation."""
    network = worst()
    imitate(network, mixture(), CONFIG, tmp_path_factory.mktemp("imitation"))
    return network


def test_it_turns_the_worst_policy_into_one_that_beats_the_rule(imitated: AcquisitionNetwork) -> None:
    before = validate([[core()]], LearnedStrategy(worst()), 64)[0]
    after = validate([[core()]], LearnedStrategy(imitated), 64)[0]
    rule = validate([[core()]], LearnedStrategy(AcquisitionNetwork(width=8)), 64)[0]
    assert after > before + 0.05 and after > rule - 0.01


def test_logits_end_at_the_temperature_asked_for(imitated: AcquisitionNetwork) -> None:
    found = states(imitated)
    logits = imitated(found.items.float(), found.episode, found.candidates).logits.detach()
    assert float(masked_deviation(logits, found.candidates).mean()) == pytest.approx(
        CONFIG.logit_scale, rel=0.3
    )


@pytest.mark.parametrize(
    ("parts", "moves"),
    [("constant_weights", set()), ("weights", {"gate"}), ("all", {"gate", "correction.weight"})],
)
def test_only_the_chosen_parts_are_learned(parts: str, moves: Any, tmp_path: Path) -> None:
    network = worst()
    imitate(
        network,
        mixture(),
        ImitationConfig(iterations=1, rounds=1, n_envs=8, shapes_per_rollout=1, parts=parts),
        tmp_path,
    )
    zero = {name for name in ("gate", "correction.weight") if network.state_dict()[name].any()}
    assert zero == moves


def test_the_mean_of_two_fits_is_one_network() -> None:
    found = states(worst())

    def logits(fitting: Callable[..., Any], parts: str = "all") -> torch.Tensor:
        network = worst()
        fitting(network, found, replace(CONFIG, parts=parts))
        return network(found.items.float(), found.episode, found.candidates).logits.detach()

    both, network, rules = logits(fit_mean), logits(fit), logits(fit, "weights")
    mean = (network + rules) / 2
    torch.testing.assert_close(both / both.std(), mean / mean.std(), atol=1e-3, rtol=1e-3)
    assert (network - rules).std() > 0.1


def test_a_context_has_no_correlations() -> None:
    network = AcquisitionNetwork()
    episode = states(network).episode
    network.fit_context(episode)
    covariance = np.cov(network.context_of(episode).numpy().T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.15
    assert np.diag(covariance).max() < 1.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": -1},
        {"rounds": 0},
        {"shapes_per_rollout": 3},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
    ],
)
def test_bad_configuration(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ImitationConfig(**wrong)


def test_a_broken_reward_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REWARDS, "broken", lambda before, after, *_: after.accuracy * torch.nan)
    with pytest.raises(InputError, match="NaN or infinite gain at roll-out 0"):
        imitate(AcquisitionNetwork(), mixture("broken"), CONFIG, tmp_path)
