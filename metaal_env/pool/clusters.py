"""Clustering of B pools at once: greedy-start k-means, spherical Gaussian mixtures, typicality.

No random numbers: the start is greedy (each centre lowers the potential most among up to `MAX_STARTS` items),
so clusters do not depend on the order of the items or on the other pools of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.pool.distances import Geometry, spread, squared_distances
from metaal_env.pool.view import PoolView

MAX_CLUSTERS = 128
MAX_STARTS = 128


class Clusters(NamedTuple):
    centres: Tensor  # (B, K, D)
    real: Tensor  # (B, K) bool, False past an episode's own number of clusters
    assignment: Tensor  # (B, N) int64
    sq_dist: Tensor  # (B, N) squared distance to the own centre


def k_means(x: Tensor, weight: Tensor, clusters: Tensor, iterations: int = 10) -> Clusters:
    """Weighted k-means with its own number of clusters per episode (Lloyd 1982; greedy k-means++ start).

    Args:
        x: (B, N, D).
        weight: (B, N) not negative; 0 leaves an item out of the centres, it is still assigned.
        clusters: (B,) int64; clamped to 1…`MAX_CLUSTERS`.
        iterations: most Lloyd iterations.
    """
    clusters = clusters.clamp(1, MAX_CLUSTERS)
    n_centres = int(clusters.max())
    real = torch.arange(n_centres, device=x.device) < clusters.unsqueeze(1)  # (B, K)
    starts = spread(x, weight > 0, min(x.shape[1], MAX_STARTS))  # (B, C)
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
        if torch.equal(new, assignment):
            break
        assignment = new
        hot.zero_().scatter_(2, assignment.unsqueeze(-1), weight)
        mass = hot.sum(1)  # (B, K)
        means = hot.transpose(1, 2) @ x / mass.clamp(min=1e-12).unsqueeze(-1)
        centres = torch.where((mass > 0).unsqueeze(-1), means, centres)
    distance = (nearest + x.square().sum(-1)).clamp_(min=0)
    return Clusters(centres + shift, real, assignment, distance)


def _greedy_start(x: Tensor, weight: Tensor, starts: Tensor, n_centres: int) -> Tensor:
    """(B, K, D) items among (B, C) `starts`, chosen one by one to lower Σ_n w_n min_c ‖x_n − c‖² most."""
    batch = torch.arange(len(x), device=x.device)
    # What is left after each start: it only falls, so it is lowered in place.
    left = squared_distances(Geometry.rows(x, starts), x)  # (B, C, N)
    closed = torch.zeros_like(left[..., 0]).masked_fill_(
        Geometry.rows(weight, starts) <= 0, torch.inf
    )  # (B, C)
    weight = weight.unsqueeze(1)
    chosen = []
    for step in range(n_centres):
        # From the left: in a batch, a product with one column is ten times slower.
        pick = ((weight @ left.transpose(1, 2)).squeeze(1) + closed).argmin(1)  # (B,)
        chosen.append(starts[batch, pick])
        if step + 1 < n_centres:
            torch.minimum(left, left[batch, pick].unsqueeze(1), out=left)
    return torch.take_along_dim(x, torch.stack(chosen, 1).unsqueeze(-1), 1)


def static_clusters(view: PoolView, clusters: Tensor) -> Clusters:
    """k-means of the whole pool; kept on the view's geometry, so that an episode computes it once."""
    key = ("k_means", tuple(clusters.tolist()))
    if key not in view.geometry.memo:
        weight = view.valid.to(view.embeddings.dtype)
        view.geometry.memo[key] = k_means(view.embeddings, weight, clusters)
    return view.geometry.memo[key]


def gaussian_mixture(
    x: Tensor, weight: Tensor, clusters: Tensor, iterations: int = 15
) -> tuple[Clusters, Tensor]:
    """Mixture of spherical Gaussians by EM from the k-means solution; also each item's log-density (B, N).

    Spherical because pools have fewer items than dimensions; the variances are kept above 1 % of the pool's
    so that no component collapses on one item.
    """
    start = k_means(x, weight, clusters)
    n_centres, d = start.centres.shape[1:]
    total = weight.sum(1).clamp(min=1e-12)  # (B,)
    mean = torch.einsum("bn,bnd->bd", weight, x) / total.unsqueeze(1)
    spread = (weight * (x - mean.unsqueeze(1)).square().sum(-1)).sum(1) / total / d  # (B,)
    floor = (0.01 * spread).clamp(min=1e-12).unsqueeze(1)
    hot = torch.nn.functional.one_hot(start.assignment, n_centres).to(x.dtype) * weight.unsqueeze(-1)
    centres, distance = start.centres, squared_distances(x, start.centres)
    log_joint = torch.empty_like(distance)
    for _ in range(iterations):
        mass = hot.sum(1)  # (B, K)
        kept = (mass > 1e-6) & start.real
        centres = torch.where(
            kept.unsqueeze(-1), hot.transpose(1, 2) @ x / mass.clamp(min=1e-12).unsqueeze(-1), centres
        )
        distance = squared_distances(x, centres)  # (B, N, K)
        variance = torch.maximum((hot * distance).sum(1) / (mass.clamp(min=1e-12) * d), floor)
        log_joint = (
            (mass / total.unsqueeze(1)).clamp(min=1e-30).log().unsqueeze(1)
            - 0.5 * d * variance.log().unsqueeze(1)
            - 0.5 * distance / variance.unsqueeze(1)
        ).masked_fill(~kept.unsqueeze(1), -torch.inf)
        hot = torch.softmax(log_joint, -1) * weight.unsqueeze(-1)
    log_density, assignment = log_joint.max(-1)
    nearest = torch.take_along_dim(distance, assignment.unsqueeze(-1), 2).squeeze(-1)
    return Clusters(centres, start.real, assignment, nearest), log_density


def per_cluster(values: Tensor, clusters: Clusters) -> Tensor:
    """(B, K) sums of (B, N) `values` over the members of each cluster."""
    return values.new_zeros(clusters.real.shape).scatter_add_(1, clusters.assignment, values)


def uncovered_first(view: PoolView, clusters: Clusters) -> Tensor:
    """(B, N) double: rank of the item's cluster, fewest labels first, then most items; whole numbers."""
    more = view.valid.sum(1, keepdim=True).double() + 1  # than any cluster has members
    share = view.valid.double() - (view.labelled & view.valid) * more
    return torch.take_along_dim(per_cluster(share, clusters), clusters.assignment, 1)


MAX_DISTANCES = 2**22
"""Most distances within clusters that are held at once."""


def typicality(view: PoolView, assignment: Tensor, neighbours: int = 20) -> Tensor:
    """(B, N) inverse mean distance to the nearest neighbours in the own cluster (TypiClust, Hacohen et al. 2022).

    Against the pool's landmarks. With m items in the cluster, min(`neighbours`, m − 1) are averaged; 0 for an
    item alone in its cluster. Clusters of similar size, of all pools, are padded to the largest and handled
    together, so the cost is the sum of their squared sizes instead of O(N·L).
    """
    x = (view.embeddings - view.embeddings.mean(1, keepdim=True)).flatten(0, 1)
    pools = torch.arange(len(view), device=x.device).unsqueeze(1)
    cluster = (assignment + pools * (int(assignment.max()) + 1)).flatten()  # numbered over all pools
    landmark = view.geometry.is_landmark.flatten()
    order = (2 * cluster + ~landmark).argsort(stable=True)  # by cluster, its landmarks first
    size = torch.bincount(cluster)
    counted = torch.bincount(cluster[landmark], minlength=len(size))
    start = size.cumsum(0) - size
    # In steps of a factor of four: fewer, larger operations.
    level = (size.to(x.dtype).log2() / 2).ceil().masked_fill(counted == 0, -1)
    typical = torch.zeros_like(x[:, 0])
    for similar in [torch.nonzero(level == step).squeeze(1) for step in level.unique() if step >= 0]:
        m, n_others = int(size[similar].max()), int(counted[similar].max())
        place = torch.arange(m, device=x.device)
        for part in similar.split(max(1, MAX_DISTANCES // (m * n_others))):
            items = order[(start[part].unsqueeze(1) + place).clamp(max=len(order) - 1)]  # (G, m)
            here = x[items]
            # One formula for all sizes: by default small clusters get another, and other rounding.
            distance = torch.cdist(here, here[:, :n_others], compute_mode="use_mm_for_euclid_dist")
            distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)  # an item is no neighbour of its own
            others = place[:n_others] < counted[part].unsqueeze(1)  # (G, n_others)
            distance.masked_fill_(~others.unsqueeze(1), torch.inf)
            if n_others > neighbours:
                distance = distance.topk(neighbours, -1, largest=False, sorted=False).values
            absent = distance.isinf()
            mean = (~absent).sum(-1) / (distance.masked_fill_(absent, 0).sum(-1) + 1e-7)  # (G, m)
            real = place < size[part].unsqueeze(1)
            typical[items[real]] = mean[real]
    return typical.view(assignment.shape)


def within(scores: Tensor, mask: Tensor) -> Tensor:
    """(B, N) double scores brought into [0, 1) in the same order, to decide within equal ranks."""
    scores = scores.double()
    low = scores.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
    return (0.999 * (scores - low) / (high - low).clamp(min=1e-300)).clamp(0, 0.999).nan_to_num(0)
