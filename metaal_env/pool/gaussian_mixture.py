"""Mixtures of spherical Gaussians of B pools at once, fitted by EM."""

from __future__ import annotations

import torch
from torch import Tensor

from metaal_env.batched import squared_distances
from metaal_env.pool.clusters import Clusters, k_means


def gaussian_mixture(
    x: Tensor, weight: Tensor, clusters: Tensor, iterations: int = 15
) -> tuple[Clusters, Tensor]:
    """Fits a mixture of spherical Gaussians by EM from the k-means solution.

    Components are spherical because pools have fewer items than dimensions. Variances are kept above 1 % of the
    pool's, so that no component collapses on one item.

    Returns:
        The components as clusters, and each item's (B, N) log-density.
    """
    start = k_means(x, weight, clusters)
    n_centres, d = start.centres.shape[1:]
    total = weight.sum(1).clamp(min=1e-12)  # (B,)
    mean = torch.einsum("bn,bnd->bd", weight, x) / total.unsqueeze(1)
    pool_variance = (weight * (x - mean.unsqueeze(1)).square().sum(-1)).sum(1) / total / d  # (B,)
    floor = (0.01 * pool_variance).clamp(min=1e-12).unsqueeze(1)
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
