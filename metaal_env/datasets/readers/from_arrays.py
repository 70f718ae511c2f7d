"""Builds a `ClassDataset` from plain arrays: images or vectors, labels, and arrays per class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.prepare import standardise
from metaal_env.datasets.readers.class_labels import (
    class_arrays,
    group_names,
    label_indices,
    split_names,
    strings,
)
from metaal_env.errors import InputError

_CHANNELS = (1, 3, 4)
_UNIT_NORM_TOLERANCE = 0.01  # float16 embeddings


def from_arrays(name: str, arrays: Mapping[str, np.ndarray]) -> ClassDataset:
    """Builds a data set from arrays named as in an npz file.

    Args:
        name: name of the data set in messages.
        arrays: ``X``: images (M, H, W), (M, H, W, C) or (M, C, H, W) of integers 0…255, or vectors (M, D),
            standardised per column unless every row has length 1, as embeddings have. ``y``: (M,) integers
            or strings. Optional: ``text`` (M,); per class ``class_names``, ``class_split`` (``"train"``,
            ``"validation"``, ``"test"``, or 0 for background and 1 for evaluation), and one array of groups:
            ``class_group``, ``class_alphabet``, ``class_domain`` or any other ``class_*``. Numbered groups
            take their names from ``alphabet_names`` and so on. Per-class arrays are indexed by integer ``y``;
            for string ``y`` without ``class_names`` they follow the sorted labels.

    Raises:
        InputError: an array is missing or has a wrong shape or type, NaN or infinite values, or fewer than two
            classes.
    """
    for key in ("X", "y"):
        if key not in arrays:
            only_text = key == "X" and "text" in arrays
            advice = "embed the text and save the vectors as X" if only_text else f"save it as {key}"
            given = ", ".join(sorted(arrays)) or "none that is known"
            raise InputError(f"dataset={name!r} has no array {key!r} (it has: {given}); {advice}.")
    inputs = _inputs(name, arrays["X"])
    n_items = len(inputs)
    per_class = class_arrays(name, arrays)
    labels, class_names = label_indices(name, arrays["y"], n_items, per_class)
    for key, values in per_class.items():
        if values.shape != (len(class_names),):
            raise InputError(
                f"dataset={name!r}: {key} has shape {values.shape} but there are {len(class_names)} classes; "
                "give one entry per class."
            )
    group_key = next((key for key in per_class if key not in ("class_names", "class_split")), None)
    groups = class_names if group_key is None else group_names(name, group_key, per_class[group_key], arrays)
    split = None if "class_split" not in per_class else split_names(name, per_class["class_split"], groups)
    texts = arrays.get("text")
    if texts is not None and texts.shape != (n_items,):
        raise InputError(
            f"dataset={name!r}: text has shape {texts.shape} for {n_items} items; give one per item."
        )
    whole = ClassDataset(
        name=name,
        inputs=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        class_names=class_names,
        groups=groups,
        modality="image" if inputs.ndim == 4 else "vector",
        class_split=split,
        texts=None if texts is None else strings(f"dataset={name!r}", "text", texts),
    )
    present = np.unique(labels).tolist()
    if len(present) < 2:
        raise InputError(f"dataset={name!r} has {len(present)} class; at least 2 are needed.")
    return whole if len(present) == whole.n_classes else whole.classes(present)


def _inputs(name: str, x: np.ndarray) -> np.ndarray:
    """Returns (M, C, H, W) uint8 or (M, D) float32."""
    if x.size == 0 or x.ndim not in (2, 3, 4) or x.dtype.kind not in "biuf":
        raise InputError(
            f"dataset={name!r}: X has shape {x.shape} and type {x.dtype}; give images (M, H, W), "
            "(M, H, W, C) or (M, C, H, W) of integers, or vectors (M, D)."
        )
    return _vectors(name, x) if x.ndim == 2 else _images(name, x)


def _images(name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f" or (x.dtype != np.uint8 and (x.min() < 0 or x.max() > 255)):
        raise InputError(
            f"dataset={name!r}: images X have type {x.dtype} and values in [{x.min()}, {x.max()}]; "
            "give integers 0…255 (uint8), or flatten them to vectors (M, D)."
        )
    x = x.astype(np.uint8) * 255 if x.dtype == np.bool_ else x.astype(np.uint8, copy=False)
    if x.ndim == 3:
        return np.ascontiguousarray(x[:, None])
    if x.shape[1] not in _CHANNELS and x.shape[3] not in _CHANNELS:
        raise InputError(
            f"dataset={name!r}: X has shape {x.shape}; its second or last axis must be 1, 3 or 4 channels."
        )
    channels_last = x.shape[3] in _CHANNELS and (x.shape[1] not in _CHANNELS or x.shape[1] == x.shape[2])
    # torch takes no negative strides.
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2) if channels_last else x)


def _vectors(name: str, x: np.ndarray) -> np.ndarray:
    finite = np.isfinite(x)
    if not bool(finite.all()):
        row, column = np.argwhere(~finite)[0].tolist()
        raise InputError(
            f"dataset={name!r}: X[{row}, {column}] is {x[row, column]} ({int((~finite).sum())} such values); "
            "impute or drop those items."
        )
    if x.dtype.kind == "f" and bool((np.abs(x).max(axis=1) < 1 + _UNIT_NORM_TOLERANCE).all()):
        vectors = x.astype(np.float32)
        if bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_NORM_TOLERANCE).all()):
            return vectors
    return standardise(x)
