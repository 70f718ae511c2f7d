"""References that look at hidden labels and show the possible gain. They are refused on a user's own pool."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, PrivilegedStrategy
from metaal_env.batched import as_tie_break
from metaal_env.features import rules
from metaal_env.metrics import Metrics
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView


def missing_class_first(view: PoolView, oracle: LabelOracle) -> Tensor:
    """Returns minus the (B, N) number of labels of the item's true class, as double; distractors come last."""
    true = oracle.true_labels
    counts = torch.take_along_dim(view.counts, true.clamp(min=0), 1).double()
    return torch.where(true >= 0, -counts, -counts.amax(1, keepdim=True) - view.valid.shape[1])


@STRATEGIES.register("class_balanced")
class ClassBalanced(PrivilegedStrategy):
    """Labels a random item of the class with the fewest labels."""

    stochastic = True
    diversifies = True

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        n = view.valid.shape[1]
        return missing_class_first(view, oracle) + 0.999 * view.random(lambda rng: rng.random(n), self.seed)


@STRATEGIES.register("balanced_typical")
class BalancedTypical(PrivilegedStrategy):
    """Labels the item with the largest kernel density in its class, of the class with the fewest labels.

    Args:
        width: squared kernel radius, relative to the pool's mean squared distance.
    """

    diversifies = True

    def __init__(self, *, width: float = rules.HERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        true = oracle.true_labels
        same = true.unsqueeze(2) == view.geometry.at_landmarks(true).unsqueeze(1)  # (B, N, L)
        kernel = view.geometry.gaussian(self.width * view.geometry.mean_sq_dist) * same
        density = kernel.sum(-1) / same.sum(-1).clamp(min=1)
        return missing_class_first(view, oracle) + as_tie_break(density, view.selectable)


@STRATEGIES.register("greedy_lookahead")
class GreedyLookAhead(PrivilegedStrategy):
    """Labels the item that raises the reward-set accuracy most; ties go to the higher mean likelihood.

    It is greedy in one step, so it is no upper bound. Cost: one adaptation and one reward-set prediction per
    candidate, or O(N·R) with a prototypical learner.
    """

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        return accuracy_first(oracle.look_ahead())


@STRATEGIES.register("lookahead_log_loss")
class LogLossLookAhead(PrivilegedStrategy):
    """Labels the item that lowers the reward-set log-loss most. Cost as for `GreedyLookAhead`."""

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        return -oracle.look_ahead().log_loss


@STRATEGIES.register("best_of_rules")
class BestOfRules(PrivilegedStrategy):
    """Labels the pick of the rule that raises the reward-set accuracy most.

    This is a perfect one-step selector among these rules. All other items come last. Cost: the rules' and one
    look-ahead per rule.

    Args:
        rules: names of registered strategies that are not privileged.
    """

    def __init__(
        self,
        *,
        rules: Sequence[str] = ("margin", "k_center", "typiclust", "max_herding", "uherding"),
        seed: int = 0,
    ):
        super().__init__(seed=seed)
        self.rules = [STRATEGIES[name](seed=seed) for name in rules]

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        picks = torch.stack([rule.select(view) for rule in self.rules], 1)  # (B, k)
        value = accuracy_first(oracle.look_ahead(picks))
        scores = torch.full(view.valid.shape, -1.0, dtype=value.dtype, device=view.device)
        return scores.scatter_reduce(1, picks, value, "amax")


def accuracy_first(metrics: Metrics) -> Tensor:
    """Combines accuracy and likelihood so that likelihood only decides between equal accuracies."""
    return metrics.accuracy.double() + 1e-4 * metrics.likelihood.double()
