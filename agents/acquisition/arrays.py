"""A user's arrays, checked: features, labels with missing values, candidates. Nothing here changes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metaal_env.errors import InputError, InputTypeError

CHUNK = 16_384
"""Rows checked at a time, so that a memory-mapped array is never read whole."""


class Labels(NamedTuple):
    known: np.ndarray  # (N,) bool
    values: np.ndarray  # (n_known,) the caller's labels, in pool order
    seen: list[Any]  # sorted distinct labels


class Candidates(NamedTuple):
    positions: np.ndarray  # (C,) positions in the pool, the appended items included; in the caller's order
    appended: np.ndarray | None  # (E, D) candidates that are not in X
    direct: bool  # given as features: the answer counts in candidates, not in X


def check_features(X: Any, name: str = "X") -> np.ndarray:
    """(N, D) features without a copy where possible; images (N, H, W[, C]) are flattened.

    Raises:
        InputTypeError: no array of numbers.
        InputError: wrong shape, no items, NaN or infinite values (naming the place).
    """
    if X is None or isinstance(X, (str, bytes)) or not hasattr(X, "__len__"):
        kind = type(X).__name__
        mend = "use TruncatedSVD or .toarray()" if "sparse" in type(X).__module__ else "give an array (N, D)"
        raise InputTypeError(f"{name} is {kind}; {mend}.")
    try:
        x = np.asarray(X)
        x = x.astype(np.float64) if x.dtype == object else x
    except (ValueError, TypeError) as error:
        raise InputTypeError(
            f"{name} is no array of numbers ({error}); encode text and categories."
        ) from error
    if x.dtype.kind not in "biuf":
        raise InputTypeError(f"{name} has type {x.dtype}; give numbers.")
    if not 2 <= x.ndim <= 4 or 0 in x.shape:
        raise InputError(
            f"{name} has shape {x.shape}; give vectors (N, D) or images (N, H, W, C), not empty."
        )
    x = x.reshape(len(x), -1)
    if x.dtype.kind == "f":
        for start in range(0, len(x), CHUNK):
            finite = np.isfinite(x[start : start + CHUNK])
            if not finite.all():
                row, column = np.argwhere(~finite)[0].tolist()
                raise InputError(
                    f"{name}[{start + row}, {column}] is {x[start + row, column]}; impute or drop that item."
                )
    return x


def check_labels(y: Any, n: int, missing_label: Any) -> Labels:
    """Which of the N labels are known, and what they are.

    Args:
        missing_label: nan, None, a number or a string. None and nan inside `y` are missing in any case.

    Raises:
        InputTypeError: `y` is no sequence, or mixes text and numbers.
        InputError: not one label per item.
    """
    if y is None or isinstance(y, (str, bytes)) or not hasattr(y, "__len__"):
        raise InputTypeError(
            f"y is {type(y).__name__}; give one label per item, missing_label where unknown."
        )
    if not (missing_label is None or isinstance(missing_label, (str, int, float, np.generic))):
        raise InputTypeError(f"missing_label={missing_label!r} must be nan, None, a number or a string.")
    # Through objects: numpy would turn a nan among strings into the text "nan".
    array = y if isinstance(y, np.ndarray) else np.array(list(y), dtype=object)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        raise InputError(f"y has shape {array.shape} but X has {n} items; give one label per item.")
    if array.dtype.kind == "f":
        known = ~np.isnan(array)
    elif array.dtype.kind == "O":
        known = np.array([value is not None and value == value for value in array], dtype=bool)
    else:
        known = np.ones(n, dtype=bool)
    if missing_label is not None and missing_label == missing_label:
        same_kind = isinstance(missing_label, str) == (array.dtype.kind in "US")
        if array.dtype.kind == "O":
            known &= np.array([not _equal(value, missing_label) for value in array], dtype=bool)
        elif same_kind:
            known &= array != missing_label
        else:
            raise InputTypeError(f"missing_label={missing_label!r} does not fit y of type {array.dtype}.")
    values = array[known]
    if values.dtype == object and len(values):
        texts = sum(isinstance(value, str) for value in values)
        if 0 < texts < len(values):
            text, number = (next(v for v in values if isinstance(v, str) is kind) for kind in (True, False))
            raise InputTypeError(
                f"y mixes text and other labels ({text!r:.40} and {number!r:.40}); give labels of one kind."
            )
        try:
            values = np.array(list(values))
        except ValueError as error:
            raise InputTypeError("y holds labels that are neither numbers nor text.") from error
        if values.ndim != 1 or values.dtype == object:
            raise InputTypeError("y holds labels that are neither numbers nor text.")
    if len(values) and values.dtype.kind not in "biufUS":
        raise InputTypeError(f"y has type {values.dtype}; give numbers or text.")
    return Labels(known, values, sorted(np.unique(values).tolist()) if len(values) else [])


def _equal(value: Any, other: Any) -> bool:
    return isinstance(value, str) == isinstance(other, str) and bool(value == other)


def check_candidates(candidates: Any, x: np.ndarray, known: np.ndarray) -> Candidates:
    """Where in the pool the candidates are.

    Rows given as features are looked up among the unlabelled items of X, so that an item has the same utility
    however it is named; rows that are not there are appended to the pool.

    Raises:
        InputTypeError: neither positions nor features.
        InputError: repeated or outside positions; features of another width; no candidate at all.
    """
    if candidates is None:
        positions = np.flatnonzero(~known)
        if not len(positions):
            raise InputError("y has no missing label; there is nothing left to query.")
        return Candidates(positions, None, False)
    if isinstance(candidates, (str, bytes)) or not hasattr(candidates, "__len__"):
        raise InputTypeError(f"candidates is {type(candidates).__name__}; give positions or features.")
    array = np.asarray(candidates)
    if array.size == 0:
        raise InputError("candidates is empty; leave it out to consider every unlabelled item.")
    if array.ndim == 1:
        if array.dtype.kind not in "iu":
            raise InputTypeError(f"candidates of type {array.dtype} must be integer positions in X.")
        if array.min() < 0 or array.max() >= len(x) or len(np.unique(array)) < len(array):
            raise InputError(f"candidates must be different positions in 0…{len(x) - 1}.")
        return Candidates(array.astype(np.int64), None, False)
    rows = check_features(array, "candidates")
    if rows.shape[1] != x.shape[1]:
        raise InputError(f"candidates have {rows.shape[1]} features but X has {x.shape[1]}; make them equal.")
    return _look_up(rows, x, known)


def _look_up(rows: np.ndarray, x: np.ndarray, known: np.ndarray) -> Candidates:
    wanted = {row.tobytes() for row in rows.astype(np.float64)}
    where: dict[bytes, list[int]] = defaultdict(list)
    for start in range(0, len(x), CHUNK):
        part = np.ascontiguousarray(x[start : start + CHUNK], dtype=np.float64)
        for i, row in enumerate(part, start):
            if not known[i] and row.tobytes() in wanted:
                where[row.tobytes()].append(i)
    positions: list[int] = []
    new: list[int] = []
    for i, row in enumerate(rows.astype(np.float64)):
        copies = where[row.tobytes()]
        if copies:
            positions.append(copies.pop(0))
        else:
            positions.append(len(x) + len(new))
            new.append(i)
    return Candidates(np.array(positions), rows[new] if new else None, True)


def class_list(seen: Sequence[Any], *known: Sequence[Any] | np.ndarray | None) -> tuple[list[Any], bool]:
    """All classes, sorted, and whether the list is closed: somebody knew the classes in advance.

    Raises:
        InputError: a label outside the given classes.
    """
    given = []
    for classes in known:
        values = None if classes is None else np.asarray(classes, dtype=object)
        if values is not None and (values.ndim != 1 or not all(np.isscalar(value) for value in values)):
            raise InputTypeError(f"classes={classes!r} must be a list of labels.")
        if values is not None:
            given.append(np.asarray(classes).tolist())
    if not given:
        return list(seen), False
    every = {value for classes in given for value in classes}
    foreign = [value for value in seen if value not in every]
    if foreign:
        raise InputError(f"y holds the label {foreign[0]!r}, which is not among the classes; add it.")
    try:
        return sorted(every), True
    except TypeError as error:
        raise InputTypeError("classes mix text and numbers; give labels of one kind.") from error
