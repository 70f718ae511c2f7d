"""A metaal policy as a query strategy of modAL: ``ActiveLearner(estimator, query_strategy=modal_strategy())``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.acquisition.arrays import Features, as_numpy, check_features, count
from agents.acquisition.candidates import row_names
from agents.acquisition.classifier import RowClassifier, check_classifier
from agents.acquisition.labels import Labels, check_labels, one_label_each
from agents.acquisition.options import QueryOptions, Seed
from agents.acquisition.policies import PolicySpec
from agents.acquisition.pool_items import joined, read_pool, take
from agents.acquisition.query import select
from metaal_env.errors import InputError, brief


def modal_strategy(
    policy: PolicySpec = None, *, budget: int | None = None, random_state: Seed = None, classes: Any = None
) -> ModalStrategy:
    """Returns a query strategy of modAL ≥ 0.4.2, which need not be installed. It pickles with its learner.

    Args:
        policy: see `agents.acquisition.load_policy`.
        budget: labels that will be bought in all.
        random_state: see `agents.acquisition.query`.
        classes: all classes, where they are known in advance.
    """
    return ModalStrategy(
        QueryOptions(policy=policy, budget=budget, random_state=random_state, classes=classes)
    )


@dataclass(frozen=True)
class ModalStrategy:
    """A query strategy as modAL calls it."""

    options: QueryOptions

    def __call__(
        self,
        classifier: Any,
        X_pool: Any,
        n_instances: int = 1,
        *,
        X_training: Any = None,
        y_training: Any = None,
        random_tie_break: bool = False,
        **predict_proba_options: Any,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Chooses items of a pool, guided by the learner's or the committee's own probabilities.

        Args:
            classifier: an `ActiveLearner`, a `Committee`, or a classifier of scikit-learn's kind.
            X_pool: unlabelled items of any kind that modAL takes. Distances are taken of the transformed items where
                the learner says `on_transformed`, or where the items are no numbers.
            X_training: labelled items, for a loop of your own; by default those of the learner, or of all learners of
                the committee.
            y_training: their labels.
            random_tie_break: not offered; ties go to the first item.
            predict_proba_options: handed on to `predict_proba`, as modAL's own strategies do.

        Returns:
            (n_instances,) positions in X_pool and the utilities of these picks, which modAL calls metrics.

        Raises:
            InputTypeError, InputError: see `agents.acquisition.query`.
        """
        if random_tie_break:
            raise InputError(
                "random_tie_break=True is not offered; leave it out, for ties go to the first item."
            )
        if X_training is None:
            X_training, y_training = _training(classifier)
        if X_training is not None and y_training is None:
            raise InputError("y_training=None must hold a label for each item of X_training.")
        known = 0 if X_training is None else count(X_training, "X_training")
        items = as_numpy(X_pool) if not known else _stacked(X_training, X_pool)
        y = np.full(count(items, "X_pool"), None, dtype=object)
        y[:known] = one_label_each(y_training, known) if known else None
        estimator = getattr(classifier, "estimator", classifier)
        fitted = getattr(estimator, "classes_", None) is not None
        check_classifier(estimator, fit_clf=not fitted)
        model = None
        if fitted:
            model = RowClassifier(
                lambda rows: estimator.predict_proba(take(items, rows), **predict_proba_options),
                estimator.classes_,
                type(estimator).__name__,
                # One that fails at keywords of its caller's would not fail without them.
                estimator if known and not predict_proba_options and hasattr(estimator, "fit") else None,
            )
        x = _vectors(classifier, estimator, fitted, items, check_labels(y, len(y), None))
        options = replace(self.options, clf=model, missing_label=None)
        selection = select(x, y, options, batch_size=n_instances)
        return selection.picks - known, selection.scores


def _stacked(X_training: Any, X_pool: Any) -> Any:
    try:
        return joined(as_numpy(X_training), as_numpy(X_pool))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"X_training does not fit X_pool ({brief(error)}); give items of one kind."
        ) from error


def _training(classifier: Any) -> tuple[Any, Any]:
    """The labelled items of a learner, or of all learners of a committee, each item once."""
    X, y = None, None
    for learner in getattr(classifier, "learner_list", [classifier]):
        more = getattr(learner, "X_training", None)
        if more is None or count(more) == 0:
            continue
        labels = one_label_each(learner.y_training, count(more))
        if X is None:
            X, y = more, labels
            continue
        there = set(_names(X))
        new = np.array([i for i, name in enumerate(_names(more)) if name not in there], dtype=int)
        if len(new):
            X = joined(X, take(more, new))
            y = np.concatenate([y, labels[new]])
    return X, y


def _names(X: Any) -> list[Any]:
    """Something equal for equal items."""
    try:
        return list(row_names(check_features(X)))
    except InputError:  # texts, or a data frame with text
        rows = X.itertuples(index=False) if hasattr(X, "itertuples") else X
        return [repr(row) for row in rows]


def _vectors(classifier: Any, estimator: Any, fitted: bool, items: Any, labels: Labels) -> Features:
    transform = getattr(classifier, "transform_without_estimating", None)
    if not (fitted and transform and getattr(classifier, "on_transformed", False)):
        try:
            return read_pool(items, labels, estimator, fit_clf=not fitted).vectors
        except InputError:
            if not (fitted and transform):
                raise
    return check_features(transform(items), "X_pool transformed by the learner")
