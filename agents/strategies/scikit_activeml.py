"""Query strategies of scikit-activeml behind ``score(view)``."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.strategies.base import Strategy
from metaal_env.errors import InputError
from metaal_env.pool.view import PoolView


def is_query_strategy(value: object) -> bool:
    """Returns whether `value` is a class or object of scikit-activeml, without importing that package."""
    bases = inspect.getmro(value if inspect.isclass(value) else type(value))
    return any(base.__module__.startswith("skactiveml.") for base in bases)


class QueryStrategyAdapter(Strategy):
    """Adapts a scikit-activeml pool strategy to `Strategy`.

    The strategy sees the pool's embeddings as X and the revealed labels as y. If it takes a classifier, it gets the
    inner learner's probabilities, so that the learner is the same for all strategies. It is slow: one Python call per
    episode and step.

    Args:
        query_strategy: a `SingleAnnotatorPoolQueryStrategy`; it is cloned, never changed.

    Raises:
        InputError: its `query` needs more than X, y and a classifier.
    """

    def __init__(self, query_strategy: Any, *, seed: int = 0):
        super().__init__(seed=seed)
        self.query_strategy = query_strategy
        parameters = inspect.signature(query_strategy.query).parameters
        self.classifier = next((name for name in ("clf", "estimator") if name in parameters), None)
        self.fit = next((name for name in ("fit_clf", "fit_estimator") if name in parameters), None)
        unknown = [
            name
            for name, p in parameters.items()
            if p.default is p.empty
            and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            and name not in ("X", "y", self.classifier)
        ]
        if unknown:
            raise InputError(
                f"strategy={type(query_strategy).__name__}: its query needs {', '.join(unknown)}, which "
                "evaluation cannot supply; wrap it in a Strategy class of your own."
            )

    def score(self, view: PoolView) -> Tensor:
        scores = torch.full(view.valid.shape, -torch.inf, dtype=torch.float64)
        for b in range(len(view)):
            if bool(view.selectable[b].any()):
                scores[b] = torch.from_numpy(self._utilities(view, b))
        return scores.to(view.device)

    def _utilities(self, view: PoolView, b: int) -> np.ndarray:
        """Returns (N,) utilities of one pool; its own pick is raised to the top, ties included."""
        from sklearn.base import clone

        real = view.valid[b].cpu().numpy()
        x = view.embeddings[b].double().cpu().numpy()[real]
        labels = view.labels[b].cpu().numpy()[real]
        y = np.where(labels >= 0, labels.astype(float), np.nan)
        candidates = np.flatnonzero(view.selectable[b].cpu().numpy()[real])
        strategy = clone(self.query_strategy)
        random_state = np.random.SeedSequence([int(view.seed[b]), self.seed]).generate_state(1)[0]
        wanted = {"random_state": int(random_state), "missing_label": np.nan}
        strategy.set_params(**{k: v for k, v in wanted.items() if k in strategy.get_params()})
        arguments: dict[str, Any] = {"candidates": candidates, "batch_size": 1, "return_utilities": True}
        if self.classifier is not None:
            classes = np.flatnonzero(view.class_mask[b].cpu().numpy())
            arguments[self.classifier] = _learner_as_classifier(
                x, view.probs[b].double().cpu().numpy()[real][:, classes], classes
            )
        if self.fit is not None:
            arguments[self.fit] = False
        picked, utilities = strategy.query(x, y, **arguments)
        positions = np.flatnonzero(real)
        out = np.full(len(real), -np.inf)
        out[positions] = np.nan_to_num(np.asarray(utilities)[0], nan=-np.inf)
        out[positions[int(np.asarray(picked)[0])]] = np.inf
        return out


def _learner_as_classifier(x: np.ndarray, probs: np.ndarray, classes: np.ndarray) -> Any:
    """Builds a fitted scikit-activeml classifier that looks up the inner learner's probabilities."""
    from skactiveml.base import SkactivemlClassifier

    table = {row.tobytes(): i for i, row in enumerate(x)}  # equal embeddings have equal probabilities

    class InnerLearnerClassifier(SkactivemlClassifier):
        def fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None) -> Any:
            return self

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            rows = np.ascontiguousarray(X, dtype=float)
            p = probs[[table[row.tobytes()] for row in rows]]
            return p / p.sum(1, keepdims=True)

        def __deepcopy__(self, memo: dict[int, Any]) -> Any:
            return self  # stateless: a copy would only duplicate the table

    classifier = InnerLearnerClassifier(classes=classes)
    classifier.classes_ = classes
    classifier.fit(x, classes)
    return classifier
