"""Plausible classes of a pool, from its vectors and the labels so far."""

from __future__ import annotations

import math

import numpy as np
import torch

from agents.acquisition.own_head import dense, scaled
from metaal_env.pool.class_count import LEVEL, SLOPE, SPREAD, effective_dimension
from metaal_env.pool.partitions import partitions
from metaal_env.pool.view import PoolView


def plausible_truths(x: np.ndarray, y: np.ndarray, counts: list[int]) -> np.ndarray:
    """Returns (M, N) class numbers: for each of `counts` a partition into so many classes that agrees with the labels.

    Args:
        x: (N, D) vectors.
        y: (N,) class numbers, −1 where unknown.
        counts: (M,) numbers of classes, each at least 2 and above all labels.
    """
    z = scaled(dense(x))
    found: list[np.ndarray] = []
    drawn: dict[int, np.ndarray] = {}
    for i, k in enumerate(counts):
        if k not in drawn:
            view = PoolView.from_arrays(z, np.full((len(x), k), 1 / k), y)
            with torch.no_grad():
                drawn[k] = partitions(view).everyone[0].argmax(1).numpy()  # (8, N)
        found.append(drawn[k][i % len(drawn[k])])
    return np.stack(found)


def plausible_counts(x: np.ndarray, plays: int, least: int) -> list[int]:
    """Returns as many numbers of classes as `plays`: quantiles of what pools of this dimension have.

    Args:
        x: (N, D) vectors.
        least: number of classes that are known to be there.
    """
    from scipy.stats import norm

    mean = LEVEL + SLOPE * math.log(effective_dimension(scaled(dense(x))))
    most = max(2, len(x) // 10)
    levels = (np.arange(plays) + 0.5) / plays
    numbers = np.exp(mean + SPREAD * norm.ppf(levels)).round().astype(int)
    return [int(k) for k in numbers.clip(max(2, least), max(most, least, 2))]
