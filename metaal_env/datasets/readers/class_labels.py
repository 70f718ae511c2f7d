"""Labels and classes of an npz file: names, groups, split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metaal_env.datasets.prepare import carve_validation
from metaal_env.datasets.readers.one_hot import one_label_each
from metaal_env.errors import InputError

_GROUP_KEYS = ("class_group", "class_alphabet", "class_domain")
_SPLIT_NAMES = {
    **dict.fromkeys(("0", "train", "training", "background"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("1", "test", "evaluation"), "test"),
}


def class_arrays(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays per class that exist: names, split and one array of groups, names first."""
    keys = [key for key in ("class_names", "class_split") if key in arrays]
    other = [key for key in sorted(arrays) if key.startswith("class_") and key not in keys]
    other = [key for key in other if arrays[key].ndim == 1 and arrays[key].dtype.kind in "biuUS"]
    group = [key for key in _GROUP_KEYS if key in arrays] or other
    chosen = {key: arrays[key] for key in keys + group[:1]}
    for key, values in chosen.items():
        if values.ndim != 1:
            raise InputError(f"dataset={name!r}: {key} has shape {values.shape}; give one entry per class.")
    return chosen


def strings(subject: str, key: str, values: np.ndarray) -> tuple[str, ...]:
    """Returns the values of an array as texts. Raises: `InputError` for bytes that are not UTF-8."""
    try:
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist())
    except UnicodeDecodeError as error:
        raise InputError(f"{subject}: {key} holds bytes that are not UTF-8; save str arrays.") from error


def label_indices(
    name: str, y: np.ndarray, n_items: int, per_class: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the class index of each item, and the class names. Raises: `InputError` for unusable labels."""
    y = one_label_each(y, n_items, f"dataset={name!r}")
    if y.dtype.kind == "f":
        y = y.astype(np.float64)  # float16 cannot hold the bound below
    if y.dtype.kind == "f" and not bool((np.isfinite(y) & (y == np.floor(y)) & (np.abs(y) < 2**31)).all()):
        raise InputError(
            f"dataset={name!r}: y holds fractions or NaN; give class labels, not regression targets."
        )
    if y.dtype.kind not in "biufUS":
        raise InputError(f"dataset={name!r}: y has type {y.dtype}; give integers or strings.")
    given = per_class.get("class_names")
    if y.dtype.kind in "US":
        values = strings(f"dataset={name!r}", "y", y)
        names = (
            tuple(sorted(set(values)))
            if given is None
            else strings(f"dataset={name!r}", "class_names", given)
        )
        index = {value: c for c, value in enumerate(names)}
        unknown = next((value for value in values if value not in index), None)
        if unknown is not None:
            raise InputError(f"dataset={name!r}: label {unknown!r} in y is not in class_names; add it there.")
        return np.array([index[value] for value in values], dtype=np.int64), names
    numbers = y.astype(np.int64)
    _refuse_unlabelled(name, numbers)
    if not per_class:
        unique, labels = np.unique(numbers, return_inverse=True)
        return labels.astype(np.int64), tuple(str(value) for value in unique)
    n_classes = next(iter(per_class.values())).size
    if numbers.min() < 0 or numbers.max() >= n_classes:
        raise InputError(
            f"dataset={name!r}: y has labels in [{numbers.min()}, {numbers.max()}] but the per-class "
            f"arrays have {n_classes} entries; labels must lie in [0, {n_classes - 1}]."
        )
    if given is None:
        return numbers, tuple(str(value) for value in range(n_classes))
    return numbers, strings(f"dataset={name!r}", "class_names", given)


def _refuse_unlabelled(name: str, numbers: np.ndarray) -> None:
    """Refuses −1 beside classes that count from 0 or 1. But −1 and 1, or −1, 0 and 1, may all be classes."""
    others = set(np.unique(numbers).tolist()) - {-1}
    n = int((numbers == -1).sum())
    if n and min(others, default=0) >= 0 and others not in ({1}, {0, 1}):
        raise InputError(
            f"dataset={name!r}: {n} of {len(numbers)} items have y = -1, which means unlabelled; drop them, or count "
            "classes from 0."
        )


def group_names(name: str, key: str, values: np.ndarray, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Returns the group of each class; ``alphabet_names`` names the numbers in ``class_alphabet``, and so on."""
    names = arrays.get(f"{key.removeprefix('class_')}_names")
    if names is None or values.dtype.kind not in "iu":
        return strings(f"dataset={name!r}", key, values)
    if names.ndim != 1 or values.min() < 0 or values.max() >= len(names):
        raise InputError(
            f"dataset={name!r}: {key} has numbers up to {values.max()} but there are {len(names)} names "
            "for them; give each a name."
        )
    return strings(f"dataset={name!r}", key, names[values])


def split_names(name: str, values: np.ndarray, groups: tuple[str, ...]) -> tuple[str, ...]:
    """Returns ``"train"``, ``"validation"`` or ``"test"`` per class, carving validation out where there is none."""
    parts: list[str] = []
    values = values.astype(np.int8) if values.dtype == np.bool_ else values
    for value in strings(f"dataset={name!r}", "class_split", values):
        part = _SPLIT_NAMES.get(value.lower())
        if part is None:
            raise InputError(
                f"dataset={name!r}: class_split has {value!r}; use 'train', 'validation' and 'test', "
                "or 0 for background and 1 for evaluation."
            )
        parts.append(part)
    return tuple(parts) if "validation" in parts else carve_validation(parts, groups)
