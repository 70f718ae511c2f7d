"""One sweep of the sampler over one chain, from inner products: `metaal_env.pool.gibbs_sampler` compiled.

With the (K, E) products of each class's sum with every item, a draw needs no coordinates, and an item that changes its
class costs two rows. Items are in the order of their blocks.
"""

from __future__ import annotations

import math

import numpy as np

from metaal_env.pool.compiled.arithmetic import Array, F, add, jit, subtract

NONE = -1
"""Class of an item that is in none."""


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
    half: float,
    within: float,
    noise: Array,
    ends: Array,
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
        half: half the dimension by which log-likelihoods count.
        within: variance within classes.
        noise: (K, E) to add to log-probabilities, or (0, 0) for none.
        ends: (n_blocks + 1,) bounds of the blocks.
        room: (K + 2, largest block) memory.
    """
    n_classes = len(count)
    kappa = within / (1 - within)
    noisy = len(noise) > 0
    best, new = room[n_classes], room[n_classes + 1]
    for block in range(len(ends) - 1):
        start, stop = ends[block], ends[block + 1]
        size = stop - start
        for k in range(n_classes):
            room[k, :size] = product[k, start:stop]
        for j in range(size):  # the block leaves its classes
            k = name[start + j]
            if k >= 0:
                norm[k] += own[start + j] - 2 * np.float64(room[k, j])
                count[k] -= 1
                subtract(room[k, :size], gram[start + j, start:stop])
        best[:size] = -np.inf
        new[:size] = 0
        for k in range(n_classes):
            shrunk = count[k] + kappa
            wider = 1 + 1 / shrunk
            slope = half / (within * wider)
            constant = math.log(count[k] + 1.0) - half * math.log(wider) + log_prior[k]
            constant = F(constant - slope * norm[k] / (shrunk * shrunk))
            factor, fall = F(2 * slope / shrunk), F(slope)
            if noisy:
                for j in range(size):
                    i = start + j
                    value = room[k, j] * factor - fall * own[i] + constant + noise[k, i]
                    better = value > best[j]
                    best[j] = value if better else best[j]
                    new[j] = F(k) if better else new[j]
            else:
                for j in range(size):
                    value = room[k, j] * factor - fall * own[start + j] + constant
                    better = value > best[j]
                    best[j] = value if better else best[j]
                    new[j] = F(k) if better else new[j]
        for j in range(size):  # and joins the ones that were drawn
            i = start + j
            if not free[i]:
                continue
            before, k = name[i], int(new[j])
            norm[k] += own[i] + 2 * np.float64(room[k, j])
            count[k] += 1
            add(room[k, :size], gram[i, start:stop])
            if k != before:
                name[i] = k
                if before >= 0:
                    subtract(product[before], gram[i])
                add(product[k], gram[i])
