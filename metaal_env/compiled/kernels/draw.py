"""Draws clusterings of a pool from nothing."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, jit
from metaal_env.compiled.kernels.sweep import NONE, nearest_mean, sweep, tabulate


@jit
def first_clusters(
    apart: Array,
    real: Array,
    n_clusters: int,
    weight: Array,
    greedy: bool,
    trials: int,
    name: Array,
    room: Array,
) -> None:
    """Writes the (E,) nearest of `n_clusters` centres that are drawn by k-means++.

    Args:
        apart: (E, E) squared distances.
        weight: (C, E) e^noise: the next candidates are the items with the largest squared distance times weight.
        greedy: whether the best of `trials` candidates is taken, or the first.
        room: (2, E) memory.
    """
    n_items = len(real)
    nearest, chance = room[0], room[1]
    nearest[:] = np.inf
    name[:] = 0
    tried = trials if greedy else 1
    for number in range(n_clusters):
        for e in range(n_items):
            value = min(max(nearest[e], F(1e-12)), F(1e12)) * weight[number, e]
            chance[e] = value if real[e] else F(-1)
        best, lowest = 0, F(np.inf)
        for _ in range(tried):
            candidate, most = 0, F(-2)
            for e in range(n_items):
                better = chance[e] > most
                most = chance[e] if better else most
                candidate = e if better else candidate
            chance[candidate] = -2
            if tried == 1:
                best = candidate
                break
            total = F(0)
            row = apart[candidate]
            for e in range(n_items):
                left = min(nearest[e], row[e])
                total += left if real[e] else F(0)
            if total < lowest:
                best, lowest = candidate, total
        row = apart[best]
        for e in range(n_items):
            closer, was = row[e] < nearest[e], name[e]
            nearest[e] = min(row[e], nearest[e])
            name[e] = number if closer else was


@jit
def update_within(own: Array, real: Array, norm: Array, count: Array) -> float:
    """Returns the variance within classes; see `metaal_env.pool.gibbs_sampler.Chains.update_within`."""
    total, n_real = 0.0, 0
    for e in range(len(own)):
        if real[e]:
            total += own[e]
            n_real += 1
    for k in range(len(norm)):
        if count[k] > 0:
            total -= norm[k] / count[k]
            n_real -= 1
    return min(max((total + 5) / (n_real + 10), 0.02), 0.95)  # type: ignore[no-any-return]


@jit
def draw(
    gram: Array,
    real: Array,
    clusters: Array,
    sharpness: Array,
    weight: Array,
    noise: Array,
    trials: int,
    n_blocks: int,
    name: Array,
    product: Array,
    norm: Array,
    count: Array,
    within: Array,
    nearest: Array,
    apart_from: Array,
    agreement: Array,
) -> None:
    """Draws M clusterings of each of B pools into the last eight arguments. Items are in the order of their blocks.

    Args:
        gram: (B, E, E) inner products.
        real: (B, E) bool.
        clusters: (B,) number of clusters, at most C.
        sharpness: (B,) dimension by which log-likelihoods count.
        weight: (C, M, E) see `first_clusters`.
        noise: (sweeps, M, C, E) Gumbel noise.
        trials: candidates for each centre of every other clustering.
        n_blocks: blocks of equally many items.
        name: (B, M, E) the cluster, `NONE` at padding.
        product: (B, M, C, E) products of the clusters' sums with the items.
        norm: (B, M, C) their squared norms, float64.
        count: (B, M, C) their items.
        within: (B, M) share of the variance within clusters, float64.
        nearest: (B, M, E) the cluster whose mean is nearest, and
        apart_from: (B, M, E) the squared distance to it.
        agreement: (B,) see `metaal_env.pool.sampled_clusterings.agreement`.
    """
    n_pools, n_items = real.shape
    n_chains, n_clusters = count.shape[1:]
    room = np.empty((n_blocks, n_clusters + 2, n_items // n_blocks), np.float32)
    line = np.empty((2, n_items), np.float32)
    apart = np.empty((n_items, n_items), np.float32)
    own = np.empty(n_items, np.float32)
    log_prior = np.zeros(n_clusters, np.float32)
    table = np.empty((4, n_items + 1), np.float32)
    silent = np.zeros_like(noise[0, 0])
    for b in range(n_pools):
        log_prior[:] = 0
        log_prior[clusters[b] :] = -np.inf
        total = F(0)
        for e in range(n_items):
            own[e] = gram[b, e, e]
            total += own[e]
        for e in range(n_items):
            for f in range(n_items):
                apart[e, f] = max(own[e] + own[f] - F(2) * gram[b, e, f], F(0))
            apart[e, e] = 0
        for m in range(n_chains):
            names = name[b, m]
            first_clusters(apart, real[b], clusters[b], weight[:, m], m % 2 == 0, trials, names, line)
            product[b, m] = 0
            count[b, m] = 0
            norm[b, m] = 0
            for e in range(n_items):
                if real[b, e]:
                    k = names[e]
                    for f in range(n_items):
                        product[b, m, k, f] += gram[b, e, f]
                    count[b, m, k] += 1
                else:
                    names[e] = NONE
            for e in range(n_items):
                if real[b, e]:
                    norm[b, m, names[e]] += product[b, m, names[e], e]
            within[b, m] = 0.5
            for number in range(len(noise)):
                tabulate(table, sharpness[b] / 2, within[b, m])
                drawn = noise[number, m] if total > 0.5 else silent  # identical items must not be told apart
                sweep(
                    gram[b], own, real[b], names, product[b, m], norm[b, m], count[b, m],
                    log_prior, table, drawn, room,
                )  # fmt: skip
                within[b, m] = update_within(own, real[b], norm[b, m], count[b, m])
            nearest_mean(own, product[b, m], norm[b, m], count[b, m], nearest[b, m], apart_from[b, m])
        squares, sums = 0.0, 0.0
        for e in range(n_items):
            own[:] = 0
            for m in range(n_chains):
                k = name[b, m, e]
                if k >= 0:
                    for f in range(e):
                        own[f] += F(1) if name[b, m, f] == k else F(0)
            for f in range(e):
                squares += own[f] * own[f]
                sums += own[f]
        agreement[b] = 2 * squares / n_chains / max(2 * sums, 1e-6 * n_chains)
