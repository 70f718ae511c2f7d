"""What a strategy is shown of the items: the classifier's probabilities, or those of what stands in for it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from agents.acquisition.classifier import Predictions, RowClassifier, warn_of_certainty
from agents.acquisition.labels import Labels
from agents.acquisition.options import QueryOptions
from agents.acquisition.pool_items import PoolItems
from agents.acquisition.stand_in import stand_in
from agents.strategies.base import Strategy


class Opinion(NamedTuple):
    """Holds the probabilities that a strategy is shown, None for those of metaal's own head, and `Pool.one_hot`."""

    predictions: Predictions | None
    one_hot: bool


def opinion(
    given: Predictions | None,
    items: PoolItems,
    labels: Labels,
    rows: np.ndarray,
    options: QueryOptions,
    strategy: Strategy,
    quiet: bool,
) -> Opinion:
    """Returns what a strategy is shown of the (M,) `rows` when the classifier says `given`.

    A strategy that wants a classifier is shown logistic regression where there is none, and, with a warning, where what
    was fitted to the labels is sure of most items. A classifier that was fitted elsewhere may be so, and right.
    """
    if not strategy.wants_classifier:
        return Opinion(given, False)
    if options.clf is None:
        return Opinion(stand_in(items.vectors, labels, rows, options.weights(len(items))), False)
    fits = options.fit_clf and not isinstance(options.clf, RowClassifier)
    if not (fits and given is not None and given.too_sure):
        return Opinion(given, False)
    one_hot = given.one_hot and options.prior is None
    if not quiet:
        warn_of_certainty(options.clf, covers=one_hot)
    return Opinion(stand_in(items.vectors, labels, rows, options.weights(len(items))), one_hot)
