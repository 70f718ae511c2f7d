"""Steps that several sources share: standard columns, SVD of sparse tables, validation classes out of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_VALIDATION_SHARE = 0.2
_MIN_GROUPS = 5
_MIN_CLASSES = 2


def standardise(columns: np.ndarray) -> np.ndarray:
    """Scales (M, D) columns to mean 0 and standard deviation 1, float32; constant columns become 0.

    Labels are not used, so this is fair on a pool with hidden labels.
    """
    x = columns.astype(np.float64)
    largest = np.abs(x).max(axis=0)
    x /= np.where(largest > 0, largest, 1.0)  # Columns near the float range would overflow the variance.
    x -= x.mean(axis=0)
    deviation = x.std(axis=0)
    x /= np.where(deviation > 1e-7, deviation, np.inf)
    return x.astype(np.float32)


def svd_vectors(table: Any, dimensions: int, seed: int = 0) -> np.ndarray:
    """Projects (N, F) sparse counts or weights by SVD to (N, ≤ `dimensions`) unit-norm float32 vectors.

    Tables with fewer than three rows or columns keep their columns.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    size = min(dimensions, table.shape[1] - 1, table.shape[0] - 1)
    dense = table.toarray() if size < 2 else TruncatedSVD(size, random_state=seed).fit_transform(table)
    return normalize(dense).astype(np.float32)


def carve_validation(split: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """Moves about a fifth of the ``"train"`` classes to ``"validation"``; deterministic.

    Whole groups move where training has at least five of them, else single classes. Both keep two classes;
    with fewer than four nothing moves.

    Args:
        split: ``"train"`` or ``"test"`` per class.
        groups: group per class.
    """
    train = [c for c, part in enumerate(split) if part == "train"]
    if len(train) < 2 * _MIN_CLASSES:
        return tuple(split)
    by_group: dict[str, list[int]] = {}
    for c in train:
        by_group.setdefault(groups[c], []).append(c)
    units = list(by_group.values()) if len(by_group) >= _MIN_GROUPS else [[c] for c in train]
    result, moved = list(split), 0
    for unit in np.random.default_rng(0).permutation(len(units)):
        members = units[unit]
        if moved >= max(_MIN_CLASSES, _VALIDATION_SHARE * len(train)):
            break
        if len(train) - moved - len(members) < _MIN_CLASSES:
            continue
        for c in members:
            result[c] = "validation"
        moved += len(members)
    return tuple(result)
