"""Balls of one radius around the items: the radius that the pool's structure suggests, and the items they cover."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from metaal_env.batched import smallest, squared_distances, take_rows
from metaal_env.compiled import loops_for
from metaal_env.pool.clusters import class_clusters
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

QUANTILES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""Candidate radii as quantiles of the pool's squared distances, so that they mean the same in every space."""


RADIUS_ITEMS = 256
"""Items on which radii are judged; quantiles need no more."""


@remembered("pool")
def pure_radius(view: PoolView, purity: float = 0.95) -> Tensor:
    """Returns the (B,) largest squared radius of `QUANTILES` at which a share `purity` of the balls is pure.

    A ball is pure if it lies in one cluster of k-means with one cluster per class (ProbCover's rule for its
    radius). If no radius qualifies, the smallest is returned. Labels are not used.
    """
    size = min(view.valid.shape[1], RADIUS_ITEMS)
    some = view.geometry.evenly_spaced(size)
    real = take_rows(view.valid, some)  # (B, L)
    items = take_rows(view.embeddings, some)
    distance = squared_distances(items, items)  # (B, L, L)
    radii = _quantiles(distance, real)  # (B, Q)
    assignment = torch.take_along_dim(class_clusters(view).assignment, some, 1)
    differ = (assignment.unsqueeze(1) != assignment.unsqueeze(2)) & real.unsqueeze(1)
    # A ball is pure up to the distance of the nearest item of another cluster.
    reach = distance.masked_fill_(~differ, torch.inf).amin(-1)  # (B, L)
    pure = (reach.unsqueeze(1) > radii.unsqueeze(2)) & real.unsqueeze(1)  # (B, Q, L)
    share = pure.sum(-1) / real.sum(-1, keepdim=True).clamp(min=1)
    best = (share >= purity).sum(1, keepdim=True) - 1  # purity falls with the radius
    return torch.take_along_dim(radii, best.clamp(min=0), 1).squeeze(1)


@cache
def _levels(device: torch.device) -> Tensor:
    """(Q,) `QUANTILES`, sent to a device once."""
    return torch.tensor(QUANTILES, dtype=torch.float64, device=device)


def _quantiles(distance: Tensor, real: Tensor) -> Tensor:
    """Returns (B, Q) `QUANTILES` of the (B, L, L) distances between two different items of (B, L) `real`."""
    size = distance.shape[1]
    first, second = torch.triu_indices(size, size, 1, device=distance.device)
    pair = real.index_select(1, first) & real.index_select(1, second)  # (B, L(L−1)/2)
    last = (pair.sum(1, keepdim=True) - 1).clamp(min=0)  # (B, 1)
    levels = _levels(distance.device)
    if not len(first):
        return distance.new_zeros(len(distance), len(QUANTILES))
    most = round(QUANTILES[-1] * (len(first) - 1)) + 1
    between = distance.flatten(1).index_select(1, first * size + second).masked_fill_(~pair, torch.inf)
    ordered = smallest(between, most)
    radii = torch.take_along_dim(ordered, (levels * last).round().long(), 1).nan_to_num(posinf=0.0)
    # Each radius is the distance of a pair; rounding must not decide on which side of it that pair lies.
    return radii * (1 + 1e-5)


def ball_gain(view: PoolView, radius: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (B, N) numbers of landmarks that labelling the item would newly cover, and the (B,) share covered."""
    geometry = view.geometry
    covered = geometry.at_landmarks(view.nearest_sq_dist <= radius.unsqueeze(1))
    uncovered = (geometry.landmark_mask & ~covered).to(geometry.sq_dist.dtype)
    if fast := loops_for(geometry.sq_dist):
        gain = fast.ball_gains(geometry.sq_dist, radius, uncovered)
    else:
        inside = torch.le(geometry.sq_dist, radius.view(-1, 1, 1), out=geometry.scratch)  # 0 or 1
        gain = (uncovered.unsqueeze(1) @ inside.transpose(1, 2)).squeeze(1)
    real = geometry.landmark_mask.sum(1)
    return gain, (real - uncovered.sum(1)) / real.clamp(min=1)
