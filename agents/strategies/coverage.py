"""Ball coverage: ProbCover, and DCoM, which turns from covering to uncertainty as the coverage grows."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, random_if_cold
from metaal_env.batched import as_tie_break
from metaal_env.features import rules
from metaal_env.pool.ball_cover import ball_gain, pure_radius
from metaal_env.pool.view import PoolView


@STRATEGIES.register("probcover")
class ProbCover(Strategy):
    """Labels the item with a ball that covers most items not covered yet (Yehuda et al. 2022, alg. 1).

    The radius is the largest quantile of the pool's distances at which a share `purity` of the balls is pure under
    k-means. Equal counts, which are frequent, go to the larger MaxHerding gain. Cost O(N·L).
    """

    diversifies = True

    def __init__(self, *, purity: float = 0.95, seed: int = 0):
        super().__init__(seed=seed)
        self.purity = purity

    def score(self, view: PoolView) -> Tensor:
        gain, _ = ball_gain(view, pure_radius(view, self.purity))
        return gain.double() + as_tie_break(rules.herding_gain(view), view.valid)


@STRATEGIES.register("dcom")
class DCoM(Strategy):
    """Scores by S · margin + (1 − S) · new coverage; S grows with the coverage c (Mishal & Weinshall 2024).

    S = (1 + e^{−k(1−a)}) / (1 + e^{−k(c−a)}) with a = .9, k = 30 (arXiv 2407.01804). Both terms are
    relative to their largest value in the pool; the radius is ProbCover's. Cost as ProbCover.
    """

    diversifies = True

    def __init__(self, *, midpoint: float = 0.9, steepness: float = 30.0, seed: int = 0):
        super().__init__(seed=seed)
        self.midpoint, self.steepness = midpoint, steepness

    def score(self, view: PoolView) -> Tensor:
        gain, covered = ball_gain(view, pure_radius(view))
        a, k = self.midpoint, self.steepness
        top = torch.exp(torch.tensor(-k * (1 - a), dtype=torch.float64, device=view.device))
        competence = ((1 + top) / (1 + torch.exp(-k * (covered.double() - a)))).unsqueeze(1)  # (B, 1)
        unsure = random_if_cold(rules.margin(view), view, self.seed).double()
        fresh = gain.double() + as_tie_break(rules.herding_gain(view), view.valid)
        return competence * _relative(unsure, view) + (1 - competence) * _relative(fresh, view)


def _relative(scores: Tensor, view: PoolView) -> Tensor:
    """Returns (B, N) scores over their largest selectable value."""
    return scores / scores.masked_fill(~view.selectable, 0).amax(1, keepdim=True).clamp(min=1e-12)
