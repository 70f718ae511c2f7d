"""Feeds views to the compiled loops: what is drawn once per pool, and what follows from the labels of a moment.

Only inner products of the items are needed. Clustered items are held in the order of the sampler's blocks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metaal_env.batched import empty, take_rows
from metaal_env.compiled.kernels import draw, lookahead, settle
from metaal_env.compiled.loops import arrays
from metaal_env.pool import gibbs_sampler, sampled_clusterings
from metaal_env.pool.clusters import MAX_CLUSTERS, most_classes
from metaal_env.pool.remembered import remembered
from metaal_env.pool.sampled_clusterings import MAX_ITEMS, N_CLUSTERINGS, SHARPNESS, SWEEPS, TRIALS
from metaal_env.pool.view import PoolView


class Drawn(NamedTuple):
    """Holds M clusterings of E items, some of which fill up blocks.

    A pool of at most `MAX_ITEMS` items has R = E rows, a larger one R = N.
    """

    positions: Tensor  # (B, E) in the pool
    row_of: Tensor  # (B, N) row of a position
    real: Tensor  # (B, E) bool
    gram: Tensor  # (B, E, E) inner products
    rows: Tensor  # (B, R, E) the same of all items with these
    columns: Tensor  # (B, E, R) transposed
    own: Tensor  # (B, E) squared norms
    own_rows: Tensor  # (B, R)
    sharpness: Tensor  # (B,)
    name: Tensor  # (B, M, E) int32 cluster, −1 at padding
    product: Tensor  # (B, M, C, E) products of the clusters' sums with the items
    norm: Tensor  # (B, M, C) float64, their squared norms
    counts: Tensor  # (B, M, C) float32, their items
    within: Tensor  # (B, M) float64
    nearest: Tensor  # (B, M, E) int32 cluster whose mean is nearest
    apart: Tensor  # (B, M, E) the squared distance to it
    agreement: Tensor  # (B,)


class Settled(NamedTuple):
    """Holds M partitions into K classes that agree with the labels."""

    name: Tensor  # (B, M, E) int32 class, −1 for none
    everyone: Tensor  # (B, M, R) the same of all items
    support_item: Tensor  # (B, K, E) products of the sums of each class's labelled items with the items
    support: Tensor  # (B, K, R)
    support_norm: Tensor  # (B, K) float64
    own_sq_dist: Tensor  # (B, N) mean squared distance to the mean of the item's class


class Covers(NamedTuple):
    cover: Tensor  # (B, N) see `metaal_env.pool.partitions.partition_cover`
    novelty: Tensor  # (B, N)
    sizes: Tensor  # (B, M, K) float32, of the classes


@remembered("pool")
def drawn(view: PoolView) -> Drawn:
    """Draws clusterings of every pool; see `metaal_env.pool.sampled_clusterings.clusterings`."""
    geometry = view.geometry
    b, n = view.valid.shape
    x = geometry.items / (geometry.mean_sq_dist / 2).sqrt().view(-1, 1, 1)
    in_order = sampled_clusterings.positions_by_distance(geometry)
    exact = in_order.shape[1] == n
    order = _blocks(in_order.shape[1])
    e = len(order)
    place = torch.from_numpy(order)
    positions = in_order[:, place.clamp(min=0)]
    real = take_rows(view.valid, positions) & (place >= 0)
    items = take_rows(x, positions) * real.unsqueeze(-1)
    gram = torch.bmm(items, items.transpose(1, 2), out=empty(b, e, e, like=x))
    own = gram.diagonal(dim1=1, dim2=2).contiguous()
    if exact:
        rows = columns = gram
        row_of, own_rows = torch.empty_like(view.labels), own
        some = torch.from_numpy(np.flatnonzero(order >= 0))
        row_of.scatter_(1, positions[:, some], some.expand(b, -1))
    else:
        rows = torch.bmm(x, items.transpose(1, 2), out=empty(b, n, e, like=x))
        columns = rows.transpose(1, 2).contiguous()
        row_of, own_rows = torch.arange(n).expand(b, n).contiguous(), x.square().sum(-1)
    sharpness = SHARPNESS * real.sum(1).square() / gram.square().sum((1, 2)).clamp(min=1e-12)
    count = most_classes(view)
    name = torch.empty(b, N_CLUSTERINGS, e, dtype=torch.int32)
    product = empty(b, N_CLUSTERINGS, count, e, like=x)
    norm = torch.empty(b, N_CLUSTERINGS, count, dtype=torch.float64)
    counts = torch.empty(b, N_CLUSTERINGS, count)
    within = torch.empty(b, N_CLUSTERINGS, dtype=torch.float64)
    nearest, apart = torch.empty_like(name), torch.empty(b, N_CLUSTERINGS, e)
    agreement = torch.empty(b)
    weight, noise = _noise(in_order.shape[1], count)
    draw.draw(
        *arrays(gram, real, view.way.clamp(max=MAX_CLUSTERS), sharpness),
        weight, noise, min(TRIALS, in_order.shape[1]), gibbs_sampler.BLOCKS,
        *arrays(name, product, norm, counts, within, nearest, apart, agreement),
    )  # fmt: skip
    return Drawn(
        positions, row_of, real, gram, rows, columns, own, own_rows, sharpness, name, product, norm, counts, within,
        nearest, apart, agreement,
    )  # fmt: skip


@remembered("moment")
def settled(view: PoolView) -> Settled:
    """Computes the partitions of a moment; see `metaal_env.pool.partitions.partitions`."""
    found = drawn(view)
    (b, n), k = view.valid.shape, view.class_mask.shape[1]
    e, r = found.gram.shape[1], found.rows.shape[1]
    exact = n <= MAX_ITEMS
    support = torch.empty(b, k, r)
    if not exact:
        x = sampled_clusterings.coordinates(view.geometry)
        label = torch.take_along_dim(view.labels, view.order.clamp(min=0), 1)
        named = torch.nn.functional.one_hot(label.clamp(min=0), k) * (
            (label >= 0) & view.order_mask
        ).unsqueeze(-1)
        sums = named.transpose(1, 2).to(x) @ take_rows(x, view.order)
        support = sums @ x.transpose(1, 2)
    name = torch.empty(b, N_CLUSTERINGS, e, dtype=torch.int32)
    everyone = name if exact else torch.empty(b, N_CLUSTERINGS, r, dtype=torch.int32)
    support_item = torch.empty(b, k, e)
    support_norm = torch.empty(b, k, dtype=torch.float64)
    own_sq_dist = torch.empty(b, n)
    settle.settle(
        *arrays(
            found.gram, found.rows, found.columns, found.own_rows, found.positions, found.row_of, found.real,
            found.name, found.product, found.norm, found.counts, found.within, found.nearest, found.apart,
            found.sharpness,
            view.labels, view.valid, view.order, view.class_mask, support,
        ),
        exact, gibbs_sampler.BLOCKS, gibbs_sampler.ROUNDS,
        *arrays(name, everyone, support_item, support_norm, own_sq_dist),
    )  # fmt: skip
    return Settled(
        name, everyone, support_item, support_item if exact else support, support_norm, own_sq_dist
    )


@remembered("moment")
def gains(view: PoolView, softness: float, every: int) -> tuple[Tensor, Tensor]:
    """Returns (B, N) `expected_accuracy` and `expected_likelihood` of `metaal_env.pool.expected_gain`."""
    pool, found = drawn(view), settled(view)
    accuracy, likelihood = torch.empty(view.valid.shape), torch.empty(view.valid.shape)
    lookahead.expected_gains(
        *arrays(
            pool.rows, pool.own, pool.own_rows, pool.row_of, found.name, found.everyone, found.support_item,
            found.support, found.support_norm, view.counts, view.class_mask, pool.within.mean(1), pool.sharpness,
        ),
        softness, every,
        *arrays(accuracy, likelihood),
    )  # fmt: skip
    return accuracy, likelihood


@remembered("moment")
def covers(view: PoolView) -> Covers:
    """Computes what follows from which items are together in the partitions."""
    pool, found = drawn(view), settled(view)
    cover, novelty = torch.empty(view.valid.shape), torch.empty(view.valid.shape)
    sizes = torch.empty(len(view), N_CLUSTERINGS, view.class_mask.shape[1])
    lookahead.coverage(
        *arrays(
            pool.row_of, found.name, found.everyone, view.order, view.seen, found.own_sq_dist,
            pool.within.mean(1).float(), cover, novelty, sizes,
        )
    )  # fmt: skip
    return Covers(cover, novelty, sizes)


@lru_cache(maxsize=64)
def _blocks(items: int) -> np.ndarray:
    """Returns the (E,) order of items by blocks, −1 where a block is filled up to the size of the first."""
    size = -(-items // gibbs_sampler.BLOCKS)
    order = np.arange(size * gibbs_sampler.BLOCKS).reshape(size, gibbs_sampler.BLOCKS).T.flatten()
    return np.where(order < items, order, -1)


@lru_cache(maxsize=64)
def _noise(items: int, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (C, M, E) weights of first centres and (`SWEEPS`, M, C, E) noise, in the order of the blocks."""
    order = _blocks(items)
    kind = torch.device("cpu"), torch.float32

    def noise(number: int, count: int, stream: int) -> np.ndarray:
        found = sampled_clusterings.gumbel(number, items, count, stream, *kind)
        return np.take(found.numpy(), order, -1)

    weight = np.exp([noise(number, 1, 1)[:, 0] for number in range(clusters)])
    return weight, np.array([noise(number, clusters, 0) for number in range(SWEEPS)])
