"""k-means of B pools at once, and ranks by cluster.

No random numbers are used: each initial centre is the one of up to `MAX_STARTS` items that lowers the potential
most. So clusters do not depend on the order of the items or on the other pools of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import squared_distances, take_rows
from metaal_env.pool.even_spacing import evenly_spaced
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

MAX_CLUSTERS = 128
MAX_STARTS = 128


class Clusters(NamedTuple):
    """Holds K clusters of the N items of B pools."""

    centres: Tensor  # (B, K, D)
    real: Tensor  # (B, K) bool, False past an episode's own number of clusters
    assignment: Tensor  # (B, N) int64
    sq_dist: Tensor  # (B, N) squared distance to the own centre


def k_means(
    x: Tensor,
    weight: Tensor,
    clusters: Tensor,
    iterations: int = 10,
    most: int | None = None,
    starts: Tensor | None = None,
) -> Clusters:
    """Runs weighted k-means with a number of clusters per episode (Lloyd 1982; greedy k-means++ start).

    Args:
        x: (B, N, D).
        weight: (B, N) not negative; an item of weight 0 does not move the centres but is still assigned.
        clusters: (B,) int64; clamped to 1…`MAX_CLUSTERS`.
        iterations: most Lloyd iterations.
        most: the largest of `clusters`; where it is known, the host need not wait for a GPU to tell.
        starts: (B, C) positions of the items that may be initial centres, by default `evenly_spaced` ones.
    """
    clusters = clusters.clamp(1, MAX_CLUSTERS)
    n_centres = int(clusters.max()) if most is None else min(max(most, 1), MAX_CLUSTERS)
    real = torch.arange(n_centres, device=x.device) < clusters.unsqueeze(1)  # (B, K)
    if starts is None:
        starts = evenly_spaced(x, weight > 0, min(x.shape[1], MAX_STARTS))
    shift = x.mean(1, keepdim=True)
    x = x - shift  # once: ‖x‖² + ‖c‖² − 2x·c loses digits when the common mean is large
    centres = _greedy_start(x, weight, starts, n_centres)
    weight = weight.unsqueeze(-1)
    closed = torch.zeros_like(centres[..., 0]).masked_fill_(~real, torch.inf)
    points = x.transpose(1, 2)
    assignment = torch.full(x.shape[:2], -1, device=x.device)
    hot = x.new_zeros(*x.shape[:2], n_centres)
    for _ in range(iterations):
        # ‖x − c‖² − ‖x‖², all that the nearest centre depends on
        offset = (centres.square().sum(-1) + closed).unsqueeze(2)  # (B, K, 1)
        nearest, new = torch.baddbmm(offset, centres, points, alpha=-2).min(1)  # (B, N)
        # Further iterations change nothing, and on a GPU cost less than to wait for the answer.
        if x.device.type == "cpu" and torch.equal(new, assignment):
            break
        assignment = new
        hot.zero_().scatter_(2, assignment.unsqueeze(-1), weight)
        mass = hot.sum(1)  # (B, K)
        means = hot.transpose(1, 2) @ x / mass.clamp(min=1e-12).unsqueeze(-1)
        centres = torch.where((mass > 0).unsqueeze(-1), means, centres)
    distance = (nearest + x.square().sum(-1)).clamp_(min=0)
    return Clusters(centres + shift, real, assignment, distance)


def _greedy_start(x: Tensor, weight: Tensor, starts: Tensor, n_centres: int) -> Tensor:
    """Returns (B, K, D) items among (B, C) `starts`, chosen one by one to lower Σ_n w_n min_c ‖x_n − c‖² most."""
    batch = torch.arange(len(x), device=x.device)
    # The potential left after each start; it only falls, so it is lowered in place.
    left = squared_distances(take_rows(x, starts), x)  # (B, C, N)
    closed = torch.zeros_like(left[..., 0]).masked_fill_(take_rows(weight, starts) <= 0, torch.inf)  # (B, C)
    weight = weight.unsqueeze(1)
    chosen = []
    for step in range(n_centres):
        # From the left: in a batch, a product with one column is ten times slower.
        pick = ((weight @ left.transpose(1, 2)).squeeze(1) + closed).argmin(1)  # (B,)
        chosen.append(starts[batch, pick])
        if step + 1 < n_centres:
            torch.minimum(left, left[batch, pick].unsqueeze(1), out=left)
    return torch.take_along_dim(x, torch.stack(chosen, 1).unsqueeze(-1), 1)


@remembered("pool")
def most_classes(view: PoolView) -> int:
    """Returns the number of classes of the pool with the most, at most `MAX_CLUSTERS`."""
    return min(int(view.way.max()), MAX_CLUSTERS)


@remembered("pool")
def class_clusters(view: PoolView, per_class: int = 1) -> Clusters:
    """Returns k-means clusters of the whole pool, `per_class` for each class of the task."""
    weight = view.valid.to(view.embeddings.dtype)
    starts = view.geometry.evenly_spaced(min(view.valid.shape[1], MAX_STARTS))
    most = per_class * most_classes(view)
    return k_means(view.embeddings, weight, per_class * view.way, most=most, starts=starts)


def per_cluster(values: Tensor, clusters: Clusters) -> Tensor:
    """Returns the (B, K) sums of (B, N) `values` over the members of each cluster."""
    return values.new_zeros(clusters.real.shape).scatter_add_(1, clusters.assignment, values)


def uncovered_first(view: PoolView, clusters: Clusters) -> Tensor:
    """Returns the (B, N) rank of the item's cluster as whole numbers in double: fewest labels, then most items."""
    more = view.valid.sum(1, keepdim=True).double() + 1  # than any cluster has members
    share = view.valid.double() - (view.labelled & view.valid) * more
    return torch.take_along_dim(per_cluster(share, clusters), clusters.assignment, 1)
