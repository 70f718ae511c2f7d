"""Sweeps of the sampler of clusterings."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, I, jit, log

NONE = -1
"""Class of an item that is in none."""


@jit
def tabulate(table: Array, half: float, within: float) -> None:
    """Writes the (4, n + 1) terms of log-probabilities for classes of 0…n members.

    Of x · s, of −‖x‖², the constant, and of −‖s‖², for an item x and a class of sum s; see
    `metaal_env.pool.gibbs_sampler.Chains`.
    """
    kappa, slope = F(within / (1 - within)), F(half / within)
    for n in range(table.shape[1]):
        table[0, n] = F(2) * slope / (F(n) + kappa + F(1))
    for n in range(table.shape[1]):
        table[1, n] = F(0.5) * table[0, n] * (F(n) + kappa)
    for n in range(table.shape[1]):
        table[2, n] = log(F(n) + F(1)) - F(half) * log(F(1) + F(1) / (F(n) + kappa))
    for n in range(table.shape[1]):
        table[3, n] = F(0.5) * table[0, n] / (F(n) + kappa)


@jit
def sweep(
    gram: Array,
    own: Array,
    free: Array,
    name: Array,
    product: Array,
    norm: Array,
    count: Array,
    log_prior: Array,
    table: Array,
    noise: Array,
    room: Array,
) -> None:
    """Draws the classes of free items anew, block by block, in place.

    Args:
        gram: (E, E) inner products.
        own: (E,) their diagonal.
        free: (E,) bool, the items that are drawn.
        name: (E,) class of each item that can move, else `NONE`.
        product: (K, E) products of the sums of the classes' members with the items.
        norm: (K,) squared norms of these sums, in double precision.
        count: (K,) members.
        log_prior: (K,) 0, or −∞ at classes that do not exist.
        table: see `tabulate`.
        noise: (K, E) to add to log-probabilities, or (0, 0) for none.
        room: (blocks, K + 2, E / blocks) memory.
    """
    n_classes, n_blocks = len(count), len(room)
    size = len(own) // n_blocks
    # By block and place, and without slices: so the compiler knows that no index is negative, and counts no references.
    between = gram.reshape(n_blocks, size, n_blocks, size)
    names, norms = name.reshape(n_blocks, size), own.reshape(n_blocks, size)
    products = product.reshape(n_classes, n_blocks, size)
    chances = noise.reshape(len(noise), n_blocks, size)
    best, new = room[0, n_classes], room[0, n_classes + 1]
    given, left = np.empty(n_classes), np.empty(n_classes, np.int64)
    inner = room[0]
    for block in range(n_blocks):
        for k in range(n_classes):
            given[k], left[k] = norm[k], int(count[k])
            for j in range(size):
                inner[k, j] = products[k, block, j]
        for i in range(size):  # the block leaves its classes
            k = names[block, i]
            if k >= 0:
                given[k] += norms[block, i] - 2 * np.float64(inner[k, i])
                left[k] -= 1
                for j in range(size):
                    inner[k, j] -= between[block, i, block, j]
        for j in range(size):
            best[j] = -np.inf
            new[j] = 0
        for k in range(n_classes):
            n, number = left[k], F(k)
            if n == 0:  # what rounding leaves would decide between empty classes, which are all the same
                given[k] = 0
                for j in range(size):
                    inner[k, j] = 0
            factor, fall = table[0, n], table[1, n]
            constant = table[2, n] + log_prior[k] - table[3, n] * F(given[k])
            if len(chances):
                for j in range(size):
                    inner[k, j] += chances[k, block, j] / factor
            for j in range(size):
                value = inner[k, j] * factor - fall * norms[block, j] + constant
                top, was = best[j], new[j]
                better = value > top
                best[j] = value if better else top
                new[j] = number if better else was
        for j in range(size):  # and joins the ones that were drawn
            before, k, i = names[block, j], int(new[j]), block * size + j
            if not free[i] or k == before:
                continue
            names[block, j] = k
            if before >= 0:
                norm[before] += norms[block, j] - 2 * np.float64(product[before, i])
                count[before] -= 1
                if count[before] > 0:
                    for e in range(len(own)):
                        product[before, e] -= gram[i, e]
                else:
                    product[before] = 0
                    norm[before] = 0
            norm[k] += norms[block, j] + 2 * np.float64(product[k, i])
            count[k] += 1
            for e in range(len(own)):
                product[k, e] += gram[i, e]


@jit
def nearest_mean(own: Array, product: Array, norm: Array, count: Array, nearest: Array, apart: Array) -> None:
    """Writes the (E,) nearest of C means, and the squared distance to it.

    Args:
        own: (E,) squared norms.
        product: (C, E) products of the clusters' sums with the items.
        norm: (C,) squared norms of the sums.
        count: (C,) items in them.
    """
    nearest[:] = 0
    apart[:] = np.inf
    for c in range(len(count)):
        if count[c] == 0:
            continue
        constant, factor = F(norm[c] / (count[c] * count[c])), F(2 / count[c])
        for e in range(len(own)):
            value, top, was = constant - factor * product[c, e], apart[e], nearest[e]
            apart[e] = min(value, top)
            nearest[e] = I(c) if value < top else was
    for e in range(len(own)):
        apart[e] = max(apart[e] + own[e], F(0))
