"""Ball coverage: ProbCover, and DCoM, which turns from covering to uncertainty as the coverage grows."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.strategies.base import STRATEGIES, Strategy, random_if_cold
from agents.strategies.clustering import static_clusters, within
from metaal_env import rules
from metaal_env.geometry import Geometry, spread, squared_distances
from metaal_env.view import PoolView

QUANTILES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""Radii that are tried, as quantiles of the pool's squared distances: they mean the same in every space."""


RADIUS_ITEMS = 256
"""Items on which radii are judged; a quantile needs no more."""


def pure_radius(view: PoolView, purity: float = 0.95) -> Tensor:
    """(B,) squared radius: the largest of `QUANTILES` at which a share `purity` of balls lies in one cluster.

    Clusters are k-means with one per class (ProbCover's rule for its radius); the smallest radius if none is pure.
    Labels play no part: it is kept on the view's geometry.
    """
    key = ("pure_radius", purity, tuple(view.way.tolist()))
    if key not in view.geometry.memo:
        view.geometry.memo[key] = _pure_radius(view, purity)
    return view.geometry.memo[key]


def _pure_radius(view: PoolView, purity: float) -> Tensor:
    size = min(view.valid.shape[1], RADIUS_ITEMS)
    some = spread(view.embeddings, view.valid, size)
    real = Geometry.rows(view.valid, some)  # (B, L)
    items = Geometry.rows(view.embeddings, some)
    distance = squared_distances(items, items)  # (B, L, L)
    radii = _quantiles(distance, real)  # (B, Q)
    assignment = torch.take_along_dim(static_clusters(view, view.way).assignment, some, 1)
    differ = (assignment.unsqueeze(1) != assignment.unsqueeze(2)) & real.unsqueeze(1)
    # A ball is pure up to the distance of the nearest item of another cluster.
    reach = distance.masked_fill_(~differ, torch.inf).amin(-1)  # (B, L)
    pure = (reach.unsqueeze(1) > radii.unsqueeze(2)) & real.unsqueeze(1)  # (B, Q, L)
    share = pure.sum(-1) / real.sum(-1, keepdim=True).clamp(min=1)
    best = (share >= purity).sum(1, keepdim=True) - 1  # purity falls with the radius
    return torch.take_along_dim(radii, best.clamp(min=0), 1).squeeze(1)


def _quantiles(distance: Tensor, real: Tensor) -> Tensor:
    """(B, Q) `QUANTILES` of the (B, L, L) distances between two different items of (B, L) `real`."""
    size = distance.shape[1]
    first, second = torch.triu_indices(size, size, 1, device=distance.device)
    pair = real[:, first] & real[:, second]  # (B, L(L−1)/2)
    last = (pair.sum(1, keepdim=True) - 1).clamp(min=0)  # (B, 1)
    levels = torch.tensor(QUANTILES, dtype=torch.float64, device=distance.device)
    if not len(first):
        return distance.new_zeros(len(distance), len(QUANTILES))
    # Only the smallest part is needed: selecting it is cheaper than sorting everything.
    most = round(QUANTILES[-1] * (len(first) - 1)) + 1
    between = distance[:, first, second].masked_fill_(~pair, torch.inf)
    ordered = between.topk(most, 1, largest=False).values
    return torch.take_along_dim(ordered, (levels * last).round().long(), 1).nan_to_num(posinf=0.0)


def ball_gain(view: PoolView, radius: Tensor) -> tuple[Tensor, Tensor]:
    """(B, N) landmarks that labelling the item would newly cover, and the (B,) share covered already."""
    geometry = view.geometry
    inside = geometry.sq_dist <= radius.view(-1, 1, 1)  # (B, N, L)
    open_ = geometry.landmark_mask
    if view.order.shape[1]:
        open_ = open_ & ~(Geometry.rows(inside, view.order) & view.order_mask.unsqueeze(-1)).any(1)
    # Sums of whole numbers are exact in float32 up to 2²⁴.
    kind = geometry.sq_dist.dtype
    gain = (open_.to(kind).unsqueeze(1) @ inside.to(kind).transpose(1, 2)).squeeze(1)
    real = geometry.landmark_mask.sum(1)
    return gain, (real - open_.sum(1)) / real.clamp(min=1)


@STRATEGIES.register("probcover")
class ProbCover(Strategy):
    """The item whose ball covers most items not covered yet (Yehuda et al. 2022, alg. 1).

    The radius is the largest quantile of the pool's distances at which 95 % of the balls are pure under
    k-means. Equal counts, which are the rule, go to the larger MaxHerding gain. Cost O(N·L).
    """

    spreads = True

    def __init__(self, *, purity: float = 0.95, seed: int = 0):
        super().__init__(seed=seed)
        self.purity = purity

    def score(self, view: PoolView) -> Tensor:
        gain, _ = ball_gain(view, pure_radius(view, self.purity))
        return gain.double() + within(rules.herding_gain(view), view.valid)


@STRATEGIES.register("dcom")
class DCoM(Strategy):
    """S · margin + (1 − S) · new coverage, where S grows with the coverage c (Mishal & Weinshall 2024).

    S = (1 + e^{−k(1−a)}) / (1 + e^{−k(c−a)}) with a = .9, k = 30 (arXiv 2407.01804). Both terms are
    relative to their largest value in the pool; the radius is ProbCover's. Cost as ProbCover.
    """

    spreads = True

    def __init__(self, *, midpoint: float = 0.9, steepness: float = 30.0, seed: int = 0):
        super().__init__(seed=seed)
        self.midpoint, self.steepness = midpoint, steepness

    def score(self, view: PoolView) -> Tensor:
        gain, covered = ball_gain(view, pure_radius(view))
        a, k = self.midpoint, self.steepness
        top = torch.exp(torch.tensor(-k * (1 - a), dtype=torch.float64, device=view.device))
        competence = ((1 + top) / (1 + torch.exp(-k * (covered.double() - a)))).unsqueeze(1)  # (B, 1)
        unsure = random_if_cold(rules.margin(view), view, self.seed).double()
        fresh = gain.double() + within(rules.herding_gain(view), view.valid)
        return competence * _relative(unsure, view) + (1 - competence) * _relative(fresh, view)


def _relative(scores: Tensor, view: PoolView) -> Tensor:
    """(B, N) scores over their largest selectable value."""
    return scores / scores.masked_fill(~view.selectable, 0).amax(1, keepdim=True).clamp(min=1e-12)
