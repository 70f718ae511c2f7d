"""References that look at hidden labels: what there is to win. Refused on a user's own pool."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, PrivilegedStrategy
from agents.strategies.lookahead import MAX_ELEMENTS, Columns, has_prototypes
from metaal_env import rules
from metaal_env.core import Oracle
from metaal_env.metrics import Metrics
from metaal_env.pool.clusters import within
from metaal_env.pool.view import PoolView


def missing_class_first(view: PoolView, oracle: Oracle) -> Tensor:
    """(B, N) double: minus the number of labels of the item's true class; distractors last."""
    true = oracle.true_labels
    counts = torch.take_along_dim(view.counts, true.clamp(min=0), 1).double()
    return torch.where(true >= 0, -counts, -counts.amax(1, keepdim=True) - view.valid.shape[1])


@STRATEGIES.register("class_balanced")
class ClassBalanced(PrivilegedStrategy):
    """A random item of the class with the fewest labels."""

    stochastic = True
    spreads = True

    def score_with(self, view: PoolView, oracle: Oracle) -> Tensor:
        n = view.valid.shape[1]
        return missing_class_first(view, oracle) + 0.999 * view.random(lambda rng: rng.random(n), self.seed)


@STRATEGIES.register("balanced_typical")
class BalancedTypical(PrivilegedStrategy):
    """The most typical item of the class with the fewest labels: the largest kernel density in its class.

    Args:
        width: squared kernel radius, relative to the pool's mean squared distance.
    """

    spreads = True

    def __init__(self, *, width: float = rules.HERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score_with(self, view: PoolView, oracle: Oracle) -> Tensor:
        true = oracle.true_labels
        same = true.unsqueeze(2) == view.geometry.at_landmarks(true).unsqueeze(1)  # (B, N, L)
        kernel = view.geometry.kernel(self.width) * same
        density = kernel.sum(-1) / same.sum(-1).clamp(min=1)
        return missing_class_first(view, oracle) + within(density, view.selectable)


@STRATEGIES.register("greedy_lookahead")
class GreedyLookAhead(PrivilegedStrategy):
    """The item whose label raises the reward-set accuracy most; ties go to the higher mean likelihood.

    Greedy in one step, so no upper bound. Cost: one adaptation and one reward-set prediction per candidate,
    or O(N·R) with a prototypical learner.
    """

    def score_with(self, view: PoolView, oracle: Oracle) -> Tensor:
        return accuracy_first(look_ahead(view, oracle))


@STRATEGIES.register("lookahead_log_loss")
class LogLossLookAhead(PrivilegedStrategy):
    """The item whose label lowers the reward-set log-loss most. Cost as `GreedyLookAhead`."""

    def score_with(self, view: PoolView, oracle: Oracle) -> Tensor:
        return -look_ahead(view, oracle).log_loss


@STRATEGIES.register("best_of_rules")
class BestOfRules(PrivilegedStrategy):
    """Asks several rules for their pick and labels the one that raises the reward-set accuracy most.

    What a perfect selector among these rules would win in one step (the oracle over strategies). All other
    items come last. Cost: the rules' and one look-ahead per rule.

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

    def score_with(self, view: PoolView, oracle: Oracle) -> Tensor:
        picks = torch.stack([rule.select(view) for rule in self.rules], 1)  # (B, k)
        value = accuracy_first(oracle.look_ahead(picks))
        scores = torch.full(view.valid.shape, -1.0, dtype=value.dtype, device=view.device)
        return scores.scatter_reduce(1, picks, value, "amax")


def accuracy_first(metrics: Metrics) -> Tensor:
    """Accuracies differ by at least 1/R; the likelihood only decides between equal ones."""
    return metrics.accuracy.double() + 1e-4 * metrics.likelihood.double()


def look_ahead(view: PoolView, oracle: Oracle, exact: bool = True) -> Metrics:
    """(B, N) reward-set metrics after labelling each item, in chunks of bounded memory.

    Args:
        exact: use the closed form where the learner has one; False re-adapts always.
    """
    b, n = view.valid.shape
    state = oracle.state
    positions = torch.arange(n, device=view.device).expand(b, n)
    if exact and has_prototypes(view) and oracle.core.learner is view.learner:
        return _column_look_ahead(view, oracle, positions)
    features = state.reward_features
    per_candidate = b * (features[0].numel() + view.order.shape[1] * features[0, 0].numel())
    step = max(1, MAX_ELEMENTS // max(per_candidate, 1))
    parts = [oracle.look_ahead(part) for part in positions.split(step, 1)]
    return Metrics(*(torch.cat(columns, 1) for columns in zip(*parts, strict=True)))


def _column_look_ahead(view: PoolView, oracle: Oracle, positions: Tensor) -> Metrics:
    """The same from the one logit column that a label changes: O(R) per candidate."""
    state = oracle.state
    assert view.adapted is not None  # `has_prototypes`
    learner = oracle.core.learner
    target = state.task.reward_labels  # (B, R)
    real = (target >= 0).unsqueeze(1)
    logits = learner.predict(view.adapted, state.reward_features)  # (B, R, K)
    columns = Columns(view, learner.embed(view.adapted, state.reward_features))
    true_logit = torch.take_along_dim(logits, target.clamp(min=0).unsqueeze(-1), 2).squeeze(-1)  # (B, R)
    b, n = positions.shape
    step = max(1, MAX_ELEMENTS // (8 * b * logits.shape[1]))
    parts = []
    for start in range(0, n, step):
        part = slice(start, min(n, start + step))
        label = oracle.reveal(positions[:, part])  # (B, c)
        y = label.clamp(min=0)
        new = columns.logits(part, y)  # (B, c, R)
        old = torch.take_along_dim(logits.transpose(1, 2), y.unsqueeze(-1), 1)
        new = torch.where((label >= 0).unsqueeze(-1), new, old)  # a distractor changes nothing
        # log-sum-exp and the best of the other classes, per class left out.
        rest, top = _without(logits, y)
        is_target = target.unsqueeze(1) == y.unsqueeze(-1)  # (B, c, R)
        log_p = torch.where(is_target, new, true_logit.unsqueeze(1)) - torch.logaddexp(rest, new)
        # Ties go to the lower class number, as argmax does.
        best_other, best_class = top
        wins = (new > best_other) | ((new == best_other) & (y.unsqueeze(-1) < best_class))
        guess = torch.where(wins, y.unsqueeze(-1), best_class)
        hit = (guess == target.unsqueeze(1)) & real
        count = real.sum(-1).clamp(min=1)
        parts.append(
            Metrics(
                hit.sum(-1) / count,
                (log_p.exp() * real).sum(-1) / count,
                (-log_p * real).sum(-1) / count,
            )
        )
    return Metrics(*(torch.cat(column, 1) for column in zip(*parts, strict=True)))


def _without(logits: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Over (B, R, K) logits without class `y` (B, c): log-sum-exp, value and class of the maximum.

    Each (B, c, R).
    """
    k = logits.shape[-1]
    sums, tops, classes = [], [], []
    for left_out in range(k):
        others = logits.clone()
        others[..., left_out] = -torch.inf
        sums.append(torch.logsumexp(others, -1))
        value, index = others.max(-1)
        tops.append(value)
        classes.append(index)
    pick = y.unsqueeze(-1)  # (B, c, 1)
    gathered = [torch.take_along_dim(torch.stack(x, 1), pick, 1) for x in (sums, tops, classes)]
    return gathered[0], (gathered[1], gathered[2])
