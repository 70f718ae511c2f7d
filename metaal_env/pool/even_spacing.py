"""Items of a pool at even ranks of their distance to its mean: a few that stand for all."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly_spaced(items: Tensor, mask: Tensor, count: int) -> Tensor:
    """Returns (B, `count`) positions evenly spaced in the distance to the mean, from the nearest to the farthest.

    They depend on the values of the items, not on their order, so results computed from them follow a permutation
    of the pool, except for items at equal distances. Cost O(N·(D + log N)).

    Args:
        items: (B, N, D).
        mask: (B, N) bool; other items are used only when there are fewer than `count` of these.
        count: at most N.
    """
    if count == items.shape[1]:
        return torch.arange(count, device=items.device).expand(len(items), count)
    return at_even_ranks(by_distance(items, mask), mask, count)


def by_distance(items: Tensor, mask: Tensor) -> Tensor:
    """Returns (B, N) positions in the order of their distance to the mean, those outside of the mask last.

    Double precision keeps the order of a sum from deciding between neighbours.
    """
    x = items.double()
    mean = torch.einsum("bn,bnd->bd", mask.double(), x) / mask.sum(1, keepdim=True).clamp(min=1)
    distance = (x - mean.unsqueeze(1)).square().sum(-1)
    return distance.masked_fill(~mask, torch.inf).argsort(dim=1, stable=True)


def at_even_ranks(order: Tensor, mask: Tensor, count: int) -> Tensor:
    """Returns `count` of (B, N) `by_distance` at even ranks, or the first of them where the mask has fewer."""
    total = mask.sum(1, keepdim=True)
    rank = torch.arange(count, device=order.device)
    even = (rank * (total - 1) / max(count - 1, 1)).round().long()
    return torch.take_along_dim(order, torch.where(total > count, even, rank), 1)
