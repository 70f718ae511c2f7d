"""What the yardstick says: which of its items metaal's own head predicts rightly as the other labels come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from agents.acquisition.own_head import centred, head_for, scaled
from agents.acquisition.tool.progress import predictions

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
    when = {position: k for k, position in enumerate(order)}
    train = sorted(known, key=lambda i: when.get(i, -1))
    test = np.flatnonzero(drawn).tolist()
    names = list(dict.fromkeys(str(y[i]) for i in [*train, *test]))
    n, m = len(train), len(test)
    if not test or n < LEAST or len({str(y[i]) for i in train}) < 2:
        return Measured(np.empty(0, int), np.empty((0, m), bool))
    sizes = np.unique(np.linspace(LEAST, n, POINTS).round().astype(int))
    z = centred(scaled(np.asarray(x[[*train, *test]]).reshape(n + m, -1)))
    head = head_for(z)
    with torch.no_grad():
        features = head.prepare_all(z)
    labels = torch.tensor([names.index(str(y[i])) for i in train])
    truth = torch.tensor([names.index(str(y[i])) for i in test])
    used = torch.arange(n).unsqueeze(0) < torch.from_numpy(sizes).unsqueeze(1)
    hits = predictions(head, features[:n], labels, used, features[n:]) == truth
    return Measured(sizes, hits.numpy())
