"""Small pools and a learner on which strategies are checked against brute force."""

from __future__ import annotations

import numpy as np
import torch

from metaal_env.learners.maml import MAML
from metaal_env.pool.view import PoolView


def pool(labelled: int = 6, items: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (N, 4), probabilities (N, 3) and labels (N,) with −1 where unknown."""
    rng = np.random.default_rng(seed)
    labels = np.full(items, -1)
    labels[rng.permutation(items)[:labelled]] = np.arange(labelled) % 3
    return rng.normal(size=(items, 4)), rng.dirichlet(np.ones(3), items), labels


def view_of(x: np.ndarray, probs: np.ndarray | None, labels: np.ndarray, **options: object) -> PoolView:
    return PoolView.from_arrays(x, probs, labels, dtype=torch.float64, **options)  # type: ignore[arg-type]


def learner(size: int = 4) -> MAML:
    """Calibrated prototypes whose label-less classes neither always win nor never."""
    made = MAML((size,), body="identity", steps=0)
    with torch.no_grad():
        made.log_scale.fill_(1.0)
        made.unseen_logit.fill_(-2.5)
    return made
