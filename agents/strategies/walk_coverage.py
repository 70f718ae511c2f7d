"""Coverage along the pool's own paths: random walks that end at labels."""

from __future__ import annotations

from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.pool.random_walks import walk_gain
from metaal_env.pool.view import PoolView


@STRATEGIES.register("walk_coverage")
class WalkCoverage(Strategy):
    """Labels the item that would end most random walks from other items, weighted by their uncertainty.

    It resembles MaxHerding with label propagation (Zhu et al. 2003). Similarity is the probability of getting from one
    item to the other in a few steps between neighbours. Uncertainty comes from the labels at which walks end; the
    learner is not used. It is strong where classes are about equally frequent. Cost O(`steps` · N·L·K).

    Args:
        softness: of `Geometry.attention`; larger values prefer near items less.
        steps: most steps of a walk.
    """

    diversifies = True

    def __init__(self, *, softness: float = 0.1, steps: int = 4, seed: int = 0):
        super().__init__(seed=seed)
        self.softness, self.steps = softness, steps

    def score(self, view: PoolView) -> Tensor:
        return walk_gain(view, self.softness, self.steps)
