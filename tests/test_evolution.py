"""The search for the prior: it finds what pays, continues exactly, and refuses what cannot work."""

import numpy as np
import pytest
import torch
from conftest import cluster_dataset

from agents.evolution import EvolutionConfig, averaged, evolve, examples, play
from agents.mixture import Mixture
from agents.networks import CONTEXT_LIMIT, AcquisitionNetwork
from metaal_env.errors import InputError
from metaal_env.setup import make_core


def mixture(paired: int = 4) -> Mixture:
    task = {"way": 3, "pool_size": 20, "budget": 5, "reward_per_class": 4, "test_per_class": 2}
    return Mixture([[make_core(cluster_dataset(items=16), reward="aulc", **task)]], n_envs=32, paired=paired)


def returns(network: AcquisitionNetwork) -> float:
    base = network.rule_weights.detach()
    found = []
    for number in range(10):
        (envs,) = mixture().draw(5000 + number)
        rows = (envs.num_envs, -1, -1)
        found.append(play(envs, network, base.expand(rows[:2]), network.gate.detach().expand(rows)))
    return float(torch.cat(found).mean())


def test_finds_a_better_prior(tmp_path) -> None:
    network = AcquisitionNetwork()
    with torch.no_grad():
        network.rule_weights.neg_()  # the worst of starts
    network.fit_context(examples(network, mixture())[0])
    before = returns(network)
    evolve(network, mixture(), EvolutionConfig(iterations=15, learning_rate=0.2), tmp_path / "evolution.pt")
    assert returns(network) > before + 0.02
    spread = examples(network, mixture())[1].mean()
    assert float(spread) == pytest.approx(EvolutionConfig().temperature, rel=1e-3)


def test_without_a_gate_one_mixture_serves_all(tmp_path) -> None:
    network = AcquisitionNetwork()
    start = network.rule_weights.detach().clone()
    evolve(network, mixture(), EvolutionConfig(iterations=2, gated=False), tmp_path / "evolution.pt")
    assert not bool(network.gate.any())
    assert not torch.allclose(network.rule_weights / network.rule_weights.norm(), start / start.norm())


def test_continues_exactly(tmp_path, monkeypatch) -> None:
    config = EvolutionConfig(iterations=4)

    def trained(checkpoint) -> AcquisitionNetwork:
        torch.manual_seed(0)
        network = AcquisitionNetwork()
        evolve(network, mixture(), config, checkpoint)
        return network

    whole = trained(tmp_path / "whole.pt")
    from agents import evolution

    calls = []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return kept(*arguments)

    kept = evolution.write_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(evolution, "write_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "part.pt")
    continued = trained(tmp_path / "part.pt")
    again = trained(tmp_path / "part.pt")  # nothing left to do
    for network in (continued, again):
        torch.testing.assert_close(network.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_context_is_whitened() -> None:
    network = AcquisitionNetwork()
    features = examples(network, mixture())[0]
    network.fit_context(features)
    context = network.context_of(features)
    covariance = np.cov(context.numpy().T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 0.1
    assert np.diag(covariance).max() < 1.1


def test_the_mean_of_priors_scores_as_the_mean_of_their_scores() -> None:
    features = examples(AcquisitionNetwork(), mixture())[0]
    networks = [AcquisitionNetwork(), AcquisitionNetwork()]
    for network, part in zip(networks, (features[::2], features[1::2]), strict=True):
        network.fit_context(part)
        torch.nn.init.normal_(network.rule_weights)
        torch.nn.init.normal_(network.gate)
    mean = averaged(networks, features)
    farthest = torch.stack(
        [network.context_of(features).abs().amax(1) for network in [*networks, mean]]
    ).amax(0)
    middle = features[farthest.argmin()].unsqueeze(0)
    assert farthest.min() < CONTEXT_LIMIT, "where no context is cut off"
    expected = torch.stack([network.weights_of_rules(middle) for network in networks]).mean(0)
    torch.testing.assert_close(mean.weights_of_rules(middle), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("wrong", [{"iterations": -1}, {"sigma": 0.0}, {"learning_rate": float("nan")}])
def test_bad_configuration(wrong) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        EvolutionConfig(**wrong)


def test_pairs_need_even_numbers(tmp_path) -> None:
    with pytest.raises(InputError, match="paired=1 must be even"):
        evolve(AcquisitionNetwork(), mixture(1), EvolutionConfig(), tmp_path / "evolution.pt")


def test_a_broken_reward_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("agents.evolution.play", lambda envs, *_: torch.full((envs.num_envs,), torch.nan))
    with pytest.raises(InputError, match="NaN or infinite return at iteration 0"):
        evolve(AcquisitionNetwork(), mixture(), EvolutionConfig(iterations=1), tmp_path / "evolution.pt")
