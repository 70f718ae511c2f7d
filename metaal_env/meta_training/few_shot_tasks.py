"""Few-shot tasks, on which inner learners are meta-trained and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metaal_env.datasets.base import ClassDataset
from metaal_env.tasks import Range, bounds


class FewShotTasks(NamedTuple):
    """Holds B few-shot tasks as positions in one batch of embedded items."""

    support: Tensor  # (B, S) int64
    support_labels: Tensor  # (B, S) int64
    support_mask: Tensor  # (B, S) bool
    query: Tensor  # (B, Q) int64
    query_labels: Tensor  # (B, Q) int64; −1 at padding
    class_mask: Tensor  # (B, K) bool

    def to(self, device: torch.device) -> FewShotTasks:
        return FewShotTasks(*(t.to(device) for t in self))


ACQUISITION = (0.5, 1.0, math.inf)
"""Dirichlet concentrations of the class shares of acquisition-like supports."""


def draw_items(dataset: ClassDataset, rng: np.random.Generator, classes: int, items: int) -> np.ndarray:
    """Draws (classes, items) data-set indices: `items` of each of up to `classes` random classes.

    Classes smaller than `items` are drawn with repetition, so that rare classes are learned from as well.
    """
    labels = dataset.labels.numpy()
    chosen = rng.permutation(dataset.n_classes)[:classes]
    rows = []
    for c in chosen:
        members = np.flatnonzero(labels == c)
        rows.append(rng.permutation(members)[:items] if len(members) >= items else rng.choice(members, items))
    return np.stack(rows)


def draw_tasks(
    rng: np.random.Generator,
    classes: int,
    items: int,
    *,
    tasks: int,
    way: Range,
    max_labels: int,
    queries: int,
    labels: int | None = None,
    concentrations: Sequence[float] = ACQUISITION,
    shots: Range | None = None,
) -> FewShotTasks:
    """Draws tasks over a (classes, items) grid of embedded items.

    They are like those of acquisition unless `shots` is given. Class shares of a support are then Dirichlet with one
    of the `concentrations` (∞ for uniform classes), so classes are unbalanced and often missing. The number of
    labels is uniform in 1…max_labels unless `labels` fixes it. With `shots` (at most ``items − queries``), every
    class has that number of labels and `max_labels` is ignored.
    """
    low, high = (min(limit, classes) for limit in bounds(way))
    size = max_labels if shots is None else high * bounds(shots)[1]
    out = {
        "support": np.zeros((tasks, size), dtype=np.int64),
        "support_labels": np.zeros((tasks, size), dtype=np.int64),
        "support_mask": np.zeros((tasks, size), dtype=bool),
        "query": np.zeros((tasks, high * queries), dtype=np.int64),
        "query_labels": np.full((tasks, high * queries), -1, dtype=np.int64),
        "class_mask": np.zeros((tasks, high), dtype=bool),
    }
    for b in range(tasks):
        k = int(rng.integers(low, high, endpoint=True))
        grid = rng.permutation(classes)[:k, None] * items + rng.permuted(
            np.tile(np.arange(items), (k, 1)), axis=1
        )
        if shots is None:
            n = labels or int(rng.integers(1, max_labels, endpoint=True))
            share = rng.choice(np.asarray(concentrations))
            shares = np.full(k, 1 / k) if np.isinf(share) else rng.dirichlet(np.full(k, share))
            drawn = rng.choice(k, size=n, p=shares)
        else:
            drawn = np.repeat(np.arange(k), rng.integers(*bounds(shots), endpoint=True))
        rank = np.array([np.count_nonzero(drawn[:i] == c) for i, c in enumerate(drawn)])
        fits = rank < items - queries
        drawn, rank = drawn[fits], rank[fits]
        m = len(drawn)
        out["support"][b, :m] = grid[drawn, queries + rank]
        out["support_labels"][b, :m] = drawn
        out["support_mask"][b, :m] = True
        out["query"][b, : k * queries] = grid[:, :queries].ravel()
        out["query_labels"][b, : k * queries] = np.repeat(np.arange(k), queries)
        out["class_mask"][b, :k] = True
    return FewShotTasks(**{name: torch.from_numpy(value) for name, value in out.items()})


def distorted(images: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Transforms each image by an affine map of its own: rotation, zoom, shear and shift.

    Args:
        images: (M, C, H, W); pixels from outside repeat the border.
        strength: standard deviation of the map's four matrix entries. Shifts have half of it, in units of half the
            image's side. A strength of 0.1 turns by about 6°, and zooms and shears by about 10 %.
        rng: source of the maps.
    """
    noise = rng.normal(scale=strength, size=(len(images), 2, 3)) * (1.0, 1.0, 0.5)
    maps = torch.from_numpy((np.eye(2, 3) + noise).astype(np.float32)).to(images.device)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
