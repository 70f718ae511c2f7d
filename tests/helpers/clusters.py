"""Gaussian clusters: what tests learn from where the content of data does not matter."""

from __future__ import annotations

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset


def clusters(
    truth: np.ndarray,
    dim: int,
    *,
    apart: float = 1.0,
    noise: float = 1.0,
    on_axes: bool = False,
    seed: int | np.random.Generator = 0,
) -> np.ndarray:
    """(N, D) points, one Gaussian cluster a class.

    Args:
        truth: (N,) class of every point.
        apart: factor of the centres, which are normally distributed or the unit vectors.
        noise: standard deviation of every coordinate around its centre.
    """
    rng, classes = np.random.default_rng(seed), int(truth.max()) + 1
    centres = np.eye(classes, dim) if on_axes else rng.normal(size=(classes, dim))
    return apart * centres[truth] + noise * rng.normal(size=(len(truth), dim))


def cluster_dataset(classes: int = 12, items: int = 40, dim: int = 8, spread: float = 0.45) -> ClassDataset:
    """Clusters that overlap enough that labels matter."""
    truth = np.arange(classes).repeat(items)
    x = clusters(truth, dim, noise=spread * dim**0.5 / 2)
    names = tuple(f"class {c}" for c in range(classes))
    return ClassDataset(
        "clusters", torch.from_numpy(x).float(), torch.from_numpy(truth), names, names, "vector"
    )


def same(a: ClassDataset, b: ClassDataset) -> bool:
    """Whether two data sets hold the same."""
    rest = ("name", "class_names", "groups", "modality", "class_split", "texts")
    equal = torch.equal(a.inputs, b.inputs) and torch.equal(a.labels, b.labels)
    return equal and all(getattr(a, key) == getattr(b, key) for key in rest)
