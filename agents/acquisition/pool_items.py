"""`PoolItems`: a user's items twice, as vectors for distances and as what the user's classifier reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from agents.acquisition.arrays import Features, as_numpy, as_sparse, check_features, count, is_table
from agents.acquisition.labels import Labels
from metaal_env.errors import InputError, brief


@dataclass(frozen=True)
class PoolItems:
    """The items of a pool.

    Attributes:
        vectors: (N, D), what distances are taken of.
        given: N items as the classifier reads them: a data frame, a sparse matrix, texts, or the vectors.
        encode: brings further items of the same kind to vectors; takes the argument's name, too.
    """

    vectors: Features
    given: Any
    encode: Callable[[Any, str], Features] = check_features

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    def take(self, rows: np.ndarray) -> Any:
        """The items at (M,) positions, as the classifier reads them."""
        return take(self.given, rows)

    def in_my_order(self, others: Any) -> Any:
        """Returns a data frame with its columns in this pool's order; anything else as it is.

        Raises:
            InputError: a column of the pool is not there.
        """
        if not (is_table(self.given) and is_table(others)):
            return others
        mine = list(self.given.columns)
        lacking = [name for name in mine if name not in set(others.columns)]
        if lacking:
            raise InputError(f"candidates lack the column {lacking[0]!r} of X; add it.")
        return others if list(others.columns) == mine else others[mine]

    def extended(self, others: Any, rows: np.ndarray) -> PoolItems:
        """The pool with some of `others`, which are of the same kind, at its end.

        Raises:
            InputError: items that cannot be put together.
        """
        more = PoolItems.read(self.in_my_order(others), "candidates", self.encode)
        try:
            given = joined(self.given, more.take(rows))
        except Exception as error:  # whatever the library of the items raises
            raise InputError(
                f"candidates cannot be put beside X ({brief(error)}); give their positions in X."
            ) from error
        return PoolItems(joined(self.vectors, more.vectors[rows]), given, self.encode)

    @classmethod
    def read(
        cls, X: Any, name: str = "X", encode: Callable[[Any, str], Features] = check_features
    ) -> PoolItems:
        """Checks items.

        Raises:
            InputTypeError, InputError: see `check_features`.
        """
        vectors = encode(X, name)
        if encode is check_features and not (is_table(X) or sparse.issparse(X)):
            return cls(vectors, vectors)
        given = X.tocsr() if sparse.issparse(X) else X
        return cls(vectors, given, encode)


def read_pool(X: Any, labels: Labels, clf: Any, fit_clf: bool) -> PoolItems:
    """Reads the items of a query.

    Numbers are vectors as they are. Anything else, texts or a data frame with columns of text, is brought to vectors
    by the steps of the classifier's pipeline before its last.

    Raises:
        InputTypeError, InputError: items that are neither.
    """
    from sklearn.pipeline import Pipeline

    try:
        return PoolItems.read(X)
    except InputError:
        if not isinstance(clf, Pipeline) or len(clf.steps) < 2 or not _has_items(X):
            raise
    steps = _fitted_steps(clf[:-1], X, labels) if fit_clf else clf[:-1]

    def encode(items: Any, name: str) -> Features:
        try:
            vectors = steps.transform(items)
        except Exception as error:  # whatever the user's steps raise
            raise InputError(f"clf's steps cannot transform {name} ({brief(error)}).") from error
        return check_features(vectors, f"clf[:-1].transform({name})")

    return PoolItems.read(as_numpy(X), encode=encode)


def _has_items(X: Any) -> bool:
    try:
        return count(X) > 0
    except InputError:
        return False


def _fitted_steps(steps: Any, X: Any, labels: Labels) -> Any:
    """A copy fitted to all items; to the labelled ones where steps need labels."""
    from sklearn.base import clone

    try:
        return clone(steps).fit(X)
    except Exception as error:  # whatever the user's steps raise; many need labels
        if not len(labels.values):
            raise InputError(f"clf's steps cannot be fitted to X without labels ({brief(error)}).") from error
    try:
        return clone(steps).fit(take(X, np.flatnonzero(labels.known)), labels.values)
    except Exception as error:
        raise InputError(f"clf's steps cannot be fitted to X ({brief(error)}).") from error


def take(items: Any, rows: np.ndarray) -> Any:
    """Returns the rows at (M,) positions of an array, a data frame, a sparse matrix or a list."""
    if isinstance(items, np.ndarray):
        return items[rows]
    from sklearn.utils import _safe_indexing

    return _safe_indexing(items, rows)


def joined(first: Any, second: Any) -> Any:
    """Puts items of one kind one after the other: data frames, sparse matrices, lists or arrays."""
    if sparse.issparse(first) or sparse.issparse(second):
        return sparse.vstack([as_sparse(first), as_sparse(second)], format="csr")
    if hasattr(first, "iloc"):
        import pandas as pd

        if not hasattr(second, "iloc"):
            second = pd.DataFrame(second, columns=first.columns)
        return pd.concat([first, second])
    if is_table(first):
        return first.vstack(second)  # polars
    if isinstance(first, list):
        return [*first, *second]
    return np.concatenate([first, second])
