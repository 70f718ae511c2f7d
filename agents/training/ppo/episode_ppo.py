"""`EpisodePPO`: stable-baselines3's PPO on whole episodes, watched for divergence.

stable-baselines3 declares NumPy arrays and its own base classes where tensors and ours are passed: hence the
``type: ignore`` of the checker.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.training.ppo.play_part import PlayedPart, Rollout, play_part, require_finite
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer, TensorVecEnv
from agents.training.ppo.training_policy import TrainingPolicy, fit_critic
from agents.training.task_mixture import TaskMixture
from metaal_env.runtime.executor import Executor, PartsFailed, in_this_process

CRITIC_FIRST = 2 * 10**6
"""Number of the first roll-out of the critic: other tasks than those of the updates."""

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
        executor: plays the parts of a roll-out; this process by default. What is learned does not depend on it.
        **options: as for `PPO`.
    """

    policy: TrainingPolicy

    def __init__(
        self,
        mixture: TaskMixture,
        iterations: int,
        *,
        anchor: float = 0.0,
        executor: Executor | None = None,
        **options: Any,
    ):
        self.executor = executor or in_this_process()
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
            buffer.parts += [part.buffer for part in self._play(CRITIC_FIRST + number, buffer)]
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
        for part in self._play(self.iteration - 1, rollout_buffer):
            rollout_buffer.parts.append(part.buffer)
            self.num_timesteps += int(part.buffer.running.sum())
            self._update_info_buffer(part.infos)
        rollout_buffer.scale_advantages()
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _play(self, number: int, buffer: MixedRolloutBuffer) -> list[PlayedPart]:
        """Plays the parts of roll-out `number`, in order, by the present policy. Raises: `FloatingPointError`."""
        job = Rollout(self._player(), self.mixture.on(()), buffer.options, number, int(self.seed or 0))
        places = [(job, place) for place in range(self.mixture.shapes_per_rollout)]
        names = [f"PPO's roll-out {number}.{place}" for _, place in places]
        try:
            # The whole roll-out is played whatever signal comes: the iteration ends with a checkpoint.
            return self.executor.map(
                play_part, places, shared=self.mixture.families, names=names, stopping=[]
            )
        except PartsFailed as error:
            if isinstance(error.__cause__, FloatingPointError):
                raise error.__cause__ from None
            raise

    def _player(self) -> TrainingPolicy:
        """Returns the policy; for other processes, a copy without what only updates need."""
        if self.executor.workers == 1:
            return self.policy
        player = deepcopy(self.policy)
        del player.optimizer
        return player

    def train(self) -> None:
        """One update of stable-baselines3's. Raises: `FloatingPointError`."""
        self.policy.anchor_weight = self.anchor * max(0.0, self._current_progress_remaining)
        super().train()
        for name in ("loss", "approx_kl"):
            require_finite(name, torch.tensor(self.logger.name_to_value[f"train/{name}"]))
        for name, weight in self.policy.named_parameters():
            require_finite(f"weights {name}", weight)

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        planned = self.lr_schedule
        self.lr_schedule = lambda remaining: planned(remaining) * BACK_OFF**self.recoveries

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        planned = next(end for end in self.plans if end >= self.iteration)
        self._current_progress_remaining = 1 - (self.iteration - 1) / planned
