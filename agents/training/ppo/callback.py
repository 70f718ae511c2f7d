"""`Trainer`: the callback that starts, validates, logs and checkpoints every iteration of PPO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import TensorBoardOutputFormat
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from agents.evaluation.report.pictures import pool_figure
from agents.evaluation.report.tensorboard import StrategyCharts
from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy, entropy, policy_fingerprint
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.episode_ppo import BACK_OFF, EpisodePPO
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer
from agents.training.ppo.training_policy import divergence
from agents.training.validation import validate, validation_seeds
from metaal_env.core import Core
from metaal_env.errors import InputError
from metaal_env.runtime.checkpoints import as_input_error, read_checkpoint, write_checkpoint
from metaal_env.runtime.random_states import random_states, restore_random_states

AVERAGING = 0.9
"""Share of the running average of weights that an iteration keeps. The average is what is validated and kept, since
the updates of a single iteration follow few tasks."""

RECOVERIES = 3
"""Divergences after which a training goes on; at the next it gives up."""

CHANGEABLE = ("iterations",)
"""Settings of PPO that a continued training may change; see `Trainer`."""


class Trainer(BaseCallback):
    """Validates, logs and checkpoints between iterations.

    At an iteration's start no episode is running and its tasks depend on its number alone, so weights,
    optimiser and random states are all there is to save: a run that continues from the checkpoint equals one
    that was never interrupted.

    Once an iteration is finished, raising `config.iterations` from N to M is recorded in the checkpoint: whether it is
    raised before iteration N or after, all N iterations follow the learning rate planned for N, and N + 1 … M the one
    planned for M, which starts higher than N's ended. A raised run therefore equals every other run raised from N to M,
    and an unraised one of M iterations in its tasks but not in its weights.

    Args:
        config: of the training.
        validation: families of cores over validation classes; the checkpoint with the highest mean area under the
            learning curve on their *reward* sets is kept.
        baselines: validation AULC of other strategies, drawn beside the policy's.
        checkpoint: file to continue from and to rewrite.
        stem: where the best policy is written (``<stem>.safetensors`` and ``<stem>.json``).
    """

    def __init__(
        self,
        config: PPOConfig,
        validation: Sequence[Sequence[Core]],
        baselines: dict[str, float],
        checkpoint: Path,
        stem: Path,
    ):
        super().__init__()
        self.config, self.validation, self.baselines = config, validation, baselines
        start = config.start and policy_fingerprint(config.start)
        self.identity = asdict(config) | {"start": start}  # its weights count, not its place
        self.checkpoint, self.stem = checkpoint, stem
        self.best = -np.inf
        self.averaged: AveragedModel
        self.bar: Any = None
        self.charts: StrategyCharts | None = None
        self.stopping: list[int] = []
        """Not empty: write a checkpoint at the iteration's end and end there."""
        self.model: EpisodePPO

    def continue_from_checkpoint(self, model: EpisodePPO) -> int | None:
        """Restores the saved state and returns the number of finished iterations; None if there is no such state."""
        network: AcquisitionNetwork = model.policy.network  # type: ignore[assignment]
        self.averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
        saved = read_checkpoint(self.checkpoint, self.identity, CHANGEABLE)
        if saved is None:
            return None
        network.names.check_same(saved.get("features"), f"checkpoint={str(self.checkpoint)!r}")
        with as_input_error(self.checkpoint):
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
            write_checkpoint(self.checkpoint, self.identity, saved | {"plans": model.plans})
        return model.iteration

    def _plans(self, saved: dict[str, Any]) -> list[int]:
        """The ends that the learning rate falls to, this run's last. Raises: `InputError` if that was lowered."""
        plans = [int(end) for end in saved.get("plans", [saved["config"]["iterations"]])]
        now = self.config.iterations
        if now < plans[-1]:
            raise InputError(
                f"iterations={now} is less than the {plans[-1]} that checkpoint={str(self.checkpoint)!r} was planned "
                f"for; give at least {plans[-1]}, or choose another run name."
            )
        if not saved["iteration"]:
            return [now]
        return plans if now == plans[-1] else [*plans, now]

    def recover(self, error: FloatingPointError) -> None:
        """Back to the last checkpoint, with a lower learning rate from there on.

        The count goes into that checkpoint, so that a run that is killed afterwards continues in the same way.

        Raises:
            InputError: it has recovered `RECOVERIES` times already.
        """
        at, config = self.model.iteration, self.config
        saved = read_checkpoint(self.checkpoint, self.identity, CHANGEABLE)
        assert saved is not None  # written before the first roll-out
        recoveries = saved.get("recoveries", 0) + 1
        if recoveries > RECOVERIES:
            raise InputError(
                f"learning_rate={config.learning_rate}: PPO diverged at iteration {at} ({error}), {RECOVERIES} lowered "
                "rates included; choose a lower one, or another reward if it is to blame."
            ) from error
        write_checkpoint(self.checkpoint, self.identity, saved | {"recoveries": recoveries})
        back = self.continue_from_checkpoint(self.model)
        self.bar.write(
            f"PPO diverged at iteration {at} ({error}): back to iteration {back} with {BACK_OFF**recoveries:g} times "
            f"the learning rate, recovery {recoveries} of {RECOVERIES}"
        )

    def close(self) -> None:
        """Ends the progress bar, so that what follows begins on a line of its own, and the files of charts."""
        if self.bar is not None:
            self.bar.close()
        if self.charts is not None:
            self.charts.close()

    def _on_training_start(self) -> None:
        self.close()
        self.bar = tqdm(
            total=self.config.iterations, initial=self.model.iteration, desc="policy (PPO)", unit="iteration"
        )
        folder = self.logger.get_dir()
        if folder and any(isinstance(f, TensorBoardOutputFormat) for f in self.logger.output_formats):
            self.charts = StrategyCharts(Path(folder), purge_step=self.model.num_timesteps)

    def _on_rollout_start(self) -> None:
        iteration = self.model.iteration
        if self.averaged.n_averaged < iteration:  # not again after a checkpoint
            self.averaged.update_parameters(self.model.policy.network)  # type: ignore[arg-type]
        due = iteration % self.config.validate_every == 0 or iteration in self.model.plans
        if due:
            self._validate_and_save()
        # Now, not after the next roll-out: all that is known of this iteration belongs to the labels bought so far.
        self.logger.dump(self.model.num_timesteps)
        self.model.ending = bool(self.stopping)
        if self.model.ending and not due:
            self._save()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: MixedRolloutBuffer = self.model.rollout_buffer  # type: ignore[assignment]
        for key in ("aulc", "accuracy", "classes_seen"):
            recent = [episode[key] for episode in self.model.ep_info_buffer or []]
            if recent:
                self.logger.record(f"rollout/{key}", float(np.mean(recent)))
        policy = self.model.policy
        with torch.no_grad():
            steps = buffer.parts[0].steps
            sample = steps[len(steps) // 2]
            distribution, output = policy.run(sample)
            prior = policy.distribution(output._replace(logits=output.prior), sample)
            self.logger.record("policy/kl_to_prior", float(divergence(distribution, prior).mean()))
            start = policy.distribution(policy.anchor(*policy.inputs(sample), policy.valid(sample)), sample)
            self.logger.record("policy/kl_to_start", float(divergence(distribution, start).mean()))
            self.logger.record("policy/anchor_weight", policy.anchor_weight)
            self.logger.record("policy/entropy", float(entropy(distribution).mean()))
        self.bar.update()

    def _on_training_end(self) -> None:
        self.close()

    def _validate_and_save(self) -> None:
        strategy = LearnedStrategy(self.averaged.module)  # type: ignore[arg-type]
        aulc, classes_found = validate(self.validation, strategy, self.config.validation_tasks)
        if self.charts is not None:
            step = self.model.num_timesteps
            self.charts.add("validation/aulc", {"policy": aulc, **self.baselines}, step)
        self.logger.record("validation/aulc", aulc, exclude="tensorboard")
        if {"random", "greedy_lookahead"} <= set(self.baselines):
            floor, ceiling = self.baselines["random"], self.baselines["greedy_lookahead"]
            share = (aulc - floor) / max(ceiling - floor, 1e-9)
            self.logger.record("validation/share_of_gap_closed", share)
        self.logger.record("validation/share_of_classes_found", classes_found)
        best_rule = max((v for k, v in self.baselines.items() if k != "greedy_lookahead"), default=np.nan)
        figure = pool_figure(self.validation[0][0], strategy, seed=validation_seeds(1)[0])
        self.logger.record(
            "validation/picks", LoggedFigure(figure, close=True), exclude=("stdout", "log", "csv", "json")
        )
        self.bar.set_postfix(validation=f"{aulc:.4f}", best_rule=f"{best_rule:.4f}")
        if aulc > self.best:
            self.best = aulc
            strategy.save(self.stem, {"iteration": self.model.iteration, "validation_aulc": aulc})
        self._save()

    def _save(self) -> None:
        policy = self.model.policy
        write_checkpoint(
            self.checkpoint,
            self.identity,
            random_states(self.model.device)
            | {
                "policy": policy.state_dict(),
                "features": policy.network.names.to_json(),
                "averaged": self.averaged.state_dict(),
                "optimizer": policy.optimizer.state_dict(),
                "iteration": self.model.iteration,
                "best": self.best,
                "num_timesteps": self.model.num_timesteps,
                "n_updates": self.model._n_updates,
                "recoveries": self.model.recoveries,
                "plans": self.model.plans,
            },
        )
