"""Loops that numba compiles: arithmetic, sweeps of a sampler, clusterings, partitions, gains, walks, standard scores.

They are one file because numba keeps compiled code until the file of a function changes, not until what it calls does.

In every kernel items are last. Loops are short: where one writes to several of many arrays, the compiler would have to
check too often whether they overlap, and does not vectorise it. Both numbers that an element is chosen from are read
before the choice: the compiler reads none that may not be needed, and then keeps a branch. Sums may be taken in any
order, else no loop over floats is vectorised; infinities and NaN keep their meaning. `F` marks numbers that must not
turn a loop over float32 into one over doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np

F = np.float32
I = np.int32  # noqa: E741
Array = np.ndarray[Any, Any]

NEVER = F(-1e9)
"""Score of a class that cannot be predicted."""


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function of NumPy arrays at its first call, and keeps the code on disk where that is possible."""
    settings = {"reassoc", "contract", "nsz", "arcp"}
    compiler = partial(numba.njit, fastmath=settings, error_model="numpy", nogil=True)
    try:
        return compiler(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's can be written to
        return compiler()(function)  # type: ignore[no-any-return]


@jit
def exp(x: Any) -> Any:
    """Returns e^x of a float32 x ≤ 0 by a polynomial, to 1e-6 for x > −20; 0 below −70."""
    t = max(x, F(-87.0)) * F(1.4426950408889634)
    whole = np.floor(t + F(0.5))  # a float: vectors have no conversion to math.floor's long integers
    f = t - whole
    p = F(1.5403530e-4)
    p = p * f + F(1.3333558e-3)
    p = p * f + F(9.6181291e-3)
    p = p * f + F(5.5504109e-2)
    p = p * f + F(2.4022651e-1)
    p = p * f + F(6.9314718e-1)
    p = p * f + F(1.0)
    # 0 before numbers become so small that processors take long over them.
    return p * I((I(whole) + 127) << 23).view(np.float32) if x > F(-70.0) else F(0)


@jit
def log(x: Any) -> Any:
    """Returns the logarithm of a float32 x > 0 to 1e-7 relative to the larger of 1 and itself (Cephes' polynomial)."""
    bits = F(x).view(np.int32)
    whole = I(I(bits - I(0x3F3504F3)) >> I(23))  # so that the rest lies between √½ and √2
    f = I(bits - I(whole << I(23))).view(np.float32) - F(1)
    p = F(7.0376836292e-2)
    p = p * f - F(1.1514610310e-1)
    p = p * f + F(1.1676998740e-1)
    p = p * f - F(1.2420140846e-1)
    p = p * f + F(1.4249322787e-1)
    p = p * f - F(1.6668057665e-1)
    p = p * f + F(2.0000714765e-1)
    p = p * f - F(2.4999993993e-1)
    p = p * f + F(3.3333331174e-1)
    square = f * f
    return F(whole) * F(0.69314718) + (f + (square * f * p - F(0.5) * square))


@jit
def sigmoid(x: Any) -> Any:
    """Returns 1 / (1 + e^−x) of a float32 x to 2e-7, by a quotient of polynomials for tanh."""
    x = min(max(x * F(0.5), F(-7.9053111)), F(7.9053111))
    s = x * x
    p = F(-2.76076847742355e-16)
    p = p * s + F(2.00018790482477e-13)
    p = p * s + F(-8.60467152213735e-11)
    p = p * s + F(5.12229709037114e-08)
    p = p * s + F(1.48572235717979e-05)
    p = p * s + F(6.37261928875436e-04)
    p = p * s + F(4.89352455891786e-03)
    q = F(1.19825839466702e-06)
    q = q * s + F(1.18534705686654e-04)
    q = q * s + F(2.26843463243900e-03)
    q = q * s + F(4.89352518554385e-03)
    return F(0.5) + F(0.5) * (x * p / q)


@jit
def add(to: Array, row: Array) -> None:
    """Adds a row to another of the same length, in place."""
    for e in range(len(to)):
        to[e] += row[e]


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


@jit
def class_of_clusters(
    nearest: Array,
    apart: Array,
    order_label: Array,
    count: Array,
    unseen: Array,
    class_of: Array,
    votes: Array,
) -> None:
    """Writes the (C,) class that each cluster of a clustering stands for, `NONE` for one in excess.

    Args:
        nearest: (S,) nearest cluster of each labelled item,
        apart: (S,) the squared distance to its mean, and
        order_label: (S,) its class, −1 for none.
        count: (C,) items of the clusters.
        unseen: (U,) classes without a label, in order.
        votes: (C, K) memory.
    """
    n_clusters = len(count)
    votes[:] = 0
    for s in range(len(nearest)):
        if order_label[s] >= 0:
            # Between classes with equally many labels in a cluster, the one nearer to its centre gets it.
            # In single precision, in which nearly equal distances count as equal.
            votes[nearest[s], order_label[s]] += F(1) + F(1e-3) / (F(1) + apart[s])
    class_of[:] = NONE
    for c in range(n_clusters):
        most = F(0)
        for k in range(votes.shape[1]):
            if votes[c, k] > most:
                class_of[c], most = k, votes[c, k]
    taken = class_of != NONE
    for number in range(len(unseen)):  # the largest of the others stand for classes without a label
        largest, most = NONE, F(0)
        for c in range(n_clusters):
            if not taken[c] and count[c] > most:
                largest, most = c, count[c]
        if largest == NONE:
            break
        class_of[largest], taken[largest] = unseen[number], True


@jit
def likeliest(
    product: Array,
    own: Array,
    norm: Array,
    count: Array,
    log_prior: Array,
    table: Array,
    room: Array,
    name: Array,
) -> None:
    """Writes the (R,) likeliest class of every item, given the (K, R) products of the classes' sums with the items."""
    best = room[0]
    best[:] = -np.inf
    for k in range(len(count)):
        n = int(count[k])
        factor, fall = table[0, n], table[1, n]
        constant = table[2, n] + log_prior[k] - table[3, n] * F(norm[k])
        for r in range(len(own)):
            value = product[k, r] * factor - fall * own[r] + constant
            better = value > best[r]
            best[r] = value if better else best[r]
            name[r] = k if better else name[r]


@jit
def settle(
    gram: Array,
    rows: Array,
    columns: Array,
    own_rows: Array,
    position_of_item: Array,
    row_of: Array,
    real: Array,
    drawn: Array,
    drawn_product: Array,
    drawn_norm: Array,
    drawn_count: Array,
    within: Array,
    nearest: Array,
    apart: Array,
    sharpness: Array,
    labels: Array,
    valid: Array,
    order: Array,
    class_mask: Array,
    support: Array,
    exact: bool,
    n_blocks: int,
    n_sweeps: int,
    name: Array,
    everyone: Array,
    support_item: Array,
    support_norm: Array,
    own_sq_dist: Array,
) -> None:
    """Computes M partitions of each of B pools into K classes; writes into the last five arguments, and `support`.

    A pool's R rows are its E items if it is `exact`, else all its N items.

    Args:
        gram: (B, E, E) inner products of the clustered items.
        rows: (B, R, E) of all items with these; of an exact pool `gram` again.
        columns: (B, E, R) the same, transposed.
        own_rows: (B, R) squared norms.
        position_of_item: (B, E) position in the pool of a clustered item.
        row_of: (B, N) row of a position.
        real: (B, E) bool.
        drawn: (B, M, E) clusters, and what `drawing.draw` tells of them.
        labels: (B, N), −1 for none.
        order: (B, S) positions of labelled items, −1 at padding.
        support: (B, K, R) products of the sums of each class's labelled items with the rows; written if exact.
        n_sweeps: sweeps in which items settle.
        name: (B, M, E) class of each item, `NONE` at padding.
        everyone: (B, M, R) the same of the rows.
        support_item: (B, K, E) as `support`, of the clustered items.
        support_norm: (B, K) squared norms of the sums of labelled items, float64.
        own_sq_dist: (B, N) mean squared distance of an item to the mean of its class.
    """
    n_pools, n_chains, n_items = drawn.shape
    n_classes, n_rows = support.shape[1:]
    n_clusters = drawn_count.shape[2]
    product = np.empty((n_classes, n_items), np.float32)
    norm, count = np.empty(n_classes), np.empty(n_classes)
    room = np.empty((n_blocks, n_classes + 2, n_items // n_blocks), np.float32)
    far = np.empty((n_classes if not exact else 0, n_rows), np.float32)
    wide = np.empty((1, n_rows), np.float32)
    own = np.empty(n_items, np.float32)
    free = np.empty(n_items, np.bool_)
    log_prior = np.empty(n_classes, np.float32)
    class_of = np.empty(n_clusters, np.int32)
    votes = np.empty((n_clusters, n_classes), np.float32)
    silent = np.empty((0, 0), np.float32)
    row, order_label = np.empty(order.shape[1], np.int64), np.empty(order.shape[1], np.int64)
    order_nearest, order_apart = np.empty(order.shape[1], np.int32), np.empty(order.shape[1], np.float32)
    item_product, label = np.empty((n_clusters, order.shape[1]), np.float32), np.empty(n_items, np.int64)
    others = np.empty_like(product)
    counts = np.empty(n_classes)
    table = np.empty((4, n_items + order.shape[1] + 1), np.float32)
    total = np.empty(n_rows, np.float32)
    for b in range(n_pools):
        counts[:] = 0
        support_item[b] = 0
        for s in range(order.shape[1]):
            place = max(order[b, s], 0)
            row[s] = row_of[b, place]
            order_label[s] = labels[b, place] if order[b, s] >= 0 else -1
            if order_label[s] >= 0:
                counts[order_label[s]] += 1
                add(support_item[b, order_label[s]], rows[b, row[s]])
        if exact:
            support[b] = support_item[b]
        support_norm[b] = 0
        for s in range(order.shape[1]):
            if order_label[s] >= 0:
                support_norm[b, order_label[s]] += support[b, order_label[s], row[s]]
        for k in range(n_classes):
            log_prior[k] = 0 if class_mask[b, k] else -np.inf
        unseen = np.empty(n_classes, np.int64)
        n_unseen = 0
        for k in range(n_classes):
            if class_mask[b, k] and counts[k] == 0:
                unseen[n_unseen] = k
                n_unseen += 1
        others[:] = 0  # products with the sums of labelled items that are in no cluster
        if not exact:
            others[:] = support_item[b]
        for e in range(n_items):
            own[e] = gram[b, e, e]
            label[e] = labels[b, position_of_item[b, e]] if real[b, e] else NONE
            free[e] = real[b, e] and label[e] < 0
            if label[e] >= 0 and not exact:
                for f in range(n_items):
                    others[label[e], f] -= gram[b, e, f]
        total[:] = 0
        half = sharpness[b] / 2
        for m in range(n_chains):
            if exact:
                for s in range(len(row)):
                    order_nearest[s], order_apart[s] = nearest[b, m, row[s]], apart[b, m, row[s]]
            else:
                item_product[:] = 0
                for s in range(len(row)):
                    for e in range(n_items):
                        if drawn[b, m, e] >= 0:
                            item_product[drawn[b, m, e], s] += rows[b, row[s], e]
                nearest_mean(
                    own_rows[b][row], item_product, drawn_norm[b, m], drawn_count[b, m], order_nearest,
                    order_apart,
                )  # fmt: skip
            class_of_clusters(
                order_nearest, order_apart, order_label, drawn_count[b, m], unseen[:n_unseen], class_of, votes
            )
            names = name[b, m]
            product[:] = others
            for c in range(n_clusters):
                k = class_of[c]
                if k >= 0 and drawn_count[b, m, c] > 0:
                    for e in range(n_items):
                        product[k, e] += drawn_product[b, m, c, e]
            count[:] = counts
            norm[:] = support_norm[b]
            for e in range(n_items):
                k, y = class_of[drawn[b, m, e]] if real[b, e] else NONE, label[e]
                names[e] = k if y < 0 else NONE
                if y < 0 and k >= 0:
                    count[k] += 1
                elif y >= 0 and y != k:  # it is among the wrong ones
                    add(product[y], gram[b, e])
                    if k >= 0:
                        for f in range(n_items):
                            product[k, f] -= gram[b, e, f]
            for e in range(n_items):
                k = names[e]
                if k >= 0:  # ‖f + s‖² = f · (f + s) + f · s + ‖s‖²
                    norm[k] += np.float64(product[k, e]) + support_item[b, k, e]
            tabulate(table, half, within[b, m])
            for _ in range(n_sweeps):
                sweep(
                    gram[b], own, free, names, product, norm, count, log_prior, table, silent,
                    room,
                )  # fmt: skip
            if exact:
                for e in range(n_items):
                    if label[e] >= 0:
                        names[e] = label[e]
                everyone[b, m] = names
                mean_distance(own, product, names, norm, count, total)
                continue
            far[:] = support[b]
            for e in range(n_items):
                if names[e] >= 0:
                    add(far[names[e]], columns[b, e])
                else:
                    names[e] = label[e]
            likeliest(far, own_rows[b], norm, count, log_prior, table, wide, everyone[b, m])
            for r in range(n_rows):
                if not valid[b, r]:
                    everyone[b, m, r] = NONE
                elif labels[b, r] >= 0:
                    everyone[b, m, r] = labels[b, r]
            mean_distance(own_rows[b], far, everyone[b, m], norm, count, total)
        for place in range(len(row_of[b])):
            own_sq_dist[b, place] = total[row_of[b, place]] / F(n_chains)


@jit
def mean_distance(own: Array, product: Array, name: Array, norm: Array, count: Array, total: Array) -> None:
    """Adds to (R,) `total` the squared distance of each item to the mean of its class, or the pool's without one."""
    constant, factor = np.zeros(len(count), np.float32), np.zeros(len(count), np.float32)
    for k in range(len(count)):
        n = max(count[k], 1.0)
        constant[k], factor[k] = norm[k] / (n * n), 2 / n
    for r in range(len(own)):
        k = name[r]
        total[r] += own[r]
        if k >= 0:
            total[r] += constant[k] - factor[k] * product[k, r]


@jit
def rivals(scores: Array, seen: Array, rival: Array, guess: Array, best: Array, second: Array) -> None:
    """Writes the (K, E) largest score of all other classes with a label, and the class that has it, −1 for none.

    Args:
        scores: (K, E).
        best, second: (2, E) memory.
    """
    n_classes, n_items = scores.shape
    best[:] = NEVER
    second[:] = NEVER
    best[1] = -1
    second[1] = -1
    for k in range(n_classes):
        if not seen[k]:
            continue
        for e in range(n_items):
            over, was = scores[k, e] > best[0, e], best[1, e]
            best[0, e] = max(scores[k, e], best[0, e])
            best[1, e] = F(k) if over else was
    for k in range(n_classes):
        if not seen[k]:
            continue
        for e in range(n_items):
            value, top, was, own = scores[k, e], second[0, e], second[1, e], best[1, e] == F(k)
            over = (value > top) & (not own)
            second[0, e] = value if over else top
            second[1, e] = F(k) if over else was
    for k in range(n_classes):
        for e in range(n_items):
            first, other = best[0, e], second[0, e]
            rival[k, e] = other if best[1, e] == F(k) else first
        for e in range(n_items):
            first, other = best[1, e], second[1, e]
            guess[k, e] = other if first == F(k) else first


@jit
def without_each(scores: Array, mask: Array, rest: Array, others: Array, part: Array, whole: Array) -> None:
    """Writes (K, E) log-sum-exp of the scores of all other classes, and what gives ratios of such sums.

    Args:
        scores: (K, E), `NEVER` at classes outside the (K,) `mask`.
        rest: (K, E) log-sum-exp of the others.
        others: (K, E) the sum in it, of scores less the largest.
        part: (2, K, E) e^score, less the largest score; and less the largest of the others, of the class on top.
        whole: (5, E) the largest score, its class, the largest of the others, the sums of the two parts without the
            class on top.
    """
    n_classes, n_items = scores.shape
    whole[0] = -np.inf
    whole[1] = -1
    whole[2] = -np.inf
    whole[3:] = 0
    for k in range(n_classes):
        for e in range(n_items):
            value, top, was = scores[k, e], whole[0, e], whole[1, e]
            whole[2, e] = max(whole[2, e], min(value, top))
            whole[0, e] = max(value, top)
            whole[1, e] = F(k) if value > top else was
    for k in range(n_classes):
        for e in range(n_items):
            part[0, k, e] = exp(scores[k, e] - whole[0, e])
        for e in range(n_items):
            part[1, k, e] = exp(min(scores[k, e] - whole[2, e], F(0)))
        for e in range(n_items):
            value = part[0, k, e]
            whole[3, e] += F(0) if whole[1, e] == F(k) else value
        for e in range(n_items):
            value = part[1, k, e]
            whole[4, e] += F(0) if whole[1, e] == F(k) else value
    for k in range(n_classes):
        if not mask[k]:
            rest[k] = 0
            others[k] = 1
            continue
        for e in range(n_items):
            below, value = whole[4, e], F(1) + max(whole[3, e] - part[0, k, e], F(0))
            others[k, e] = below if whole[1, e] == F(k) else value
        for e in range(n_items):
            below, value = whole[2, e], whole[0, e]
            rest[k, e] = (below if whole[1, e] == F(k) else value) + log(others[k, e])


@jit
def expected_gains(
    rows: Array,
    own: Array,
    own_rows: Array,
    row_of: Array,
    name: Array,
    everyone: Array,
    support_item: Array,
    support: Array,
    support_norm: Array,
    counts: Array,
    class_mask: Array,
    within: Array,
    sharpness: Array,
    softness: float,
    every: int,
    accuracy: Array,
    likelihood: Array,
) -> None:
    """Writes (B, N) `accuracy` and `likelihood`; see `metaal_env.pool.expected_gain`.

    Args:
        rows: (B, R, E) inner products; see `settling.settle` for all that is not described here.
        own: (B, E) squared norms of the clustered items.
        counts: (B, K) labels of each class.
        within: (B,) mean variance within classes.
        every: every this many partitions are used.
    """
    n_pools, n_chains, n_items = name.shape
    n_classes, n_rows = support.shape[1:]
    now = np.empty((n_classes, n_items), np.float32)
    scores, rest, guess, near = np.empty_like(now), np.empty_like(now), np.empty_like(now), np.empty_like(now)
    rival, soft, others = np.empty_like(now), np.empty_like(now), np.empty_like(now)
    best, second = np.empty((2, n_items), np.float32), np.empty((2, n_items), np.float32)
    part, whole = np.empty((2, n_classes, n_items), np.float32), np.empty((5, n_items), np.float32)
    one, two = np.empty((n_classes, n_items), np.float32), np.empty((n_classes, n_items), np.float32)
    base = np.empty((2, n_classes), np.float32)
    size = np.empty(n_classes)
    weight, truth = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    total = np.empty((2, n_rows), np.float32)
    for b in range(n_pools):
        slope = F(sharpness[b] / (2 * softness * within[b]))
        wide = F(within[b])
        way = 0
        for k in range(n_classes):
            way += class_mask[b, k]
            some = max(counts[b, k], F(1))
            factor = F(1) / (F(1) + F(1) / some)
            far = F(support_norm[b, k]) / (some * some)
            for e in range(n_items):
                apart = own[b, e] - F(2) * support_item[b, k, e] / some + far
                now[k, e] = -apart * factor
        rivals(now, counts[b] > 0, rival, guess, best, second)
        for k in range(n_classes):
            if not class_mask[b, k]:
                scores[k] = NEVER
            elif counts[b, k] > 0:
                for e in range(n_items):
                    scores[k, e] = slope * now[k, e]
            else:
                anywhere = log(F(2) * wide)
                for e in range(n_items):
                    scores[k, e] = -slope * wide * (own[b, e] - anywhere)
        without_each(scores, class_mask[b], rest, others, part, whole)
        for k in range(n_classes):
            after = counts[b, k] + F(1)
            inverse = F(1) + F(1) / after  # of the weight of a squared distance
            for e in range(n_items):
                near[k, e] = F(0.5) * after * (own[b, e] + rival[k, e] * inverse) - support_item[b, k, e]
            inverse /= slope
            for e in range(n_items):
                soft[k, e] = F(0.5) * after * (own[b, e] + rest[k, e] * inverse) - support_item[b, k, e]
        total[:] = 0
        for m in range(0, n_chains, every):
            names = name[b, m]
            size[:] = 0
            for e in range(n_items):
                if names[e] >= 0:
                    size[names[e]] += 1
            for k in range(n_classes):
                size[k] = 1 / (max(size[k], 1.0) * way)
            for e in range(n_items):
                k = names[e]
                weight[e] = F(size[k]) if k >= 0 else F(0)
                truth[e] = F(k)
                best[0, e] = part[0, max(k, 0), e]
                best[1, e] = part[1, max(k, 0), e]
            base[:] = 0
            for k in range(n_classes):
                sure, soft_sure = F(0), F(0)
                for e in range(n_items):
                    mass, guessed = weight[e], guess[k, e]
                    other = mass if truth[e] != F(k) else F(0)
                    stays = other if guessed == truth[e] else F(0)
                    one[k, e] = mass - other - stays
                    sure += stays
                for e in range(n_items):
                    mass, below, above = weight[e], best[1, e], best[0, e]
                    other = mass if truth[e] != F(k) else F(0)
                    share = (below if whole[1, e] == F(k) else above) / others[k, e]
                    stays = other * min(share, F(1))
                    two[k, e] = mass - other - stays
                    soft_sure += stays
                base[0, k] = sure
                base[1, k] = soft_sure
            for r in range(n_rows):
                k = everyone[b, m, r]
                if k < 0:
                    continue
                after = counts[b, k] + F(1)
                far = (F(support_norm[b, k]) + F(2) * support[b, k, r] + own_rows[b, r]) / (F(2) * after)
                steep = F(2) * slope / (F(1) + F(1) / after) / after
                right, soft_right = base[0, k], base[1, k]
                for e in range(n_items):  # no slices: to count references to them would take as long
                    inner = rows[b, r, e] - far
                    won = one[k, e]
                    right += won if inner > near[k, e] else F(0)
                    soft_right += two[k, e] * sigmoid(steep * (inner - soft[k, e]))
                total[0, r] += right
                total[1, r] += soft_right
        chains = F((n_chains + every - 1) // every)
        for place in range(len(row_of[b])):
            accuracy[b, place] = total[0, row_of[b, place]] / chains
            likelihood[b, place] = total[1, row_of[b, place]] / chains


@jit
def coverage(
    row_of: Array,
    name: Array,
    everyone: Array,
    order: Array,
    seen: Array,
    own_sq_dist: Array,
    within: Array,
    cover: Array,
    novelty: Array,
    size: Array,
) -> None:
    """Writes (B, N) `partition_cover` and `partition_novelty`, and the (B, M, K) sizes of classes."""
    n_pools, n_chains, n_items = name.shape
    n_rows = everyone.shape[2]
    weight, covered = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    together = np.empty(n_items, np.float32)
    gain, fresh = np.empty(n_rows, np.float32), np.empty(n_rows, np.float32)
    size[:] = 0
    for b in range(n_pools):
        weight[:] = 0
        for m in range(n_chains):
            for e in range(n_items):
                if name[b, m, e] >= 0:
                    size[b, m, name[b, m, e]] += 1
            for e in range(n_items):
                if name[b, m, e] >= 0:
                    weight[e] += F(size[b, m, name[b, m, e]])
        for e in range(n_items):
            # An item of no class weighs nothing: nobody is together with it.
            weight[e] = F(n_chains) / max(weight[e], F(n_chains))
        covered[:] = 0
        for s in range(order.shape[1]):
            if order[b, s] >= 0:
                meet(name[b], everyone[b], row_of[b, order[b, s]], together)
                for e in range(n_items):
                    covered[e] = max(covered[e], together[e])
        for r in range(n_rows):
            meet(name[b], everyone[b], r, together)
            got = F(0)
            for e in range(n_items):
                got += weight[e] * max(together[e] - covered[e], F(0))
            gain[r] = got / F(n_chains)
            new = 0
            for m in range(n_chains):
                k = everyone[b, m, r]
                new += k >= 0 and not seen[b, max(k, 0)]
            fresh[r] = F(new) / F(n_chains)
        for place in range(len(row_of[b])):
            r = row_of[b, place]
            cover[b, place] = gain[r] * (F(2) - (own_sq_dist[b, place] + within[b]) / F(2))
            novelty[b, place] = fresh[r]


@jit
def meet(name: Array, everyone: Array, r: int, together: Array) -> None:
    """Writes the (E,) numbers of partitions in which row `r` is in an item's class."""
    together[:] = 0
    for m in range(len(name)):
        k = everyone[m, r]
        if k >= 0:
            for e in range(len(together)):
                together[e] += F(1) if name[m, e] == k else F(0)


@jit
def take_step(weights: Array, rows: Array, under_way: Array, arrived: Array) -> None:
    """Adds to (S, L) `arrived` what a step takes there from some `rows` of (L, L) `weights`, of (S, L) `under_way`."""
    by_four = len(rows) // 4 * 4  # whose sums are read and written once
    for first in range(0, by_four, 4):
        h, i, j, k = rows[first], rows[first + 1], rows[first + 2], rows[first + 3]
        for s in range(len(under_way)):
            a, b, c, d = under_way[s, h], under_way[s, i], under_way[s, j], under_way[s, k]
            for e in range(weights.shape[1]):
                arrived[s, e] += a * weights[h, e] + b * weights[i, e] + c * weights[j, e] + d * weights[k, e]
    for i in rows[by_four:]:
        for s in range(len(under_way)):
            a = under_way[s, i]
            for e in range(weights.shape[1]):
                arrived[s, e] += a * weights[i, e]


@jit
def visits(back: Array, unlabelled: Array, under_way: Array, steps: int, visited: Array) -> None:
    """Adds to (B, S, L) `visited` the visits by walks that are (B, S, L) `under_way`, which it moves.

    Args:
        back: (B, L, L) probabilities of a step from column to row.
        unlabelled: (B, L) bool, True where walks go on.
    """
    arrived = np.empty_like(under_way[0])
    for b in range(len(under_way)):
        rows = np.flatnonzero(unlabelled[b])
        arrived[:] = 0
        for _ in range(steps):
            for i in rows:
                for s in range(len(arrived)):
                    total = F(0)
                    for e in range(arrived.shape[1]):
                        total += back[b, i, e] * under_way[b, s, e]
                    arrived[s, i] = total
            for s in range(len(arrived)):
                for e in range(arrived.shape[1]):
                    value = arrived[s, e]
                    under_way[b, s, e] = value
                    visited[b, s, e] += value


@jit
def ends(back: Array, order: Array, labels: Array, steps: int, classes: Array, reached: Array) -> None:
    """Adds to (B, K, N) `classes` the shares of walks from each item that end at a label of each class.

    Args:
        back: (B, N, N) probabilities of a step from column to row.
        order: (B, S) positions of labelled items, −1 at padding.
        labels: (B, N), −1 at labelled items of no class.
        reached: (B, N) sum over the classes and none; written.
    """
    n_classes, n_items = classes.shape[1:]
    direct = np.empty((n_classes + 1, n_items), np.float32)
    before, after = np.empty_like(direct), np.empty_like(direct)
    used, column = np.empty(n_classes + 1, np.int64), np.empty(n_classes + 1, np.int64)
    free = np.empty(n_items, np.bool_)
    for b in range(len(back)):
        n_used = 0
        column[:] = -1
        free[:] = True
        for i in order[b]:
            if i < 0:
                continue
            k = labels[b, i] if labels[b, i] >= 0 else n_classes
            if column[k] < 0:
                column[k], used[n_used] = n_used, k
                direct[n_used] = 0
                n_used += 1
            add(direct[column[k]], back[b, i])
            free[i] = False
        rows = np.flatnonzero(free)
        before[:n_used] = direct[:n_used]
        for _ in range(steps - 1):
            after[:n_used] = direct[:n_used]
            take_step(back[b], rows, before[:n_used], after)
            before, after = after, before
        reached[b] = 0
        for c in range(n_used):
            add(reached[b], before[c])
            if used[c] < n_classes:
                classes[b, used[c]] = before[c]


@jit
def standard_scores(scores: Array, mask: Array, found: Array) -> None:
    """Writes (B, R, N) inverse hyperbolic sines of standard scores over the (B, N) `mask`, 0 elsewhere."""
    n_pools, n_scores, n_items = scores.shape
    weight, line = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    for b in range(n_pools):
        count = 0
        for i in range(n_items):
            count += mask[b, i]
        share = F(1) / F(max(count, 1))
        for i in range(n_items):
            weight[i] = share if mask[b, i] else F(0)
        for r in range(n_scores):
            mean, variance = F(0), F(0)
            for i in range(n_items):
                line[i] = scores[b, r, i]
                mean += weight[i] * line[i]
            for i in range(n_items):
                line[i] -= mean
                variance += weight[i] * line[i] * line[i]
            deviation = math.sqrt(variance)
            inverse = F(1) / deviation if deviation > F(1e-6) else F(0)
            for i in range(n_items):
                size = abs(line[i]) * inverse
                root = F(math.sqrt(size * size + F(1)))
                line[i] = math.copysign(log(F(1) + size + size * size / (F(1) + root)), line[i])
            for i in range(n_items):
                found[b, r, i] = line[i] if weight[i] > F(0) else F(0)


@jit
def beliefs(logits: Array, probs: Array, top: Array, entropy: Array) -> None:
    """Writes what (B, K, N) logits say of B pools' items.

    Args:
        probs: (B, K, N) class probabilities.
        top: (3, B, N) the largest of them, 0 where there are fewer classes.
        entropy: (B, N) nats.
    """
    n_pools, n_classes, n_items = logits.shape
    largest, total = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    first, second, third = np.empty_like(total), np.empty_like(total), np.empty_like(total)
    mean = np.empty_like(total)
    for b in range(n_pools):
        largest[:] = -np.inf
        total[:] = 0
        first[:] = 0
        second[:] = 0
        third[:] = 0
        mean[:] = 0
        for k in range(n_classes):
            for i in range(n_items):
                largest[i] = max(largest[i], logits[b, k, i])
        for k in range(n_classes):
            for i in range(n_items):
                probs[b, k, i] = exp(logits[b, k, i] - largest[i])
            for i in range(n_items):
                total[i] += probs[b, k, i]
            for i in range(n_items):
                mean[i] += probs[b, k, i] * (logits[b, k, i] - largest[i])
        for i in range(n_items):
            entropy[b, i] = log(total[i]) - mean[i] / total[i]
        for i in range(n_items):
            total[i] = F(1) / total[i]
        for k in range(n_classes):
            for i in range(n_items):
                probs[b, k, i] *= total[i]
            for i in range(n_items):
                third[i] = max(third[i], min(second[i], probs[b, k, i]))
            for i in range(n_items):
                second[i] = max(second[i], min(first[i], probs[b, k, i]))
            for i in range(n_items):
                first[i] = max(first[i], probs[b, k, i])
        top[0, b] = first
        top[1, b] = second
        top[2, b] = third


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
def weighted(weights: Array, table: Array, sums: Array) -> None:
    """Writes the (B, K, E) `sums` of the first S rows of each (B, S + …, E) `table` with (B, K, S) weights."""
    rows = np.arange(weights.shape[2])
    sums[:] = 0
    for b in range(len(weights)):
        take_step(table[b], rows, weights[b], sums[b])


@jit
def attention(sq_dist: Array, scale: Array, real: Array, weights: Array) -> None:
    """Writes (B, N, N) `weights`, whose columns are a softmax over all other `real` items of −d² / (B,) `scale`."""
    least, total = np.empty(sq_dist.shape[2], np.float32), np.empty(sq_dist.shape[2], np.float32)
    for b in range(len(sq_dist)):
        inverse = F(1) / scale[b]
        others = np.flatnonzero(real[b])
        weights[b] = 0
        least[:] = np.inf
        total[:] = 0
        for j in others:
            own = least[j]
            for i in range(len(least)):
                value, before = sq_dist[b, j, i], least[i]
                least[i] = min(value, before)
            least[j] = own
        for j in others:
            own = total[j]
            for i in range(len(least)):
                value = exp((least[i] - sq_dist[b, j, i]) * inverse)
                weights[b, j, i] = value
                total[i] += value
            total[j], weights[b, j, j] = own, 0
        for i in range(len(least)):
            one = total[i]
            total[i] = F(1) / one if one > F(0) else F(0)
        for j in others:
            for i in range(len(least)):
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


@jit
def score(
    logits: Array, begin: int, labels: Array, accuracy: Array, likelihood: Array, log_loss: Array
) -> None:
    """Writes the (B·C,) sums over R items of what `metaal_env.metrics.score` computes the means of.

    Args:
        logits: (B·C, K, `begin` + R).
        labels: (B, R), −1 at padding; C consecutive logits share them.
    """
    n_classes, n_items = logits.shape[1], labels.shape[1]
    each = len(logits) // max(len(labels), 1)
    best, first = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    total, own, weight = np.empty_like(best), np.empty_like(best), np.empty_like(best)
    for b in range(len(logits)):
        t = b // each
        for e in range(n_items):
            weight[e] = F(1) if labels[t, e] >= 0 else F(0)
        best[:] = -np.inf
        first[:] = 0
        total[:] = 0
        for k in range(n_classes):
            line = logits[b, k, begin:]  # else the compiler keeps a check that begin + e is not negative
            for e in range(n_items):
                value = line[e]
                top, was = best[e], first[e]
                best[e] = max(value, top)
                first[e] = F(k) if value > top else was
        for k in range(n_classes):
            line = logits[b, k, begin:]
            for e in range(n_items):
                total[e] += exp(line[e] - best[e])
        for e in range(n_items):
            own[e] = logits[b, max(labels[t, e], 0), begin + e]
        hits, likely, lost = F(0), F(0), F(0)
        for e in range(n_items):
            one = weight[e]
            hits += one if first[e] == F(labels[t, e]) else F(0)
        for e in range(n_items):
            loss = best[e] - own[e] + log(total[e])
            likely += weight[e] * exp(-max(loss, F(0)))
            lost += weight[e] * loss
        accuracy[b], likelihood[b], log_loss[b] = hits, likely, lost
