"""Settles clusterings into partitions that agree with the labels."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, add, jit, put, put_rows
from metaal_env.compiled.kernels.sweep import NONE, nearest_mean, sweep, tabulate


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
    norm, count = np.empty(n_classes), np.empty(n_classes, np.float32)
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
    counts = np.empty(n_classes, np.float32)
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
            put_rows(support[b], support_item[b])
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
            put_rows(others, support_item[b])
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
            put_rows(product, others)
            for c in range(n_clusters):
                k = class_of[c]
                if k >= 0 and drawn_count[b, m, c] > 0:
                    for e in range(n_items):
                        product[k, e] += drawn_product[b, m, c, e]
            put(count, counts)
            put(norm, support_norm[b])
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
                put(everyone[b, m], names)
                mean_distance(own, product, names, norm, count, total)
                continue
            put_rows(far, support[b])
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
