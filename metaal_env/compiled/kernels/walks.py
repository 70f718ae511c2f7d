"""Random walks over a pool."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, add, jit, put, put_rows


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
        put_rows(before[:n_used], direct)
        for _ in range(steps - 1):
            put_rows(after[:n_used], direct)
            take_step(back[b], rows, before[:n_used], after)
            before, after = after, before
        reached[b] = 0
        for c in range(n_used):
            add(reached[b], before[c])
            if used[c] < n_classes:
                put(classes[b, used[c]], before[c])


@jit
def weighted(weights: Array, table: Array, sums: Array) -> None:
    """Writes the (B, K, E) `sums` of the first S rows of each (B, S + …, E) `table` with (B, K, S) weights."""
    rows = np.arange(weights.shape[2])
    sums[:] = 0
    for b in range(len(weights)):
        take_step(table[b], rows, weights[b], sums[b])
