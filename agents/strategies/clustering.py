"""Clustering of B pools at once: greedy-start k-means, spherical Gaussian mixtures, typicality.

No random numbers: the start is greedy (each centre lowers the potential most among up to `MAX_STARTS` items),
so clusters do not depend on the order of the items or on the other pools of the batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.geometry import squared_distances
from metaal_env.view import PoolView

MAX_CLUSTERS = 128
MAX_STARTS = 128


class Clusters(NamedTuple):
    centres: Tensor  # (B, K, D)
    real: Tensor  # (B, K) bool, False past an episode's own number of clusters
    assignment: Tensor  # (B, N) int64
    sq_dist: Tensor  # (B, N) squared distance to the own centre


def k_means(x: Tensor, weight: Tensor, clusters: Tensor, iterations: int = 20) -> Clusters:
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
    centres = _greedy_start(x, weight, n_centres)
    assignment = torch.full(x.shape[:2], -1, device=x.device)
    for _ in range(iterations):
        distance = squared_distances(x, centres).masked_fill(~real.unsqueeze(1), torch.inf)  # (B, N, K)
        nearest, new = distance.min(-1)
        if torch.equal(new, assignment):
            break
        assignment = new
        hot = torch.nn.functional.one_hot(assignment, n_centres).to(x.dtype) * weight.unsqueeze(-1)
        mass = hot.sum(1)  # (B, K)
        means = hot.transpose(1, 2) @ x / mass.clamp(min=1e-12).unsqueeze(-1)
        centres = torch.where((mass > 0).unsqueeze(-1), means, centres)
    return Clusters(centres, real, assignment, nearest)


def _greedy_start(x: Tensor, weight: Tensor, n_centres: int) -> Tensor:
    """(B, K, D) items chosen one by one to lower Σ_n w_n min_c ‖x_n − c‖² most."""
    n = x.shape[1]
    starts = torch.linspace(0, n - 1, min(n, MAX_STARTS), device=x.device).round().long()
    distance = squared_distances(x, x[:, starts])  # (B, N, C)
    closed = weight[:, starts] <= 0  # (B, C)
    nearest = torch.full(x.shape[:2], torch.inf, device=x.device, dtype=x.dtype)
    lowered, chosen = torch.empty_like(distance), []
    for _ in range(n_centres):
        torch.minimum(nearest.unsqueeze(-1), distance, out=lowered)
        potential = (weight.unsqueeze(1) @ lowered).squeeze(1)
        pick = potential.masked_fill(closed, torch.inf).argmin(1)  # (B,)
        nearest = torch.minimum(nearest, torch.take_along_dim(distance, pick.view(-1, 1, 1), 2).squeeze(2))
        chosen.append(starts[pick])
    return torch.take_along_dim(x, torch.stack(chosen, 1).unsqueeze(-1), 1)


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


def uncovered_first(view: PoolView, clusters: Clusters) -> Tensor:
    """(B, N) double: rank of the item's cluster, fewest labels first, then most items; whole numbers."""
    n_centres = clusters.real.shape[1]
    hot = torch.nn.functional.one_hot(clusters.assignment, n_centres).double()  # (B, N, K)
    size = (hot * view.valid.unsqueeze(-1)).sum(1)
    labels = (hot * (view.labelled & view.valid).unsqueeze(-1)).sum(1)
    rank = size - labels * (view.valid.shape[1] + 1)  # (B, K)
    return torch.take_along_dim(rank, clusters.assignment, 1)


def typicality(view: PoolView, assignment: Tensor, neighbours: int = 20) -> Tensor:
    """(B, N) inverse mean distance to the nearest neighbours in the own cluster (TypiClust, eq. 4).

    Against the pool's landmarks. With m items in the cluster, min(`neighbours`, m − 1) are averaged; 0 for an
    item alone in its cluster.
    """
    geometry = view.geometry
    same = assignment.unsqueeze(2) == assignment[:, geometry.landmarks].unsqueeze(1)  # (B, N, L)
    itself = torch.arange(same.shape[1], device=same.device).unsqueeze(1) == geometry.landmarks
    same = same & geometry.landmark_mask.unsqueeze(1) & ~itself
    count = same.sum(-1).clamp(max=neighbours)  # (B, N)
    distance = geometry.sq_dist.sqrt().masked_fill(~same, torch.inf)
    nearest = distance.topk(min(neighbours, distance.shape[2]), dim=-1, largest=False).values
    total = torch.where(nearest.isfinite(), nearest, 0).sum(-1)
    return count / (total + 1e-7)


def within(scores: Tensor, mask: Tensor) -> Tensor:
    """(B, N) double scores brought into [0, 1) in the same order, to decide within equal ranks."""
    scores = scores.double()
    low = scores.masked_fill(~mask, torch.inf).amin(1, keepdim=True)
    high = scores.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
    return (0.999 * (scores - low) / (high - low).clamp(min=1e-300)).clamp(0, 0.999).nan_to_num(0)
