"""`EpisodePPO`: stable-baselines3's PPO on whole episodes, watched for divergence.

stable-baselines3 declares NumPy arrays and its own base classes where tensors and ours are passed: hence the
``type: ignore`` of the checker.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.training.ppo.critic import PRIVILEGED, hidden_features
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer, TensorVecEnv
from agents.training.ppo.training_policy import TrainingPolicy, fit_critic
from agents.training.task_mixture import TaskMixture
from metaal_env.episode import EpisodeState
from metaal_env.observation import observe
from metaal_env.sb3 import episode_infos
from metaal_env.vector_env import MetaALVectorEnv

CRITIC_FIRST = 2 * 10**6
"""Number of the first roll-out of the critic: other tasks than those of the updates."""

SHRINK = 0.8
"""Ended episodes leave the batch once no more than this share of it is running."""

BACK_OFF = 0.5
"""Factor of the learning rate after every recovery from a divergence."""


class EpisodePPO(PPO):
    """stable-baselines3's PPO whose roll-outs are whole episodes of a task mixture; its update is untouched.

    It may start from a good policy: `begin` fits the critic to that policy's returns before the first update, and the
    divergence from it costs `anchor` per nat at first, and less and less until the last update.

    What is NaN or infinite in a roll-out or after an update raises `FloatingPointError`. `recoveries` counts how
    often training went on from a checkpoint because of that, each time with a lower learning rate.

    Args:
        mixture: where episodes come from.
        iterations: roll-outs after which `learn` ends. The learning rate falls until then; a training that was
            raised has earlier such ends, `plans`, and falls until each of them.
        anchor: weight of the divergence from the network of the start, in deviations of the advantage per nat.
        **options: as for `PPO`.
    """

    policy: TrainingPolicy

    def __init__(self, mixture: TaskMixture, iterations: int, *, anchor: float = 0.0, **options: Any):
        self.mixture, self.iterations, self.iteration = mixture, iterations, 0
        self.anchor = anchor
        self.plans = [iterations]
        self.recoveries, self.ending = 0, False
        super().__init__(env=TensorVecEnv(mixture.draw(0)[0]), **options)

    def begin(self, rollouts: int, batch_size: int = 512, epochs: int = 20) -> float:
        """Makes the present network the anchor and fits the critic to its returns; the policy stays as it is.

        Args:
            rollouts: whose returns are fitted; with 0 the critic stays as it is.

        Returns:
            Share of the variance of returns that the critic explains, NaN without roll-outs.
        """
        self.policy.set_anchor()
        if not rollouts:
            return float("nan")
        buffer = MixedRolloutBuffer(device=self.device, gamma=self.gamma, gae_lambda=1.0)
        buffer.reset()
        for number in range(rollouts):
            for envs in self.mixture.draw(CRITIC_FIRST + number):
                self._play(envs, buffer)
        return fit_critic(self.policy, buffer, batch_size, epochs)

    def collect_rollouts(
        self,
        env: Any,
        callback: BaseCallback,
        rollout_buffer: MixedRolloutBuffer,  # type: ignore[override]
        n_rollout_steps: int,
    ) -> bool:
        """Plays one episode in every environment of the next roll-out; False when training is over."""
        callback.on_rollout_start()
        if self.ending or self.iteration >= self.iterations:
            return False
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        self.iteration += 1
        for envs in self.mixture.draw(self.iteration - 1):
            outcome = self._play(envs, rollout_buffer)
            self.num_timesteps += int(rollout_buffer.parts[-1].running.sum())
            self._update_info_buffer(episode_infos(outcome))
        rollout_buffer.scale_advantages()
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    @torch.no_grad()
    def _play(self, envs: MetaALVectorEnv, buffer: MixedRolloutBuffer) -> dict[str, torch.Tensor]:
        """Plays one episode in every environment into `buffer`; returns their outcomes."""
        core = envs.core
        part = buffer.open(envs, core.config.max_actions)
        envs.begin()
        state, rows = envs.state, torch.arange(envs.num_envs, device=core.device)
        left: list[
            tuple[EpisodeState, torch.Tensor]
        ] = []  # larger states, and where the smaller one stands in them
        for step in range(core.config.max_actions):
            observation = observe(core.view(state), envs.shown)
            if self.policy.critic is not None:
                observation[PRIVILEGED] = hidden_features(core.oracle(state), self.policy.critic_kind)
            distribution, output = self.policy.run(observation)
            # Before anything is drawn: that would end in an error of torch's, on a GPU in a broken one.
            _require_finite("scores", output.logits)
            actions = distribution.sample()
            ended = state.ended
            result = core.step(state, actions)
            _require_finite("rewards", result.reward)
            place = rows.cpu().numpy()
            part.add(
                observation,
                actions.cpu().numpy(),
                result.reward.cpu().numpy(),
                np.full(envs.num_envs, step == 0),
                output.value,
                distribution.log_prob(actions),
                place,
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
        return envs.outcome(torch.arange(envs.num_envs)) | {"return": returns}

    def train(self) -> None:
        """One update of stable-baselines3's. Raises: `FloatingPointError`."""
        self.policy.anchor_weight = self.anchor * max(0.0, self._current_progress_remaining)
        super().train()
        for name in ("loss", "approx_kl"):
            _require_finite(name, torch.tensor(self.logger.name_to_value[f"train/{name}"]))
        for name, weight in self.policy.named_parameters():
            _require_finite(f"weights {name}", weight)

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        planned = self.lr_schedule
        self.lr_schedule = lambda remaining: planned(remaining) * BACK_OFF**self.recoveries

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        planned = next(end for end in self.plans if end >= self.iteration)
        self._current_progress_remaining = 1 - (self.iteration - 1) / planned


def _require_finite(name: str, values: torch.Tensor) -> None:
    if not bool(values.isfinite().all()):
        raise FloatingPointError(f"{name} are NaN or infinite" if values.dim() else f"{name} is {values:g}")
