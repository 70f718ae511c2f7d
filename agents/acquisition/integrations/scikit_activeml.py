"""`MetaALQuery`: `query` as a scikit-activeml query strategy; a plain scikit-learn estimator without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agents.acquisition.options import Seed
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import query

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator as Base
else:
    try:
        from skactiveml.base import SingleAnnotatorPoolQueryStrategy as Base
    except ImportError:
        from sklearn.base import BaseEstimator as Base


class MetaALQuery(Base):
    """Serves a metaal policy or rule as a pool query strategy that clones, pickles and works in wrappers.

    Args:
        policy: stored as it is and loaded in `query`; see `agents.acquisition.load_policy`.
        missing_label: the mark of «unknown» in `y`.
        classes: all classes, where they are known in advance.
        budget: labels that will be bought in all.
        random_state: see `agents.acquisition.query`.
    """

    def __init__(
        self,
        policy: PolicySpec = None,
        classes: Any = None,
        budget: int | None = None,
        missing_label: Any = np.nan,
        random_state: Seed = None,
    ):
        self.policy = policy
        self.classes = classes
        self.budget = budget
        self.missing_label = missing_label
        self.random_state = random_state

    def query(
        self,
        X: Any,
        y: Any,
        clf: Any = None,
        fit_clf: bool = True,
        sample_weight: Any = None,
        candidates: Any = None,
        batch_size: int = 1,
        return_utilities: bool = False,
        prior: Any = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """See `agents.acquisition.query`."""
        return query(
            X,
            y,
            clf=clf,
            fit_clf=fit_clf,
            sample_weight=sample_weight,
            candidates=candidates,
            batch_size=batch_size,
            return_utilities=return_utilities,
            prior=prior,
            **self.get_params(deep=False),
        )
