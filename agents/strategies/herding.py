"""Herding: labels the item that adds most to the kernel coverage of the pool. Strongest at low budget.

Every cost is O(N·L) per query with L landmarks (all items up to `distances.MAX_LANDMARKS`).
"""

from __future__ import annotations

from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.features import rules
from metaal_env.pool.view import PoolView


@STRATEGIES.register("max_herding")
class MaxHerding(Strategy):
    """Scores by mean_l max(k(i, l) − max_{j labelled} k(j, l), 0) (MaxHerding, Bae et al. 2024, 2407.12212).

    Args:
        width: squared kernel radius, relative to the pool's mean squared distance, so that one value serves
            every embedding space.
    """

    diversifies = True

    def __init__(self, *, width: float = rules.HERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score(self, view: PoolView) -> Tensor:
        return rules.herding_gain(view, self.width)


@STRATEGIES.register("uherding")
class UHerding(Strategy):
    """Scores by uncertainty-weighted coverage with a radius that shrinks with labels (Bae et al. 2025, 2412.20644).

    mean_l u(l) · max(k(i, l) − max_{j labelled} k(j, l), 0); see `rules.uherding_gain`.
    """

    diversifies = True

    def __init__(self, *, width: float = rules.UHERDING_WIDTH, seed: int = 0):
        super().__init__(seed=seed)
        self.width = width

    def score(self, view: PoolView) -> Tensor:
        return rules.uherding_gain(view, self.width)
