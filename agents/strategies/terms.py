"""Rules for labels that cost money: greedy per cost, and when to stop; and the greedy reference under any terms.

Where labels cost nothing in particular, they are the rule that they are made of. Their constants were chosen on tasks
of validation classes by `benchmarks/strategies/terms_choices.py`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, PrivilegedStrategy, Strategy, masked_scores
from agents.strategies.privileged import accuracy_first
from metaal_env.batched import unit_range
from metaal_env.core import LabelOracle
from metaal_env.pool.expected_gain import expected_accuracy, present_accuracy
from metaal_env.pool.terms import terms_of
from metaal_env.pool.view import PoolView

EXPONENT = 0.5
"""Power of the cost by which a score is divided."""

HEIGHT, HALF = 0.43, 1.0
"""Gain in accuracy that labels tend to, and labels per class that bring half of it."""

PATIENCE = 1.0
"""Factor of the closed-form gain of one label that is weighed against its price."""


class OfRule(Strategy):
    """Scores as another rule.

    Args:
        rule: name of a registered strategy that is not privileged.
    """

    def __init__(self, *, rule: str = "uherding", seed: int = 0):
        super().__init__(seed=seed)
        self.rule = STRATEGIES[rule](seed=seed)
        self.stochastic, self.diversifies = self.rule.stochastic, self.rule.diversifies
        self.needs_learner, self.grows_with_classes = self.rule.needs_learner, self.rule.grows_with_classes
        self.counts_classes = self.rule.counts_classes

    def score(self, view: PoolView) -> Tensor:
        return self.rule.score(view)


@STRATEGIES.register("per_cost")
class PerCost(OfRule):
    """Scores by a rule's score over a power of the item's cost (cost-benefit greedy, Leskovec et al. 2007, alg. 1).

    Scores are scaled to [0, 1] within what may be picked. With exponent 0 it is the rule alone, with 1 a score per
    cost.

    Args:
        rule: name of a registered strategy that is not privileged.
        exponent: power of the cost.
    """

    def __init__(self, *, rule: str = "uherding", exponent: float = EXPONENT, seed: int = 0):
        super().__init__(rule=rule, seed=seed)
        self.exponent = exponent

    def score(self, view: PoolView) -> Tensor:
        scores = self.rule.score(view)
        if view.terms is None:
            return scores
        # Above zero, so that the cheaper of two items without a score comes first.
        return (1e-3 + unit_range(scores, view.selectable)) / view.terms.cost**self.exponent


class StopRule(OfRule):
    """Labels by a rule, and stops where the next label is expected to gain less than it costs."""

    @abstractmethod
    def gain(self, view: PoolView) -> Tensor:
        """Returns the (B,) gain in accuracy that a further label is expected to bring."""

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        picks = super().select(view, oracle)
        return picks if view.terms is None else stop_if(self.gain(view) < view.terms.price, picks, view)


@STRATEGIES.register("stop_by_curve")
class StopByCurve(StopRule):
    """Stops where the mean learning curve rises by less than the price.

    After n labels in a task of K classes the curve is taken to be `height` · m / (m + `half`) with m = n / K, which
    is fitted to curves of validation tasks.

    Args:
        rule: name of a registered strategy that is not privileged.
        height: gain in accuracy that many labels tend to.
        half: labels per class that bring half of it.
    """

    def __init__(self, *, rule: str = "uherding", height: float = HEIGHT, half: float = HALF, seed: int = 0):
        super().__init__(rule=rule, seed=seed)
        self.height, self.half = height, half

    def gain(self, view: PoolView) -> Tensor:
        n, way = view.labelled.sum(1), view.way

        def curve(labels: Tensor) -> Tensor:
            return self.height * labels / (labels + self.half * way)

        return curve(n + 1) - curve(n)


@STRATEGIES.register("stop_by_gain")
class StopByGain(StopRule):
    """Stops where the best label gains less than the price in closed form, averaged over plausible partitions.

    The gain is the rise of `metaal_env.pool.expected_gain.expected_accuracy` by the best single label, times
    `patience`.

    Args:
        rule: name of a registered strategy that is not privileged.
        patience: factor of the gain; larger values buy more labels.
    """

    def __init__(self, *, rule: str = "uherding", patience: float = PATIENCE, seed: int = 0):
        super().__init__(rule=rule, seed=seed)
        self.patience = patience

    def gain(self, view: PoolView) -> Tensor:
        best = masked_scores(expected_accuracy(view), view).amax(1)
        return self.patience * (best - present_accuracy(view))


@STRATEGIES.register("greedy_on_terms")
class GreedyOnTerms(PrivilegedStrategy):
    """Labels the item with the largest gain in reward-set accuracy per cost, and stops where none is worth its price.

    It is greedy in one step, so it is no upper bound; where one label alone earns nothing, it stops at once.
    """

    def score_with(self, view: PoolView, oracle: LabelOracle) -> Tensor:
        now = accuracy_first(oracle.state.metrics).unsqueeze(1)
        return (accuracy_first(oracle.look_ahead()) - now) / terms_of(view).cost

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        if oracle is None:
            return super().select(view)  # raises
        scores = masked_scores(self.score_with(view, oracle), view)
        picks = scores.argmax(1)
        if view.terms is None:
            return picks
        after = oracle.look_ahead(picks.unsqueeze(1)).accuracy.squeeze(1)
        worth = after - oracle.state.metrics.accuracy
        price = view.terms.price * view.terms.cost.gather(1, picks.unsqueeze(1)).squeeze(1)
        return stop_if(worth < price, picks, view)


def stop_if(dear: Tensor, picks: Tensor, view: PoolView) -> Tensor:
    """Returns (B,) actions: N, to stop, where labels have a price and are (B,) `dear`, else the (B,) `picks`."""
    price = terms_of(view).price
    return torch.where((price > 0) & dear, view.valid.shape[1], picks)
