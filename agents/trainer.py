"""`Trainer`: the callback that starts, validates, logs and checkpoints every iteration of PPO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure as LoggedFigure
from torch import Tensor
from torch.distributions import Categorical
from tqdm import tqdm

from agents.evaluation.pictures import pool_figure
from agents.evaluation.runner import play
from agents.policy import LearnedStrategy, SetPolicy, entropy
from agents.rollout import TensorRolloutBuffer
from metaal_env.artifacts import read_checkpoint, write_checkpoint
from metaal_env.core import Core
from metaal_env.vector_env import MetaALVectorEnv

if TYPE_CHECKING:
    from agents.ppo import PPOConfig


class Trainer(BaseCallback):
    """Starts every iteration on fresh tasks, validates and checkpoints between iterations.

    At an iteration's start no episode is running, so weights, optimiser and random states are all there is
    to save: a run that continues from the checkpoint equals one that was never interrupted.

    Args:
        config: of the training.
        validation: core over validation classes; the checkpoint with the highest mean area under the
            learning curve on its *reward* sets is kept.
        baselines: validation AULC of other strategies, drawn beside the policy's.
        checkpoint: file to continue from and to rewrite.
        stem: where the best policy is written (``<stem>.safetensors`` and ``<stem>.json``).
    """

    def __init__(
        self, config: PPOConfig, validation: Core, baselines: dict[str, float], checkpoint: Path, stem: Path
    ):
        super().__init__()
        self.config, self.validation, self.baselines = config, validation, baselines
        self.checkpoint, self.stem = checkpoint, stem
        self.iteration, self.best = 0, -np.inf
        self.env_rngs: list[dict[str, Any]] = []
        self.bar: Any = None

    @property
    def envs(self) -> MetaALVectorEnv:
        return self.training_env.envs  # type: ignore[attr-defined, no-any-return]

    def continue_from_checkpoint(self, model: PPO) -> int:
        """Restores the saved state, if there is one; returns the number of finished iterations."""
        saved = read_checkpoint(self.checkpoint, self.config)
        if saved is None:
            return 0
        model.policy.load_state_dict(saved["policy"])
        model.policy.optimizer.load_state_dict(saved["optimizer"])
        self.env_rngs = json.loads(saved["env_rngs"])
        torch.set_rng_state(saved["torch_rng"])
        name, keys, *rest = json.loads(saved["numpy_rng"])
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
        self.iteration, self.best = saved["iteration"], saved["best"]
        model.num_timesteps = saved["num_timesteps"]
        model._n_updates = saved["n_updates"]
        return int(self.iteration)

    def _on_training_start(self) -> None:
        # Here rather than before: `learn` starts with a reset of its own, which would use the generators.
        self.envs.seed_episodes(self.config.seed)
        for rng, state in zip(self.envs.generators, self.env_rngs, strict=False):
            rng.bit_generator.state = state
        self.bar = tqdm(
            total=self.config.iterations, initial=self.iteration, desc="policy (PPO)", unit="iteration"
        )

    def _on_rollout_start(self) -> None:
        if self.iteration % self.config.validate_every == 0:
            self._validate_and_save()
        self.model._last_obs = self.training_env.reset()  # type: ignore[assignment]
        self.model._last_episode_starts = np.ones(self.training_env.num_envs, dtype=bool)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer: TensorRolloutBuffer = self.model.rollout_buffer  # type: ignore[attr-defined]
        for key in ("aulc", "accuracy", "classes_seen"):
            recent = [episode[key] for episode in self.model.ep_info_buffer or []]
            if recent:
                self.logger.record(f"rollout/{key}", float(np.mean(recent)))
        policy: SetPolicy = self.model.policy  # type: ignore[assignment]
        with torch.no_grad():
            sample = buffer._steps[len(buffer._steps) // 2]
            distribution, output = policy.run(sample)
            prior = Categorical(logits=output.prior.masked_fill(~sample["action_mask"].bool(), -torch.inf))
            self.logger.record("policy/kl_to_prior", float(_kl(distribution, prior).mean()))
            self.logger.record("policy/entropy", float(entropy(distribution).mean()))
        self.iteration += 1
        self.bar.update()

    def _on_training_end(self) -> None:
        self._validate_and_save()
        self.logger.dump(self.num_timesteps)
        self.bar.close()

    def _validate_and_save(self) -> None:
        policy: SetPolicy = self.model.policy  # type: ignore[assignment]
        strategy = LearnedStrategy(policy.network)
        episodes = play(
            self.validation, strategy, validation_seeds(self.config.validation_tasks), measure_on="reward"
        )
        policy.set_training_mode(True)
        aulc = float(np.mean(episodes.aulc))
        self.logger.record("validation/policy", aulc)
        for name, value in self.baselines.items():
            self.logger.record(f"validation/{name}", value)
        if {"random", "greedy_lookahead"} <= set(self.baselines):
            floor, ceiling = self.baselines["random"], self.baselines["greedy_lookahead"]
            self.logger.record("validation/gap_closed", (aulc - floor) / max(ceiling - floor, 1e-9))
        self.logger.record("validation/classes_seen", float(np.nanmean(episodes.curves["coverage"][:, -1])))
        best_rule = max((v for k, v in self.baselines.items() if k != "greedy_lookahead"), default=np.nan)
        figure = pool_figure(self.validation, strategy, seed=validation_seeds(1)[0])
        self.logger.record(
            "validation/picks", LoggedFigure(figure, close=True), exclude=("stdout", "log", "csv", "json")
        )
        self.bar.set_postfix(validation=f"{aulc:.4f}", best_rule=f"{best_rule:.4f}")
        if aulc > self.best:
            self.best = aulc
            strategy.save(self.stem, {"iteration": self.iteration, "validation_aulc": aulc})
        self._save(policy)

    def _save(self, policy: SetPolicy) -> None:
        name, keys, *rest = np.random.get_state()
        write_checkpoint(
            self.checkpoint,
            self.config,
            {
                "policy": policy.state_dict(),
                "optimizer": policy.optimizer.state_dict(),
                "env_rngs": json.dumps([rng.bit_generator.state for rng in self.envs.generators]),
                "torch_rng": torch.get_rng_state(),
                "numpy_rng": json.dumps([name, np.asarray(keys).tolist(), *rest]),
                "iteration": self.iteration,
                "best": self.best,
                "num_timesteps": self.model.num_timesteps,
                "n_updates": self.model._n_updates,
            },
        )


def validation_seeds(n: int) -> range:
    """Seeds of the fixed validation tasks; apart from the seeds of training and of evaluation."""
    return range(10**6, 10**6 + n)


def _kl(policy: Categorical, prior: Categorical) -> Tensor:
    """(B,) KL divergence in nats over selectable items."""
    probs = policy.probs
    gap = (policy.logits - prior.logits).masked_fill(probs == 0, 0.0)
    return (probs * gap).sum(-1)
