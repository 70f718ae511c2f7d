"""Random parts of many tasks at once: orders, class shares and counts, wrong labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from metaal_env.tasks import TaskConfig, bounds, float_bounds


def random_order(keys: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Returns the first `size` (…) positions in the order of (…, W) random `keys`, then the rest."""
    return np.argsort(np.where(np.arange(keys.shape[-1]) < size[..., None], keys, 1.0), axis=-1)


def class_shares(
    rngs: Sequence[np.random.Generator], uniform: np.ndarray, class_mask: np.ndarray, concentration: float
) -> np.ndarray:
    """Draws (B, K) class shares from a symmetric Dirichlet distribution; 0 outside of (B, K) `class_mask`.

    A gamma variable of shape a is one of shape a + 1 times U^(1/a), here in logarithms (Marsaglia & Tsang 2000, §6):
    small concentrations would leave nothing but zeros otherwise.
    """
    concentration = float(concentration)  # NumPy cannot hold a whole number as large as 10**30
    logs = np.zeros(class_mask.shape)
    if not np.isinf(concentration):
        for row, rng in zip(logs, rngs, strict=True):
            rng.standard_gamma(concentration + 1, out=row)
        logs = np.log(logs) + np.log(1 - uniform) / concentration  # 1 − U is never 0
    logs = np.where(class_mask, logs, -np.inf)
    shares = np.exp(logs - logs.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def with_rare_class(
    shares: np.ndarray, uniform: np.ndarray, class_mask: np.ndarray, share: float
) -> np.ndarray:
    """Returns (B, K) shares in which the class of the lowest random number has `share`, and the others the rest."""
    if not share:
        return shares
    rare = np.where(class_mask, uniform, 2.0).argmin(1)[:, None]
    others = shares.copy()
    np.put_along_axis(others, rare, 0.0, 1)
    others *= (1 - share) / others.sum(1, keepdims=True)
    np.put_along_axis(others, rare, share, 1)
    return others


def with_noise(
    rngs: Sequence[np.random.Generator], labels: np.ndarray, way: np.ndarray, noise: float
) -> np.ndarray:
    """Returns what labelling reveals: (B, N) `labels`, or with probability `noise` any other class of the task.

    Distractors are always recognised as such.
    """
    if not noise:
        return labels.copy()
    uniform = np.stack([rng.random((2, labels.shape[1])) for rng in rngs])
    shift = 1 + (uniform[:, 0] * (way - 1)[:, None]).astype(np.int64)
    wrong = (uniform[:, 1] < noise) & (labels >= 0)
    return np.where(wrong, (labels + shift) % way[:, None], labels)


def class_counts(shares: np.ndarray, size: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Computes the number of pool items of each class: by its share, at least one, at most all available.

    Args:
        shares: (B, K) of each class.
        size: (B,) items in all.
        available: (B, K) items of each class, 0 outside of the task.
    """
    counts = (available > 0).astype(np.int64)
    size = np.minimum(size, available.sum(1))
    while len(rows := np.flatnonzero((left := size - counts.sum(1)) > 0)):
        left, room = left[rows], available[rows] - counts[rows]
        weights = np.where(room > 0, shares[rows] + 1e-9, 0)
        exact = left[:, None] * weights / weights.sum(1, keepdims=True)
        extra = np.minimum(np.floor(exact).astype(np.int64), room)
        # The rest from rounding goes one by one to the largest remaining shares.
        rest = extra.sum(1) == 0
        if rest.any():
            rank = np.argsort(np.argsort(-weights[rest], axis=1), axis=1)
            most = np.minimum(left[rest], (room[rest] > 0).sum(1))
            extra[rest] = rank < most[:, None]
        counts[rows] += np.minimum(extra, room)
    return counts


def draw_terms(rngs: Sequence[np.random.Generator], config: TaskConfig, n: int) -> dict[str, np.ndarray]:
    """Draws price, share of the target, correlation of cost and hardness, (B,) each, batch size and noise of costs.

    They are drawn after all else, so that tasks of the same seed hold the same items whatever the terms.
    """
    uniform = np.zeros((len(rngs), 4))
    noise = np.zeros((len(rngs), n), dtype=np.float32)
    if config.terms:
        for row, rng in enumerate(rngs):
            rng.random(out=uniform[row])
            if config.item_costs:
                noise[row] = rng.standard_normal(n)
    price, share, hardness = (
        low + of * (high - low)
        for of, (low, high) in zip(
            uniform.T, map(float_bounds, (config.price, config.target, config.cost_hardness)), strict=False
        )
    )
    low, high = float_bounds(config.price)
    if low < high:  # log-uniform
        price = low * (high / low) ** uniform[:, 0]
    least, most = bounds(config.batch_size)
    return {
        "price": price.astype(np.float32),
        "target_share": share.astype(np.float32),
        "cost_hardness": hardness.astype(np.float32),
        "cost_noise": noise,
        "batch_size": (least + uniform[:, 3] * (most - least + 1)).astype(np.int64),
    }
