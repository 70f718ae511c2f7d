"""Draws tasks from a `ClassDataset`, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.random_parts import (
    class_counts,
    class_shares,
    draw_terms,
    random_order,
    with_noise,
    with_rare_class,
)
from metaal_env.supply import check_supply
from metaal_env.tasks import TaskBatch, TaskConfig, bounds

SORTED = 512
"""Items of classes of at most this size are put into random order by sorting random keys, for all tasks together; of
larger classes as many as needed are drawn, task by task."""


class TaskSampler:
    """Draws tasks from a data set.

    Each task uses its own NumPy generator, so a batch equals its members drawn one by one, and the same seed gives
    the same episode under every strategy. Generators only fill arrays of random numbers. What follows from them is
    computed for all tasks together.

    Raises:
        InputError: the data set has too few classes, or a class too few items, for `config`.
    """

    def __init__(self, dataset: ClassDataset, config: TaskConfig):
        self.dataset, self.config = dataset, config
        labels = dataset.labels.numpy()
        self._items = np.argsort(labels, kind="stable")  # class by class
        self._sizes = np.bincount(labels, minlength=dataset.n_classes)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._held = config.reward_per_class + config.test_per_class
        # Small classes are left out of tasks as long as enough others remain.
        self._usable = np.flatnonzero(self._sizes > self._held)
        self._ranges = np.array(
            [bounds(value) for value in (config.way, config.pool_size, config.budget, config.initial_labels)]
        )
        check_supply(dataset, config, self._sizes, self._usable)
        largest = int(self._sizes[self._usable].max())
        self._sorted = largest if largest <= SORTED else 0
        self._width = min(self._held + config.max_pool, largest)  # most items of a class that a task may need

    def sample(self, rngs: Sequence[np.random.Generator]) -> TaskBatch:
        """Draws one task per generator, in order."""
        c = self.config
        b, n, k = len(rngs), c.max_pool, c.max_way
        sizes = (5, len(self._usable), k * self._sorted, n, n * bool(self._ranges[3, 1]), k)
        uniform = np.empty((b, sum(sizes)))
        for row, rng in zip(uniform, rngs, strict=True):
            rng.random(out=row)
        numbers, of_classes, of_items, of_pool, of_initial, of_shares = np.split(
            uniform, np.cumsum(sizes)[:-1], axis=1
        )
        low, high = self._ranges.T
        way, size, budget, n_initial = (low + numbers[:, :4] * (high - low + 1)).astype(np.int64).T
        order = np.argsort(of_classes, axis=1)
        class_mask = np.arange(k) < way[:, None]
        classes = np.where(class_mask, self._usable[order[:, :k]], -1)
        available = np.where(class_mask, self._sizes[classes] - self._held, 0)
        n_distractors = np.rint(c.distractors * size).astype(np.int64)
        shares = class_shares(rngs, of_shares, class_mask, c.class_concentration)
        shares = with_rare_class(shares, of_shares, class_mask, c.rare_share)
        counts = class_counts(shares, size - n_distractors, available)
        members = self._members(rngs, of_items, classes, counts)
        own = counts.sum(1)  # items of the task's classes
        distractors = self._distractors(rngs, order, way, n_distractors)
        total = own + (distractors >= 0).sum(1)

        # Class by class, distractors last, then shuffled.
        place, column = np.arange(self._width), np.arange(n)
        chosen = (place >= self._held) & (place < self._held + counts[:, :, None])
        classed, pool_mask = column < own[:, None], column < total[:, None]
        pool, pool_labels = np.full((b, n), -1, dtype=np.int64), np.full((b, n), -1, dtype=np.int64)
        pool[classed] = members[chosen]
        pool_labels[classed] = np.repeat(np.tile(np.arange(k), b), counts.ravel())
        pool[pool_mask & ~classed] = distractors[distractors >= 0]
        shuffle = random_order(of_pool, total)
        pool, pool_labels = (
            np.where(pool_mask, np.take_along_axis(x, shuffle, 1), -1) for x in (pool, pool_labels)
        )
        initial = np.full((b, int(high[3])), -1, dtype=np.int64)
        if initial.shape[1]:
            first = random_order(of_initial, total)[:, : initial.shape[1]]
            initial = np.where(np.arange(initial.shape[1]) < n_initial[:, None], first, -1)
        arrays = {
            "pool": pool.clip(min=0),
            "pool_mask": pool_mask,
            "pool_labels": pool_labels,
            "oracle_labels": with_noise(rngs, pool_labels, way, c.label_noise),
            "initial": initial,
            "class_mask": class_mask,
            "classes": classes,
            "budget": budget,
            "seed": (numbers[:, 4] * 2**53).astype(np.int64),
        }
        arrays |= draw_terms(rngs, c, n)
        test = members[:, :, c.reward_per_class : self._held]
        for name, items in (("reward", members[:, :, : c.reward_per_class]), ("test", test)):
            each = items.shape[2]
            arrays[name] = items.reshape(b, k * each).clip(min=0)
            arrays[f"{name}_labels"] = np.repeat(np.where(class_mask, np.arange(k), -1), each, axis=1)
        return TaskBatch(**{name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()})

    def _members(
        self,
        rngs: Sequence[np.random.Generator],
        of_items: np.ndarray,
        classes: np.ndarray,
        counts: np.ndarray,
    ) -> np.ndarray:
        """Returns (B, K, W) items of each class in random order, as many as the task needs or more; −1 at padding."""
        b, k = classes.shape
        if self._sorted:
            keys = of_items.reshape(b, k, self._sorted)
            order = random_order(keys, self._sizes[classes])[:, :, : self._width]
            real = (np.arange(self._width) < self._sizes[classes][:, :, None]) & (classes >= 0)[:, :, None]
            return np.where(
                real, self._items[np.where(real, self._starts[classes][:, :, None] + order, 0)], -1
            )
        members = np.full((b, k, self._width), -1, dtype=np.int64)
        for row, rng in enumerate(rngs):
            for place, (member, count) in enumerate(zip(classes[row], counts[row], strict=True)):
                if member >= 0:
                    drawn = rng.choice(self._sizes[member], self._held + count, replace=False)
                    members[row, place, : len(drawn)] = self._items[self._starts[member] + drawn]
        return members

    def _distractors(
        self, rngs: Sequence[np.random.Generator], order: np.ndarray, way: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """Returns (B, most) items of usable classes outside of the task, in random order; −1 at padding."""
        found = np.full((len(rngs), int(wanted.max())), -1, dtype=np.int64)
        for row in np.flatnonzero(wanted):
            outside = self._usable[order[row, way[row] :]]
            ends = self._sizes[outside].cumsum()
            drawn = rngs[int(row)].choice(ends[-1], min(wanted[row], ends[-1]), replace=False)
            place = np.searchsorted(ends, drawn, side="right")
            within = drawn - (ends - self._sizes[outside])[place]
            found[row, : len(drawn)] = self._items[self._starts[outside[place]] + within]
        return found
