"""`toy`: four classes of identical items, in which the best policy is known."""

from __future__ import annotations

import torch

from metaal_env.datasets.base import DATASETS, ClassDataset

CLASSES, PER_CLASS = 4, 30


@DATASETS.register("toy")
def load_toy() -> ClassDataset:
    """Returns four classes; all items of one are the same unit vector."""
    names = tuple(f"class {c}" for c in range(CLASSES))
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    return ClassDataset("toy", torch.eye(CLASSES)[labels], labels, names, names, "vector")
