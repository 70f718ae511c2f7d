"""A metaal policy as a query strategy of modAL: ``ActiveLearner(estimator, query_strategy=modal_strategy())``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import select


def modal_strategy(
    policy: PolicySpec = None, *, budget: int | None = None, random_state: int | None = None
) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """A function ``(classifier, X_pool, n_instances=1)`` as modAL ≥ 0.4.2 calls it; modAL is not needed.

    It returns (b,) positions in X_pool and the (b,) utilities, which modAL calls metrics. The labelled items are
    those of modAL's `ActiveLearner`; in a loop of your own, pass them as `X_training` and `y_training`.

    Args:
        policy: see `agents.acquisition.load_policy`.
        budget: labels that will be bought in all.
    """

    def strategy(
        classifier: Any,
        X_pool: Any,
        n_instances: int = 1,
        *,
        X_training: Any = None,
        y_training: Any = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        if X_training is None:
            X_training = getattr(classifier, "X_training", None)
            y_training = getattr(classifier, "y_training", None)
        estimator = getattr(classifier, "estimator", classifier)
        known = 0 if X_training is None else len(X_training)
        y = np.full(known + len(X_pool), None, dtype=object)
        y[:known] = y_training if known else None
        found = select(
            np.concatenate([X_training, X_pool]) if known else X_pool,
            y,
            clf=estimator if hasattr(estimator, "classes_") else None,  # not fitted yet
            fit_clf=False,
            batch_size=n_instances,
            policy=policy,
            budget=budget,
            random_state=random_state,
            missing_label=None,
        )
        return found.picks - known, found.scores

    return strategy
