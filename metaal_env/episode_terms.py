"""The terms of new episodes: items' costs, which may follow their hardness, and targets that their pools can reach."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaal_env.learners.base import InnerLearner
from metaal_env.metrics import score_logits
from metaal_env.tasks import COST_DEVIATIONS, TaskBatch


def item_costs(task: TaskBatch, prepared: Tensor, deviation: float) -> Tensor:
    """Returns (B, N) costs, exp(`deviation` · z), with z standard normal but cut, and 1 at padding.

    z = ρ h + √(1 − ρ²) ε, with h the hardness of an item in normal scores of its rank and ρ the task's `cost_hardness`.

    Args:
        prepared: (B, N, *F) prepared items of the pools; read only where ρ is not 0.
    """
    correlation = task.cost_hardness.unsqueeze(1)
    z = task.cost_noise
    if bool((correlation != 0).any()):
        z = correlation * hardness(task, prepared) + (1 - correlation.square()).sqrt() * z
    cost = (deviation * z.clamp(-COST_DEVIATIONS, COST_DEVIATIONS)).exp()
    return torch.where(task.pool_mask, cost, 1.0)


def hardness(task: TaskBatch, prepared: Tensor) -> Tensor:
    """Returns (B, N) normal scores of the rank by how near an item is to another class's mean, over its own's.

    Distractors are the hardest of all. Hidden labels enter, so this may shape costs but is never shown.
    """
    x = prepared.flatten(2)
    k = task.class_mask.shape[1]
    known = task.pool_labels >= 0
    hot = one_hot(task.pool_labels.clamp(min=0), k).to(x) * known.unsqueeze(-1)  # (B, N, K)
    count = hot.sum(1)
    means = hot.transpose(1, 2) @ x / count.clamp(min=1).unsqueeze(-1)
    distance = torch.cdist(x, means)  # (B, N, K)
    own = hot.bool()
    absent = (count == 0).unsqueeze(1)
    nearest_other = distance.masked_fill(own | absent, torch.inf).amin(2)
    raw = (distance * hot).sum(2) - nearest_other
    raw = raw.masked_fill(~known, torch.inf).masked_fill(~task.pool_mask, -torch.inf)
    padding = (~task.pool_mask).sum(1, keepdim=True)
    rank = raw.argsort(1).argsort(1) - padding  # padding comes first
    share = (rank + 0.5) / task.pool_mask.sum(1, keepdim=True)
    return torch.special.ndtri(share.clamp(1e-4, 1 - 1e-4)) * task.pool_mask


def targets(
    learner: InnerLearner, task: TaskBatch, prepared: Tensor, prepared_reward: Tensor, start: Tensor
) -> Tensor:
    """Returns (B,) accuracies on the reward set: the start, and the task's share of what the whole pool's labels gain.

    A pool whose labels gain nothing has its start as target, which its first label reaches unless it does harm.

    Args:
        prepared, prepared_reward: (B, N, *F) and (B, R, *F) prepared items.
        start: (B,) accuracy before the first action.
    """
    labels = task.oracle_labels
    adapted = learner.adapt(prepared, labels, task.pool_mask & (labels >= 0), task.class_mask)
    reachable = score_logits(learner.predict(adapted, prepared_reward), task.reward_labels).accuracy
    return start + task.target_share * (reachable - start).clamp(min=0)
