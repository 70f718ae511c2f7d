"""The settings of PPO."""

from __future__ import annotations

from dataclasses import dataclass

from agents.training.ppo.critic import CriticKind
from metaal_env.errors import InputError, require_at_least, unknown_name
from metaal_env.features import ITEM_SCORES, FeatureNames
from metaal_env.observation import parse_observation
from metaal_env.tasks import TaskConfig


@dataclass(frozen=True)
class PPOConfig:
    """Holds the settings of training the policy on whole episodes."""

    iterations: int = 10
    """Roll-outs, each of one whole episode per environment; 0 leaves PPO out. A continued training may raise the
    number, but not lower it."""
    n_envs: int = 256
    """Episodes per roll-out."""
    shapes_per_rollout: int = 4
    """Parts of a roll-out. Each part has one data set and one task shape."""
    paired: int = 16
    """Episodes that share a task and serve as each other's baseline."""
    batch_size: int = 1024
    """Samples per gradient step."""
    epochs: int = 2
    """Passes over a roll-out."""
    learning_rate: float = 7e-4
    """Step size of Adam. It falls linearly over the iterations, towards a tenth."""
    clip: float = 0.2
    """Clipping range of the probability ratio (clip_range of stable-baselines3)."""
    entropy: float = 0.0
    """Weight of the entropy bonus (ent_coef of stable-baselines3)."""
    value_weight: float = 0.5
    """Weight of the value loss (vf_coef of stable-baselines3)."""
    gae_lambda: float = 1.0
    """λ of generalised advantage estimation. With 1, advantages are exact returns less a baseline."""
    critic: CriticKind = "privileged"
    """Baseline of the returns. own: the policy's own value head. privileged: a critic that sees hidden labels and is
    not saved with the policy. look_ahead: one that sees true gains as well, at several times the cost of a roll-out."""
    critic_rollouts: int = 2
    """Roll-outs of the starting policy to whose returns the critic is fitted before the first update."""
    anchor: float = 0.02
    """Cost of each nat by which the policy diverges from the starting one. It falls linearly to 0 over the
    iterations."""
    features: tuple[str, ...] = ("full",)
    """What the policy sees: full, standard (distances and counts, about ten times as fast), or names of features."""
    prior: str = "uherding"
    """Hand-written rule that the policy starts from."""
    prior_weight: float = 1.5
    """Weight of that rule's score at the start. Larger values explore less."""
    width: int = 64
    """Hidden units of the network."""
    start: str | None = None
    """Folder of a trained policy to start from. Its prior and width replace those given here, and imitation is
    skipped."""
    validate_every: int = 5
    """Iterations between validations. A validation may choose the policy that is kept, and writes a checkpoint."""
    validation_tasks: int = 192
    """Fixed tasks of validation classes."""
    seed: int = 0
    """Seed of weights and roll-outs. Validation tasks are always the same."""

    def __post_init__(self) -> None:
        require_at_least(0, self, "iterations", "critic_rollouts", "anchor")
        require_at_least(1, self, "n_envs", "shapes_per_rollout", "batch_size", "epochs")
        require_at_least(1, self, "validate_every", "validation_tasks")
        if self.prior not in self.names().item_scores and self.prior in ITEM_SCORES:
            raise InputError(
                f"features={' '.join(self.features)} lacks prior={self.prior!r}, from which the policy starts; add it."
            )
        if self.paired < 1 or self.n_envs % (self.paired * self.shapes_per_rollout):
            raise InputError(
                f"paired={self.paired} times shapes_per_rollout={self.shapes_per_rollout} must divide "
                f"n_envs={self.n_envs}."
            )
        if self.prior not in ITEM_SCORES:
            raise unknown_name("prior", self.prior, ITEM_SCORES)

    def names(self, task: TaskConfig | None = None) -> FeatureNames:
        """Returns the features that a new policy for such tasks takes. Raises: `InputError` if one is unknown."""
        whole = self.features[0] if len(self.features) == 1 else ""
        wanted = whole if whole in ("full", "standard", "raw") else self.features
        return parse_observation(wanted, task).names
