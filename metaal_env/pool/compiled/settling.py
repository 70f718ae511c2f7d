"""Partitions that agree with the labels, from inner products: `metaal_env.pool.partitions` compiled."""

from __future__ import annotations

import math

import numpy as np

from metaal_env.pool.compiled.arithmetic import Array, F, add, jit, subtract
from metaal_env.pool.compiled.sweeps import NONE, sweep


@jit
def class_of_clusters(
    own: Array,
    row: Array,
    order_label: Array,
    rows: Array,
    name: Array,
    product: Array,
    norm: Array,
    count: Array,
    unseen: Array,
    exact: bool,
    class_of: Array,
    votes: Array,
) -> None:
    """Writes the (C,) class that each cluster of a clustering stands for, `NONE` for one in excess.

    Args:
        own: (R,) squared norms of the `rows`.
        row: (S,) row of each labelled item, and
        order_label: its class, −1 for none.
        rows: (R, E) inner products.
        name: (E,) the cluster.
        unseen: (U,) classes without a label, in order.
        exact: whether rows are the items.
        votes: (C, K) memory.
    """
    n_clusters = len(count)
    votes[:] = 0
    inner = np.empty(n_clusters)
    for s in range(len(row)):
        if order_label[s] < 0:
            continue
        if exact:
            inner[:] = product[:, row[s]]
        else:
            inner[:] = 0
            line = rows[row[s]]
            for e in range(len(name)):
                if name[e] >= 0:
                    inner[name[e]] += line[e]
        best, nearest = 0, np.inf
        for c in range(n_clusters):
            if count[c] > 0:
                distance = norm[c] / (count[c] * count[c]) - 2 * inner[c] / count[c]
                if distance < nearest:
                    best, nearest = c, distance
        # Between classes with equally many labels in a cluster, the one nearer to its centre gets it.
        votes[best, order_label[s]] += 1 + 1e-3 / (1 + max(nearest + own[row[s]], 0.0))
    class_of[:] = NONE
    for c in range(n_clusters):
        most = 0.0
        for k in range(votes.shape[1]):
            if votes[c, k] > most:
                class_of[c], most = k, votes[c, k]
    taken = np.empty(n_clusters, np.bool_)
    for c in range(n_clusters):
        taken[c] = class_of[c] != NONE
    for number in range(len(unseen)):  # the largest of the others stand for classes without a label
        largest, most = NONE, 0.0
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
    half: float,
    within: float,
    room: Array,
    name: Array,
) -> None:
    """Writes the (R,) likeliest class of every item, given the (K, R) products of the classes' sums with the items."""
    kappa = within / (1 - within)
    best = room[0]
    best[:] = -np.inf
    for k in range(len(count)):
        shrunk = count[k] + kappa
        wider = 1 + 1 / shrunk
        slope = half / (within * wider)
        constant = math.log(count[k] + 1.0) - half * math.log(wider) + log_prior[k]
        constant = F(constant - slope * norm[k] / (shrunk * shrunk))
        factor, fall = F(2 * slope / shrunk), F(slope)
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
    sharpness: Array,
    labels: Array,
    valid: Array,
    order: Array,
    class_mask: Array,
    support: Array,
    exact: bool,
    ends: Array,
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
    room = np.empty((n_classes + 2, n_items), np.float32)
    far = np.empty((n_classes if not exact else 0, n_rows), np.float32)
    wide = np.empty((1, n_rows), np.float32)
    own = np.empty(n_items, np.float32)
    free = np.empty(n_items, np.bool_)
    log_prior = np.empty(n_classes, np.float32)
    class_of = np.empty(n_clusters, np.int32)
    votes = np.empty((n_clusters, n_classes))
    silent = np.empty((0, 0), np.float32)
    row, order_label = np.empty(order.shape[1], np.int64), np.empty(order.shape[1], np.int64)
    counts = np.empty(n_classes)
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
        for e in range(n_items):
            own[e] = gram[b, e, e]
            free[e] = real[b, e] and labels[b, position_of_item[b, e]] < 0
        total[:] = 0
        half = sharpness[b] / 2
        for m in range(n_chains):
            class_of_clusters(
                own_rows[b], row, order_label, rows[b], drawn[b, m], drawn_product[b, m], drawn_norm[b, m],
                drawn_count[b, m], unseen[:n_unseen], exact, class_of, votes,
            )  # fmt: skip
            names = name[b, m]
            product[:] = support_item[b]
            for c in range(n_clusters):
                if class_of[c] >= 0 and drawn_count[b, m, c] > 0:
                    add(product[class_of[c]], drawn_product[b, m, c])
            count[:] = counts
            norm[:] = support_norm[b]
            for e in range(n_items):
                k = class_of[drawn[b, m, e]] if real[b, e] else NONE
                names[e] = k if free[e] else NONE
                if k >= 0 and free[e]:
                    count[k] += 1
                elif k >= 0:
                    subtract(product[k], gram[b, e])
            for e in range(n_items):
                k = names[e]
                if k >= 0:  # ‖f + s‖² = f · (f + s) + f · s + ‖s‖²
                    norm[k] += np.float64(product[k, e]) + support_item[b, k, e]
            for _ in range(n_sweeps):
                sweep(
                    gram[b], own, free, names, product, norm, count, log_prior, half, within[b, m], silent,
                    ends, room,
                )  # fmt: skip
            if exact:
                for e in range(n_items):
                    if real[b, e] and not free[e]:
                        names[e] = labels[b, position_of_item[b, e]]
                everyone[b, m] = names
                mean_distance(own, product, names, norm, count, total)
                continue
            far[:] = support[b]
            for e in range(n_items):
                if names[e] >= 0:
                    add(far[names[e]], columns[b, e])
                elif real[b, e]:
                    names[e] = labels[b, position_of_item[b, e]]
            likeliest(far, own_rows[b], norm, count, log_prior, half, within[b, m], wide, everyone[b, m])
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
    for r in range(len(own)):
        k = name[r]
        total[r] += own[r]
        if k >= 0:
            n = max(count[k], 1.0)
            total[r] += F(norm[k] / (n * n) - 2 * product[k, r] / n)
