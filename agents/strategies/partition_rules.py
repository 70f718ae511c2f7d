"""Rules that average over plausible partitions of the pool into its classes; see `metaal_env.pool.partitions`."""

from __future__ import annotations

from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy
from metaal_env.pool.expected_gain import expected_accuracy, expected_likelihood
from metaal_env.pool.partitions import partition_cover
from metaal_env.pool.view import PoolView


@STRATEGIES.register("partition_lookahead")
class PartitionLookAhead(Strategy):
    """Labels the item that improves the classification of the pool most, on average over plausible partitions.

    This is expected error reduction (Roy & McCallum 2001) under a posterior from the shape of the pool and the
    labels instead of the learner's predictions. It is strong where classes are compact, as in embeddings of images.
    Cost O(M·N·E) for M partitions of E items.

    Args:
        likelihood: weight of the mean probability of the true class beside the accuracy, which is equal for many
            items (before the first label, for all of them).
    """

    counts_classes = True

    def __init__(self, *, likelihood: float = 0.1, seed: int = 0):
        super().__init__(seed=seed)
        self.likelihood = likelihood

    def score(self, view: PoolView) -> Tensor:
        return expected_accuracy(view) + self.likelihood * expected_likelihood(view)


@STRATEGIES.register("partition_cover")
class PartitionCover(Strategy):
    """Applies MaxHerding (Bae et al. 2024) with the share of partitions that join two items as their similarity.

    Cost O(N·E·M·K).
    """

    diversifies = True
    counts_classes = True

    def score(self, view: PoolView) -> Tensor:
        return partition_cover(view)
