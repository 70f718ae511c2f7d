"""Labels that nobody is sure of, as shares of the classes: votes of a crowd, or a model's answers taken as labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.acquisition.arrays import as_numbers, as_numpy, is_table
from agents.acquisition.labels import Labels
from metaal_env.errors import InputError

TOLERANCE = 1e-3
"""How far a row's sum may be from 1; a table of several annotators' labels is thereby told apart."""


def are_soft(y: Any, classes: Any) -> bool:
    """Whether `y` is an array with a column for each of at least two classes, which somebody named."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    return len(shape) == 2 and shape[1] > 1 and (classes is not None or is_table(y))


def read_soft_labels(y: Any, classes: Any, n: int) -> Labels:
    """Returns the labels that (N, C) shares stand for: each item's largest, and all for classifiers that take weights.

    Args:
        y: rows that sum to 1; rows of missing values are unknown.
        classes: names of the columns in their order; a data frame's columns by default.

    Raises:
        InputTypeError: no numbers.
        InputError: another shape, or rows that are no shares.
    """
    names = np.asarray(as_numpy(list(y.columns) if classes is None else list(classes)))
    if classes is not None and is_table(y):
        if set(y.columns) != set(names.tolist()):
            raise InputError(
                f"y has the columns {list(y.columns)} but classes names {names.tolist()}; name both alike."
            )
        y = y[names.tolist()]
    shares = as_numbers(y, "y")
    if shares.shape != (n, len(names)) or len(set(names.tolist())) < len(names):
        raise InputError(
            f"y has shape {shares.shape}, several values per item; give one label per item, or a share for each of "
            f"the different classes that classes names: {(n, len(names))}."
        )
    known = ~np.isnan(shares).all(1)
    wrong = known & ~((np.abs(shares.sum(1) - 1) <= TOLERANCE) & (shares >= 0).all(1))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"y[{row}] is {shares[row]}; several values per item must be shares of the classes, which sum to 1, or "
            "all be nan. Of annotators' labels give one column."
        )
    values = names[shares[known].argmax(1)]
    return Labels(known, values, sorted(np.unique(values).tolist()), soft=shares, columns=names)
