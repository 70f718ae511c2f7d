"""Feeds tensors to the compiled loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metaal_env.batched import empty
from metaal_env.compiled.kernels import geometry, statistics, walks


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    """Returns the memory of tensors, or of copies where it is not in order."""
    return [tensor.contiguous().numpy() for tensor in tensors]


def whole_rows(values: Tensor) -> Tensor:
    """Returns the rows of which (B, K, N) `values` are the first N numbers, without a copy, where there are such."""
    (b, k, n), (of_pool, width, one) = values.shape, values.stride()
    begins = values.storage_offset() == 0 and of_pool == k * width and one == 1 and width >= n
    there = values.untyped_storage().nbytes() >= b * k * width * values.element_size()
    return values.as_strided((b, k, width), values.stride()) if begins and there else values


def visits(back: Tensor, unlabelled: Tensor, start: Tensor, steps: int) -> Tensor:
    """Returns the (B, S, L) visits of `metaal_env.pool.random_walks.walk_visits`.

    Args:
        back: (B, L, L) probabilities of a step from column to row.
    """
    visited = start.clone()
    walks.visits(*arrays(back, unlabelled, start.clone()), steps, visited.numpy())
    return visited


def ends(back: Tensor, order: Tensor, labels: Tensor, n_classes: int, steps: int) -> tuple[Tensor, Tensor]:
    """Returns the (B, N, K) and (B, N) of `metaal_env.pool.random_walks.Ends`, where all items are landmarks.

    Args:
        back: (B, N, N) probabilities of a step from column to row.
    """
    classes, reached = torch.zeros(len(back), n_classes, back.shape[1]), torch.empty(back.shape[:2])
    walks.ends(*arrays(back, order, labels), steps, *arrays(classes, reached))
    return classes.transpose(1, 2), reached


def standard_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Returns the (B, R, N) inverse hyperbolic sines of standard scores over the (B, N) mask, 0 elsewhere."""
    found = torch.empty(scores.shape)
    statistics.standard_scores(*arrays(scores, mask, found))
    return found


def beliefs(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (B, K, N) probabilities, the (3, B, N) largest and the (B, N) entropy in nats of (B, K, N) logits."""
    b, k, n = logits.shape
    probs, top, entropy = empty(b, k, n, like=logits), torch.empty(3, b, n), torch.empty(b, n)
    statistics.beliefs(*arrays(whole_rows(logits), probs, top, entropy))
    return probs, top, entropy


def nearest(sq_dist: Tensor, order: Tensor) -> Tensor:
    """Returns the (B, N) smallest of (B, N, N) squared distances to (B, S) `order`; inf where there is none."""
    found = torch.empty(sq_dist.shape[:2])
    geometry.nearest(*arrays(sq_dist, order, found))
    return found


def least_between(sq_dist: Tensor, order: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """Returns the (B,) smallest of (B, N, N) squared distances, above `least` and at most `most`, within `order`."""
    found = torch.empty_like(most)
    geometry.least_between(*arrays(sq_dist, order, least, most, found))
    return found


def ball_gains(sq_dist: Tensor, radius: Tensor, weight: Tensor) -> Tensor:
    """Returns the (B, N) sums of the (B, L) weights of the landmarks within a (B,) squared radius."""
    gain = torch.empty(sq_dist.shape[:2])
    geometry.ball_gains(*arrays(sq_dist, radius, weight, gain))
    return gain


def weighted(weights: Tensor, table: Tensor) -> Tensor:
    """Returns the (B, K, E) sums of the first S rows of a (B, S + …, E) table with (B, K, S) weights."""
    sums = empty(*weights.shape[:2], table.shape[2], like=table)
    walks.weighted(*arrays(weights, table, sums))
    return sums


def nearest_other(sq_dist: Tensor, real: Tensor) -> Tensor:
    """Returns the (B, N) smallest of (B, N, N) squared distances to all other (B, N) `real` items; 0 without any."""
    found = torch.empty(sq_dist.shape[:2])
    geometry.nearest_other(*arrays(sq_dist, real, found))
    return found


def attention(sq_dist: Tensor, least: Tensor, scale: Tensor, real: Tensor) -> Tensor:
    """Returns the (B, N, N) columns of a softmax over all other `real` items of −d² in units of the (B,) `scale`.

    Args:
        least: (B, N) squared distances to the nearest of them.
    """
    weights = empty(*sq_dist.shape, like=sq_dist)
    geometry.attention(*arrays(sq_dist, least, scale, real, weights))
    return weights


def gaussian_gains(sq_dist: Tensor, radius: Tensor, covered: Tensor, weight: Tensor) -> Tensor:
    """Returns the (B, N) sums over landmarks of `weight` times what e^(−d² / radius) exceeds (B, L) `covered` by."""
    gain = torch.empty(sq_dist.shape[:2])
    geometry.gaussian_gains(*arrays(sq_dist, radius, covered, weight, gain))
    return gain


def score(logits: Tensor, labels: Tensor, begin: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the (B·C,) accuracy, likelihood and log-loss of `metaal_env.metrics.score`."""
    sums = torch.empty(4, len(logits))
    statistics.score(*arrays(logits), begin, *arrays(labels, *sums))
    accuracy, likelihood, log_loss = sums[:3] / sums[3]
    return accuracy, likelihood, log_loss
