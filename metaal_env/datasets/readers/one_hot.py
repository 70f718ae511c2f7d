"""Reads labels as one per item, also where they stand in one column per class."""

from __future__ import annotations

import numpy as np

from metaal_env.errors import InputError


def one_label_each(y: np.ndarray, n_items: int, subject: str) -> np.ndarray:
    """Returns (N,) labels of (N,), (N, 1), (1, N) or one-hot (N, K) ones, see `from_one_hot`.

    Raises:
        InputError: not one label for each item.
    """
    if y.ndim == 2 and len(y) == n_items and y.shape[1] > 1:
        return from_one_hot(y, subject)
    if y.shape not in ((n_items,), (n_items, 1), (1, n_items)):
        raise InputError(f"{subject}: y has shape {y.shape} for {n_items} items; give one label per item.")
    return y.reshape(n_items)


def from_one_hot(y: np.ndarray, subject: str) -> np.ndarray:
    """Returns (N,) class numbers, NaN where a row is all zero or NaN.

    Raises:
        InputError: a row has several classes, or there are other numbers than 0 and 1.
    """
    if y.dtype.kind in "biuf":
        unknown = ~y.any(axis=1) if y.dtype.kind != "f" else (np.isnan(y) | (y == 0)).all(axis=1)
        rows = y[~unknown]
        if bool(np.isin(rows, (0, 1)).all()):
            if bool((rows.sum(axis=1) == 1).all()):
                return np.where(unknown, np.nan, y.argmax(axis=1))
            raise InputError(
                f"{subject}: y has shape {y.shape} and rows with several ones; give one class per item."
            )
    raise InputError(
        f"{subject}: y has shape {y.shape}; if its columns are annotators, save one label per item, e.g. the majority."
    )
