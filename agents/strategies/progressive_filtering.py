"""Refine: many rules filter the pool round by round, and UHerding picks from what is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, masked_scores, stack_picks
from metaal_env.features import rules
from metaal_env.oracle import LabelOracle
from metaal_env.pool.view import PoolView

ENSEMBLE = (
    "random",
    "margin",
    "least_confident",
    "k_center",
    "badge",
    "falcun",
    "bait",
    "typiclust",
    "dropquery",
    "max_herding",
    "uherding",
)
"""Eleven rules of uncertainty, diversity, density and their hybrids. AlfaMix of the paper is not among them."""

LEVELS = 2**12
"""Steps between the lowest and the highest score of a rule."""


@STRATEGIES.register("refine")
class Refine(Strategy):
    """Filters the pool by an ensemble of rules, then covers it by UHerding (Huseljic et al. 2025, arXiv 2511.22344).

    In each of `rounds` every rule proposes batches, about `draws` by all rules together, each from a random `share` of
    what is left. What is proposed stays, the rest goes. UHerding then picks from it, judged on the whole pool.

    A rule scores the pool once per query, and its proposal is the best items of the random part by these scores; the
    paper composes a batch for each proposal. Cost: that of the rules.

    Args:
        ensemble: names of registered strategies, none privileged.
    """

    stochastic = True
    needs_learner = True
    diversifies = True

    def __init__(
        self,
        *,
        ensemble: Sequence[str] = ENSEMBLE,
        rounds: int = 5,
        draws: int = 100,
        share: float = 0.4,
        seed: int = 0,
    ):
        super().__init__(seed=seed)
        self.ensemble = [STRATEGIES[name](seed=seed) for name in ensemble]
        self.rounds, self.share = rounds, share
        self.draws = -(-draws // len(self.ensemble))

    def score(self, view: PoolView) -> Tensor:
        return _among(rules.uherding_gain(view), self.candidates(view, 1), view)

    def select_batch(self, view: PoolView, size: int, oracle: LabelOracle | None = None) -> Tensor:
        kept, picks = self.candidates(view, size), []
        for _ in range(size):
            pick = masked_scores(_among(rules.uherding_gain(view), kept, view), view).argmax(1)
            picks.append(torch.where(view.selectable.any(1), pick, -1))
            view = view.with_pending(picks[-1])
        return stack_picks(picks, view)

    def candidates(self, view: PoolView, size: int) -> Tensor:
        """Returns the (B, N) mask of the items that are left for a batch of `size`."""
        scores = torch.stack([_levels(rule.score(view), view) for rule in self.ensemble], 1)  # (B, R, N)
        n, left = scores.shape[2], view.selectable
        shape = (self.rounds, len(self.ensemble), self.draws, n)
        # (B, rounds, R, draws, N)
        chances = view.random(lambda rng: rng.random(shape, dtype=np.float32), self.seed)
        for number in range(self.rounds):
            chance = chances[:, number].masked_fill(~left[:, None, None], torch.inf)
            # The share of what is left with the lowest random numbers, at least a batch.
            count = (self.share * left.sum(1)).ceil().long().clamp(min=size).clamp(max=n)
            bound = chance.sort(-1).values.gather(
                -1, (count - 1).clamp(min=0).view(-1, 1, 1, 1).expand(*chance.shape[:-1], 1)
            )
            drawn = (chance <= bound) & left[:, None, None]
            ranked = (
                scores.unsqueeze(2).masked_fill(~drawn, -torch.inf).sort(dim=-1, descending=True, stable=True)
            )
            values, items = (x[..., :size].flatten(1) for x in ranked)
            hit = torch.zeros(len(view), n, device=left.device)
            hit.scatter_add_(1, items, (values > -torch.inf).float())
            left = (hit > 0) & left
        return left


def _levels(scores: Tensor, view: PoolView) -> Tensor:
    """Returns (B, N) scores in steps of their range, so that rounding alone ranks none above another."""
    low = scores.masked_fill(~view.selectable, torch.inf).amin(1, keepdim=True)
    high = scores.masked_fill(~view.selectable, -torch.inf).amax(1, keepdim=True)
    return ((scores - low) / (high - low).clamp(min=1e-12) * LEVELS).round()


def _among(scores: Tensor, kept: Tensor, view: PoolView) -> Tensor:
    """Returns (B, N) scores in which every item of (B, N) `kept` is above all others."""
    top = scores.masked_fill(~view.selectable, -torch.inf).amax(1, keepdim=True)
    bottom = scores.masked_fill(~view.selectable, torch.inf).amin(1, keepdim=True)
    apart = torch.where(view.selectable.any(1, keepdim=True), top - bottom, 0.0)
    return torch.where(kept, scores, scores - apart - 1)
