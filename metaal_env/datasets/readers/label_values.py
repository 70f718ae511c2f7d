"""Reads saved labels as class names: unlabelled items, whole numbers, and values that are no classes."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metaal_env.datasets.readers.cell_numbers import read_number
from metaal_env.datasets.readers.class_labels import strings
from metaal_env.datasets.readers.one_hot import one_label_each
from metaal_env.errors import InputError

_NO_VALUE = {"nan", "<na>", "nat"}
"""Spellings of NaN, which is never a class."""
_DOUBTFUL = {
    *("none", "na", "null", "n/a", "#n/a", "nil", "?", "-", "unknown", "unlabeled", "unlabelled", "missing"),
    *("todo", "tbd", "not labeled", "not labelled", "undefined", "undecided", "<none>", "(none)", "(blank)"),
}
"""Class names in some data (stances, polls), "unlabelled" in others."""
_SIGNS = {"-99", "-100", "-999", "-9999", str(-(2**31)), str(-(2**63))}
"""Numbers for an unknown label: PyTorch's, those of statistics, and what NumPy makes of a NaN among integers."""
_UNSIGNED = {"255", "65535", str(2**32 - 1), str(2**64 - 1)}
"""A −1 saved among unsigned numbers."""
_UNSEEN = re.compile("[\u200b-\u200f\u2060\ufeff\xad]")
_SEPARATORS = re.compile(r"\s*[|;,]\s*")
MAX_FRACTIONS = 10
MAX_WHOLE = 50


class Labels(NamedTuple):
    """Holds the class name of each item, None where unlabelled, and notes on guesses."""

    values: tuple[str | None, ...]
    notes: tuple[str, ...] = ()


def read_labels(
    cells: Sequence[str], subject: str, missing: str | None = None, partial: bool = True
) -> Labels:
    """Reads cells as class names.

    Empty cells and NaN are unlabelled. Where there are none, −1 is unlabelled if the other labels count from 0 or 1 or
    are words, and so are other numbers that stand for nothing (−100, 255, …) beside labels that count from 0 or 1.
    Words like ``NONE`` and ``NA`` are classes. Whole numbers lose the ``.0`` that an empty cell gives them in pandas.

    Args:
        subject: start of error messages, e.g. ``"data='a.csv': the column 'label'"``.
        missing: another value that is unlabelled; the empty string for none.
        partial: whether some items may be unlabelled; if not, a −1 beside 0 and 1 is a class.

    Raises:
        InputError: the cells are targets of a regression, hold several classes, or an ambiguous −1.
    """
    values: list[str | None] = [
        unicodedata.normalize("NFC", cell).strip().strip("\u200b\ufeff") or None for cell in cells
    ]
    notes: list[str] = []
    if missing != "":
        values = [None if value is not None and value.lower() in _NO_VALUE else value for value in values]
    blank = None in values
    if missing:
        number = read_number(missing, False)
        values = [
            None if value is not None and (value == missing or _equals(value, number)) else value
            for value in values
        ]
    values = whole_numbers(values)
    if missing is None and not blank and "-1" in values:
        values = _without_minus_one(values, subject, partial)
        notes += ["-1 is unlabelled"] if None in values else []
    if missing is None and not blank and partial:
        sign = _sign_of_nothing(values)
        values = [None if value == sign else value for value in values]
        notes += [f'{sign} is unlabelled (else: --missing-label "")'] if sign is not None else []
    if missing is None and not blank:
        doubtful = [name for name in dict.fromkeys(values) if name is not None and name.lower() in _DOUBTFUL]
        notes += [f"{name!r} counts as a class (else: --missing-label {name})" for name in doubtful]
    known = [value for value in values if value is not None]
    _refuse_targets(known, subject, None not in values)
    _refuse_several(known, subject)
    return Labels(tuple(values), (*notes, *_case_notes(known)))


def array_cells(y: np.ndarray, n_items: int, subject: str, names: np.ndarray | None = None) -> list[str]:
    """Returns an array of labels as texts, with the empty text for NaN; one-hot columns become classes.

    Args:
        y: (N,) or (N, 1) labels, or (N, K) with a single 1 in each labelled row.
        names: (K,) class names that whole numbers in `y` count from 0.

    Raises:
        InputError: the shape is wrong, an item has several classes or annotators, or bytes are not UTF-8.
    """
    y = one_label_each(y, n_items, subject)
    if y.dtype.kind == "f":
        cells = ["" if np.isnan(value) else repr(float(value)) for value in y]
    else:
        cells = list(strings(subject, "y", y))
    if names is None or names.ndim != 1 or y.dtype.kind not in "iuf":
        return cells
    class_names = strings(subject, "class_names", names)
    whole = [None if not cell else read_number(cell, False) for cell in cells]
    if any(v is not None and (v != int(v) or not -1 <= v < len(class_names)) for v in whole):
        raise InputError(
            f"{subject}: y has labels outside its {len(class_names)} class names; count them from 0."
        )
    return ["" if v is None or v == -1 else class_names[int(v)] for v in whole]


def _equals(value: str, number: float | None) -> bool:
    return number is not None and read_number(value, False) == number


def whole_numbers(values: list[str | None]) -> list[str | None]:
    """Turns ``"1.0"`` into ``"1"`` where every label is a whole number and one has a fraction of zero."""
    known = [value for value in values if value is not None]
    if not any(value.endswith(".0") for value in known):
        return values
    if not all(re.fullmatch(r"[+-]?\d+(\.0)?", value) for value in known):
        return values
    return [None if value is None else value.removesuffix(".0") for value in values]


def _without_minus_one(values: list[str | None], subject: str, partial: bool) -> list[str | None]:
    others = {value for value in values if value != "-1"}
    if (
        partial
        and others
        and not any(value is None or read_number(value, True) is not None for value in others)
    ):
        return [None if value == "-1" else value for value in values]  # beside words it is none
    if not all(value is not None and value.isdecimal() for value in others) or others == {"1"}:
        return values  # −1 and 1 are two classes
    if others == {"0", "1"} and not partial:
        return values
    if others == {"0", "1"}:
        raise InputError(
            f"{subject} has the labels -1, 0 and 1; say whether -1 is unlabelled (--missing-label -1) or a class "
            '(--missing-label "").'
        )
    return [None if value == "-1" else value for value in values]


def _sign_of_nothing(values: Sequence[str | None]) -> str | None:
    """The one number far from the others that stands for unlabelled, beside labels that count from 0 or 1."""
    different = {value for value in values if value is not None}
    found = [value for value in different if value in _SIGNS | _UNSIGNED]
    others = different - set(found)
    if len(found) != 1 or len(others) < 2 or not all(value.isdecimal() for value in others):
        return None
    numbers = sorted(map(int, others))
    counted = numbers == [*range(numbers[0], numbers[0] + len(numbers))] and numbers[0] in (0, 1)
    return found[0] if counted and numbers[-1] + 1 != int(found[0]) else None


def few_of_each(numbers: Sequence[float]) -> bool:
    """Returns whether there are many different numbers, few of each and with gaps, as in measurements."""
    different, n = len(set(numbers)), len(numbers)
    return different > MAX_WHOLE and 3 * different > n and max(numbers) - min(numbers) >= different


def _refuse_targets(known: Sequence[str], subject: str, complete: bool) -> None:
    """Refuses measurements. While labels are missing, whole numbers may be classes of which few were met yet."""
    numbers = [number for number in (read_number(value, True) for value in known) if number is not None]
    if not known or len(numbers) < len(known):
        return
    different, n = len(set(known)), len(known)
    if any(number % 1 for number in numbers):
        refused = different > MAX_FRACTIONS and (3 * different > n or different > MAX_WHOLE)
    else:
        nearly_all = different > MAX_WHOLE and n >= 2 * MAX_WHOLE and 10 * different >= 9 * n
        each_once = complete and different == n > MAX_FRACTIONS * 2
        refused = nearly_all or each_once or (complete and few_of_each(numbers))
    if refused:
        raise InputError(
            f"{subject} has {different} different numbers in {n} labels: regression targets are not classes; "
            "choose another label column, or none, or write classes with a letter before the number."
        )


def _refuse_several(known: Sequence[str], subject: str) -> None:
    names = set(known)
    barred = {name: {*re.split(r"\s*[|;]\s*", name)} - {""} for name in names if "|" in name or ";" in name}
    shared = Counter(part for parts in barred.values() for part in parts)
    for name in names:
        parts = [part for part in _SEPARATORS.split(name) if part]
        listed = re.fullmatch(r"\[\s*(['\"\d].*)?\]|\{.*\}|\(\s*['\"\d].*,.*\)", name)
        again = len(barred.get(name, ())) > 1 and any(shared[part] > 1 for part in barred[name])
        if listed or again or (len(parts) > 1 and all(part in names for part in parts)):
            raise InputError(f"{subject}: {name!r} names several classes; give one class per item.")


def _case_notes(known: Sequence[str]) -> list[str]:
    spellings: dict[str, list[str]] = {}
    for name in dict.fromkeys(known):
        seen = _UNSEEN.sub("", unicodedata.normalize("NFKC", name))
        spellings.setdefault(" ".join(seen.casefold().split()), []).append(name)
    return [
        f"the classes {' and '.join(map(repr, same))} differ in spelling only"
        for same in spellings.values()
        if len(same) > 1
    ]
