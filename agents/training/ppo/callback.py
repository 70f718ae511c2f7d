"""`Trainer`: the callback that validates, logs and checkpoints every iteration of PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tqdm import tqdm

from agents.evaluation.report.pictures import pool_figure
from agents.evaluation.report.tensorboard import StrategyCharts
from agents.evaluation.statistics.comparisons import LOOKAHEAD, RANDOM
from agents.policy.sb3_policy import LearnedStrategy, entropy
from agents.training.ppo.checkpoint import PPOCheckpoint
from agents.training.ppo.config import PPOConfig
from agents.training.ppo.episode_ppo import EpisodePPO
from agents.training.ppo.tensor_rollout import MixedRolloutBuffer
from agents.training.ppo.training_policy import divergence
from agents.training.task_mixture import Families
from agents.training.validation import validate, validation_seeds
from metaal_env.runtime.executor import Executor


class Trainer(BaseCallback):
    """Validates, logs and checkpoints between iterations.

    Args:
        config: of the training.
        validation: families of cores over validation classes; the checkpoint with the highest mean area under the
            learning curve on their *reward* sets is kept.
        baselines: validation AULC of other strategies, drawn beside the policy's.
        checkpoint: of the same training.
        stem: where the best policy is written (``<stem>.safetensors`` and ``<stem>.json``).
        executor: plays the validation tasks; this process by default.
    """

    def __init__(
        self,
        config: PPOConfig,
        validation: Families,
        baselines: dict[str, float],
        checkpoint: PPOCheckpoint,
        stem: Path,
        executor: Executor | None = None,
    ):
        super().__init__()
        self.config, self.validation, self.baselines = config, validation, baselines
        self.checkpoint, self.stem, self.executor = checkpoint, stem, executor
        self.bar: Any = None
        self.charts: StrategyCharts | None = None
        self.stopping: list[int] = []
        """Not empty: write a checkpoint at the iteration's end and end there."""
        self.model: EpisodePPO

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
        iteration, averaged = self.model.iteration, self.checkpoint.averaged
        if averaged.n_averaged < iteration:  # not again after a checkpoint
            averaged.update_parameters(self.model.policy.network)  # type: ignore[arg-type]
        due = iteration % self.config.validate_every == 0 or iteration in self.model.plans
        if due:
            self._validate_and_save()
        # Now, not after the next roll-out: all that is known of this iteration belongs to the labels bought so far.
        self.logger.dump(self.model.num_timesteps)
        self.model.ending = bool(self.stopping)
        if self.model.ending and not due:
            self.checkpoint.save(self.model)

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
        strategy = LearnedStrategy(self.checkpoint.averaged.module)  # type: ignore[arg-type]
        aulc, classes_found = validate(self.validation, strategy, self.config.validation_tasks, self.executor)
        if self.charts is not None:
            step = self.model.num_timesteps
            self.charts.add("validation/aulc", {"policy": aulc, **self.baselines}, step)
        self.logger.record("validation/aulc", aulc, exclude="tensorboard")
        if {RANDOM, LOOKAHEAD} <= set(self.baselines):
            floor, ceiling = self.baselines[RANDOM], self.baselines[LOOKAHEAD]
            share = (aulc - floor) / max(ceiling - floor, 1e-9)
            self.logger.record("validation/share_of_gap_closed", share)
        self.logger.record("validation/share_of_classes_found", classes_found)
        best_rule = max((v for k, v in self.baselines.items() if k != LOOKAHEAD), default=np.nan)
        figure = pool_figure(self.validation[0][0], strategy, seed=validation_seeds(1)[0])
        self.logger.record(
            "validation/picks", LoggedFigure(figure, close=True), exclude=("stdout", "log", "csv", "json")
        )
        self.bar.set_postfix(validation=f"{aulc:.4f}", best_rule=f"{best_rule:.4f}")
        if aulc > self.checkpoint.best:
            self.checkpoint.best = aulc
            strategy.save(self.stem, {"iteration": self.model.iteration, "validation_aulc": aulc})
        self.checkpoint.save(self.model)
