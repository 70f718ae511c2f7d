"""stable-baselines3's PPO on tensors: its configuration, its construction and one training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from agents.imitation import ImitationConfig, imitate
from agents.networks import AcquisitionNetwork
from agents.policy import LearnedStrategy, SetPolicy
from agents.rollout import TensorRolloutBuffer, TensorVecEnv
from agents.trainer import Trainer
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
