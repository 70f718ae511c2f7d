"""Plausible clusterings of a pool, drawn from its embeddings alone: where its classes may lie.

They are samples from the posterior of a mixture of spherical Gaussians, drawn once per pool. They mostly separate
classes better than distances do (docs/log/2026-11.md, entry 43).

Random numbers come from fixed tables and are assigned to items by their distance to the pool's mean. So clusterings
do not depend on the order of the items or on the other pools of a batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from metaal_env.batched import squared_distances, take_rows
from metaal_env.pool.clusters import MAX_CLUSTERS, most_classes
from metaal_env.pool.distances import Geometry
from metaal_env.pool.gibbs_sampler import Chains, Items
from metaal_env.pool.remembered import remembered
from metaal_env.pool.view import PoolView

N_CLUSTERINGS = 8
"""Clusterings of a pool."""

MAX_ITEMS = 256
"""Items that are clustered; the others of a larger pool go to the likeliest class."""

SWEEPS = 6
"""Sweeps of the sampler over a pool without labels."""

TRIALS = 4
"""Candidates for each initial centre; every other clustering takes the best of them, the rest the first."""

SHARPNESS = 2.0
"""Weight of a log-likelihood, in units of the pool's effective dimension.

Chosen on validation tasks, see docs/log/2026-11.md.
"""


class Clusterings(NamedTuple):
    """Holds M clusterings of E items."""

    positions: Tensor  # (B, E) in the pool, by distance to its mean
    real: Tensor  # (B, E) bool
    items: Items  # of D coordinates; the pool's have mean 0 and variance 1
    blocks: list[Items]  # in which they are drawn
    member: Tensor  # (B, M, C, E) 1 at the item's cluster
    counts: Tensor  # (B, M, C) items of each cluster
    means: Tensor  # (B, M, C, D) their means
    within: Tensor  # (B, M) share of the variance within clusters
    sharpness: Tensor  # (B,) dimension by which log-likelihoods count

    @property
    def x(self) -> Tensor:
        """(B, E, D) coordinates."""
        return self.items.x


@remembered("pool")
def coordinates(geometry: Geometry) -> Tensor:
    """Returns (B, N, min(N, D)) coordinates, centred and scaled to variance 1, with exact inner products."""
    x = geometry.items / (geometry.mean_sq_dist / 2).sqrt().view(-1, 1, 1)
    if x.shape[2] > x.shape[1]:
        x = torch.linalg.qr(x.transpose(1, 2), mode="r").R.transpose(1, 2).contiguous()
    return x


@remembered("pool")
def pool_items(geometry: Geometry) -> Items:
    """Returns all items of the pool by their `coordinates`."""
    return Items.of(coordinates(geometry))


@remembered("pool")
def clusterings(view: PoolView) -> Clusterings:
    """Draws clusterings of every pool, with one cluster for each of its classes.

    Cost O(`SWEEPS` · E·D·M·C).
    """
    geometry = view.geometry
    clusters = view.way.clamp(max=MAX_CLUSTERS)
    return _draw(geometry, clusters, most_classes(view))


def _draw(geometry: Geometry, clusters: Tensor, count: int) -> Clusterings:
    positions = positions_by_distance(geometry)
    x, real = take_rows(coordinates(geometry), positions), take_rows(geometry.valid, positions)
    covariance = x @ x.transpose(1, 2) if x.shape[1] < x.shape[2] else x.transpose(1, 2) @ x
    # The participation ratio: (Σ λ)² / Σ λ² for the eigenvalues λ of the covariance.
    sharpness = SHARPNESS * real.sum(1).square() / covariance.square().sum((1, 2)).clamp(min=1e-12)
    numbers = torch.arange(count, device=x.device).view(-1, 1)
    member = (_first_clusters(x, real, clusters, count).unsqueeze(2) == numbers) & real[:, None, None]
    class_mask = torch.arange(count, device=x.device) < clusters.unsqueeze(1)
    items = Items.of(x)
    blocks = items.blocks()
    chains = Chains(items, blocks, member.to(x), x.new_full(member.shape[:2], 0.5), sharpness, class_mask)
    apart = items.norms.sum(1).view(-1, 1, 1, 1) > 0.5  # identical items must not be told apart by chance
    for number in range(SWEEPS):
        chains.sweep(real, gumbel(number, x.shape[1], count, 0, x.device, x.dtype) * apart)
        chains.update_within(real)
    return Clusterings(
        positions, real, items, blocks, chains.member, chains.counts, chains.means, chains.within, sharpness
    )


def positions_by_distance(geometry: Geometry) -> Tensor:
    """Returns (B, E) positions of the items that are clustered, in the order of their distance to the pool's mean."""
    if geometry.valid.shape[1] > MAX_ITEMS:
        return geometry.evenly_spaced(MAX_ITEMS)
    return geometry.by_distance


def _first_clusters(x: Tensor, real: Tensor, clusters: Tensor, count: int) -> Tensor:
    """Returns (B, M, E) the nearest of `clusters` centres, drawn by k-means++ (Arthur & Vassilvitskii 2007)."""
    b, e = real.shape
    apart = squared_distances(x, x)
    batch = torch.arange(b, device=x.device).view(b, 1, 1)
    nearest = x.new_full((b, N_CLUSTERINGS, e), torch.inf)
    owner = torch.zeros(b, N_CLUSTERINGS, e, dtype=torch.long, device=x.device)
    greedy = torch.arange(N_CLUSTERINGS, device=x.device).view(1, -1, 1) % 2 == 0
    for number in range(count):
        noise = gumbel(number, e, 1, 1, x.device, x.dtype)[:, 0]  # (M, E)
        chance = nearest.clamp(1e-12, 1e12).log() + noise
        candidates = chance.masked_fill(~real.unsqueeze(1), -torch.inf).topk(min(TRIALS, e), -1).indices
        left = torch.minimum(nearest.unsqueeze(2), apart[batch, candidates])  # (B, M, T, E)
        total = (left * real[:, None, None]).sum(-1)
        best = torch.where(greedy, total.argmin(-1, keepdim=True), 0)  # (B, M, 1)
        left = torch.take_along_dim(left, best.unsqueeze(-1), 2).squeeze(2)
        closer = (left < nearest) & (number < clusters).view(b, 1, 1)
        nearest, owner = torch.where(closer, left, nearest), torch.where(closer, number, owner)
    return owner


@lru_cache(maxsize=256)
def _table(number: int, stream: int) -> Tensor:
    """Returns (`MAX_ITEMS`, M) Gumbel noise."""
    generator = torch.Generator().manual_seed(1000 * stream + number)
    uniform = torch.rand(MAX_ITEMS, N_CLUSTERINGS, generator=generator).clamp(1e-7, 1 - 1e-7)
    return -(-uniform.log()).log()


@lru_cache(maxsize=256)
def gumbel(
    number: int, items: int, clusters: int, stream: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """Returns (M, `clusters`, `items`) Gumbel noise; every cluster starts at another row of the table."""
    row = torch.arange(items).unsqueeze(1) + 37 * torch.arange(clusters)  # (E, C)
    return _table(number, stream)[row % MAX_ITEMS].permute(2, 1, 0).contiguous().to(device, dtype)
