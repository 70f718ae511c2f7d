"""Rewards: small functions of the learner's reward-set metrics before and after an action."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from metaal_env.metrics import Metrics
from metaal_env.registry import Registry

Reward = Callable[[Metrics, Metrics, Tensor, Tensor, Tensor], Tensor]
"""``(before, after, used, budget, terminated) -> (B,)``; `used` counts the action being rewarded, from 1.

Where items cost differently, `used` and `budget` are money. A price of labels is subtracted by the core.
"""

REWARDS: Registry[Reward] = Registry("reward")


def _remaining(used: Tensor, budget: Tensor) -> Tensor:
    """Returns the share of the learning curve that an improvement at this action still lifts."""
    return (budget - used + 1) / budget


@REWARDS.register("aulc")
def aulc(before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor) -> Tensor:
    """Computes the gain in accuracy, weighted by the share of the curve it lifts.

    With T actions, Σ_t (a_t − a_{t−1}) (T − t + 1) / T = (1/T) Σ_t a_t − a_0. So the undiscounted return is the area
    under the learning curve above the start, which all strategies share. Credit goes to the action that earned it.
    """
    return (after.accuracy - before.accuracy) * _remaining(used, budget)


@REWARDS.register("aulc_over_money")
def aulc_over_money(
    before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor
) -> Tensor:
    """Computes the gain in accuracy, weighted by the share of the money that is left after its cost.

    With a(m) the accuracy once m of the money M has been spent, the undiscounted return is (1/M) ∫ a(m) dm − a(0).
    """
    return (after.accuracy - before.accuracy) * (budget - used) / budget


@REWARDS.register("likelihood_aulc")
def likelihood_aulc(
    before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor
) -> Tensor:
    """Computes `aulc` with the mean probability of the true class, which has less noise per action."""
    return (after.likelihood - before.likelihood) * _remaining(used, budget)


@REWARDS.register("accuracy_gain")
def accuracy_gain(
    before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor
) -> Tensor:
    """Computes a_t − a_{t−1}; the return is the final accuracy above the start."""
    return after.accuracy - before.accuracy


@REWARDS.register("log_loss_decrease")
def log_loss_decrease(
    before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor
) -> Tensor:
    """Computes the decrease of the log-loss in nats."""
    return before.log_loss - after.log_loss


@REWARDS.register("final_accuracy")
def final_accuracy(
    before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor
) -> Tensor:
    """Returns the accuracy at the end of the episode, and 0 before."""
    return torch.where(terminated, after.accuracy, 0.0)


@REWARDS.register("label_cost")
def label_cost(before: Metrics, after: Metrics, used: Tensor, budget: Tensor, terminated: Tensor) -> Tensor:
    """Returns −1 per label until the episode ends; with a target accuracy the return is −labels to target."""
    return -torch.ones_like(after.accuracy)
