"""Expected gains of every candidate's label over partitions."""

from __future__ import annotations

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, exp, jit, log, sigmoid

NEVER = F(-1e9)
"""Score of a class that cannot be predicted."""


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
