"""PPO on tensors: configuration, construction, and the callback that validates, logs and checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from torch import Tensor
from tqdm import tqdm

from agents.evaluation.runner import play
from agents.imitation import ImitationConfig, imitate
from agents.networks import AcquisitionNetwork
from agents.policy import LearnedStrategy, SetPolicy, entropy
from agents.rollout import TensorRolloutBuffer, TensorVecEnv
from metaal_env.artifacts import read_checkpoint, write_checkpoint
from metaal_env.core import Core
from metaal_env.errors import InputError, unknown_name
from metaal_env.features import RULES
from metaal_env.tasks import bounds
from metaal_env.vector_env import MetaALVectorEnv


@dataclass(frozen=True)
class PPOConfig:
    """How the acquisition policy is trained.

    Attributes:
        iterations: roll-outs, each of one whole episode per environment.
        n_envs: episodes per roll-out.
        paired: episodes that share a task and serve each other as baseline.
        batch_size, epochs, learning_rate, clip, entropy, value_weight, gae_lambda: as in
            stable-baselines3's `PPO`; the learning rate falls linearly to a tenth.
        prior: the hand-written rule that the policy starts from.
        temperature: weight of the prior's standardised score at the start; larger explores less.
        width, layers: of the network.
        validate_every: iterations between validations, which choose the checkpoint and write it to disk.
        validation_tasks: fixed tasks of validation classes.
        seed: of weights, roll-outs and validation tasks.
    """

    iterations: int = 60
    n_envs: int = 128
    paired: int = 8
    batch_size: int = 512
    epochs: int = 3
    learning_rate: float = 3e-3
    clip: float = 0.2
    entropy: float = 0.0
    value_weight: float = 0.5
    gae_lambda: float = 0.95
    prior: str = "uherding"
    temperature: float = 1.5
    width: int = 32
    layers: int = 2
    validate_every: int = 5
    validation_tasks: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "n_envs", "batch_size", "epochs", "validate_every", "validation_tasks"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.paired < 1 or self.n_envs % self.paired:
            raise InputError(f"paired={self.paired} must divide n_envs={self.n_envs}.")
        if self.prior not in RULES:
            raise unknown_name("prior", self.prior, RULES)


def make_ppo(envs: MetaALVectorEnv, config: PPOConfig, logger: Logger | None = None) -> PPO:
    """stable-baselines3's PPO on `envs`, with whole-episode roll-outs and no discount."""
    torch.manual_seed(config.seed)
    model = PPO(
        SetPolicy,
        TensorVecEnv(envs),
        learning_rate=lambda remaining: config.learning_rate * (0.1 + 0.9 * remaining),
        n_steps=bounds(envs.core.config.budget)[1],
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=1.0,  # the return is the area under the learning curve
        gae_lambda=config.gae_lambda,
        clip_range=config.clip,
        ent_coef=config.entropy,
        vf_coef=config.value_weight,
        rollout_buffer_class=TensorRolloutBuffer,
        rollout_buffer_kwargs={"paired": config.paired},
        policy_kwargs={
            "network": {
                "prior": config.prior,
                "temperature": config.temperature,
                "width": config.width,
                "layers": config.layers,
            }
        },
        seed=config.seed,
        device=envs.core.device,
    )
    if logger is not None:
        model.set_logger(logger)
    return model


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
        for rng, state in zip(self.envs._rngs, self.env_rngs, strict=False):
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
            prior = torch.distributions.Categorical(
                logits=output.prior.masked_fill(~sample["action_mask"].bool(), -torch.inf)
            )
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
        self.bar.set_postfix(validation=f"{aulc:.4f}", best_rule=f"{best_rule:.4f}")
        if aulc > self.best:
            self.best = aulc
            strategy.save(self.stem, {"iteration": self.iteration, "validation_aulc": aulc})
        name, keys, *rest = np.random.get_state()
        write_checkpoint(
            self.checkpoint,
            self.config,
            {
                "policy": policy.state_dict(),
                "optimizer": policy.optimizer.state_dict(),
                "env_rngs": json.dumps([rng.bit_generator.state for rng in self.envs._rngs]),
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


def _kl(policy: torch.distributions.Categorical, prior: torch.distributions.Categorical) -> Tensor:
    """(B,) KL divergence in nats over selectable items."""
    probs = policy.probs
    gap = (policy.logits - prior.logits).masked_fill(probs == 0, 0.0)
    return (probs * gap).sum(-1)


def train_ppo(
    training: Core,
    validation: Core,
    config: PPOConfig,
    baselines: dict[str, float],
    folder: Path,
    logger: Logger,
    imitation: ImitationConfig | None = None,
) -> LearnedStrategy:
    """Trains a policy, or continues, and returns the best validated one.

    Writes ``<folder>/policy.{safetensors,json}`` and ``<folder>/checkpoints/*.pt``.
    """
    envs = MetaALVectorEnv(config.n_envs, paired=config.paired, core=training)
    model = make_ppo(envs, config, logger)
    trainer = Trainer(config, validation, baselines, folder / "checkpoints" / "ppo.pt", folder / "policy")
    done = trainer.continue_from_checkpoint(model)
    if imitation is not None and imitation.iterations and done == 0:
        warm = MetaALVectorEnv(imitation.n_envs, core=training)
        network: AcquisitionNetwork = model.policy.network  # type: ignore[assignment]
        imitate(network, warm, imitation, folder / "checkpoints" / "imitation.pt")
    steps = config.n_envs * model.n_steps
    if done < config.iterations:
        model.learn((config.iterations - done) * steps, callback=trainer, reset_num_timesteps=False)
    return LearnedStrategy.load(folder)
