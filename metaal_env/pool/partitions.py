"""Plausible partitions of a pool into its classes: clusterings made to agree with the labels so far.

Rules average over them, since only hidden labels would give certainty; see also `metaal_env.pool.expected_gain`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from metaal_env.batched import take_rows
from metaal_env.pool import compiled
from metaal_env.pool.gibbs_sampler import ROUNDS, Chains
from metaal_env.pool.remembered import remembered
from metaal_env.pool.sampled_clusterings import (
    N_CLUSTERINGS,
    Clusterings,
    clusterings,
    coordinates,
    pool_items,
)
from metaal_env.pool.view import PoolView


class Partitions(NamedTuple):
    """Holds M partitions into classes that agree with the labels."""

    clusterings: Clusterings
    member: Tensor  # (B, M, K, E) 1 at the item's class
    everyone: Tensor  # (B, M, K, N) the same for the whole pool
    own_sq_dist: Tensor  # (B, N) mean squared distance to the mean of the item's class
    support: Tensor  # (B, K, D) sums of the labelled items of each class


@remembered("moment")
def partitions(view: PoolView) -> Partitions:
    """Computes partitions into the classes of the view that agree with its labels.

    A cluster with labels belongs to the class of most of them. The largest of the other clusters stand for the
    classes without a label; items of the remaining ones go elsewhere. Then every item without a label settles at its
    likeliest class. Cost O(`ROUNDS` · E·D·M·K + N·D·M·K).

    An item with a pending label, or of no class, counts as one without a label.
    """
    before, everyone = clusterings(view), coordinates(view.geometry)
    k = view.class_mask.shape[1]
    known = one_hot(view.labels.clamp(min=0), k).to(everyone) * (view.labels >= 0).unsqueeze(-1)  # (B, N, K)
    named = take_rows(known, view.order) * view.order_mask.unsqueeze(-1)  # (B, S, K)
    support_items = take_rows(everyone, view.order)  # (B, S, D)
    support = named.transpose(1, 2) @ support_items
    class_of = _class_of_clusters(view, before, support_items, named)  # (B, M, C, K)
    free = before.real & (torch.take_along_dim(view.labels, before.positions, 1) < 0)
    member = (class_of.transpose(2, 3) @ before.member) * free[:, None, None]
    chains = Chains(before.items, before.blocks, member, before.within, before.sharpness, view.class_mask)
    chains.add(support, named.sum(1))
    for _ in range(ROUNDS):
        chains.sweep(free)
    by_class = known.transpose(1, 2).unsqueeze(1)  # (B, 1, K, N)
    member = chains.member + torch.take_along_dim(by_class, before.positions[:, None, None], 3)
    if everyone.shape[1] == before.x.shape[1]:
        whole = _moved(member, before.positions.argsort(dim=1))
    else:
        whole = chains.likeliest(pool_items(view.geometry)) * (view.valid & (view.labels < 0))[:, None, None]
        whole = whole + by_class
    own_sq_dist = chains.mean_sq_dist(pool_items(view.geometry), whole)
    return Partitions(before, member, whole, own_sq_dist, support)


def _moved(member: Tensor, positions: Tensor) -> Tensor:
    """Returns (B, M, K, E) one-hot classes of the items at (B, E) `positions`."""
    numbers = torch.arange(1, member.shape[2] + 1, device=member.device, dtype=member.dtype).view(-1, 1)
    name = (member * numbers).sum(2)  # (B, M, E); 0 for none
    return (torch.take_along_dim(name, positions.unsqueeze(1), 2).unsqueeze(2) == numbers).to(member)


def _class_of_clusters(view: PoolView, before: Clusterings, items: Tensor, named: Tensor) -> Tensor:
    """Returns (B, M, C, K) 1 at the class that each cluster stands for; all 0 for a cluster in excess.

    Args:
        items: (B, S, D) labelled ones.
        named: (B, S, K) their classes, one-hot.
    """
    k = named.shape[2]
    counts, means = before.counts, before.means
    offset = means.square().sum(-1).masked_fill(counts == 0, torch.inf)  # (B, M, C)
    product = (items @ means.flatten(1, 2).transpose(1, 2)).unflatten(2, counts.shape[1:])  # (B, S, M, C)
    distance, cluster = (offset.unsqueeze(1) - 2 * product).min(-1)  # (B, S, M)
    distance = (distance + items.square().sum(-1, keepdim=True)).clamp(min=0)
    # Between classes with equally many labels in a cluster, the one nearer to its centre gets it.
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


def class_sizes(view: PoolView) -> Tensor:
    """Returns the (B, M, K) numbers of clustered items in the classes of each partition."""
    if fast := compiled.loops(view):
        return fast.covers(view).sizes  # type: ignore[no-any-return]
    return partitions(view).member.sum(-1)


def class_shares(view: PoolView) -> Tensor:
    """Returns the (B, N, K) shares of partitions that put an item into a class; a class without labels is any such."""
    k = view.class_mask.shape[1]
    if fast := compiled.loops(view):
        found = fast.settled(view).everyone.long()  # (B, M, R)
        rows = fast.drawn(view).row_of.unsqueeze(1).expand(-1, found.shape[1], -1)
        name = found.gather(2, rows)
        return one_hot(torch.where(name < 0, k, name), k + 1)[..., :k].float().mean(1)
    return partitions(view).everyone.mean(1).transpose(1, 2)


def variance_within(view: PoolView) -> Tensor:
    """Returns the (B,) share of the variance within clusters, over clusterings."""
    if fast := compiled.loops(view):
        return fast.drawn(view).within.mean(1).float()  # type: ignore[no-any-return]
    return clusterings(view).within.mean(1)


@remembered("pool")
def agreement(view: PoolView) -> Tensor:
    """Returns the (B,) agreement of the clusterings, Σ P² / Σ P over pairs of items.

    P is the share of clusterings that put the two items together. The agreement is 1 when all clusterings are equal.
    """
    if fast := compiled.loops(view):
        return fast.drawn(view).agreement  # type: ignore[no-any-return]
    member = clusterings(view).member.flatten(1, 2)
    together = member.transpose(1, 2) @ member / N_CLUSTERINGS  # (B, E, E)
    together.diagonal(dim1=1, dim2=2).zero_()
    return together.square().sum((1, 2)) / together.sum((1, 2)).clamp(min=1e-6)


def partition_novelty(view: PoolView) -> Tensor:
    """Returns the (B, N) share of partitions in which the item's class has no label."""
    if fast := compiled.loops(view):
        return fast.covers(view).novelty  # type: ignore[no-any-return]
    member = partitions(view).everyone
    unseen = (~view.seen).to(member).repeat(1, member.shape[1]).unsqueeze(1)  # (B, 1, M·K)
    return (unseen @ member.flatten(1, 2)).squeeze(1) / member.shape[1]


def typicality_within(view: PoolView) -> Tensor:
    """Returns (B, N) closeness of the item to the centre of its class, in units of the pool's variance; at most 1."""
    fast = compiled.loops(view)
    return 1 - (fast.settled(view) if fast else partitions(view)).own_sq_dist


def partition_cover(view: PoolView) -> Tensor:
    """Returns the (B, N) gain in coverage if the item were labelled.

    Σ_e max(P(i, e) − max_{j labelled} P(j, e), 0) / |class of e| · (2 − ½ d²(i)), where P is the share of partitions
    that put two items in one class. This is MaxHerding's gain with equally weighted classes and more weight on typical
    items: d² is the mean squared distance to the items of the own class, in units of the pool's variance.
    Cost O(N·E·M·K).
    """
    if fast := compiled.loops(view):
        return fast.covers(view).cover  # type: ignore[no-any-return]
    found = partitions(view)
    m = found.member.shape[1]
    together = found.everyone.flatten(1, 2).transpose(1, 2) @ (found.member / m).flatten(1, 2)  # (B, N, E)
    size = (found.member * found.member.sum(-1, keepdim=True)).sum((1, 2)) / m  # (B, E)
    weight = found.clusterings.real / size.clamp(min=1)
    if view.order.shape[1]:
        covered = (take_rows(together, view.order) * view.order_mask.unsqueeze(-1)).amax(1)
        together = together.sub_(covered.unsqueeze(1)).relu_()
    gain = (weight.unsqueeze(1) @ together.transpose(1, 2)).squeeze(1)
    to_class = found.own_sq_dist + found.clusterings.within.mean(1, keepdim=True)
    return gain * (2 - to_class / 2)
