"""`EpisodeState`: everything about running episodes, and rows of it taken out or put in."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from metaal_env.batched import take_rows
from metaal_env.learners.base import Adapted
from metaal_env.metrics import Metrics
from metaal_env.pool.distances import Geometry
from metaal_env.tasks import TaskBatch


@dataclass(eq=False)
class EpisodeState:
    """Everything about B running episodes; each tensor has the leading dimension B."""

    task: TaskBatch
    prepared: Tensor  # (B, N, *F) prepared pool items
    prepared_reward: Tensor  # (B, R, *F) prepared reward items
    labelled: Tensor  # (B, N) bool
    labels: Tensor  # (B, N) int64 revealed class; −1 if unknown or a distractor
    order: Tensor  # (B, S) int64 pool positions in the order of labelling; −1 at padding
    used: Tensor  # (B,) int64 actions taken
    adapted: Adapted
    embeddings: Tensor  # (B, N, D)
    logits: Tensor  # (B, N, K)
    metrics: Metrics
    accuracy_sum: Tensor  # (B,) sum of the reward-set accuracy after each action, for the running AULC
    geometry: Geometry | None = None  # kept while embeddings are static

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def support(self) -> tuple[Tensor, Tensor, Tensor]:
        """Labelled items in the order of labelling: prepared (B, S, *F), labels (B, S), mask (B, S)."""
        longest = int((self.order >= 0).sum(1).max()) if self.order.numel() else 0
        order = self.order[:, :longest]
        labels = torch.take_along_dim(self.labels, order.clamp(min=0), 1)
        return take_rows(self.prepared, order), labels, (order >= 0) & (labels >= 0)

    def rows(self, index: Tensor) -> EpisodeState:
        """Returns the episodes at `index` (int64) as a state of their own; the geometry is rebuilt on demand."""
        kept = {f.name: _take(getattr(self, f.name), index) for f in fields(self) if f.name != "geometry"}
        return EpisodeState(**kept)

    def replace_rows(self, index: Tensor, other: EpisodeState) -> None:
        """Overwrites the episodes at `index` (int64) with those of `other`, in order."""
        for f in fields(self):
            _put(getattr(self, f.name), index, getattr(other, f.name))
        self.geometry = None


def _take(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value[index]
    if isinstance(value, TaskBatch):
        return value.rows(index)
    if isinstance(value, dict):
        return {key: _take(item, index) for key, item in value.items()}
    return type(value)(*(_take(item, index) for item in value))  # Metrics


def _put(target: object, index: Tensor, source: object) -> None:
    if isinstance(target, Tensor) and isinstance(source, Tensor):
        target[index] = source
    elif isinstance(target, TaskBatch):
        for f in fields(target):
            _put(getattr(target, f.name), index, getattr(source, f.name))
    elif isinstance(target, dict) and isinstance(source, dict):
        for key in target:
            widest = torch.maximum(torch.tensor(target[key].shape[1:]), torch.tensor(source[key].shape[1:]))
            target[key] = _padded(target[key], widest)
            _put(target[key], index, _padded(source[key], widest))
    elif isinstance(target, tuple) and isinstance(source, tuple):
        for old, new in zip(target, source, strict=True):
            _put(old, index, new)


def _padded(x: Tensor, sizes: Tensor) -> Tensor:
    """Returns `x` with zeros behind, so that its dimensions after the first have `sizes`."""
    missing = sizes - torch.tensor(x.shape[1:])
    return pad(x, [n for size in missing.flip(0).tolist() for n in (0, size)]) if missing.any() else x
