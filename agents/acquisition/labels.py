"""A user's labels, checked: which are known, what they are, and which classes there are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.arrays import as_numpy, is_missing
from metaal_env.datasets.readers.label_values import few_of_each
from metaal_env.errors import InputError, InputTypeError, some_of


class Labels(NamedTuple):
    """Known labels of a pool."""

    known: np.ndarray  # (N,) bool
    values: np.ndarray  # (n_known,) the caller's labels, in pool order
    seen: list[Any]  # sorted distinct labels
    made_up: frozenset[Any] = frozenset()  # those that `agents.acquisition.belief` alone has
    # (N, C) shares of the classes; NaN where an item's label is one class or unknown
    soft: np.ndarray | None = None
    columns: np.ndarray | None = None  # (C,) classes of the shares

    def with_label(self, position: int, label: Any, *, made_up: bool = False) -> Labels:
        """Returns the labels with one more, of an item that has none."""
        known = self.known.copy()
        known[position] = True
        values = self.values.tolist()
        values.insert(int(self.known[:position].sum()), label)
        made_up_ones = self.made_up | {label} if made_up else self.made_up
        return self._replace(
            known=known, values=np.array(values), seen=sorted({*self.seen, label}), made_up=made_up_ones
        )

    def of_real_classes(self) -> Labels:
        """Returns the labels without those of made-up classes."""
        real = np.array([value not in self.made_up for value in self.values.tolist()], dtype=bool)
        known = self.known.copy()
        known[self.known] = real
        seen = [name for name in self.seen if name not in self.made_up]
        return self._replace(known=known, values=self.values[real], seen=seen, made_up=frozenset())

    def extended(self, count: int) -> Labels:
        """Returns the labels with those of `count` further items, which are unknown."""
        soft = self.soft
        if soft is not None:
            soft = np.concatenate([soft, np.full((count, soft.shape[1]), np.nan)])
        return self._replace(known=np.r_[self.known, np.zeros(count, dtype=bool)], soft=soft)

    def to_fit(self, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Returns the (M,) positions, labels and weights to which a classifier is fitted.

        An item with a soft label is there once for each class, which its share weighs.

        Args:
            weight: (N,) weights of the items.
        """
        rows = np.flatnonzero(self.known)
        values, weights = self.values, None if weight is None else weight[rows]
        if self.soft is None or self.columns is None:
            return rows, values, weights
        shares = self.soft[rows]
        hard = np.flatnonzero(np.isnan(shares).any(1))
        item, column = np.nonzero(shares > 0)
        share = np.r_[np.ones(len(hard)), shares[item, column]]
        chosen = np.r_[hard, item]
        return (
            rows[chosen],
            np.r_[values[hard], self.columns[column]],
            share if weights is None else share * weights[chosen],
        )


def check_labels(y: Any, n: int, missing_label: Any) -> Labels:
    """Finds which of the N labels are known, and what they are.

    Args:
        y: (N,) or (N, 1).
        missing_label: nan, None, `pandas.NA`, a number or a string. None, NaN, NA and masked values inside `y`
            are missing in any case.

    Raises:
        InputTypeError: `y` is no sequence, or mixes text and numbers.
        InputError: not one label per item, or measurements where classes are due.
    """
    if y is None or isinstance(y, (str, bytes, Mapping, Set)) or not hasattr(y, "__len__"):
        raise InputTypeError(
            f"y is {type(y).__name__}; give one label per item, missing_label where unknown."
        )
    unknown = np.ndim(missing_label) == 0 and is_missing(missing_label)
    if not (unknown or isinstance(missing_label, (str, int, float, np.generic))):
        raise InputTypeError(f"missing_label={missing_label!r} must be nan, None, a number or a string.")
    array = one_label_each(y, n)
    array = decoded(array)
    known = _known(array, None if unknown else missing_label)
    values = _of_one_kind(np.asarray(array)[known])
    return Labels(known, values, sorted(np.unique(values).tolist()) if len(values) else [])


def warn_of_targets(labels: Labels) -> None:
    """Warns where whole numbers are so many and so spread that they may be measurements."""
    if labels.values.dtype.kind in "iuf" and few_of_each(labels.values.tolist()):
        warnings.warn(
            f"y holds {len(labels.seen)} different numbers in {len(labels.values)} labels, taken for classes; "
            "regression is not supported.",
            stacklevel=2,
        )


def one_label_each(y: Any, n: int) -> np.ndarray:
    """(N,), (N, 1) or (1, N) labels of any kind as an (N,) array.

    Raises:
        InputError: not one label per item.
    """
    y = as_numpy(y)
    # Lists through objects: numpy would turn a nan among strings into the text "nan".
    array = np.asanyarray(y) if hasattr(y, "__array__") else np.array(list(y), dtype=object)
    if array.ndim == 2 and 1 in array.shape and array.size == n:
        array = array.reshape(n)
    if array.ndim == 2 and len(array) == n:
        raise InputError(
            f"y has shape {array.shape}, several values per item; give one label per item, e.g. y.argmax(1) of "
            "one-hot rows or one annotator's column, or name the classes of an array of their shares."
        )
    if array.shape != (n,):
        raise InputError(f"y has shape {array.shape} but X has {n} items; give one label per item.")
    return array


def decoded(values: np.ndarray) -> np.ndarray:
    """Returns an array of bytes as text, which classifiers of scikit-learn want; other arrays as they are."""
    return np.char.decode(values, "utf-8", "backslashreplace") if values.dtype.kind == "S" else values


def _known(array: np.ndarray, missing_label: Any) -> np.ndarray:
    """(N,) bool; `missing_label` None adds nothing to what is missing in any case."""
    masked = np.ma.getmaskarray(array) if isinstance(array, np.ma.MaskedArray) else False
    array = np.asarray(array)
    if array.dtype.kind == "f":
        known = ~np.isnan(array)
    elif array.dtype.kind == "O":
        known = ~np.array([is_missing(value) for value in array], dtype=bool)
    else:
        known = np.ones(len(array), dtype=bool)
    known = known & ~np.asarray(masked)
    if missing_label is None:
        return known
    if array.dtype.kind == "O":
        same = [
            not missing and _equal(value, missing_label) for value, missing in zip(array, ~known, strict=True)
        ]
        return known & ~np.array(same, dtype=bool)
    if isinstance(missing_label, str) != (array.dtype.kind == "U"):
        raise InputTypeError(f"missing_label={missing_label!r} does not fit y of type {array.dtype}.")
    return known & (array != missing_label)


def _equal(value: Any, other: Any) -> bool:
    return isinstance(value, str) == isinstance(other, str) and bool(value == other)


def _of_one_kind(values: np.ndarray) -> np.ndarray:
    """The known labels as an array of numbers or of text."""
    if values.dtype == object and len(values):
        texts = sum(isinstance(value, str) for value in values)
        if 0 < texts < len(values):
            text, number = (next(v for v in values if isinstance(v, str) is kind) for kind in (True, False))
            raise InputTypeError(
                f"y mixes text and other labels ({text!r:.40} and {number!r:.40}); give labels of one kind."
            )
        try:
            values = decoded(np.array(list(values)))
        except ValueError as error:
            raise InputTypeError("y holds labels that are neither numbers nor text.") from error
        if values.ndim != 1 or values.dtype == object:
            raise InputTypeError("y holds labels that are neither numbers nor text.")
    if len(values) and values.dtype.kind not in "biufU":
        raise InputTypeError(f"y has type {values.dtype}; give numbers or text.")
    if values.dtype.kind == "f":
        measured = values[~np.isfinite(values) | (values != np.round(values))]
        if len(measured):
            raise InputError(
                f"y holds {measured[0]}, a measurement; metaal chooses for classes: give whole numbers or text."
            )
    return values


MARKS = (-1, "-1", "", "?", "nan", "NaN", "None", "<NA>", "unlabeled", "unlabelled", "unknown")
"""Values with which people mark an item without a label."""


def hint(seen: Sequence[Any]) -> str:
    """Asks for `missing_label` where a label looks like a mark of the unknown; empty where none does."""
    # −1 and 1 are the two classes of many a data set.
    marks = [value for value in seen if value in MARKS and set(seen) != {-1, 1}]
    return f"; if {marks[0]!r} stands for unknown, give missing_label={marks[0]!r}" if marks else ""


def class_list(seen: Sequence[Any], *given: Any, missing_label: Any = None) -> tuple[list[Any], bool]:
    """Returns all classes, sorted, and whether the list is closed because somebody knew the classes in advance.

    Args:
        seen: distinct labels.
        given: lists of classes; None for one that is not known. Marks of the unknown in them are no classes.

    Raises:
        InputTypeError: no list, or text beside numbers.
        InputError: a label outside the given classes.
    """
    lists = [_class_names(classes, missing_label) for classes in given if classes is not None]
    if not lists:
        return list(seen), False
    every = {value for classes in lists for value in classes}
    if not every:
        raise InputError("classes is empty; name at least one class, or leave it out.")
    foreign = [value for value in seen if value not in every]
    if foreign:
        raise InputError(
            f"y holds the label {foreign[0]!r}, which is not among the classes {_some(every)}; add it."
        )
    try:
        return sorted(every), True
    except TypeError as error:
        raise InputTypeError(
            f"classes mix text and numbers ({_some(every)}); give labels of one kind."
        ) from error


def _class_names(classes: Any, missing_label: Any) -> list[Any]:
    if isinstance(classes, (set, frozenset)):
        classes = list(classes)
    values = np.asarray(as_numpy(classes), dtype=object)
    if values.ndim != 1:
        raise InputTypeError(f"classes={classes!r} must be a list of labels.")
    known = [value for value in values if not is_missing(value)]
    if not all(np.isscalar(value) for value in known):
        raise InputTypeError(f"classes={classes!r} must be a list of labels.")
    names = [value.item() if isinstance(value, np.generic) else value for value in known]
    names = [
        value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in names
    ]
    return [name for name in names if is_missing(missing_label) or not _equal(name, missing_label)]


def _some(classes: set[Any]) -> str:
    return some_of([repr(value) for value in sorted(classes, key=str)], 5)
