"""metaal's own head fitted to parts of the labels, and how often it is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import binomtest

from agents.acquisition.own_head import centred, head_for, scaled

CONFIDENCE = 0.95
AT_ONCE = 16
"""Heads that are fitted at a time."""


@torch.no_grad()
def refitted(
    x: np.ndarray, train: np.ndarray, codes: np.ndarray, used: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Returns (R, M, C) class probabilities under R heads, each fitted to a part of the labels.

    Args:
        x: (N, D) vectors, or (N, H, W[, C]) images.
        train: (n,) positions of the labelled items.
        codes: (n,) their classes, in 0…C − 1.
        used: (R, n) bool, the labels to which each head is fitted. A class without any is never predicted.
        asked: (M,) positions of the items to predict.
    """
    z = centred(scaled(np.asarray(x).reshape(len(x), -1)))
    head = head_for(z)
    features = head.prepare_all(z)
    support, items, labels = features[train], features[asked], torch.from_numpy(codes)
    of_class = torch.nn.functional.one_hot(labels).to(torch.bool)  # (n, C)
    parts = []
    for mask in torch.from_numpy(used).split(AT_ONCE):
        b = len(mask)
        classes = (mask.unsqueeze(-1) & of_class).any(1)
        adapted = head.adapt(support.expand(b, *support.shape), labels.expand(b, -1), mask, classes)
        parts.append(head.predict(adapted, items.expand(b, *items.shape)).softmax(-1))
    return torch.cat(parts).numpy()


def in_order(positions: Sequence[int], order: Sequence[int]) -> list[int]:
    """Returns positions as `order` has them, after those that it lacks."""
    when = {position: k for k, position in enumerate(order)}
    return sorted(positions, key=lambda i: when.get(i, -1))


def exact_interval(hits: int, of: int) -> tuple[float, float]:
    """Returns the two-sided exact interval of a share, at `CONFIDENCE` (Clopper and Pearson, 1934)."""
    interval = binomtest(hits, of).proportion_ci(CONFIDENCE, method="exact")
    return float(interval.low), float(interval.high)
