"""The policy's prior found by evolution strategies (Salimans et al. 2017): which rules count, and when.

A rule shows its worth over a whole episode. Policy gradients explore pick by pick, and between two picks of nearly
equal rank, which tells little about rules; here the weights themselves are perturbed for a whole episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.mixture import Mixture
from agents.networks import CONTEXT_SCALE, AcquisitionNetwork, weights_of_rules
from metaal_env.artifacts import read_checkpoint, restoring, write_checkpoint
from metaal_env.errors import InputError
from metaal_env.features import RULES, episode_features, rule_scores
from metaal_env.stopping import put_off
from metaal_env.tasks import bounds
from metaal_env.vector_env import MetaALVectorEnv

FIRST = 2 * 10**6
"""Number of the first roll-out: other tasks than those of imitation and PPO."""

CONTEXT_DRAWS = 8
"""Roll-outs from which the range of what episodes look like is taken."""


@dataclass(frozen=True)
class EvolutionConfig:
    """How the weights of the prior's rules are found before PPO.

    Attributes:
        iterations: roll-outs of the mixture; 0 = the prior stays the one rule it is.
        sigma: deviation of the perturbations.
        learning_rate: of Adam; it falls linearly to a tenth.
        temperature: deviation of the prior's scores in a pool that PPO starts with; larger explores less.
        gated: whether the weights may depend on the episode; else one mixture of rules serves all.
        seed: of perturbations.
    """

    iterations: int = 90
    sigma: float = 0.15
    learning_rate: float = 0.08
    temperature: float = 3.0
    gated: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise InputError(f"iterations={self.iterations} must be at least 0.")
        for name in ("sigma", "learning_rate", "temperature"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}={getattr(self, name)} must be positive.")


def evolve(
    network: AcquisitionNetwork,
    mixture: Mixture,
    config: EvolutionConfig,
    checkpoint: Path,
    writer: SummaryWriter | None = None,
) -> None:
    """Improves `network`'s rule weights and gate in place, by the mean return of episodes played with them alone.

    Companions of a task play opposite perturbations in pairs, so that what the task contributes cancels. Within a
    group differences of returns are scaled alike, so that no data set drowns the others. The result is the mean of
    the weights over the second half of the iterations, for single ones carry the noise of their steps. Continues
    from `checkpoint` when it exists; it is rewritten after every iteration.

    Raises:
        InputError: the checkpoint belongs to other settings or is damaged; episodes do not share tasks in even
            numbers; a return is NaN or infinite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the iteration.
    """
    if mixture.paired % 2:
        raise InputError(f"paired={mixture.paired} must be even for evolution; or set its iterations to 0.")
    weights = [network.rule_weights, network.gate]
    optimizer = torch.optim.Adam(weights, lr=config.learning_rate)
    mean = [weight.detach().clone() for weight in weights]
    done = 0
    if (saved := read_checkpoint(checkpoint, config)) is not None:
        with restoring(checkpoint):
            network.rule_weights.data.copy_(saved["rule_weights"])
            network.gate.data.copy_(saved["gate"])
            for part, found in zip(mean, saved["mean"], strict=True):
                part.copy_(found)
            optimizer.load_state_dict(saved["optimizer"])
            done = int(saved["iteration"])
    bar = tqdm(range(done, config.iterations), desc="prior (evolution)", unit="iteration")
    with bar, put_off() as stopping:
        for iteration in bar:
            optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - 0.9 * iteration / config.iterations)
            # Seeded by the iteration alone, so that a continued run needs no random state.
            generator = torch.Generator().manual_seed(config.seed * 10**6 + iteration)
            groups = [_gradient(network, envs, config, generator) for envs in mixture.draw(FIRST + iteration)]
            ascent = [torch.stack(part).mean(0) for part in zip(*groups, strict=True)]
            if not all(bool(part.isfinite().all()) for part in ascent):
                raise InputError(
                    f"reward: the search for the prior met a NaN or infinite return at iteration {iteration}; "
                    "mend the reward or choose another."
                )
            for weight, part in zip(weights, ascent, strict=True):
                weight.grad = -part
            optimizer.step()
            share = 1 / max(1, iteration + 1 - config.iterations // 2)
            for part, weight in zip(mean, weights, strict=True):
                part.lerp_(weight.detach(), share)
            if writer is not None:
                for name, value in zip(RULES, network.rule_weights.tolist(), strict=True):
                    writer.add_scalar(f"prior/{name}", value, iteration)
            state: dict[str, object] = {"rule_weights": network.rule_weights.data, "gate": network.gate.data}
            state |= {"mean": mean, "optimizer": optimizer.state_dict(), "iteration": iteration + 1}
            write_checkpoint(checkpoint, config, state)
            if stopping:
                break
    for weight, part in zip(weights, mean, strict=True):
        weight.data.copy_(part)
    set_temperature(network, mixture, config.temperature)


@torch.no_grad()
def set_temperature(network: AcquisitionNetwork, mixture: Mixture, temperature: float) -> None:
    """Scales the prior so that its scores deviate by `temperature` in a pool of the mixture.

    Their size plays no part in the ranks, but decides how much PPO explores.
    """
    spread = examples(network, mixture)[1].mean().clamp(min=1e-6)
    network.rule_weights.mul_(temperature / spread)
    network.gate.mul_(temperature / spread)


@torch.no_grad()
def averaged(networks: Sequence[AcquisitionNetwork], context: Tensor) -> AcquisitionNetwork:
    """The network whose prior is the mean of several networks', in a context fitted to `context`'s examples.

    Scores are linear in the rules' weights and these in the features: to average what several searches found is
    to average what they say of every item.
    """
    mean = AcquisitionNetwork(**networks[0].options)
    mean.fit_context(context)
    # In terms of the features themselves: weight = slope · feature + offset.
    own = [{name: value.double() for name, value in each.state_dict().items()} for each in networks]
    slopes = [CONTEXT_SCALE * each["gate"] @ each["whitening"].T for each in own]
    offsets = [each["rule_weights"] - slope @ each["centre"] for each, slope in zip(own, slopes, strict=True)]
    slope, offset = torch.stack(slopes).mean(0), torch.stack(offsets).mean(0)
    mean.rule_weights.copy_(offset + slope @ mean.centre.double())
    mean.gate.copy_(slope @ torch.linalg.inv(mean.whitening.double().T) / CONTEXT_SCALE)
    return mean


@torch.no_grad()
def examples(network: AcquisitionNetwork, mixture: Mixture, draws: int = 2) -> tuple[Tensor, Tensor]:
    """From episodes of the mixture: (M, N_EPISODE) features, and (M,) deviations of the prior's scores in a pool."""
    seen: list[tuple[Tensor, Tensor]] = []
    for number in range(draws):
        for envs in mixture.draw(FIRST - 1 - number):
            rows = (envs.num_envs, -1, -1)
            play(envs, network, network.rule_weights.expand(rows[:2]), network.gate.expand(rows), seen)
    features, spread = (torch.cat(column) for column in zip(*seen, strict=True))
    return features, spread


@torch.no_grad()
def _gradient(
    network: AcquisitionNetwork, envs: MetaALVectorEnv, config: EvolutionConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Of the mean return by rule weights and gate, estimated from one episode in every environment."""
    half = envs.num_envs // 2
    device = envs.core.device

    def noise(shape: torch.Size) -> Tensor:
        drawn = torch.randn(half, *shape, generator=generator).to(device)
        return torch.stack([drawn, -drawn], 1).flatten(0, 1)  # neighbours share a task

    base, gate = noise(network.rule_weights.shape), noise(network.gate.shape) * config.gated
    sigma = config.sigma
    returns = play(envs, network, network.rule_weights + sigma * base, network.gate + sigma * gate)
    gain = returns.view(half, 2).diff(dim=1)[:, 0].neg() / 2
    gain = gain / gain.square().mean().sqrt().clamp(min=1e-8)
    return (
        torch.einsum("h,hr->r", gain, base[::2]) / half,
        torch.einsum("h,hre->re", gain, gate[::2]) / half,
    )


def play(
    envs: MetaALVectorEnv,
    network: AcquisitionNetwork,
    base: Tensor,
    gate: Tensor,
    seen: list[tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """(B,) returns of one episode in each environment, by the rules with its (B, R) and (B, R, N_EPISODE) weights.

    At each step, episode features and the deviation of the scores over the pool are appended to `seen`.
    """
    envs.begin()
    returns = torch.zeros(envs.num_envs, device=base.device)
    for _ in range(bounds(envs.core.config.budget)[1]):
        view = envs.core.view(envs.state)
        episode = episode_features(view)
        weights = weights_of_rules(network.context_of(episode), base, gate).unsqueeze(-1)
        scores = (rule_scores(view) @ weights).squeeze(-1)
        if seen is not None:
            open_ = view.selectable
            # Standardised scores have mean 0 over the items that may be picked, and are 0 at the others.
            spread = (scores.square().sum(1) / open_.sum(1).clamp(min=1)).sqrt()
            seen.append((episode, spread))
        returns += envs.advance(scores.masked_fill(~view.selectable, -torch.inf).argmax(1)).reward
    return returns
