"""Logistic regression by scikit-learn, which stands in where a policy wants a classifier and the caller gives none."""

from __future__ import annotations

import numpy as np

from agents.acquisition.arrays import Features
from agents.acquisition.classifier import Predictions
from agents.acquisition.labels import Labels
from agents.acquisition.named_classifiers import CLASSIFIERS
from metaal_env.errors import InputError, brief

NAME = "logistic"
"""The classifier, by its name in `named_classifiers`: what most people fit to vectors."""

LENGTH = 2.0
"""Root mean squared length to which vectors are brought, so that their unit does not matter; it was chosen on
validation pools (entry 77 of docs/log/2026-11.md)."""


def stand_in(
    x: Features, labels: Labels, rows: np.ndarray, weight: np.ndarray | None = None
) -> Predictions | None:
    """Returns what logistic regression, fitted to the labels, says of the (M,) `rows`; None with labels of one class.

    Args:
        x: (N, D) vectors of the pool.
        weight: (N,) weights of the items' labels; all count alike by default.

    Raises:
        InputError: weights under which it cannot be fitted.
    """
    if len(labels.seen) < 2:
        return None
    known, values, weights = labels.to_fit(weight)
    unit = float(abs(x[rows]).max()) or 1.0
    length = float(np.sqrt(np.mean(_squares(x, rows, unit))))
    factor = LENGTH / length if length > 0 else 1.0
    model = CLASSIFIERS[NAME]()
    try:
        model.fit(_scaled(x, known, unit, factor), values, weights)
    except ValueError as error:
        if weight is None:
            raise
        raise InputError(f"sample_weight does not fit the labels: {brief(error)}") from error

    def ask(some: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_proba(_scaled(x, some, unit, factor)), dtype=np.float64)

    return Predictions(ask(rows), model.classes_.tolist(), ask)


def _scaled(x: Features, rows: np.ndarray, unit: float, factor: float) -> Features:
    return x[rows].astype(np.float64) / unit * factor


def _squares(x: Features, rows: np.ndarray, unit: float) -> np.ndarray:
    """Returns the (M,) squared lengths of rows in a unit in which no square overflows."""
    some = x[rows].astype(np.float64) / unit
    return np.asarray(
        (some * some).sum(1) if isinstance(some, np.ndarray) else some.multiply(some).sum(1)
    ).ravel()
