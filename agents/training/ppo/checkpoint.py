"""Keeps the state of a training by PPO between iterations and continues from there, also after a divergence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import policy_fingerprint
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.episode_ppo import BACK_OFF, EpisodePPO
from metaal_env.errors import InputError
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.runtime.random_states import random_states, restore_random_states

AVERAGING = 0.9
"""Share of the running average of weights that an iteration keeps. The average is what is validated and kept, since
the updates of a single iteration follow few tasks."""

RECOVERIES = 3
"""Divergences after which a training goes on; at the next it gives up."""

CHANGEABLE = ("iterations",)
"""Settings of PPO that a continued training may change; see `PPOCheckpoint`."""


class PPOCheckpoint:
    """Holds the averaged weights and the best result so far, and keeps them on disk with the model's state.

    At an iteration's start no episode is running and its tasks depend on its number alone, so weights,
    optimiser and random states are all there is to save: a run that continues from the checkpoint equals one
    that was never interrupted.

    Once an iteration is finished, raising `config.iterations` from N to M is recorded in the checkpoint: whether it is
    raised before iteration N or after, all N iterations follow the learning rate planned for N, and N + 1 … M the one
    planned for M, which starts higher than N's ended. A raised run therefore equals every other run raised from N to M,
    and an unraised one of M iterations in its tasks but not in its weights.

    Args:
        config: of the training.
        path: file to continue from and to rewrite.
    """

    averaged: AveragedModel

    def __init__(self, config: PPOConfig, path: Path):
        self.config, self.path, self.best = config, path, -np.inf
        start = config.start and policy_fingerprint(config.start)
        self.identity = asdict(config) | {"start": start}  # its weights count, not its place

    def restore(self, model: EpisodePPO) -> int | None:
        """Restores the saved state and returns the number of finished iterations; None if there is no such state."""
        network: AcquisitionNetwork = model.policy.network  # type: ignore[assignment]
        self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
        saved = read_checkpoint(self.path, self.identity, CHANGEABLE)
        if saved is None:
            return None
        network.names.check_same(saved.get("features"), f"checkpoint={str(self.path)!r}")
        with as_input_error(self.path):
            model.policy.load_state_dict(saved["policy"])
            self.averaged.load_state_dict(saved["averaged"])
            model.policy.optimizer.load_state_dict(saved["optimizer"])
            restore_random_states(saved, model.device)
            model.iteration, self.best = saved["iteration"], saved["best"]
            model.num_timesteps = saved["num_timesteps"]
            model._n_updates = saved["n_updates"]
            model.recoveries = saved.get("recoveries", 0)
            model.plans = self._plans(saved)
        if model.plans != saved.get("plans"):
            write_checkpoint(self.path, self.identity, saved | {"plans": model.plans})
        return model.iteration

    def _plans(self, saved: dict[str, Any]) -> list[int]:
        """The ends that the learning rate falls to, this run's last. Raises: `InputError` if that was lowered."""
        plans = [int(end) for end in saved.get("plans", [saved["config"]["iterations"]])]
        now = self.config.iterations
        if now < plans[-1]:
            raise InputError(
                f"iterations={now} is less than the {plans[-1]} that checkpoint={str(self.path)!r} was planned "
                f"for; give at least {plans[-1]}, or choose another run name."
            )
        if not saved["iteration"]:
            return [now]
        return plans if now == plans[-1] else [*plans, now]

    def recover(self, model: EpisodePPO, error: FloatingPointError) -> str:
        """Goes back to the last checkpoint with a lower learning rate, and returns a message for the user.

        The count goes into that checkpoint, so that a run that is killed afterwards continues in the same way.

        Raises:
            InputError: it has recovered `RECOVERIES` times already.
        """
        at, config = model.iteration, self.config
        saved = read_checkpoint(self.path, self.identity, CHANGEABLE)
        assert saved is not None  # written before the first roll-out
        recoveries = saved.get("recoveries", 0) + 1
        if recoveries > RECOVERIES:
            raise InputError(
                f"learning_rate={config.learning_rate}: PPO diverged at iteration {at} ({error}), {RECOVERIES} lowered "
                "rates included; choose a lower one, or another reward if it is to blame."
            ) from error
        write_checkpoint(self.path, self.identity, saved | {"recoveries": recoveries})
        back = self.restore(model)
        return (
            f"PPO diverged at iteration {at} ({error}): back to iteration {back} with {BACK_OFF**recoveries:g} times "
            f"the learning rate, recovery {recoveries} of {RECOVERIES}"
        )

    def save(self, model: EpisodePPO) -> None:
        """Writes the state of the training at an iteration's start."""
        policy = model.policy
        write_checkpoint(
            self.path,
            self.identity,
            random_states(model.device)
            | {
                "policy": policy.state_dict(),
                "features": policy.network.names.to_json(),
                "averaged": self.averaged.state_dict(),
                "optimizer": policy.optimizer.state_dict(),
                "iteration": model.iteration,
                "best": self.best,
                "num_timesteps": model.num_timesteps,
                "n_updates": model._n_updates,
                "recoveries": model.recoveries,
                "plans": model.plans,
            },
        )
