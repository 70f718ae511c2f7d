"""`toy`: four classes of identical items, for `MetaAL-Toy-v0`, a small problem with a known optimum to debug agents.

The pool has two items of each class. A label costs .05, and the ninth action ends the episode. The learner predicts at
random what it does not know: labels of one, two and three classes bring an accuracy of .25, .75 and 1, from .25.

| agent | return |
|---|---|
| optimal: one label of each of three classes, then the end | 0.6000 |
| at random among the actions that the mask allows | 0.3389 |
| greedy: ends where no single label is worth its price, and so at once | 0.0000 |

The returns are exact; a test computes them over all sets of labelled items. The first label alone earns nothing, so an
agent that stays at 0 does not look ahead, and one at .55 labels the fourth class as well.
"""

from __future__ import annotations

import torch

from metaal_env.datasets.base import DATASETS, ClassDataset

CLASSES, PER_CLASS = 4, 60


@DATASETS.register("toy")
def load_toy() -> ClassDataset:
    """Returns four classes; all items of one are the same unit vector."""
    names = tuple(f"class {c}" for c in range(CLASSES))
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS)
    return ClassDataset("toy", torch.eye(CLASSES)[labels], labels, names, names, "vector")
