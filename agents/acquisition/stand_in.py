"""Logistic regression by scikit-learn, which stands in where a policy wants a classifier and the caller gives none."""

from __future__ import annotations

import numpy as np

from agents.acquisition.arrays import Features
from agents.acquisition.classifier import Predictions
from agents.acquisition.labels import Labels
from agents.acquisition.named_classifiers import CLASSIFIERS

NAME = "logistic"
"""The classifier, by its name in `named_classifiers`: what most people fit to vectors."""

LONGEST = 4.0
"""Root mean squared length of vectors beyond which they are shrunk to it: else the classifier would hardly be
regularised, and slow, for pixels from 0 to 255."""


def stand_in(x: Features, labels: Labels, rows: np.ndarray) -> Predictions | None:
    """Returns what logistic regression, fitted to the labels, says of the (M,) `rows`; None with labels of one class.

    Args:
        x: (N, D) vectors of the pool.
    """
    if len(labels.seen) < 2:
        return None
    known = np.flatnonzero(labels.known)
    length = float(np.sqrt(np.mean(_squares(x, rows))))
    factor = LONGEST / length if length > LONGEST else 1.0
    model = CLASSIFIERS[NAME]().fit(_scaled(x, known, factor), labels.values)

    def ask(some: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_proba(_scaled(x, some, factor)), dtype=np.float64)

    return Predictions(ask(rows), model.classes_.tolist(), ask)


def _scaled(x: Features, rows: np.ndarray, factor: float) -> Features:
    taken = x[rows]
    return taken.astype(np.float64) * factor


def _squares(x: Features, rows: np.ndarray) -> np.ndarray:
    """Returns the (M,) squared lengths."""
    some = x[rows].astype(np.float64)
    return np.asarray(
        np.square(some).sum(1) if isinstance(some, np.ndarray) else some.multiply(some).sum(1)
    ).ravel()
