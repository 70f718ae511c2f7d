"""Options and random generators of environments under test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from helpers.clusters import cluster_dataset

import metaal_env

FIXED = sorted(set(metaal_env.VARIANTS) - {f"MetaAL-{kind}-v0" for kind in ("Stop", "Cost", "Target", "Toy")})
"""Ids whose episodes are as long as their budget."""


def options_of(env_id: str) -> dict[str, Any]:
    """Options of an id for tiny tasks; data sets that need a download are replaced by images of clusters."""
    if env_id == "MetaAL-Batch-v0":
        return {"batch_size": 2}
    if env_id == "MetaAL-Cost-v0":
        return {"item_costs": 0.4}
    if env_id not in ("MetaAL-Omniglot-v0", "MetaAL-CIFAR100-v0"):
        return {}
    data = cluster_dataset(classes=40)
    images = (data.inputs.clamp(-2, 2) * 60 + 128).to(torch.uint8).view(-1, 1, 2, 4)
    return {"dataset": replace(data, inputs=images, modality="image")}


def generators(n: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng(seed + i) for i in range(n)]
