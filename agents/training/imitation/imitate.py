"""Imitation of look-ahead: the policy learns to expect what only an oracle sees (AggreVaTe, Ross & Bagnell 2014).

At states that the policy visits the oracle tells how much every item would raise the reward. The policy cannot know
that, but it can make the expectation over its picks, Σᵢ π(i) · gain(i), as large as possible: an all-action policy
gradient (Sun et al. 2017) with exact one-step gains. A state says something about each of its items, where the
return of an episode is one number, so that little data goes a long way. What pays only later is left to vine
roll-outs (``gain="return"``) and to PPO.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from agents.policy.network import AcquisitionNetwork
from agents.training.imitation.examples import (
    Examples,
    Gain,
)
from metaal_env.batched import masked_deviation
from metaal_env.errors import InputError, require_at_least

BATCH = 256
"""Examples per update of a fit."""

Parts = Literal["constant_weights", "weights", "all"]


@dataclass(frozen=True)
class ImitationConfig:
    """Holds the settings of imitating look-ahead, before PPO."""

    iterations: int = 12
    """Roll-outs whose states become examples; with 0, PPO starts from the rule. Each example costs one adaptation of
    the learner for each of its candidates, so choose fewer for learners that adapt their body."""
    rounds: int = 3
    """Number of refits. Each uses all examples so far, and the next ones are collected with the refitted policy
    (DAgger)."""
    gain: Gain = "one_step"
    """Value of an item that the teacher reports. one_step: the reward of its label. return: all rewards until the end
    if the policy of the round before continues (vine roll-outs); the first round uses one_step."""
    n_envs: int = 256
    """Episodes per roll-out."""
    shapes_per_rollout: int = 16
    """Parts of a roll-out. Each part has one data set and one task shape."""
    epochs: int = 8
    """Passes over the examples in the last fit; earlier fits make half as many."""
    learning_rate: float = 0.01
    """Step size of AdamW. It falls linearly over the epochs, towards a twentieth."""
    weight_decay: float = 0.1
    """Weight decay of AdamW."""
    logit_scale: float = 3.0
    """Standard deviation of the logits within a pool when PPO starts. Larger values explore less."""
    parts: Parts = "all"
    """What is learned: constant_weights of the rules, weights that depend on the episode, or all, which adds a
    network's correction. With all, the last fit is the mean of a fit of everything and one of the weights alone."""
    seed: int = 0
    """Seed of tasks, exploration and the order of the examples."""

    def __post_init__(self) -> None:
        require_at_least(0, self, "iterations", "weight_decay")
        require_at_least(1, self, "rounds", "n_envs", "shapes_per_rollout", "epochs")
        if self.n_envs % self.shapes_per_rollout:
            raise InputError(
                f"shapes_per_rollout={self.shapes_per_rollout} must divide n_envs={self.n_envs}."
            )
        for name in ("learning_rate", "logit_scale"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)} must be positive.")


def fit_mean(network: AcquisitionNetwork, examples: Examples, config: ImitationConfig) -> float:
    """As `fit`; of `all` parts, the mean with a fit of the rules' weights alone.

    The network also learns what its sources share and other spaces lack; weights say less and carry over. The mean of
    their logits, again one network, does better than either (docs/log/2026-11.md, entry 70).
    """
    if config.parts != "all":
        return fit(network, examples, config)
    rules = deepcopy(network)
    fit(rules, examples, replace(config, parts="weights"))
    gain = fit(network, examples, config)
    network.average_with(rules)
    _scale_logits(network, examples, config)
    return gain


def fit(network: AcquisitionNetwork, examples: Examples, config: ImitationConfig) -> float:
    """Maximises the expected gain over `examples`, from the weights that `network` has; returns it.

    Of fewer parts than `all`, the correction that it has is dropped.

    Raises:
        InputError: it diverged.
    """
    torch.manual_seed(config.seed)
    network.fit_context(examples.episode)
    # In a unit that is the same for all rewards.
    scale = masked_deviation(examples.gain, examples.candidates).mean().clamp(min=1e-8)
    trained: list[nn.Parameter] = [network.rule_weights]
    if config.parts != "constant_weights":
        trained.append(network.gate)
    if config.parts == "all":
        layers = (network.items, network.context, network.embed, network.correction)
        trained += [weight for layer in layers for weight in layer.parameters()]
        trained += [] if network.stop is None else network.stop.parameters()
    else:
        network.drop_correction()
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - 0.95 * epoch / config.epochs)
        total = 0.0
        for batch in _batches(examples, network.gate.device):
            logits, stop = _logits(network, batch, config.parts)
            expected = (logits.softmax(1) * batch.gain).sum(1)
            if stop is not None:
                expected = torch.lerp(expected, batch.stop, stop.sigmoid())
            loss = -expected.mean() / scale
            if not bool(loss.isfinite()):
                raise InputError(
                    f"learning_rate={config.learning_rate}: imitation diverged; choose a lower one."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total -= float(loss.detach()) * len(batch.gain)
    _scale_logits(network, examples, config)
    return total * float(scale) / len(examples.gain)


@torch.no_grad()
def _scale_logits(network: AcquisitionNetwork, examples: Examples, config: ImitationConfig) -> None:
    """Gives the logits the deviation `config.logit_scale`, which says how much sampling explores."""
    spread = [
        masked_deviation(
            _logits(network, batch, config.parts)[0].masked_fill(~batch.candidates, 0), batch.candidates
        )
        for batch in _batches(examples, network.gate.device)
    ]
    network.scale_logits(config.logit_scale / max(1e-6, float(torch.cat(spread).mean())))


def _batches(examples: Examples, device: torch.device) -> Iterator[Examples]:
    for index in torch.randperm(len(examples.gain)).split(BATCH):
        yield Examples(*(column[index].to(device) for column in examples))


def _logits(network: AcquisitionNetwork, batch: Examples, parts: Parts) -> tuple[Tensor, Tensor | None]:
    """(B, C) logits of the candidates, and (B,) logits to stop; the latter only of all parts."""
    items, stop = batch.items.float(), None
    if parts == "all":
        output = network(items, batch.episode, batch.candidates)
        logits, stop = output.logits, output.stop
    else:
        logits = network.prior(items, batch.episode)  # in a fifth of the time
    return logits.masked_fill(~batch.candidates, -torch.inf), stop
