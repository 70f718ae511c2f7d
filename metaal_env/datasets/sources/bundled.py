"""`digits`, `iris`, `wine`, `breast_cancer`: the small data sets that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from metaal_env.datasets.base import DATASETS, ClassDataset
from metaal_env.datasets.prepare import standardise

_DIGITS_MAX = 16.0


def load_bundled(name: str) -> ClassDataset:
    """Loads one of scikit-learn's data sets as float32 vectors, each class its own group.

    `digits` keeps its 8×8 grey values, flattened and scaled to [0, 1]. The columns of the others are standardised.
    With two or three classes, all but `digits` are split by item.
    """
    from sklearn import datasets

    loader: Callable[[], Any] = getattr(datasets, f"load_{name}")
    bunch = loader()
    columns = np.asarray(bunch.data, dtype=np.float64)  # (M, D)
    vectors = (columns / _DIGITS_MAX).astype(np.float32) if name == "digits" else standardise(columns)
    class_names = tuple(str(label) for label in bunch.target_names)
    return ClassDataset(
        name=name,
        inputs=torch.from_numpy(vectors),
        labels=torch.from_numpy(np.asarray(bunch.target, dtype=np.int64)),
        class_names=class_names,
        groups=class_names,
        modality="vector",
    )


for _name in ("digits", "iris", "wine", "breast_cancer"):
    DATASETS.register(_name)(partial(load_bundled, _name))
