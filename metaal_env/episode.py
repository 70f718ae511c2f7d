"""`EpisodeState`: everything about running episodes, and rows of it taken out or put in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from metaal_env.batched import gather, take_rows
from metaal_env.inner_products import InnerProducts, ItemProducts
from metaal_env.learners.base import Adapted, InnerLearner
from metaal_env.metrics import Metrics
from metaal_env.pool.distances import Geometry
from metaal_env.pool.terms import Terms
from metaal_env.tasks import TaskBatch


class Shared:
    """Holds what all episodes of a core have in common: its learner and the prepared items of its data set.

    Attributes:
        learner: the inner learner.
        prepared: (M, *F) prepared items.
        products: the items as their inner products need them, for learners that depend on nothing else; else None.
    """

    def __init__(self, learner: InnerLearner, prepared: Tensor):
        self.learner, self.prepared = learner, prepared
        self.products = ItemProducts(prepared, learner.products == "centred") if learner.products else None

    def __deepcopy__(self, memo: object) -> Shared:
        return self


@dataclass(eq=False)
class EpisodeState:
    """Holds everything about B running episodes; each tensor has the leading dimension B.

    `prepared`, `prepared_reward`, `adapted` and `embeddings` are computed on first use and stored in `kept`.
    """

    shared: Shared
    task: TaskBatch
    labelled: Tensor  # (B, N) bool
    labels: Tensor  # (B, N) int64 revealed class; −1 if unknown or a distractor
    order: Tensor  # (B, T) int64 pool positions in the order of labelling; −1 at padding
    count: Tensor  # (B,) int64 labels in `order`
    used: Tensor  # (B,) int64 actions taken, but for the one that stops
    logits: Tensor  # (B, N, K)
    metrics: Metrics
    accuracy_sum: Tensor  # (B,) sum of the accuracy after each action, or over the money, for the AULC
    terms: Terms
    ended: Tensor  # (B,) bool; nothing changes an ended episode
    stopped: Tensor  # (B,) bool, True where the agent ended it itself
    products: InnerProducts | None
    kept: dict[str, Any] = field(default_factory=dict)
    """Results by name: (B, N, *F) ``"prepared"`` and (B, R, *F) ``"prepared_reward"`` until the tasks change,
    ``"adapted"`` and, unless static, (B, N, D) ``"embeddings"`` until the next label."""
    geometry: Geometry | None = None  # kept while embeddings are static
    # The geometry before, and which episodes were replaced since.
    replaced: tuple[Geometry, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def prepared(self) -> Tensor:
        """Returns the (B, N, *F) prepared pool items."""
        if "prepared" not in self.kept:
            self.kept["prepared"] = gather(self.shared.prepared, self.task.pool)
        return self.kept["prepared"]

    @property
    def prepared_reward(self) -> Tensor:
        """Returns the (B, R, *F) prepared reward items."""
        if "prepared_reward" not in self.kept:
            self.kept["prepared_reward"] = gather(self.shared.prepared, self.task.reward)
        return self.kept["prepared_reward"]

    @property
    def adapted(self) -> Adapted:
        """Returns the learner's adaptation to the labels."""
        if "adapted" not in self.kept:
            self.kept["adapted"] = self.shared.learner.adapt(*self.support, self.task.class_mask)
        return self.kept["adapted"]

    @property
    def embeddings(self) -> Tensor:
        """Returns the (B, N, D) pool items under the adapted learner."""
        if self.products is not None:  # prepared items are the embeddings
            return self.prepared
        if "embeddings" not in self.kept:
            self.kept["embeddings"] = self.shared.learner.embed(self.adapted, self.prepared)
        return self.kept["embeddings"]

    @property
    def selectable(self) -> Tensor:
        """Returns the (B, N) mask of what may be labelled next."""
        return self.task.pool_mask & ~self.labelled & self.terms.affordable

    @property
    def longest(self) -> int:
        """Returns the number of columns of `order` in use; see `used_columns`."""
        return used_columns(self.order, self.count)

    @property
    def support(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the labelled items in the order of labelling: prepared (B, S, *F), labels (B, S), mask (B, S)."""
        order = self.order[:, : self.longest]
        labels = torch.take_along_dim(self.labels, order.clamp(min=0), 1)
        return take_rows(self.prepared, order), labels, (order >= 0) & (labels >= 0)

    def forget_moment(self) -> None:
        """Drops the stored results that the next label changes."""
        self.kept.pop("adapted", None)
        if not self.shared.learner.static_embedding:
            self.kept.pop("embeddings", None)
            self.geometry = self.replaced = None

    def rows(self, index: Tensor) -> EpisodeState:
        """Returns the episodes at `index` (int64) as a state of their own; the geometry is rebuilt on demand."""
        taken = {f.name: _take(getattr(self, f.name), index) for f in fields(self) if f.name not in APART}
        products = None if self.products is None else self.products.take(index)
        return EpisodeState(**taken, shared=self.shared, products=products)

    def replace_rows(self, index: Tensor, other: EpisodeState) -> None:
        """Overwrites the episodes at `index` (int64) with those of `other`, in order."""
        for f in fields(self):
            if f.name not in (*APART, "kept"):
                _put(getattr(self, f.name), index, getattr(other, f.name))
        if self.products is not None and other.products is not None:
            self.products.put(index, other.products)
        for name, value in self.kept.items():
            _put(value, index, getattr(other, name))
        if self.geometry is not None:
            self.replaced, self.geometry = (self.geometry, index), None
        elif self.replaced is not None:
            self.replaced = (self.replaced[0], torch.cat([self.replaced[1], index]).unique())


APART = ("shared", "geometry", "replaced", "products")
"""Fields of `EpisodeState` whose rows are not taken or put like those of the others."""


def used_columns(order: Tensor, count: Tensor) -> int:
    """Returns how many columns of (B, T) `order` hold the (B,) `count` of labels.

    On a GPU it is all of them: shapes that never change can be captured in a graph, and the host need not wait for
    the number.
    """
    if count.device.type != "cpu":
        return order.shape[1]
    # Whoever labels beyond the budget overwrites the last column.
    return min(int(count.max()), order.shape[1]) if len(count) else 0


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
