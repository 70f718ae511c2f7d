"""Reads labels in one column per class."""

from __future__ import annotations

import numpy as np

from metaal_env.errors import InputError


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
