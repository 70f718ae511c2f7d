"""The settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass

from metaal_env.errors import InputError, unknown_name
from metaal_env.features import ITEM_SCORES


@dataclass(frozen=True)
class PPOConfig:
    """How the acquisition policy is trained.

    Attributes:
        iterations: roll-outs, each of one whole episode per environment. May be raised, never lowered, when a
            training is continued.
        n_envs: episodes per roll-out.
        groups: parts of a roll-out, each with one data set and one task shape of its own.
        paired: episodes that share a task and serve each other as baseline.
        batch_size, epochs, learning_rate, clip, entropy, value_weight, gae_lambda: as in
            stable-baselines3's `PPO`; the learning rate falls linearly towards a tenth.
        prior: the hand-written rule that the policy starts from.
        temperature: weight of the prior's score at the start; larger explores less.
        width: of the network.
        start: folder of a trained policy whose weights are the first ones; then `prior`, `temperature` and `width`
            are that policy's, and nothing is imitated.
        validate_every: iterations between validations, which choose the checkpoint and write it to disk.
        validation_tasks: fixed tasks of validation classes.
        seed: of weights and roll-outs; validation tasks are always the same.
    """

    iterations: int = 20
    n_envs: int = 128
    groups: int = 4
    paired: int = 8
    batch_size: int = 512
    epochs: int = 3
    learning_rate: float = 1e-3
    clip: float = 0.2
    entropy: float = 0.0
    value_weight: float = 0.5
    gae_lambda: float = 0.95
    prior: str = "uherding"
    temperature: float = 1.5
    width: int = 64
    start: str | None = None
    validate_every: int = 5
    validation_tasks: int = 192
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "iterations",
            "n_envs",
            "groups",
            "batch_size",
            "epochs",
            "validate_every",
            "validation_tasks",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1.")
        if self.paired < 1 or self.n_envs % (self.paired * self.groups):
            raise InputError(
                f"paired={self.paired} times groups={self.groups} must divide n_envs={self.n_envs}."
            )
        if self.prior not in ITEM_SCORES:
            raise unknown_name("prior", self.prior, ITEM_SCORES)
