"""Reads which items may be picked: positions, a mask, or features that are looked up in the pool."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from agents.acquisition.arrays import CHUNK, Features, as_numpy, as_sparse, count, is_missing
from agents.acquisition.labels import Labels, hint
from metaal_env.errors import InputError, InputTypeError


class Candidates(NamedTuple):
    """Items that may be picked."""

    positions: np.ndarray  # (C,) positions in the pool, the appended items included; in the caller's order
    new: np.ndarray | None  # (E,) rows of the candidates that are not in X and are appended to the pool
    direct: bool  # given as features: the answer counts in candidates, not in X


def all_unlabelled(labels: Labels) -> Candidates:
    """Returns every item without a label.

    Raises:
        InputError: there is none.
    """
    positions = np.flatnonzero(~labels.known)
    if not len(positions):
        raise InputError(f"y has no missing label: there is nothing left to query{hint(labels.seen)}.")
    return Candidates(positions, None, False)


def are_features(candidates: Any) -> bool:
    """Whether candidates are rows of features, not positions nor a mask.

    Raises:
        InputTypeError: none of the three.
        InputError: there is none.
    """
    if count(candidates, "candidates") == 0:
        raise InputError("candidates is empty; leave it out to consider every unlabelled item.")
    shape = getattr(candidates, "shape", None)
    return len(shape) > 1 if shape else np.ndim(next(iter(candidates))) > 0


def by_position(candidates: Any, n: int) -> Candidates:
    """Returns the items at (C,) integer positions, or where an (N,) mask is True.

    Raises:
        InputTypeError: neither integers nor a mask.
        InputError: repeated or outside positions; a mask of another length, or without any item.
    """
    array = np.asarray(as_numpy(candidates))
    if array.dtype == object and not any(is_missing(value) for value in array):
        array = np.array(array.tolist())  # pandas' own integers and booleans
    if array.dtype.kind == "b":
        if len(array) != n:
            raise InputError(f"candidates is a mask of {len(array)} values; give one per item of X: {n}.")
        if not array.any():
            raise InputError("candidates is a mask without any True; leave it out to consider all items.")
        return Candidates(np.flatnonzero(array), None, False)
    if array.dtype.kind not in "iu":
        raise InputTypeError(f"candidates of type {array.dtype} must be integer positions in X or a mask.")
    if array.min() < 0 or array.max() >= n or len(np.unique(array)) < len(array):
        raise InputError(f"candidates must be different positions in 0…{n - 1}.")
    return Candidates(array.astype(np.int64), None, False)


def by_features(rows: Features, x: Features, known: np.ndarray) -> Candidates:
    """Looks (C, D) rows up among the unlabelled items of X, so that an item has the same utility however it is named.

    Rows that are not there are new: they are appended to the pool.

    Raises:
        InputError: features of another width.
    """
    if rows.shape[1] != x.shape[1]:
        raise InputError(f"candidates have {rows.shape[1]} features but X has {x.shape[1]}; make them equal.")
    if sparse.issparse(x) != sparse.issparse(rows):
        x, rows = as_sparse(x), as_sparse(rows)
    names = list(row_names(rows))
    wanted = set(names)
    where: dict[bytes, list[int]] = defaultdict(list)
    for i, name in enumerate(row_names(x)):
        if name in wanted and not known[i]:
            where[name].append(i)
    positions: list[int] = []
    new: list[int] = []
    for i, name in enumerate(names):
        if where[name]:
            positions.append(where[name].pop(0))
        else:
            positions.append(x.shape[0] + len(new))
            new.append(i)
    return Candidates(np.array(positions), np.array(new) if new else None, True)


def row_names(x: Features) -> Iterator[bytes]:
    """Yields bytes that are equal for equal rows, whatever the number type."""
    for start in range(0, x.shape[0], CHUNK):
        part = x[start : start + CHUNK]
        if isinstance(part, np.ndarray):
            for row in np.ascontiguousarray(part, dtype=np.float64):
                yield row.tobytes()
        else:
            columns, values = part.indices.astype(np.int64), part.data.astype(np.float64)
            for low, high in zip(part.indptr[:-1], part.indptr[1:], strict=True):
                yield columns[low:high].tobytes() + b"/" + values[low:high].tobytes()
