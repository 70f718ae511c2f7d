"""The caller's own classifier: fitted to the labels, its probabilities put where our classes are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.arrays import as_numpy, doubt_of
from agents.acquisition.labels import Labels, class_list
from agents.acquisition.options import QueryOptions
from agents.acquisition.pool_items import PoolItems
from metaal_env.errors import InputError, InputTypeError, brief

ASKED_AT_ONCE = 65_536
"""Items of which a classifier is asked at a time where it is asked of a whole large pool."""
TRIALS = ((100, 10, 0), (1000, 20, 12))
"""Rows, rows per class and made-up classes with which a classifier is tried that cannot be fitted to the labels."""


SURE = 0.99
"""Probability of a class from which on a classifier counts as sure of an item."""

TOLERANCE = 1e-2
"""How far the sum of an item's probabilities may be from 1; those of float16 are rounded."""


class Predictions(NamedTuple):
    """Holds what a classifier says.

    Attributes:
        probs: (M, C) probabilities of some items.
        classes: names of the C columns.
        ask: (M,) positions in the pool → their (M, C) probabilities.
    """

    probs: np.ndarray
    classes: list[Any]
    ask: Callable[[np.ndarray], np.ndarray]

    @property
    def too_sure(self) -> bool:
        """Returns whether the classifier is sure of most of the items, as nearest neighbours are of all of them.

        After few labels that says nothing about the items. On validation pools such probabilities cost a learned policy
        .018 accuracy under nearest neighbours and .056 under naive Bayes (entry 96 of docs/log/2026-11.md).
        """
        return bool(np.median(self.probs.max(1, initial=0)) >= SURE) if len(self.probs) else False

    @property
    def one_hot(self) -> bool:
        """Returns whether the classifier is quite sure of every item, as nearest neighbours and full trees are."""
        return bool(len(self.probs)) and bool(self.probs.max(1, initial=0).min() >= 1)

    def doubt(self, n: int) -> np.ndarray:
        """Returns the (n,) doubts of all items, see `doubt_of`."""
        starts = range(0, n, ASKED_AT_ONCE)
        parts = (np.arange(start, min(start + ASKED_AT_ONCE, n)) for start in starts)
        return np.concatenate([doubt_of(self.ask(part)) for part in parts])


class RowClassifier:
    """A fitted classifier that knows the items by their place in the pool, as one that reads texts does.

    Args:
        predict_rows: (M,) positions in the pool → (M, K) probabilities.
        classes: (K,) the columns' classes.
        name: what messages call it.
        estimator: the classifier behind it, where it was fitted to the labels and may have had too few of them.
    """

    def __init__(
        self,
        predict_rows: Callable[[np.ndarray], Any],
        classes: Sequence[Any] | np.ndarray,
        name: str = "classifier",
        estimator: Any = None,
    ):
        self.predict_rows, self.classes_ = predict_rows, np.asarray(classes)
        self.name, self.estimator = name, estimator


def check_classifier(clf: Any, fit_clf: bool) -> None:
    """Raises `InputTypeError` for no classifier, `InputError` for one that is not fitted though it should be."""
    if clf is None or isinstance(clf, RowClassifier):
        return
    may_predict = hasattr(clf, "predict_proba") or (fit_clf and _known_once_fitted(clf))
    if isinstance(clf, type) or not (hasattr(clf, "fit") and may_predict):
        raise _no_classifier(clf)
    if not fit_clf and getattr(clf, "classes_", None) is None:
        raise InputError(f"clf={_name(clf)} is not fitted; fit it first or leave out fit_clf=False.")


def _no_classifier(clf: Any) -> InputTypeError:
    return InputTypeError(
        f"clf={_name(clf)} must be a classifier object with fit and predict_proba; "
        "CalibratedClassifierCV gives probabilities to one without."
    )


def _known_once_fitted(clf: Any) -> bool:
    """Whether only a fit tells if it gives probabilities, as with scikit-learn's `StackingClassifier` by default."""
    return hasattr(type(clf), "predict_proba") and getattr(clf, "final_estimator", "") is None


def known_classes(clf: Any, fit_clf: bool) -> list[Any]:
    """Returns the lists of classes that a classifier names before it is fitted to the labels; None for no list."""
    named = getattr(clf, "classes", None)  # scikit-activeml's
    return [named, None if fit_clf and not isinstance(clf, RowClassifier) else getattr(clf, "classes_", None)]


def predictions(
    items: PoolItems,
    labels: Labels,
    rows: np.ndarray,
    options: QueryOptions,
    classes: list[Any],
    closed: bool,
    *,
    quiet: bool = False,
) -> Predictions | None:
    """Asks the classifier about the (M,) `rows` of the pool.

    Returns None where metaal's own head has to serve: without a classifier, with labels of one class, and, with a
    warning, while there are too few labels or classes to fit it.

    Args:
        classes: all classes that are known so far.
        closed: whether there is no other class.
        quiet: give no warning.

    Raises:
        InputError: the classifier cannot be fitted at all, cannot predict, or gives unusable probabilities.
    """
    clf, weight = options.clf, options.weights(len(items))
    if clf is None:
        return None
    if isinstance(clf, RowClassifier):
        try:
            return _asked(clf, clf.predict_rows, rows)
        except InputError:
            given = clf.estimator
            if (
                given is None
                or not labels.seen
                or not _needs_more(given, items, labels, None, classes, closed)
            ):
                raise
        _warn_of_few(clf, quiet)
        return None
    if not options.fit_clf:
        return _asked(clf, lambda some: clf.predict_proba(items.take(some)), rows)
    # scikit-learn's classifiers refuse a single class, scikit-activeml's are then sure of it everywhere.
    if len(labels.seen) < 2:
        return None
    if labels.soft is not None and weight is None:
        weight = np.ones(len(items))  # so that a classifier without weights fails the trials below, too
    try:
        return _fit_and_ask(clf, items, *labels.to_fit(weight), rows)
    except Exception as error:  # whatever a classifier raises that has too little to go on
        if labels.made_up:  # one with a fixed number of outputs has none for a class more
            return predictions(items, labels.of_real_classes(), rows, options, classes, closed, quiet=quiet)
        if not _needs_more(clf, items, labels, weight, classes, closed):
            if isinstance(error, InputError):
                raise
            raise InputError(f"clf={_name(clf)} could not be fitted or asked: {brief(error)}") from error
    _warn_of_few(clf, quiet)
    return None


def _warn_of_few(clf: Any, quiet: bool) -> None:
    if not quiet:
        warnings.warn(
            f"clf={_name(clf)} needs more labels or classes than there are so far; until it can be fitted, "
            "metaal's own head guides the choice.",
            stacklevel=3,
        )


def warn_of_certainty(clf: Any, covers: bool) -> None:
    """Warns that learned policies do not listen to a classifier that is `Predictions.too_sure`.

    Args:
        covers: whether `max_herding` chooses in their place.
    """
    instead = (
        "max_herding, which covers the pool, chooses"
        if covers
        else "logistic regression on the vectors guides the choice"
    )
    warnings.warn(
        f"clf={_name(clf)} is at least {SURE:.0%} sure of most items, which tells nothing about them; {instead}. "
        "With fit_clf=False a fitted classifier is asked in any case.",
        stacklevel=3,
    )


def _fit_and_ask(
    clf: Any, items: PoolItems, known: np.ndarray, y: np.ndarray, weight: np.ndarray | None, rows: np.ndarray
) -> Predictions:
    from sklearn.base import clone

    model = clone(clf, safe=False)
    model.fit(items.take(known), y, **({} if weight is None else {_weight_name(model): weight}))
    return _asked(model, lambda some: model.predict_proba(items.take(some)), rows)


def _weight_name(model: Any) -> str:
    """Returns the name under which `fit` takes weights: a pipeline hands them to its last step, if told to."""
    from sklearn import get_config
    from sklearn.pipeline import Pipeline

    steps = []
    while isinstance(model, Pipeline) and not get_config()["enable_metadata_routing"]:
        name, model = model.steps[-1]
        steps.append(name)
    return "__".join([*steps, "sample_weight"])


def _asked(clf: Any, predict: Callable[[np.ndarray], Any], rows: np.ndarray) -> Predictions:
    """Checked probabilities of the (M,) `rows`, and the classes."""
    class_list([], clf.classes_)  # that they are a list of labels of one kind
    names = np.asarray(clf.classes_).tolist()

    def ask(some: np.ndarray) -> np.ndarray:
        try:
            raw = np.asarray(as_numpy(predict(some)), dtype=np.float64)
        except Exception as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"clf={_name(clf)} cannot predict for these items: {brief(error)}") from error
        if raw.shape != (len(some), len(names)) or not np.isfinite(raw).all() or raw.min() < 0:
            raise InputError(
                f"clf.predict_proba gave shape {raw.shape} or unusable values for {len(some)} items and "
                f"{len(names)} classes; give one finite probability per item and class."
            )
        total = raw.sum(1)
        if np.abs(total - 1).max() > TOLERANCE:
            row = int(np.abs(total - 1).argmax())
            raise InputError(
                f"clf.predict_proba gave item {some[row]} probabilities that sum to {total[row]:g}; give such as sum "
                "to 1, e.g. a softmax in place of logits or sigmoids."
            )
        return raw

    return Predictions(ask(rows), names, ask)


def _needs_more(
    clf: Any, items: PoolItems, labels: Labels, weight: np.ndarray | None, classes: list[Any], closed: bool
) -> bool:
    """Whether the classifier could be fitted if there were more labels, or more classes where these may still come.

    It is tried on items of the pool with labels in turn: what fails there too is no matter of how few labels there are.
    """
    rng = np.random.default_rng(0)
    for size, per_class, made_up in TRIALS:
        names = list(classes) if closed else _with_more(labels.seen, made_up)
        rows = rng.integers(0, len(items), max(size, per_class * len(names)))
        y = np.array([names[i % len(names)] for i in range(len(rows))])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _fit_and_ask(clf, items, rows, y, _at(weight, rows), rows[:5])
        except Exception:  # the same, or another of the classifier's own faults
            continue
        return True
    return False


def _with_more(seen: list[Any], count: int) -> list[Any]:
    """Distinct labels, at least `count`, of which those seen come first."""
    if isinstance(seen[0], str):
        more = [f"{max(seen)} {i}" for i in range(count)]
    else:
        more = [max(seen) + 1 + i for i in range(count)]
    return [*seen, *more[: max(0, count - len(seen))]]


def _at(weight: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if weight is None else weight[rows]


def _name(clf: Any) -> str:
    if isinstance(clf, RowClassifier):
        return clf.name
    return clf.__name__ if isinstance(clf, type) else type(clf).__name__ if hasattr(clf, "fit") else repr(clf)
