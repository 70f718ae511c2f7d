"""`ClassDataset`: labelled items grouped in classes, the raw material of tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from metaal_env.errors import InputError
from metaal_env.registry import Registry

Modality = Literal["image", "vector"]
Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "all")
_SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
_MIN_CLASSES_PER_SPLIT = 2
_MIN_ITEMS_PER_SPLIT = 3
"""One item of a class for the pool, one for the reward set, one for the test set."""


@dataclass(frozen=True, eq=False)
class ClassDataset:
    """Items of known classes, from which tasks are drawn.

    Attributes:
        name: the registered name or path that the user gave.
        inputs: (M, C, H, W) uint8 images, or (M, D) float32 vectors.
        labels: (M,) int64, the class of each item in ``[0, n_classes)``.
        class_names: one per class.
        groups: one per class: its superclass, e.g. a script or domain. Splits keep groups whole where possible.
        modality: ``"image"`` or ``"vector"``.
        class_split: ``"train"``, ``"validation"`` or ``"test"`` per class where the source fixes it.
        texts: the raw text of each item, where there is one (shown by renderers, never learned from).

    Raises:
        InputError: wrong shapes, labels out of range, NaN or infinite values, no items.
    """

    name: str
    inputs: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    groups: tuple[str, ...]
    modality: Modality
    class_split: tuple[str, ...] | None = None
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_dataset(self)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Returns the shape of one item, (C, H, W) or (D,)."""
        return tuple(self.inputs.shape[1:])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that identify the content, wherever it was read from.

        The name and the texts do not count, because nothing is learned from them.
        """
        classes = (self.class_names, self.groups, self.class_split)
        digest = hashlib.sha256(json.dumps([str(self.inputs.dtype), self.inputs.shape, *classes]).encode())
        for tensor in (self.inputs, self.labels):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    @property
    def splits_by(self) -> Literal["class", "item"]:
        """Returns whether splits separate classes, possible where each split keeps two classes, or else items."""
        fixed = self.class_split is not None
        return "class" if fixed or self.n_classes >= 3 * _MIN_CLASSES_PER_SPLIT else "item"

    def split(self, split: Split) -> ClassDataset:
        """Returns the part of the data set that belongs to `split`, without randomness.

        Splits have disjoint classes (of whole groups where possible), or disjoint items when classes are too few.

        Raises:
            InputError: the split is unknown, or the source left it without classes.
        """
        if split not in SPLITS:
            raise InputError(f"split={split!r} is unknown; choose one of: {', '.join(SPLITS)}.")
        if split == "all":
            return self
        if self.splits_by == "item":
            return self._items(_item_split(self.labels.numpy())[split])
        assignment = self.class_split or _class_split(self.groups)
        classes = [c for c, part in enumerate(assignment) if part == split]
        if len(classes) < _MIN_CLASSES_PER_SPLIT:
            raise InputError(
                f"dataset={self.name!r} has {len(classes)} class(es) in its {split} split; "
                f"at least {_MIN_CLASSES_PER_SPLIT} are needed: use split='all' or other data."
            )
        return self.classes(classes)

    def classes(self, classes: list[int]) -> ClassDataset:
        """Returns the items of `classes`, relabelled 0…len(classes) − 1 in the given order."""
        new_label = torch.full((self.n_classes,), -1, dtype=torch.long)
        new_label[classes] = torch.arange(len(classes))
        kept = self._items(torch.nonzero(new_label[self.labels] >= 0).squeeze(1).numpy())
        return replace(
            kept,
            labels=new_label[kept.labels],
            class_names=tuple(self.class_names[c] for c in classes),
            groups=tuple(self.groups[c] for c in classes),
            class_split=None if self.class_split is None else tuple(self.class_split[c] for c in classes),
        )

    def _items(self, rows: np.ndarray) -> ClassDataset:
        index = torch.as_tensor(rows)
        texts = None if self.texts is None else tuple(self.texts[i] for i in rows)
        # Not checked, because a part of a checked data set may lack items of some class.
        part = object.__new__(ClassDataset)
        part.__dict__.update(
            self.__dict__ | {"inputs": self.inputs[index], "labels": self.labels[index], "texts": texts}
        )
        return part


def _class_split(groups: tuple[str, ...]) -> list[str]:
    """Assigns classes to the splits: whole groups, or single classes where groups are few or one is too large."""
    names = sorted(set(groups))
    by_group = [[c for c, g in enumerate(groups) if g == name] for name in names]
    dealt = _dealt(by_group, len(groups)) if len(by_group) >= 6 else []
    if any(dealt.count(part) < _MIN_CLASSES_PER_SPLIT for part in _SHARES):
        return _dealt([[c] for c in range(len(groups))], len(groups))
    return dealt


def _dealt(members: list[list[int]], n_classes: int) -> list[str]:
    """Returns the split of each class; the lists in `members` are assigned whole, in a fixed shuffled order."""
    rng = np.random.default_rng(0)
    quota = {part: max(_MIN_CLASSES_PER_SPLIT, share * n_classes) for part, share in _SHARES.items()}
    assignment = ["train"] * n_classes
    filled = dict.fromkeys(_SHARES, 0)
    for member in rng.permutation(len(members)):
        part = next((p for p in ("test", "validation") if filled[p] < quota[p]), "train")
        for c in members[member]:
            assignment[c] = part
        filled[part] += len(members[member])
    return assignment


def _item_split(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Splits the items of each class by `_SHARES`, leaving a rare class enough for a task in each part if possible."""
    rng = np.random.default_rng(0)
    parts: dict[str, list[np.ndarray]] = {part: [] for part in _SHARES}
    for c in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == c))
        ends = np.cumsum([round(share * len(rows)) for share in _SHARES.values()])[:-1]
        counts = np.diff([0, *ends, len(rows)])
        if counts.min() < _MIN_ITEMS_PER_SPLIT and len(rows) >= len(_SHARES) * _MIN_ITEMS_PER_SPLIT:
            counts = np.maximum(counts, _MIN_ITEMS_PER_SPLIT)
            counts[0] -= counts.sum() - len(rows)
            ends = np.cumsum(counts)[:-1]
        for part, chunk in zip(_SHARES, np.split(rows, ends), strict=True):
            parts[part].append(chunk)
    return {part: np.sort(np.concatenate(chunks)) for part, chunks in parts.items()}


def check_dataset(data: ClassDataset) -> None:
    """Refuses a malformed data set with one sentence. Raises: `InputError`."""
    name, inputs, labels = data.name, data.inputs, data.labels
    if len(inputs) == 0:
        raise InputError(f"dataset={name!r} is empty; give at least one item per class.")
    dims, dtype = (4, torch.uint8) if data.modality == "image" else (2, torch.float32)
    if inputs.dim() != dims or inputs.dtype != dtype:
        wanted = "(M, C, H, W) uint8" if data.modality == "image" else "(M, D) float32"
        raise InputError(
            f"dataset={name!r} has inputs of shape {tuple(inputs.shape)} and type {inputs.dtype}; "
            f"{data.modality} data must be {wanted}."
        )
    if labels.shape != (len(inputs),):
        raise InputError(
            f"dataset={name!r} has {len(inputs)} inputs but labels of shape {tuple(labels.shape)}; "
            "give one label per item."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= data.n_classes:
        raise InputError(
            f"dataset={name!r} has labels in [{int(labels.min())}, {int(labels.max())}] but "
            f"{data.n_classes} class names; labels must lie in [0, {data.n_classes - 1}]."
        )
    if len(data.groups) != data.n_classes:
        raise InputError(f"dataset={name!r} has {len(data.groups)} groups; give one per class.")
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        raise InputError(f"dataset={name!r} contains NaN or infinite inputs; impute or drop those items.")


DATASETS: Registry[Callable[[], ClassDataset]] = Registry("dataset")
"""Name → loader. A loader takes no arguments and returns the whole data set."""
