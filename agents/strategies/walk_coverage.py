"""Coverage along the pool's own paths: random walks that end at labels."""

from __future__ import annotations

from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.pool.random_walks import walk_gain
from metaal_env.pool.view import PoolView


@STRATEGIES.register("walk_coverage")
class WalkCoverage(Strategy):
    """The item that ends most walks of undecided items, weighted by how undecided they are.

    A label-propagation relative of MaxHerding (Zhu et al. 2003 for the walks): similarity is the chance to get
    from one item to the other in a few steps between neighbours, uncertainty comes from the labels that walks
    end at, and the learner plays no part. Strong where classes are about equally frequent. Cost
    O(`steps` · N·L·K).

    Args:
        softness: how little steps prefer near items; see `Geometry.attention`.
        steps: of a walk.
    """

    diversifies = True

    def __init__(self, *, softness: float = 0.1, steps: int = 4, seed: int = 0):
        super().__init__(seed=seed)
        self.softness, self.steps = softness, steps

    def score(self, view: PoolView) -> Tensor:
        return walk_gain(view, self.softness, self.steps)
