"""Rules for labels that cost money: greedy per cost, and when to stop; and the greedy reference under any terms.

Where labels cost nothing in particular, they are the rule that they are made of. `benchmarks/policy/hand_made.py` tunes
them on validation tasks; the constants here are those of the registered ids.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, PrivilegedStrategy, Strategy, masked_scores, positive_scores
from agents.strategies.privileged import accuracy_first
from metaal_env.features import POOL_FEATURES
from metaal_env.oracle import LabelOracle
from metaal_env.pool.terms import terms_of
from metaal_env.pool.view import PoolView

COST_POWER = 2.0
"""Power of the cost by which a score is divided."""

UNIT = 0.01
"""Price at which the constants of the rules for stopping are given."""

Condition = Literal["count", "mean_confidence", "best_gain"]


class OnTerms(Strategy):
    """Scores as another rule.

    Args:
        rule: a strategy, or the name of a registered one, that is not privileged.
    """

    def __init__(self, rule: Strategy | str = "uherding", *, seed: int = 0):
        super().__init__(seed=seed)
        self.rule = STRATEGIES[rule](seed=seed) if isinstance(rule, str) else rule
        self.stochastic, self.diversifies = self.rule.stochastic, self.rule.diversifies
        self.needs_learner, self.grows_with_classes = self.rule.needs_learner, self.rule.grows_with_classes
        self.counts_classes = self.rule.counts_classes

    def score(self, view: PoolView) -> Tensor:
        return self.rule.score(view)


@STRATEGIES.register("per_cost")
class PerCost(OnTerms):
    """Divides a rule's score, scaled to [.05, 1] within what may be picked, by a power of the item's cost.

    With power 0 it is the rule alone; with 1, cost-benefit greedy (Leskovec et al. 2007, alg. 1).

    Args:
        rule: a strategy, or the name of a registered one, that is not privileged.
        power: of the cost.
    """

    def __init__(self, rule: Strategy | str = "uherding", power: float = COST_POWER, *, seed: int = 0):
        super().__init__(rule, seed=seed)
        self.power = power

    def score(self, view: PoolView) -> Tensor:
        score = self.rule.score(view)
        if view.terms is None:
            return score
        return positive_scores(score, view) / view.terms.cost**self.power


class Stopping(OnTerms):
    """Labels by a rule and stops by a condition; see `stops`.

    Args:
        rule: a strategy, or the name of a registered one, that is not privileged.
        condition, factor, power: see `stops`.
    """

    def __init__(
        self, rule: Strategy | str, condition: Condition, factor: float, power: float, *, seed: int = 0
    ):
        super().__init__(rule, seed=seed)
        self.condition, self.factor, self.power = condition, factor, power

    def select(self, view: PoolView, oracle: LabelOracle | None = None) -> Tensor:
        picks = super().select(view, oracle)
        if view.terms is None or not bool((view.terms.price > 0).any()):
            return picks
        values: dict[str, Tensor] = {}
        if self.condition != "count":
            values[self.condition] = POOL_FEATURES[self.condition].function(view)
        labels = view.labelled.sum(1).float()
        stop = stops(self.condition, self.factor, self.power, labels, view.terms.price, values)
        return stop_if(stop, picks, view)


def stops(
    condition: Condition, factor: float, power: float, labels: Any, price: Any, values: dict[str, Any]
) -> Any:
    """Returns whether to stop: after so many labels, or once a measure of what may still be gained is below the price.

    Args:
        condition: ``"count"``, ``"mean_confidence"`` (the gain is the share of doubt) or ``"best_gain"`` (expected
            over partitions).
        factor: labels at a price of `UNIT`, or factor of the measure.
        power: of the price; a power below 1 counts prices as nearer to `UNIT` than they are.
        labels, price: arrays or tensors that can be broadcast, as the measures.
        values: the measures by name.
    """
    threshold = UNIT * (price / UNIT) ** power
    if condition == "count":
        return labels * threshold >= UNIT * factor
    doubt = 1 - values[condition] if condition == "mean_confidence" else values[condition]
    return doubt * factor < threshold


@STRATEGIES.register("stop_by_count")
class StopByCount(Stopping):
    """Labels by UHerding and stops after a number of labels that falls with a power of the price."""

    def __init__(self, *, seed: int = 0):
        super().__init__("uherding", "count", 6.05, 1.25, seed=seed)


@STRATEGIES.register("stop_by_gain")
class StopByGain(Stopping):
    """Labels by UHerding and stops once the closed-form gain of the best label, times a factor, is below the price."""

    def __init__(self, *, seed: int = 0):
        super().__init__("uherding", "best_gain", 1.0, 1.0, seed=seed)


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
