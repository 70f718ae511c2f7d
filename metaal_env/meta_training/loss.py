"""The loss of meta-training: query losses after adaptation, on small tasks and on one of all classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metaal_env.learners.base import InnerLearner
from metaal_env.meta_training.few_shot_tasks import FewShotTasks


def task_logits(learner: InnerLearner, prepared: Tensor, tasks: FewShotTasks) -> Tensor:
    """Computes (B, Q, K) query logits after adapting to each task's support; `prepared` is (M, *F)."""
    adapted = learner.adapt(
        prepared[tasks.support], tasks.support_labels, tasks.support_mask, tasks.class_mask
    )
    return learner.predict(adapted, prepared[tasks.query])


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Computes the mean query cross-entropy of equally weighted tasks; scalar, nats."""
    mask = labels >= 0
    losses = F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten(), reduction="none")
    return ((losses.view(labels.shape) * mask).sum(1) / mask.sum(1)).mean()


def path_loss(learner: InnerLearner, prepared: Tensor, tasks: FewShotTasks) -> tuple[Tensor, Tensor]:
    """Computes the meta-loss over the states of adaptation that count now, and the last state's query logits."""
    path = learner.adapt_path(
        prepared[tasks.support], tasks.support_labels, tasks.support_mask, tasks.class_mask
    )
    total, logits, query = prepared.new_zeros(()), prepared.new_zeros(()), prepared[tasks.query]
    for weight, adapted in zip(learner.path_weights(len(path)), path, strict=True):
        if weight:
            logits = learner.predict(adapted, query)
            total = total + weight * task_loss(logits, tasks.query_labels)
    return total, logits


def all_way_loss(
    learner: InnerLearner, prepared: Tensor, grid: tuple[int, ...], rng: np.random.Generator
) -> Tensor:
    """Computes the cross-entropy of one balanced task over all classes of the batch; scalar, nats.

    Small tasks with missing classes calibrate the head but teach the body little per image. The many-way task needs
    no further embedding. (Snell et al. 2017 also train with more classes than they test with.)

    Args:
        prepared: (classes · items, *F) of the batch.
        grid: (classes, items).
    """
    classes, items = grid
    shots = int(rng.integers(1, min(3, items - 1), endpoint=True))
    grouped = prepared.unflatten(0, (classes, items))
    target = torch.arange(classes, device=prepared.device)
    support_labels = target.repeat_interleave(shots).unsqueeze(0)  # (1, C·shots)
    adapted = learner.adapt(
        grouped[:, :shots].flatten(0, 1).unsqueeze(0),
        support_labels,
        torch.ones_like(support_labels, dtype=torch.bool),
        torch.ones(1, classes, dtype=torch.bool, device=prepared.device),
    )
    logits = learner.predict(adapted, grouped[:, shots:].flatten(0, 1).unsqueeze(0))
    return F.cross_entropy(logits[0], target.repeat_interleave(items - shots))
