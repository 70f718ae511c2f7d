"""How accuracy grew with the labels, measured on the yardstick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from agents.acquisition.tool.progress import CONFIDENCE
from agents.acquisition.tool.yardstick import yardstick_hits


class Point(NamedTuple):
    """Holds the accuracy after some labels, and its exact 95 % interval (Clopper and Pearson, 1934)."""

    labels: int
    accuracy: float
    low: float
    high: float


def learning_curve(x: np.ndarray, y: np.ndarray, drawn: np.ndarray, order: Sequence[int]) -> list[Point]:
    """Computes the accuracy of metaal's own head on the yardstick after each of some numbers of labels.

    Labels of the yardstick are never trained on. The list is empty while there is no yardstick, or fewer than
    two classes.

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        drawn: (N,) bool, items of the yardstick.
        order: Positions in the order in which the labels came; labels that it lacks came before.
    """
    sizes, hits = yardstick_hits(x, y, drawn, order)
    return [
        _point(int(size), int(right.sum()), hits.shape[1]) for size, right in zip(sizes, hits, strict=True)
    ]


def _point(size: int, hits: int, m: int) -> Point:
    interval = binomtest(hits, m).proportion_ci(CONFIDENCE, method="exact")
    return Point(size, hits / m, float(interval.low), float(interval.high))
