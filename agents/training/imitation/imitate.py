"""Imitation of look-ahead: the policy learns to expect what only an oracle sees (AggreVaTe, Ross & Bagnell 2014).

At states that the policy visits the oracle tells how much every item would raise the reward. The policy cannot know
that, but it can make the expectation over its picks, Σᵢ π(i) · gain(i), as large as possible: an all-action policy
gradient (Sun et al. 2017) with exact one-step gains. A state says something about each of its items, where the
return of an episode is one number, so that little data goes a long way. What pays only later is left to PPO.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.policy.network import AcquisitionNetwork
from agents.training.imitation.examples import States, recalled, remember, states_file, visit
from agents.training.task_mixture import Mixture
from metaal_env.batched import masked_deviation
from metaal_env.errors import InputError
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.runtime.interrupts import deferred_interrupts

FIRST = 10**6
"""Number of the first roll-out: other tasks than those of PPO."""

BATCH = 256
"""States per update of a fit."""

Parts = Literal["mixture", "weights", "all"]


@dataclass(frozen=True)
class ImitationConfig:
    """How the policy learns from look-ahead before PPO.

    Attributes:
        iterations: roll-outs whose states are remembered; 0 = PPO starts from the rule, with contexts as they are.
            Each state takes as many adaptations of the learner as it has candidates: choose fewer for learners
            that adapt their body.
        rounds: fits, each to all states so far; the next states are visited by what it found.
        n_envs: episodes per roll-out.
        groups: parts of a roll-out, each with one data set and one task shape.
        epochs, learning_rate, weight_decay: of a fit by AdamW; the rate falls linearly from epoch to epoch, towards a
            twentieth.
        temperature: deviation of the logits within a pool with which PPO starts; larger explores less.
        parts: what is learned: one `mixture` of the rules, `weights` of them that depend on the episode, both without
            a correction, or all; then the last fit is the mean of `all` and `weights` (`fit_mean`).
        seed: of tasks, exploration and the order of the states.
    """

    iterations: int = 12
    rounds: int = 3
    n_envs: int = 256
    groups: int = 16
    epochs: int = 8
    learning_rate: float = 0.01
    weight_decay: float = 0.1
    temperature: float = 3.0
    parts: Parts = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise InputError(f"iterations={self.iterations} must be at least 0.")
        for name in ("rounds", "n_envs", "groups", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.n_envs % self.groups:
            raise InputError(f"groups={self.groups} must divide n_envs={self.n_envs}.")
        for name in ("learning_rate", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)} must be positive.")
        if not 0 <= self.weight_decay < float("inf"):
            raise InputError(f"weight_decay={self.weight_decay} must be at least 0.")


def imitate(
    network: AcquisitionNetwork,
    mixture: Mixture,
    config: ImitationConfig,
    folder: Path,
    writer: SummaryWriter | None = None,
) -> None:
    """Trains `network` in place on `mixture`.

    Continues from what lies in `folder`: ``imitation.pt``, the network after each round, and ``states-*.pt``, one
    file for each roll-out.

    Raises:
        InputError: a checkpoint belongs to other settings or is damaged; a reward or a loss is NaN or infinite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the roll-out.
    """
    checkpoint = folder / "imitation.pt"
    done = 0
    if (saved := read_checkpoint(checkpoint, config)) is not None:
        network.names.check_same(saved.get("features"), f"checkpoint={str(checkpoint)!r}")
        with as_input_error(checkpoint):
            network.load_state_dict(saved["network"])
            done = int(saved["iteration"])
    if done >= config.iterations:
        return
    ends = {round(config.iterations * (number + 1) / config.rounds) for number in range(config.rounds)}
    states: list[States] = []
    bar = tqdm(range(config.iterations), desc="imitation", unit="roll-out")
    with bar, deferred_interrupts() as stopping:
        for iteration in bar:
            states.append(_visited(network, mixture, config, iteration, folder))
            if iteration + 1 in ends and iteration >= done:
                last = iteration + 1 == config.iterations
                gain = (fit_mean if last else fit)(network, States.joined(states), config)
                if writer is not None:
                    writer.add_scalar("imitation_by_rollout/expected_gain", gain, iteration + 1)
                state = {"network": network.state_dict(), "iteration": iteration + 1}
                state["features"] = network.names.to_json()
                write_checkpoint(checkpoint, config, state)
            if stopping:
                break


def _visited(
    network: AcquisitionNetwork, mixture: Mixture, config: ImitationConfig, iteration: int, folder: Path
) -> States:
    file = states_file(folder, iteration)
    if (saved := recalled(file, config, network.names)) is not None:
        return saved
    # Seeded by the iteration alone, so that a continued run needs no random state.
    rng = np.random.default_rng([config.seed, iteration])
    found = States.joined([visit(network, envs, rng) for envs in mixture.draw(FIRST + iteration)])
    if not bool(found.gain.isfinite().all()):
        raise InputError(
            f"reward: imitation met a NaN or infinite gain at roll-out {iteration}; mend the reward or choose another."
        )
    remember(file, config, network.names, found)
    return found


def fit_mean(network: AcquisitionNetwork, states: States, config: ImitationConfig) -> float:
    """As `fit`; of `all` parts, the mean with a fit of the rules' weights alone.

    The network also learns what its sources share and other spaces lack; weights say less and carry over. The mean of
    their logits, again one network, does better than either (docs/log/2026-11.md, entry 70).
    """
    if config.parts != "all":
        return fit(network, states, config)
    rules = deepcopy(network)
    fit(rules, states, replace(config, parts="weights"))
    gain = fit(network, states, config)
    network.average_with(rules)
    _scale_logits(network, states, config)
    return gain


def fit(network: AcquisitionNetwork, states: States, config: ImitationConfig) -> float:
    """Maximises the expected gain over `states`, from the weights that `network` has; returns it.

    Of fewer parts than `all`, the correction that it has is dropped.

    Raises:
        InputError: it diverged.
    """
    torch.manual_seed(config.seed)
    network.fit_context(states.episode)
    # In a unit that is the same for all rewards.
    scale = masked_deviation(states.gain, states.candidates).mean().clamp(min=1e-8)
    trained: list[nn.Parameter] = [network.rule_weights]
    if config.parts != "mixture":
        trained.append(network.gate)
    if config.parts == "all":
        layers = (network.items, network.context, network.embed, network.correction)
        trained += [weight for layer in layers for weight in layer.parameters()]
    else:
        network.drop_correction()
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    for epoch in range(config.epochs):
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - 0.95 * epoch / config.epochs)
        total = 0.0
        for batch in _batches(states, network.gate.device):
            logits = _logits(network, batch, config.parts)
            loss = -(logits.softmax(1) * batch.gain).sum(1).mean() / scale
            if not bool(loss.isfinite()):
                raise InputError(
                    f"learning_rate={config.learning_rate}: imitation diverged; choose a lower one."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total -= float(loss.detach()) * len(batch.gain)
    _scale_logits(network, states, config)
    return total * float(scale) / len(states.gain)


@torch.no_grad()
def _scale_logits(network: AcquisitionNetwork, states: States, config: ImitationConfig) -> None:
    """Gives the logits the deviation `config.temperature`, which says how much sampling explores."""
    spread = [
        masked_deviation(
            _logits(network, batch, config.parts).masked_fill(~batch.candidates, 0), batch.candidates
        )
        for batch in _batches(states, network.gate.device)
    ]
    network.scale_logits(config.temperature / max(1e-6, float(torch.cat(spread).mean())))


def _batches(states: States, device: torch.device) -> Iterator[States]:
    for index in torch.randperm(len(states.gain)).split(BATCH):
        yield States(*(column[index].to(device) for column in states))


def _logits(network: AcquisitionNetwork, batch: States, parts: Parts) -> Tensor:
    items = batch.items.float()
    if parts == "all":
        logits = network(items, batch.episode, batch.candidates).logits
    else:
        logits = network.prior(items, batch.episode)  # in a fifth of the time
    return logits.masked_fill(~batch.candidates, -torch.inf)
