"""Turns array-likes of other libraries into NumPy arrays and SciPy matrices of checked numbers, never in place."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Number
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse

from metaal_env.errors import InputError, InputTypeError, brief

CHUNK = 16_384
"""Rows checked at a time, so that a memory-mapped array is never read whole."""

Features: TypeAlias = "np.ndarray | sparse.csr_array"
"""(N, D) finite numbers."""


def as_numpy(value: Any) -> Any:
    """Moves torch tensors, lists of them included, to NumPy; other values stay what they are.

    Tensors may require gradients, be sparse, live on a device, or have a type that NumPy lacks.
    """
    if isinstance(value, (list, tuple)) and len(value) and isinstance(value[0], torch.Tensor):
        return [as_numpy(row) for row in value]
    if not isinstance(value, torch.Tensor):
        return value
    tensor = value.detach().cpu()
    tensor = tensor.to_dense() if tensor.layout != torch.strided else tensor
    unknown = tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64)
    return (tensor.float() if unknown else tensor.resolve_conj().resolve_neg()).numpy()


def as_numbers(value: Any, name: str) -> np.ndarray:
    """Returns an array-like as float64. Raises: `InputTypeError` where it holds no numbers."""
    try:
        return np.asarray(as_numpy(value), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"{name} is not an array of numbers ({error}).") from error


def number_each(value: Any, n: int, name: str, what: str) -> np.ndarray:
    """Returns (N,) numbers, one for each item.

    Args:
        what: what messages call a number, e.g. ``"price"``.

    Raises:
        InputTypeError: no numbers.
        InputError: not one for each item.
    """
    found = as_numbers(value, name)
    if found.shape != (n,):
        raise InputError(f"{name} has shape {found.shape}; give one {what} per item: ({n},).")
    return found


def positive_whole(value: Any, name: str) -> int:
    """Returns a whole number from 1 up.

    Raises:
        InputTypeError: no whole number.
        InputError: one below 1.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise InputTypeError(f"{name}={value!r} must be a whole number.")
    if value < 1:
        raise InputError(f"{name}={value} must be at least 1.")
    return int(value)


def doubt_of(probs: np.ndarray) -> np.ndarray:
    """Returns (M,) float32 1 − (p₁ − p₂) of (M, C) probabilities, the two largest; 1 at a single class."""
    if probs.shape[1] < 2:
        return np.ones(len(probs), np.float32)
    top = np.partition(probs, -2, axis=1)[:, -2:]
    return (1 - (top[:, 1] - top[:, 0])).astype(np.float32)


def is_table(value: Any) -> bool:
    """Whether it is a data frame: pandas, polars and their like."""
    return hasattr(value, "columns") and hasattr(value, "dtypes") and hasattr(value, "__array__")


def count(X: Any, name: str = "X") -> int:
    """Returns the number of items.

    Raises:
        InputTypeError: nothing that holds items.
    """
    try:
        shape = getattr(X, "shape", None)
    except RuntimeError as error:  # torch's nested tensors have none
        raise InputTypeError(
            f"{name} is {type(X).__name__} without a shape; give an array (N, D)."
        ) from error
    if (
        X is None
        or (isinstance(X, (str, bytes, Mapping)) and not sparse.issparse(X))
        or shape == ()
        or not (shape or hasattr(X, "__len__"))
    ):
        raise InputTypeError(f"{name} is {type(X).__name__}; give an array (N, D).")
    return int(shape[0]) if shape else len(X)


def check_same_order(X: Any, other: Any, name: str) -> None:
    """Compares the indices of two pandas objects that are about the same items.

    Raises:
        InputError: the same index in another order, so that positions and index disagree about what belongs together.
    """
    mine: Any = getattr(X, "index", None)
    theirs: Any = getattr(other, "index", None)
    if not (hasattr(mine, "equals") and hasattr(theirs, "equals")) or len(mine) != len(theirs):
        return
    if mine.equals(theirs) or not (mine.is_unique and theirs.is_unique):
        return
    if len(mine.intersection(theirs)) == len(mine):
        raise InputError(f"{name} has the index of X in another order; give {name}.loc[X.index].")


def check_features(X: Any, name: str = "X") -> Features:
    """Returns (N, D) features, uncopied if possible; images (N, H, W[, C]) are flattened, sparse ones stay sparse.

    Raises:
        InputTypeError: no array of numbers.
        InputError: wrong shape, no items, NaN, infinite or masked values (naming the place).
    """
    count(X, name)
    if sparse.issparse(X):
        return _check_sparse(X, name)
    try:
        x = np.asanyarray(as_numpy(X))
        x = _numbers(x, X, name)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputTypeError(
            f"{name} is not an array of numbers ({brief(error)}); encode text and categories."
        ) from error
    if x.dtype.kind == "U":
        raise InputTypeError(f"{name} holds texts; let clf be a Pipeline that reads them, or give vectors.")
    if x.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} has type {x.dtype}; give numbers.")
    if not 2 <= x.ndim <= 4 or 0 in x.shape:
        raise InputError(
            f"{name} has shape {x.shape}; give vectors (N, D) or images (N, H, W, C), not empty."
        )
    _check_mask(x, name)
    x = np.asarray(x).reshape(len(x), -1)
    if x.dtype.kind == "f":
        for start in range(0, len(x), CHUNK):
            finite = np.isfinite(x[start : start + CHUNK])
            if not finite.all():
                row, column = np.argwhere(~finite)[0].tolist()
                raise _not_finite(name, start + row, column, x[start + row, column], X)
    return x


def _numbers(x: np.ndarray, X: Any, name: str) -> np.ndarray:
    """Returns object arrays of numbers as float64, with NaN for what stands for a missing value."""
    if x.dtype.kind == "V" and x.dtype.names is None:
        return x.astype(np.float32)  # ml_dtypes' bfloat16, which jax hands over
    if x.dtype != object:
        return x
    if is_table(X):
        _check_columns(X, name)
    if x.ndim == 1:  # a column of vectors
        return np.array([as_numpy(row) for row in x])
    missing = np.frompyfunc(is_missing, 1, 1)(x).astype(bool)
    return np.where(missing, np.nan, x).astype(np.float64) if missing.any() else x.astype(np.float64)


def is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or `pandas.NA`."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # neither true nor false: pandas.NA; also an array, which is not missing
        return np.ndim(value) == 0


def _check_columns(X: Any, name: str) -> None:
    for column in X.columns:
        values = np.asarray(X[column], dtype=object).ravel()
        for value in values:
            if not is_missing(value) and not isinstance(value, (Number, np.bool_)):
                raise InputTypeError(
                    f"{name} holds {value!r:.40} in column {column!r}; encode text, dates and categories by "
                    "encode(read_items(X)), or let clf be a Pipeline that does."
                )


def _check_mask(x: np.ndarray, name: str) -> None:
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        place = np.argwhere(np.ma.getmaskarray(x))[0].tolist()
        raise InputError(f"{name}{place} is masked; impute or drop that item.")


def _not_finite(name: str, row: int, column: int, value: Any, X: Any) -> InputError:
    place = f"{name}[{row}, {column}]"
    if is_table(X):
        place += f" in column {list(X.columns)[column]!r}"
    return InputError(f"{place} is {value}; impute or drop that item.")


def _check_sparse(X: Any, name: str) -> sparse.csr_array:
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(f"{name} has shape {X.shape}; give vectors (N, D), not empty.")
    if X.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} has type {X.dtype}; give numbers.")
    x = sparse.csr_array(X, copy=True)
    x.sum_duplicates()
    x.eliminate_zeros()
    bad = np.flatnonzero(~np.isfinite(x.data)) if x.dtype.kind == "f" else np.array([], dtype=int)
    if len(bad):
        row = int(np.searchsorted(x.indptr, bad[0], side="right")) - 1
        raise _not_finite(name, row, int(x.indices[bad[0]]), x.data[bad[0]], X)
    return x


def as_sparse(x: Any) -> Any:
    """Returns sparse features as they are, others as a sparse matrix of a number type that SciPy knows."""
    return x if sparse.issparse(x) else sparse.csr_array(np.asarray(x, dtype=np.float64))
