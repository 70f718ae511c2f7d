"""Gaussian clusters: the one data set that tests make up where its content does not matter."""

from __future__ import annotations

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset


def cluster_dataset(classes: int = 12, items: int = 40, dim: int = 8, spread: float = 0.45) -> ClassDataset:
    """Gaussian clusters around random directions; overlapping enough that labels matter."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dim))
    x = np.repeat(centres, items, 0) + spread * rng.normal(size=(classes * items, dim)) * np.sqrt(dim) / 2
    names = tuple(f"class {c}" for c in range(classes))
    labels = torch.arange(classes).repeat_interleave(items)
    return ClassDataset("clusters", torch.from_numpy(x).float(), labels, names, names, "vector")


def same(a: ClassDataset, b: ClassDataset) -> bool:
    """Whether two data sets hold the same."""
    rest = ("name", "class_names", "groups", "modality", "class_split", "texts")
    equal = torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
    return equal and all(getattr(a, key) == getattr(b, key) for key in rest)
