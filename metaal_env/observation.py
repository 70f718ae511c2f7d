"""The observation: the arrays that every API shows of a `PoolView`, and their Gymnasium space."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metaal_env.features import FeatureNames, extract
from metaal_env.pool.view import PoolView
from metaal_env.tasks import TaskConfig

PADDING, UNKNOWN = -2, -1
"""Entries of ``labels``; a revealed distractor reads K, one more than the last class."""


def observation_space(config: TaskConfig, embedding_dim: int) -> spaces.Dict:
    """Returns the space of one episode's observation; see `observe`.

    No key may be an attribute of `torch.nn.ModuleDict` (``items``, ``keys``, ``values``, ``type``, …):
    stable-baselines3 and others keep one extractor per key in such a dictionary.
    """
    n, k = config.max_pool, config.max_way
    names = FeatureNames.registered()
    return spaces.Dict(
        {
            "item_features": spaces.Box(-np.inf, np.inf, (n, len(names.items)), np.float32),
            "pool_features": spaces.Box(-np.inf, np.inf, (len(names.pool_features),), np.float32),
            "embeddings": spaces.Box(-np.inf, np.inf, (n, embedding_dim), np.float32),
            "labels": spaces.Box(PADDING, k, (n,), np.int64),
            "action_mask": spaces.Box(0, 1, (n,), np.int8),
        }
    )


@torch.no_grad()
def observe(view: PoolView) -> dict[str, Tensor]:
    """What an agent is shown of B pools.

    Returns:
        item_features: (B, N, F) `FeatureNames.items` of all registered features.
        pool_features: (B, P) `FeatureNames.pool_features`.
        embeddings: (B, N, D), scaled to a mean squared distance of 1 between items; 0 at padding.
        labels: (B, N) int64: `PADDING`, `UNKNOWN`, a class in 0…K − 1, or K for a revealed distractor.
        action_mask: (B, N) int8, 1 where an item may be labelled.
    """
    features = extract(view)
    memo = view.geometry.memo  # lasts for the episode where embeddings are static
    if "scaled" not in memo:
        scale = view.geometry.mean_sq_dist.rsqrt().view(-1, 1, 1)
        memo["scaled"] = view.embeddings * scale * view.valid.unsqueeze(-1)
    labels = torch.where(view.labelled & (view.labels < 0), view.class_mask.shape[1], view.labels)
    return {
        "item_features": features.items,
        "pool_features": features.episode,
        "embeddings": memo["scaled"],
        "labels": torch.where(view.valid, labels, PADDING),
        "action_mask": view.selectable.to(torch.int8),
    }
