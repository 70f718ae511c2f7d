"""Probabilities, standard scores, and the scores of a learner."""

from __future__ import annotations

import math

import numpy as np

from metaal_env.compiled.kernels.arithmetic import Array, F, exp, jit, log, put


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
    """Writes what the first N numbers of each row of (B, K, N + …) logits say of B pools' items.

    Args:
        probs: (B, K, N) class probabilities.
        top: (3, B, N) the largest of them, 0 where there are fewer classes.
        entropy: (B, N) nats.
    """
    n_pools, n_classes, n_items = probs.shape
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
                apart = logits[b, k, i] - largest[i]
                value = exp(apart)
                probs[b, k, i] = value
                total[i] += value
                mean[i] += value * apart
        for i in range(n_items):
            entropy[b, i] = log(total[i]) - mean[i] / total[i]
        for i in range(n_items):
            total[i] = F(1) / total[i]
        for k in range(n_classes):
            for i in range(n_items):
                value = probs[b, k, i] * total[i]
                probs[b, k, i] = value
                one, two = first[i], second[i]  # read first, or the compiler keeps branches
                below = min(one, value)
                first[i] = max(one, value)
                second[i] = max(two, below)
                third[i] = max(third[i], min(two, below))
        put(top[0, b], first)
        put(top[1, b], second)
        put(top[2, b], third)


@jit
def score(
    logits: Array,
    begin: int,
    labels: Array,
    accuracy: Array,
    likelihood: Array,
    log_loss: Array,
    count: Array,
) -> None:
    """Writes the (B·C,) sums over R items of what `metaal_env.metrics.score` computes the means of, and their number.

    Args:
        logits: (B·C, K, `begin` + R).
        labels: (B, R), −1 at padding; C consecutive logits share them.
    """
    n_classes, n_items = logits.shape[1], labels.shape[1]
    each = len(logits) // max(len(labels), 1)
    best, first = np.empty(n_items, np.float32), np.empty(n_items, np.float32)
    total, own, weight = np.empty_like(best), np.empty_like(best), np.empty_like(best)
    for b in range(len(logits)):
        t, real = b // each, 0
        for e in range(n_items):
            real += labels[t, e] >= 0
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
        accuracy[b], likelihood[b], log_loss[b], count[b] = hits, likely, lost, max(real, 1)
