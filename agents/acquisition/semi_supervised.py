"""Classifiers that learn from the items without a label as well: one of scikit-learn's, given the pool."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.semi_supervised import LabelSpreading

GAMMA, ALPHA = 40.0, 0.5
"""Label spreading's γ, where the mean squared distance of two items is 1, and share of the neighbours' labels in an
item's own; chosen on validation pools (entry 84 of docs/log/2026-11.md)."""
MOST = 2000
"""Items without a label that are learned from; of more, this many are drawn: time and memory grow with the square."""
UNLABELLED = -1
"""Mark of scikit-learn's semi-supervised classifiers."""


class SemiSupervised(ClassifierMixin, BaseEstimator):
    """Fits a semi-supervised classifier to labelled items and to the pool's others, of which it sees vectors alone.

    By default that is label spreading (Zhou et al. 2004, "Learning with local and global consistency"). Vectors are
    brought to a mean squared distance of 1, so that their unit does not matter.

    Args:
        pool: (N, D) vectors of the pool, labelled ones included; None learns from labelled items alone.
        estimator: takes -1 for unknown labels, e.g. `sklearn.semi_supervised.SelfTrainingClassifier`.
    """

    def __init__(self, pool: Any = None, estimator: Any = None):
        self.pool = pool
        self.estimator = estimator

    def given(self, pool: np.ndarray) -> SemiSupervised:
        """Sets the pool; `agents.acquisition.played_sessions.play` does so."""
        self.pool = pool
        return self

    def fit(self, X: Any, y: Any) -> SemiSupervised:
        """Fits to (S, D) labelled vectors; the rows of the pool that equal none of them count as unlabelled."""
        labelled = np.asarray(X, dtype=np.float64)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.shares_ = np.bincount(codes) / len(codes)
        others = self._others(labelled)
        x = np.concatenate([labelled, others])
        self.unit_ = float(np.sqrt(2 * np.square(x - x.mean(0)).sum(1).mean())) or 1.0
        spread = LabelSpreading(gamma=GAMMA, alpha=ALPHA, max_iter=300)
        model = spread if self.estimator is None else clone(self.estimator)
        self.model_ = model.fit(x / self.unit_, np.concatenate([codes, np.full(len(others), UNLABELLED)]))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns (M, C) probabilities; of items that are too far from all others, the shares of the classes."""
        with np.errstate(invalid="ignore"):  # a graph reaches such items with weight 0
            probs = self.model_.predict_proba(np.asarray(X, dtype=np.float64) / self.unit_)
        return np.where(np.isfinite(probs).all(1, keepdims=True), probs, self.shares_)

    def predict(self, X: Any) -> np.ndarray:
        """Returns the (M,) most probable classes."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(1)])

    def _others(self, labelled: np.ndarray) -> np.ndarray:
        if self.pool is None:
            return labelled[:0]
        pool = np.asarray(self.pool, dtype=np.float64)
        known = {row.tobytes() for row in labelled}
        others = pool[[row.tobytes() not in known for row in pool]]
        if len(others) <= MOST:
            return others
        return others[np.random.default_rng(0).choice(len(others), MOST, replace=False)]
