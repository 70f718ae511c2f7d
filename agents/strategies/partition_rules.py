"""Rules that average over plausible partitions of the pool into its classes; see `metaal_env.pool.partitions`."""

from __future__ import annotations

from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.partitions import partition_cover
from metaal_env.pool.view import PoolView


@STRATEGIES.register("partition_lookahead")
class PartitionLookAhead(Strategy):
    """The item after whose label the pool is classified best, over what its classes may be.

    Expected error reduction (Roy & McCallum 2001) under a posterior that reads the shape of the pool as well as the
    labels, instead of the learner's own opinion of it. Strong where classes are compact, as in embeddings of images.
    Cost O(M·N·E) for M partitions of E items.

    Args:
        likelihood: what the mean probability of the true class counts beside the accuracy, which is the same for
            many items, before the first label for all of them.
    """

    def __init__(self, *, likelihood: float = 0.1, seed: int = 0):
        super().__init__(seed=seed)
        self.likelihood = likelihood

    def score(self, view: PoolView) -> Tensor:
        return expected_accuracy(view) + self.likelihood * expected_likelihood(view)


@STRATEGIES.register("partition_cover")
class PartitionCover(Strategy):
    """MaxHerding (Bae et al. 2024) whose similarity is the share of partitions in which two items are of one class.

    Cost O(N·E·M·K).
    """

    diversifies = True

    def score(self, view: PoolView) -> Tensor:
        return partition_cover(view)
