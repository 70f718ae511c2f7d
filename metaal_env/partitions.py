"""Plausible partitions of a pool into its classes, drawn from what the pool looks like and the labels found so far.

Few labels say little about a pool, its shape says much. `drawn` samples partitions from the posterior of a mixture of
spherical Gaussians, once per pool and without labels; `partitions` brings them into line with the labels. Together
they tell items of one class from items of two far better than distances do, and rules may average over them what
only hidden labels would tell for certain (`metaal_env.expectation`).

Random numbers come from fixed tables and follow items by their distance to the pool's mean, so that partitions do
not depend on the order of the items, on the numbers of the classes or on the other pools of a batch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaal_env.clustering import MAX_CLUSTERS
from metaal_env.geometry import Geometry, spread, squared_distances
from metaal_env.gibbs import Chains
from metaal_env.view import PoolView

N_PARTITIONS = 8
"""Partitions of a pool."""

MAX_ITEMS = 256
"""Items that are partitioned; those of a larger pool go to the likeliest class."""

SWEEPS = 6
"""Of the sampler over a pool without labels."""

ROUNDS = 1
"""In which the items settle once labels have named some of the classes."""

TRIALS = 4
"""Candidates for each of the first centres; every other partition takes the best of them, the rest the first."""

SHARPNESS = 2.0
"""What a log-likelihood counts, in units of the pool's effective dimension.

Log-loss of «same class» over pairs of items at .5 / 1 / 2 / 4 before the first label (24 validation tasks, 10-way):
glyphs .476 / .135 / .108 / .117, CLINC150 balanced .244 / .083 / .075 / .075, Omniglot .335 / .058 / .036 / .033.
"""


class Drawn(NamedTuple):
    """M partitions of E items, without labels."""

    place: Tensor  # (B, E) positions in the pool, by distance to its mean
    real: Tensor  # (B, E) bool
    x: Tensor  # (B, E, D) coordinates; the pool's have mean 0 and variance 1
    member: Tensor  # (B, E, M, C) 1 at the item's cluster
    within: Tensor  # (B, M) share of the variance within clusters
    sharpness: Tensor  # (B,) dimension by which log-likelihoods count


class Partitions(NamedTuple):
    """M partitions into classes that agree with the labels."""

    drawn: Drawn
    member: Tensor  # (B, E, M, K) 1 at the item's class
    everyone: Tensor  # (B, N, M, K) the same for the whole pool
    own_sq_dist: Tensor  # (B, N) mean squared distance to the mean of the item's class
    support: Tensor  # (B, K, D) sums of the labelled items of each class


def coordinates(geometry: Geometry) -> Tensor:
    """(B, N, min(N, D)) items, centred and scaled to variance 1; their inner products are exact."""
    if "coordinates" not in geometry.memo:
        x = geometry.items / (geometry.mean_sq_dist / 2).sqrt().view(-1, 1, 1)
        if x.shape[2] > x.shape[1]:
            x = torch.linalg.qr(x.transpose(1, 2), mode="r").R.transpose(1, 2).contiguous()
        geometry.memo["coordinates"] = x
    found: Tensor = geometry.memo["coordinates"]
    return found


def drawn(view: PoolView) -> Drawn:
    """Partitions that look at no label; kept on the view's geometry. O(`SWEEPS` · E·D·M·C)."""
    geometry = view.geometry
    key = ("partitions", tuple(view.way.tolist()))
    if key not in geometry.memo:
        geometry.memo[key] = _draw(coordinates(geometry), geometry.valid, view.way.clamp(max=MAX_CLUSTERS))
    found: Drawn = geometry.memo[key]
    return found


def _draw(everyone: Tensor, valid: Tensor, clusters: Tensor) -> Drawn:
    place = _by_distance(everyone, valid)
    x, real = Geometry.rows(everyone, place), Geometry.rows(valid, place)
    count = int(clusters.max())
    covariance = x @ x.transpose(1, 2) if x.shape[1] < x.shape[2] else x.transpose(1, 2) @ x
    # The participation ratio: (Σ λ)² / Σ λ² for the eigenvalues λ of the covariance.
    sharpness = SHARPNESS * real.sum(1).square() / covariance.square().sum((1, 2)).clamp(min=1e-12)
    member = one_hot(_first_clusters(x, real, clusters), count).to(x) * real[:, :, None, None]
    open_ = torch.arange(count, device=x.device) < clusters.unsqueeze(1)
    chains = Chains(x, member, torch.full_like(member[:, 0, :, 0], 0.5), sharpness, open_)
    apart = x.square().sum((1, 2)).view(-1, 1, 1, 1) > 0.5  # identical items must not be told apart by chance
    for number in range(SWEEPS):
        chains.sweep(real, gumbel(number, x.shape[1], count).to(x) * apart)
        chains.update_within(real)
    return Drawn(place, real, x, chains.member, chains.within, sharpness)


def _by_distance(x: Tensor, valid: Tensor) -> Tensor:
    """(B, E) positions in the order of their distance to the pool's mean, which is 0."""
    if x.shape[1] > MAX_ITEMS:
        return spread(x, valid, MAX_ITEMS)
    return x.double().square().sum(-1).masked_fill(~valid, torch.inf).argsort(dim=1, stable=True)


def _first_clusters(x: Tensor, real: Tensor, clusters: Tensor) -> Tensor:
    """(B, E, M) nearest of `clusters` items drawn far from each other (k-means++, Arthur & Vassilvitskii 2007)."""
    b, e = real.shape
    apart = squared_distances(x, x)
    batch = torch.arange(b, device=x.device).view(b, 1, 1)
    nearest = x.new_full((b, N_PARTITIONS, e), torch.inf)
    owner = torch.zeros(b, N_PARTITIONS, e, dtype=torch.long, device=x.device)
    greedy = torch.arange(N_PARTITIONS, device=x.device).view(1, -1, 1) % 2 == 0
    for number in range(int(clusters.max())):
        noise = gumbel(number, e, 1, stream=1)[..., 0].T.to(x)  # (M, E)
        chance = nearest.clamp(1e-12, 1e12).log() + noise
        candidates = chance.masked_fill(~real.unsqueeze(1), -torch.inf).topk(min(TRIALS, e), -1).indices
        left = torch.minimum(nearest.unsqueeze(2), apart[batch, candidates])  # (B, M, T, E)
        total = (left * real[:, None, None]).sum(-1)
        best = torch.where(greedy, total.argmin(-1, keepdim=True), 0)  # (B, M, 1)
        left = torch.take_along_dim(left, best.unsqueeze(-1), 2).squeeze(2)
        closer = (left < nearest) & (number < clusters).view(b, 1, 1)
        nearest, owner = torch.where(closer, left, nearest), torch.where(closer, number, owner)
    return owner.transpose(1, 2)


@lru_cache(maxsize=256)
def _table(number: int, stream: int) -> Tensor:
    """(`MAX_ITEMS`, M) Gumbel noise."""
    generator = torch.Generator().manual_seed(1000 * stream + number)
    uniform = torch.rand(MAX_ITEMS, N_PARTITIONS, generator=generator).clamp(1e-7, 1 - 1e-7)
    return -(-uniform.log()).log()


@lru_cache(maxsize=256)
def gumbel(number: int, items: int, clusters: int, stream: int = 0) -> Tensor:
    """(`items`, M, `clusters`) noise; every cluster reads the table from another row on."""
    row = torch.arange(items).unsqueeze(1) + 37 * torch.arange(clusters)  # (E, C)
    return _table(number, stream)[row % MAX_ITEMS].transpose(1, 2).contiguous()


def partitions(view: PoolView) -> Partitions:
    """Partitions into the classes of the view that agree with its labels; once per moment.

    A cluster with labels belongs to the class of most of them. The largest of the others stand for the classes
    without a label, as many as there are; the items of the rest go elsewhere. Then all items without a label settle
    at their likeliest class. O(`ROUNDS` · E·D·M·K + N·D·M·K).

    An item whose label is under way, or that is of no class, counts as one without a label.
    """
    if "partitions" not in view.memo:
        view.memo["partitions"] = _conditioned(view, drawn(view))
    found: Partitions = view.memo["partitions"]
    return found


def _conditioned(view: PoolView, before: Drawn) -> Partitions:
    everyone = coordinates(view.geometry)
    k = view.class_mask.shape[1]
    known = one_hot(view.labels.clamp(min=0), k).to(everyone) * (view.labels >= 0).unsqueeze(-1)  # (B, N, K)
    named = Geometry.rows(known, view.order) * view.order_mask.unsqueeze(-1)  # (B, S, K)
    support_items = Geometry.rows(everyone, view.order)  # (B, S, D)
    support = named.transpose(1, 2) @ support_items
    class_of = _class_of_clusters(view, before, support_items, named)  # (B, M, C, K)
    free = before.real & (torch.take_along_dim(view.labels, before.place, 1) < 0)
    member = (before.member.transpose(1, 2) @ class_of).transpose(1, 2) * free[:, :, None, None]
    chains = Chains(before.x, member, before.within, before.sharpness, view.class_mask)
    chains.add(support, named.sum(1))
    for _ in range(ROUNDS):
        chains.sweep(free)
    if everyone.shape[1] == before.x.shape[1]:
        back = before.place.argsort(dim=1)
        whole = Geometry.rows(chains.member, back)
    else:
        whole = chains.likeliest(everyone) * (view.valid & (view.labels < 0))[:, :, None, None]
    whole = whole + known.unsqueeze(2)
    member = chains.member + Geometry.rows(known, before.place).unsqueeze(2)
    return Partitions(before, member, whole, chains.mean_sq_dist(everyone, whole), support)


def _class_of_clusters(view: PoolView, before: Drawn, items: Tensor, named: Tensor) -> Tensor:
    """(B, M, C, K) 1 at the class that each cluster stands for; all 0 where it is one too many.

    Args:
        items: (B, S, D) labelled ones.
        named: (B, S, K) their classes, one-hot.
    """
    k = named.shape[2]
    counts = before.member.sum(1)  # (B, M, C)
    means = (before.member.flatten(2).transpose(1, 2) @ before.x).unflatten(1, counts.shape[1:])
    means = means / counts.clamp(min=1).unsqueeze(-1)
    offset = means.square().sum(-1).masked_fill(counts == 0, torch.inf)  # (B, M, C)
    product = (items @ means.flatten(1, 2).transpose(1, 2)).unflatten(2, counts.shape[1:])  # (B, S, M, C)
    distance, cluster = (offset.unsqueeze(1) - 2 * product).min(-1)  # (B, S, M)
    distance = (distance + items.square().sum(-1, keepdim=True)).clamp(min=0)
    # Of classes with equally many labels in a cluster the one nearer to its middle has it, whatever its number.
    nearest = one_hot(cluster, counts.shape[2]).to(items) * (1 + 1e-3 / (1 + distance)).unsqueeze(-1)
    votes = (nearest.flatten(2).transpose(1, 2) @ named).unflatten(1, counts.shape[1:])  # (B, M, C, K)
    labelled = votes.sum(-1) > 0
    size = counts.masked_fill(labelled | (counts == 0), -1)
    rank = size.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    unseen = view.class_mask & ~view.seen
    in_order = unseen.long().argsort(dim=1, descending=True, stable=True).unsqueeze(1)  # unseen classes first
    fresh = torch.take_along_dim(in_order.expand(*rank.shape[:2], k), rank.clamp(max=k - 1), 2)
    wanted = (rank < unseen.sum(1).view(-1, 1, 1)) & (size > 0)
    name = torch.where(labelled, votes.argmax(-1), torch.where(wanted, fresh, k))
    return one_hot(name, k + 1)[..., :k].to(items)


def agreement(view: PoolView) -> Tensor:
    """(B,) how sure it is that two items are of one class where any partition says so: Σ P² / Σ P over pairs.

    1 when all partitions are the same. Kept on the view's geometry.
    """
    key = ("agreement", tuple(view.way.tolist()))
    if key not in view.geometry.memo:
        member = drawn(view).member.flatten(2)
        together = member @ member.transpose(1, 2) / N_PARTITIONS  # (B, E, E)
        together.diagonal(dim1=1, dim2=2).zero_()
        total = together.sum((1, 2)).clamp(min=1e-6)
        view.geometry.memo[key] = together.square().sum((1, 2)) / total
    found: Tensor = view.geometry.memo[key]
    return found


def partition_novelty(view: PoolView) -> Tensor:
    """(B, N) share of the partitions in which the item's class has no label."""
    found = partitions(view).everyone
    return (found * ~view.seen[:, None, None]).sum((2, 3)) / found.shape[2]


def typicality_within(view: PoolView) -> Tensor:
    """(B, N) how near the item is to the middle of its class, in units of the pool's variance; at most 1."""
    return 1 - partitions(view).own_sq_dist


def partition_cover(view: PoolView) -> Tensor:
    """(B, N) gain in coverage if the item were labelled, similarity being the share of partitions in one class.

    Σ_e max(P(i, e) − max_{j labelled} P(j, e), 0) / |class of e|, as in MaxHerding, with each class counting alike and
    typical items up to twice as much as those that are as far from their class as any. O(N·E·M·K).
    """
    found = partitions(view)
    m = found.member.shape[2]
    together = found.everyone.flatten(2) @ found.member.flatten(2).transpose(1, 2) / m  # (B, N, E)
    size = (found.member * found.member.sum(1, keepdim=True)).sum((2, 3)) / m  # (B, E)
    weight = found.drawn.real / size.clamp(min=1)
    if view.order.shape[1]:
        covered = (Geometry.rows(together, view.order) * view.order_mask.unsqueeze(-1)).amax(1)
        together = (together - covered.unsqueeze(1)).clamp_(min=0)
    gain = (weight.unsqueeze(1) @ together.transpose(1, 2)).squeeze(1)
    spread_ = found.own_sq_dist + found.drawn.within.mean(1, keepdim=True)
    return gain * (2 - spread_ / 2)
