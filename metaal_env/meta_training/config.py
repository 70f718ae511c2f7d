"""The settings of meta-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metaal_env.errors import InputError, require_at_least
from metaal_env.tasks import Range, bounds


@dataclass(frozen=True)
class MetaTrainConfig:
    """Holds the settings of meta-training an inner learner."""

    iterations: int = 500
    """Most meta-updates. Training ends earlier when validation stops improving."""
    classes_per_batch: int = 48
    """Classes embedded per update, shared by all its tasks."""
    items_per_class: int = 12
    """Items embedded of each of these classes."""
    tasks_per_batch: int = 32
    """Tasks formed from the embedded items."""
    way: Range = (5, 20)
    """Classes per task: one number, or a range as two."""
    max_labels: int = 20
    """Largest support. Supports hold 1 to this many labels, drawn uniformly."""
    balanced: bool = False
    """Train and validate on supports with equally many labels of every class instead. Few-shot papers do this, but
    acquisition never gives such supports; it is there for comparison."""
    shots: Range = (1, 5)
    """Labels per class of balanced supports: one number, or a range as two."""
    queries_per_class: int = 2
    """Items per class on which the meta-loss is taken."""
    all_way: float = 1.0
    """Weight of the loss over all classes of the batch at once; 0 for learners of a fixed way."""
    distortion: float = 0.0
    """Strength of the random affine maps of training images; 0 = none."""
    learning_rate: float = 0.007
    """Step size of Adam, annealed to zero by a cosine."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the body's convolutions and products in training. Weights, heads and validation are float32.
    auto takes bfloat16 on a GPU and float32 on a CPU."""
    validate_every: int = 50
    """Updates between validations."""
    patience: int = 8
    """Validations without improvement before training ends."""
    validation_tasks: int = 256
    """Fixed tasks of validation classes."""
    recoveries: int = 3
    """Most returns to the last good checkpoint, with half the learning rate, after a loss or gradient that is NaN or
    infinite."""
    seed: int = 0
    """Seed of the first weights and of the tasks. Validation tasks are always the same."""

    def __post_init__(self) -> None:
        require_at_least(1, self, "iterations", "tasks_per_batch", "max_labels", "validate_every", "patience")
        require_at_least(0, self, "distortion", "recoveries")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise InputError(
                f"precision={self.precision!r} is unknown; choose one of: auto, float32, bfloat16."
            )
        if not 0 < self.queries_per_class < self.items_per_class:
            raise InputError(
                f"queries_per_class={self.queries_per_class} must lie between 1 and "
                f"items_per_class={self.items_per_class} − 1."
            )
        if self.balanced and not 1 <= bounds(self.shots)[1] <= self.items_per_class - self.queries_per_class:
            raise InputError(
                f"shots={self.shots} must lie between 1 and items_per_class − queries_per_class = "
                f"{self.items_per_class - self.queries_per_class}."
            )
