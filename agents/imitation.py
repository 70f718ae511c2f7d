"""Warm start: imitation of the look-ahead oracle on the states that the policy visits (DAgger, Ross 2011)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from agents.mixture import Mixture
from agents.networks import AcquisitionNetwork
from agents.policy import geometry_of
from metaal_env.artifacts import read_checkpoint, restoring, write_checkpoint
from metaal_env.errors import InputError
from metaal_env.stopping import put_off
from metaal_env.vector_env import MetaALVectorEnv

FIRST = 10**6
"""Number of the first roll-out: other tasks than those of PPO."""


@dataclass(frozen=True)
class ImitationConfig:
    """How the policy is warmed up before PPO.

    Attributes:
        iterations: groups of episodes; 0 = no warm start.
        n_envs: episodes per group.
        temperature: softness of the target: the oracle's gains, standardised per pool, times this.
        learning_rate: of Adam.
        seed: of tasks and sampled actions.
    """

    iterations: int = 0
    n_envs: int = 32
    temperature: float = 1.0
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 0 or self.n_envs < 1:
            raise InputError(
                f"iterations={self.iterations} must be at least 0 and n_envs={self.n_envs} at least 1."
            )


def imitate(
    network: AcquisitionNetwork,
    mixture: Mixture,
    config: ImitationConfig,
    checkpoint: Path,
    writer: SummaryWriter | None = None,
) -> list[float]:
    """Trains `network` in place on soft targets from the oracle's one-step gains; returns the losses.

    The oracle sees labels that the policy cannot, so this is a start, not the goal. Continues from
    `checkpoint` when it exists; it is rewritten after every iteration, at whose end no episode runs.

    Raises:
        InputError: the checkpoint belongs to other settings or is damaged; a loss is NaN or infinite.
        KeyboardInterrupt: Ctrl-C or SIGTERM, after the iteration.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    losses: list[float] = []
    if (saved := read_checkpoint(checkpoint, config)) is not None:
        with restoring(checkpoint):
            network.load_state_dict(saved["network"])
            optimizer.load_state_dict(saved["optimizer"])
            losses = [float(loss) for loss in saved["losses"]]
    todo = range(len(losses), config.iterations)
    with tqdm(todo, desc="imitation", unit="iteration") as bar, put_off() as stopping:
        for iteration in bar:
            # Seeded by the iteration alone, so that a continued run needs no random state.
            torch.manual_seed(config.seed + iteration)
            groups = mixture.draw(FIRST + iteration)
            try:
                played = [_episode(network, envs, optimizer, config.temperature) for envs in groups]
            except FloatingPointError as error:
                raise InputError(
                    f"learning_rate={config.learning_rate}: imitation diverged at iteration {iteration} ({error}); "
                    "choose a lower one."
                ) from error
            losses.append(sum(played) / len(played))
            if writer is not None:
                writer.add_scalar("imitation/loss", losses[-1], iteration)
            write_checkpoint(
                checkpoint,
                config,
                {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses},
            )
            if stopping:
                break
    return losses


def _episode(
    network: AcquisitionNetwork, envs: MetaALVectorEnv, optimizer: torch.optim.Optimizer, temperature: float
) -> float:
    observation, total, steps = envs.reset_tensors(), 0.0, 0
    ended = torch.zeros(envs.num_envs, dtype=torch.bool)
    while not ended.all():
        mask = observation["action_mask"].bool()
        target = oracle_distribution(envs, mask, temperature)
        logits = network(observation["items"], observation["episode"], geometry_of(observation)).logits
        logs = torch.log_softmax(logits.masked_fill(~mask, -torch.inf), 1)
        loss = -(target * logs.masked_fill(~mask, 0.0)).sum(1).mean()
        if not bool(loss.isfinite()):
            raise FloatingPointError(f"loss {loss.item():g}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        action = torch.multinomial(logs.detach().exp(), 1).squeeze(1)  # the policy's own states
        observation, result, _ = envs.step_tensors(action)
        ended |= result.terminated.cpu()
        total, steps = total + loss.item(), steps + 1
    return total / steps


@torch.no_grad()
def oracle_distribution(envs: MetaALVectorEnv, mask: Tensor, temperature: float, chunk: int = 32) -> Tensor:
    """(B, N) softmax of the likelihood that labelling each item would lead to, over selectable items."""
    oracle = envs.core.oracle(envs.state)
    positions = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    gains = torch.cat([oracle.look_ahead(part).likelihood for part in positions.split(chunk, 1)], 1)
    weight = mask / mask.sum(1, keepdim=True)
    centred = gains - (gains * weight).sum(1, keepdim=True)
    deviation = (centred.square() * weight).sum(1, keepdim=True).sqrt().clamp(min=1e-6)
    return torch.softmax((temperature * centred / deviation).masked_fill(~mask, -torch.inf), 1)
