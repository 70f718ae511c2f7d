"""A part of a roll-out of PPO: whole episodes of one task shape, played by any worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.training.ppo.critic import PRIVILEGED, hidden_features
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer, TensorRolloutBuffer
from agents.training.ppo.training_policy import TrainingPolicy
from agents.training.task_mixture import Families, TaskMixture
from metaal_env.episode import EpisodeState
from metaal_env.observation import observe
from metaal_env.sb3 import episode_infos

SHRINK = 0.8
"""Ended episodes leave the batch once no more than this share of it is running."""


@dataclass(frozen=True)
class Rollout:
    """One roll-out: all that a worker needs beside the sources of tasks."""

    policy: TrainingPolicy
    mixture: TaskMixture
    """Without its sources."""
    options: Mapping[str, Any]
    """Of its buffer."""
    number: int
    seed: int


class PlayedPart(NamedTuple):
    """The samples of one part, and the outcomes of its episodes as stable-baselines3 wants them."""

    buffer: TensorRolloutBuffer
    infos: list[dict[str, Any]]


@torch.no_grad()
def play_part(families: Families, job: Rollout, place: int) -> PlayedPart:
    """Plays one episode in every environment of a part.

    Raises:
        FloatingPointError: a score or a reward is NaN or infinite.
    """
    # Seeded by its numbers alone, so that it does not matter who plays it and what was played before.
    seed = np.random.SeedSequence([job.seed, job.number, place]).generate_state(1, np.uint64)
    torch.manual_seed(int(seed[0]) >> 1)
    policy, envs = job.policy, job.mixture.on(families).draw_part(job.number, place)
    core = envs.core
    part = MixedRolloutBuffer(**job.options).open(envs, core.config.max_actions)
    envs.begin()
    state, rows = envs.state, torch.arange(envs.num_envs, device=core.device)
    # Larger states, and where the smaller one stands in them.
    left: list[tuple[EpisodeState, torch.Tensor]] = []
    for step in range(core.config.max_actions):
        observation = observe(core.view(state), envs.shown)
        if policy.critic is not None:
            observation[PRIVILEGED] = hidden_features(core.oracle(state), policy.critic_kind)
        distribution, output = policy.run(observation)
        # Before anything is drawn: that would end in an error of torch's, on a GPU in a broken one.
        require_finite("scores", output.logits)
        actions = distribution.sample()
        ended = state.ended
        result = core.step(state, actions)
        require_finite("rewards", result.reward)
        part.add(
            observation,
            actions.cpu().numpy(),
            result.reward.cpu().numpy(),
            np.full(envs.num_envs, step == 0),
            output.value,
            distribution.log_prob(actions),
            rows.cpu().numpy(),
            ~ended.cpu().numpy(),
        )
        running = torch.nonzero(~state.ended).squeeze(1)
        if not len(running):
            part.close()
            break
        if len(running) < SHRINK * len(rows):
            left.append((state, running))
            state, rows = state.rows(running), rows[running]
    for larger, running in reversed(left):
        larger.replace_rows(running, state)
        state = larger
    part.compute_returns_and_advantage(torch.zeros(envs.num_envs), np.ones(envs.num_envs, dtype=bool))
    returns = torch.from_numpy(part.rewards.sum(0))
    outcome = envs.outcome(torch.arange(envs.num_envs)) | {"return": returns}
    return PlayedPart(part, episode_infos(outcome))


def require_finite(name: str, values: torch.Tensor) -> None:
    """Raises `FloatingPointError` if `values` are not finite."""
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"{name} are NaN or infinite" if values.dim() else f"{name} is {values:g}")
