"""Kernels of squared distances, and what they cover."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, exp, jit


@jit
def nearest(sq_dist: Array, order: Array, found: Array) -> None:
    """Writes the (B, N) squared distance to the nearest of (B, S) `order`, −1 at padding; infinity if there is none.

    Args:
        sq_dist: (B, N, N), symmetric.
    """
    for b in range(len(order)):
        found[b] = np.inf
        for s in range(order.shape[1]):
            place = order[b, s]
            if place >= 0:
                for i in range(found.shape[1]):
                    found[b, i] = min(found[b, i], sq_dist[b, place, i])


@jit
def least_between(sq_dist: Array, order: Array, least: Array, most: Array, found: Array) -> None:
    """Writes the (B,) smallest of (B, N, N) squared distances between two items of (B, S) `order`.

    Args:
        order: −1 at padding.
        least: (B,); distances up to it do not count.
        most: (B,) what is written where no distance is smaller.
    """
    for b in range(len(order)):
        found[b] = most[b]
        for i in order[b]:
            for j in order[b]:
                if i >= 0 and j >= 0 and least[b] < sq_dist[b, i, j] < found[b]:
                    found[b] = sq_dist[b, i, j]


@jit
def ball_gains(sq_dist: Array, radius: Array, weight: Array, gain: Array) -> None:
    """Writes the (B, N) sums of (B, L) `weight` over landmarks within the (B,) squared `radius`."""
    for b in range(len(sq_dist)):
        for i in range(sq_dist.shape[1]):
            total = F(0)
            for j in range(sq_dist.shape[2]):
                mass = weight[b, j]
                total += mass if sq_dist[b, i, j] <= radius[b] else F(0)
            gain[b, i] = total


@jit
def nearest_other(sq_dist: Array, real: Array, found: Array) -> None:
    """Writes the (B, N) squared distance to the nearest of all other (B, N) `real` items; 0 where there is none.

    Args:
        sq_dist: (B, N, N), symmetric.
    """
    for b in range(len(sq_dist)):
        found[b] = np.inf
        for j in np.flatnonzero(real[b]):
            own = found[b, j]
            for i in range(found.shape[1]):
                value, before = sq_dist[b, j, i], found[b, i]
                found[b, i] = min(value, before)
            found[b, j] = own
        for i in range(found.shape[1]):
            one = found[b, i]
            found[b, i] = F(0) if one == F(np.inf) else one


@jit
def attention(sq_dist: Array, least: Array, scale: Array, real: Array, weights: Array) -> None:
    """Writes (B, N, N) `weights`, whose columns are a softmax over all other `real` items of −d² / (B,) `scale`.

    Args:
        least: (B, N) squared distances to the nearest of them.
    """
    total = np.empty(sq_dist.shape[2], np.float32)
    for b in range(len(sq_dist)):
        inverse = F(1) / scale[b]
        total[:] = 0
        for j in range(len(total)):
            if not real[b, j]:
                weights[b, j] = 0
                continue
            own = total[j]
            for i in range(len(total)):
                value = exp((least[b, i] - sq_dist[b, j, i]) * inverse)
                weights[b, j, i] = value
                total[i] += value
            total[j], weights[b, j, j] = own, 0
        for i in range(len(total)):
            one = total[i]
            total[i] = F(1) / one if one > F(0) else F(0)
        for j in range(len(total)):
            for i in range(len(total)):
                weights[b, j, i] *= total[i]


@jit
def gaussian_gains(sq_dist: Array, radius: Array, covered: Array, weight: Array, gain: Array) -> None:
    """Writes the (B, N) sums over landmarks of (B, L) `weight` times what a kernel exceeds (B, L) `covered` by.

    Args:
        sq_dist: (B, N, L), of which the kernel is e^(−d² / radius).
        radius: (B,) squared radii.
    """
    for b in range(len(sq_dist)):
        inverse = F(-1) / radius[b]
        for i in range(sq_dist.shape[1]):
            total = F(0)
            for j in range(sq_dist.shape[2]):
                total += weight[b, j] * max(exp(sq_dist[b, i, j] * inverse) - covered[b, j], F(0))
            gain[b, i] = total
