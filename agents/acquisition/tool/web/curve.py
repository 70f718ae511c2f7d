"""How accuracy grew with the labels, measured on the yardstick."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest

from agents.acquisition.own_head import centred, head_for, scaled
from agents.acquisition.tool.progress import CONFIDENCE, predictions

POINTS = 16
LEAST = 4
"""Labels below which there is no point."""


class Point(NamedTuple):
    """Holds the accuracy after some labels, and its exact 95 % interval (Clopper and Pearson, 1934)."""

    labels: int
    accuracy: float
    low: float
    high: float


def learning_curve(x: np.ndarray, y: np.ndarray, drawn: np.ndarray, order: Sequence[int]) -> list[Point]:
    """Computes the accuracy of metaal's own head on the yardstick after each of up to `POINTS` numbers of labels.

    Labels of the yardstick are never trained on. The list is empty while there is no yardstick, or fewer than
    two classes.

    Args:
        x: (N, D) vectors.
        y: (N,) labels, None where unknown.
        drawn: (N,) bool, items of the yardstick.
        order: Positions in the order in which the labels came; labels that it lacks came before.
    """
    known = [i for i, label in enumerate(y) if label is not None and not drawn[i]]
    when = {position: k for k, position in enumerate(order)}
    train = sorted(known, key=lambda i: when.get(i, -1))
    test = np.flatnonzero(drawn).tolist()
    names = list(dict.fromkeys(str(y[i]) for i in [*train, *test]))
    if not test or len(train) < LEAST or len({str(y[i]) for i in train}) < 2:
        return []
    sizes = sorted({*np.linspace(LEAST, len(train), POINTS).round().astype(int).tolist()})
    z = centred(scaled(np.asarray(x[[*train, *test]]).reshape(len(train) + len(test), -1)))
    head = head_for(z)
    with torch.no_grad():
        features = head.prepare_all(z)
    n, m = len(train), len(test)
    labels = torch.tensor([names.index(str(y[i])) for i in train])
    truth = torch.tensor([names.index(str(y[i])) for i in test])
    used = torch.arange(n).unsqueeze(0) < torch.tensor(sizes).unsqueeze(1)
    hits = (predictions(head, features[:n], labels, used, features[n:]) == truth).sum(1).tolist()
    return [_point(size, count, m) for size, count in zip(sizes, hits, strict=True)]


def _point(size: int, hits: int, m: int) -> Point:
    interval = binomtest(hits, m).proportion_ci(CONFIDENCE, method="exact")
    return Point(size, hits / m, float(interval.low), float(interval.high))
