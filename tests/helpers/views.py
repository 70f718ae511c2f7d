"""Pools as strategies and features see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metaal_env.pool.distances import Geometry
from metaal_env.pool.view import PoolView


def make_view(
    batch: int = 3, n: int = 20, d: int = 6, k: int = 4, labels: int = 5, seed: int = 0
) -> PoolView:
    """Random pools whose last class has no label."""
    rng = np.random.default_rng(seed)
    embeddings = torch.from_numpy(rng.normal(size=(batch, n, d)) + rng.normal(size=(batch, 1, d))).float()
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(n), (batch, 1)), axis=1)[:, :labels])
    revealed = torch.full((batch, n), -1)
    revealed.scatter_(1, order, torch.from_numpy(rng.integers(0, k - 1, (batch, labels))))
    return build(embeddings, torch.from_numpy(rng.normal(size=(batch, n, k))).float(), revealed, order)


def build(
    embeddings: Tensor, logits: Tensor, labels: Tensor, order: Tensor, valid: Tensor | None = None
) -> PoolView:
    """Pools of which everything is known."""
    batch, n, k = logits.shape
    valid = torch.ones(batch, n, dtype=torch.bool) if valid is None else valid
    return PoolView(
        embeddings=embeddings, logits=logits, valid=valid, labelled=labels >= 0, labels=labels, order=order,
        class_mask=torch.ones(batch, k, dtype=torch.bool), budget=torch.full((batch,), 10),
        budget_left=torch.full((batch,), 10 - order.shape[1]), seed=torch.arange(batch),
        geometry=Geometry(embeddings, valid),
    )  # fmt: skip
