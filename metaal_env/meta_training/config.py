"""The settings of meta-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metaal_env.errors import InputError
from metaal_env.tasks import Range, bounds


@dataclass(frozen=True)
class MetaTrainConfig:
    """Holds the settings of meta-training an inner learner.

    Attributes:
        iterations: most meta-updates. Training ends earlier when validation stops improving.
        classes_per_batch: classes that are embedded per update and shared by all its tasks.
        items_per_class: items of each of these classes.
        tasks_per_batch: tasks formed from these items per update.
        way: classes per task.
        max_labels: supports hold 1…max_labels labels, uniformly.
        balanced: whether to train and validate on balanced supports with `shots` labels of every class instead, as
            few-shot papers do, for comparison. Acquisition never gives such supports.
        shots: labels per class of balanced supports.
        queries_per_class: items on which the meta-loss is taken.
        all_way: weight of the many-way loss (`all_way_loss`); 0 for learners of a fixed way.
        distortion: strength of the random affine maps of training images (`distorted`); 0 for none.
        learning_rate: of Adam, annealed to zero by a cosine.
        precision: of the body's convolutions and products in training: ``"float32"`` or ``"bfloat16"``.
            Weights, heads and validation are float32 either way.
        validate_every: updates between validations.
        patience: validations without improvement before training stops.
        validation_tasks: fixed tasks of validation classes.
        recoveries: how often training may go back to its last good checkpoint, with half the learning rate, after a
            loss or gradient that is NaN or infinite.
        seed: of the training tasks; validation tasks are always the same.
    """

    iterations: int = 1000
    classes_per_batch: int = 48
    items_per_class: int = 12
    tasks_per_batch: int = 32
    way: Range = (5, 20)
    max_labels: int = 20
    balanced: bool = False
    shots: Range = (1, 5)
    queries_per_class: int = 2
    all_way: float = 1.0
    distortion: float = 0.0
    learning_rate: float = 3e-3
    precision: Literal["float32", "bfloat16"] = "float32"
    validate_every: int = 50
    patience: int = 8
    validation_tasks: int = 256
    recoveries: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("iterations", "tasks_per_batch", "max_labels", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1.")
        for name in ("distortion", "recoveries"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be at least 0.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision={self.precision!r} is unknown; choose one of: float32, bfloat16.")
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
