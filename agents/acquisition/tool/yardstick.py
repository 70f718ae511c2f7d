"""Reads the yardstick: which of its items metaal's own head predicts rightly as the other labels come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agents.acquisition.tool.refits import exact_interval, in_order, refitted

POINTS = 16
LEAST = 4
"""Labels below which nothing is measured."""


class Measured(NamedTuple):
    """Holds which of m items of the yardstick are predicted rightly after each of P numbers of labels."""

    labels: np.ndarray  # (P,)
    hits: np.ndarray  # (P, m) bool


def yardstick_hits(x: np.ndarray, y: np.ndarray, drawn: np.ndarray, order: Sequence[int]) -> Measured:
    """Predicts the yardstick after each of up to `POINTS` numbers of labels, on which it never trains.

    P is 0 while there is no yardstick, or fewer than two classes.

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        drawn: (N,) bool, items of the yardstick.
        order: Positions in the order in which the labels came; labels that it lacks came before.
    """
    known = [i for i, label in enumerate(y) if label is not None and not drawn[i]]
    train = in_order(known, order)
    test = np.flatnonzero(drawn).tolist()
    names = list(dict.fromkeys(str(y[i]) for i in [*train, *test]))
    n, m = len(train), len(test)
    if not test or n < LEAST or len({str(y[i]) for i in train}) < 2:
        return Measured(np.empty(0, int), np.empty((0, m), bool))
    sizes = np.unique(np.linspace(LEAST, n, POINTS).round().astype(int))
    code = {name: k for k, name in enumerate(names)}
    codes = np.array([code[str(y[i])] for i in (*train, *test)])
    used = np.arange(n) < sizes[:, None]
    probs = refitted(x[[*train, *test]], np.arange(n), codes[:n], used, np.arange(n, n + m))
    return Measured(sizes, probs.argmax(-1) == codes[n:])


class Point(NamedTuple):
    """Holds the accuracy after some labels, and its exact interval."""

    labels: int
    accuracy: float
    low: float
    high: float


def learning_curve(x: np.ndarray, y: np.ndarray, drawn: np.ndarray, order: Sequence[int]) -> list[Point]:
    """Returns the accuracy on the yardstick after some numbers of labels; arguments as of `yardstick_hits`."""
    sizes, hits = yardstick_hits(x, y, drawn, order)
    m = hits.shape[1]
    right = hits.sum(1).tolist()
    return [Point(size, k / m, *exact_interval(k, m)) for size, k in zip(sizes.tolist(), right, strict=True)]
