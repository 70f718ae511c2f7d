"""The caller's own classifier: fitted to the labels, its probabilities put where our classes are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from agents.acquisition.arrays import Labels
from metaal_env.errors import InputError, InputTypeError


class RowClassifier:
    """A fitted classifier that knows the items by their place in the pool, as one that reads texts does.

    Args:
        predict_rows: (M,) positions in the pool → (M, K) probabilities.
        classes: (K,) what the columns stand for.
    """

    def __init__(self, predict_rows: Callable[[np.ndarray], np.ndarray], classes: Sequence[Any] | np.ndarray):
        self.predict_rows, self.classes_ = predict_rows, np.asarray(classes)


def fitted(clf: Any, fit_clf: bool, x: np.ndarray, labels: Labels, weight: np.ndarray | None) -> Any:
    """A fitted copy of the caller's classifier; None where metaal's own head has to serve."""
    if clf is None or isinstance(clf, RowClassifier):
        return clf
    if isinstance(clf, type) or not (hasattr(clf, "fit") and hasattr(clf, "predict_proba")):
        raise InputTypeError(f"clf={clf!r} must be a classifier object with fit and predict_proba.")
    if not fit_clf:
        return clf
    # scikit-learn's classifiers refuse a single class, scikit-activeml's are then sure of it everywhere.
    if len(labels.seen) < 2:
        return None
    from sklearn.base import clone

    options = {} if weight is None else {"sample_weight": weight[labels.known]}
    return clone(clf).fit(x[labels.known], labels.values, **options)


def probabilities(clf: Any, x: np.ndarray, rows: np.ndarray, code: dict[Any, int], k: int) -> np.ndarray:
    """(M, K) probabilities of the (M,) `rows` of the pool by the fitted `clf`, its columns at our classes.

    Raises:
        InputError: other shapes, values that are not finite, or below 0.
    """
    found = clf.predict_rows(rows) if isinstance(clf, RowClassifier) else clf.predict_proba(x[rows])
    raw = np.asarray(found, dtype=np.float64)
    columns = [code[value] for value in np.asarray(clf.classes_).tolist()]
    if raw.shape != (len(rows), len(columns)) or not np.isfinite(raw).all() or raw.min() < 0:
        raise InputError(
            f"clf.predict_proba gave shape {raw.shape} or unusable values for {len(rows)} items and "
            f"{len(columns)} classes; give one finite probability per item and class."
        )
    probs = np.zeros((len(rows), k))
    probs[:, columns] = raw
    return probs
