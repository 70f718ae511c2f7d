"""Tasks: an unlabelled pool, a reward set and a test set of a few classes, drawn from a `ClassDataset`."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError

Range = int | tuple[int, int]
MAX_POOL = 1_000_000
"""Largest pool: arrays of this length are made for every task before a single item is drawn."""


@dataclass(frozen=True)
class TaskConfig:
    """What tasks look like. Ranges are inclusive ``(low, high)``; one number means always that number.

    Attributes:
        way: number of classes in a task.
        pool_size: unlabelled items in the pool.
        budget: labels that may be bought in an episode.
        initial_labels: labels given before the first action (0 = cold start).
        imbalance: concentration of the Dirichlet that draws the class shares of the pool; small is
            unbalanced, ``inf`` is balanced.
        label_noise: probability that the oracle names a wrong class for an item.
        distractors: share of the pool that belongs to none of the task's classes.
        reward_per_class, test_per_class: items per class in the balanced reward and test sets.

    Raises:
        InputError: any value out of range; names the argument, the value and the mend.
    """

    way: Range = 10
    pool_size: Range = 100
    budget: Range = 20
    initial_labels: Range = 0
    imbalance: float = 1.0
    label_noise: float = 0.0
    distractors: float = 0.0
    reward_per_class: int = 10
    test_per_class: int = 10

    def __post_init__(self) -> None:
        for name, least in (("way", 2), ("pool_size", 2), ("budget", 1), ("initial_labels", 0)):
            value = getattr(self, name)
            pair = value if isinstance(value, (tuple, list)) else (value, value)
            if len(pair) != 2 or not all(map(_is_whole, pair)):
                raise InputError(f"{name}={value!r} must be a whole number, or two: (low, high).")
            if not least <= pair[0] <= pair[1] <= MAX_POOL:
                raise InputError(f"{name}={value!r} must be {least} ≤ low ≤ high ≤ {MAX_POOL:,}.")
        for name in ("reward_per_class", "test_per_class"):
            value = getattr(self, name)
            if not _is_whole(value) or not 1 <= value <= MAX_POOL:
                raise InputError(f"{name}={value!r} must be a whole number, at least 1.")
        for name in ("imbalance", "label_noise", "distractors"):
            value = getattr(self, name)
            real = isinstance(value, numbers.Real) and not isinstance(value, bool)
            if not real or 1e300 < float(value) < float("inf"):
                raise InputError(f"{name}={value!r} must be a number.")
        if not self.imbalance > 0:
            raise InputError(f"imbalance={self.imbalance} must be positive (inf for balanced pools).")
        for name in ("label_noise", "distractors"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in [0, 1).")
        most_labels = bounds(self.budget)[1] + bounds(self.initial_labels)[1]
        if most_labels >= bounds(self.pool_size)[0]:
            raise InputError(
                f"budget={self.budget!r} with initial_labels={self.initial_labels!r} would label all "
                f"{bounds(self.pool_size)[0]} items that pool_size={self.pool_size!r} may have, which leaves "
                "nothing to choose; lower the budget or enlarge the pool."
            )

    @property
    def max_way(self) -> int:
        return bounds(self.way)[1]

    @property
    def max_pool(self) -> int:
        return bounds(self.pool_size)[1]

    @property
    def max_labels(self) -> int:
        """Most labels an episode can hold: initial ones and the budget."""
        return bounds(self.budget)[1] + bounds(self.initial_labels)[1]


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def bounds(value: Range) -> tuple[int, int]:
    """``(low, high)`` of a range given as one number or two."""
    low, high = value if isinstance(value, (tuple, list)) else (value, value)
    return int(low), int(high)


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """B tasks as indices into one data set, padded to common sizes; items are never copied.

    `pool`, `reward` and `test` are disjoint. Classes are numbered 0…way − 1 within the task, in random
    order. The label fields are hidden from every strategy: only `core.Oracle` may read them.
    """

    pool: Tensor  # (B, N) int64 indices into the data set; 0 at padding
    pool_mask: Tensor  # (B, N) bool, True at real items
    pool_labels: Tensor  # (B, N) int64 true class; −1 for distractors and padding
    oracle_labels: Tensor  # (B, N) int64 what labelling reveals: `pool_labels` with noise
    initial: Tensor  # (B, I) int64 pool positions labelled at the start; −1 at padding
    reward: Tensor  # (B, R) int64 indices
    reward_labels: Tensor  # (B, R) int64; −1 at padding
    test: Tensor  # (B, S) int64 indices
    test_labels: Tensor  # (B, S) int64; −1 at padding
    class_mask: Tensor  # (B, K) bool, True at the task's classes
    classes: Tensor  # (B, K) int64 class of the data set; −1 at padding
    budget: Tensor  # (B,) int64
    seed: Tensor  # (B,) int64, from which stochastic strategies derive their randomness

    def __len__(self) -> int:
        return len(self.pool)

    def to(self, device: torch.device | str) -> TaskBatch:
        return TaskBatch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def rows(self, index: Tensor) -> TaskBatch:
        """The tasks at `index` (int64 or bool)."""
        return TaskBatch(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


class TaskSampler:
    """Draws tasks from a data set.

    Each task consumes one NumPy generator only, so a batch is exactly its members drawn one by one and the
    same seed gives the same episode whatever strategy plays it.

    Raises:
        InputError: the data set has too few classes, or a class too few items, for `config`.
    """

    def __init__(self, dataset: ClassDataset, config: TaskConfig):
        self.dataset, self.config = dataset, config
        self._members = [np.flatnonzero(dataset.labels.numpy() == c) for c in range(dataset.n_classes)]
        held = config.reward_per_class + config.test_per_class
        sizes = np.array([len(m) for m in self._members])
        # Small classes are left out of tasks as long as enough others remain.
        self._usable = np.flatnonzero(sizes > held)
        if config.max_way > dataset.n_classes:
            raise InputError(
                f"way={config.way!r} exceeds the {dataset.n_classes} classes of dataset={dataset.name!r} "
                "in this split; lower way or take another split."
            )
        if len(self._usable) < config.max_way:
            least = int(np.argmin(sizes))
            raise InputError(
                f"dataset={dataset.name!r}: class {dataset.class_names[least]!r} has {sizes[least]} items, but "
                f"reward_per_class={config.reward_per_class} and test_per_class={config.test_per_class} leave "
                f"none for the pool, and only {len(self._usable)} classes are large enough for "
                f"way={config.way!r}; lower them."
            )
        if config.distractors and len(self._usable) <= config.max_way:
            raise InputError(
                f"distractors={config.distractors} needs classes outside the task, but dataset={dataset.name!r} "
                f"has only {len(self._usable)} usable classes for way={config.way!r}; lower way."
            )
        smallest = np.sort(sizes[self._usable] - held)[: bounds(config.way)[0]].sum()
        if smallest < bounds(config.pool_size)[1] and smallest < config.max_labels + 1:
            raise InputError(
                f"pool_size={config.pool_size!r}: some tasks of dataset={dataset.name!r} have only {smallest} "
                f"pool items, too few for {config.max_labels} labels; lower the budget or the held-out items."
            )

    def sample(self, rngs: Sequence[np.random.Generator]) -> TaskBatch:
        """One task per generator, in order."""
        c = self.config
        b, n, k = len(rngs), c.max_pool, c.max_way
        shapes = {
            "pool": n,
            "pool_labels": n,
            "oracle_labels": n,
            "initial": bounds(c.initial_labels)[1],
            "reward": k * c.reward_per_class,
            "reward_labels": k * c.reward_per_class,
            "test": k * c.test_per_class,
            "test_labels": k * c.test_per_class,
            "classes": k,
        }
        out = {name: np.full((b, width), -1, dtype=np.int64) for name, width in shapes.items()}
        budget, seed = np.empty(b, dtype=np.int64), np.empty(b, dtype=np.int64)
        for row, rng in enumerate(rngs):
            task, budget[row] = self._draw(rng)
            seed[row] = rng.integers(2**62)
            for name, values in task.items():
                out[name][row, : len(values)] = values
        masks = {"pool_mask": out["pool"] >= 0, "class_mask": out["classes"] >= 0}
        for name in ("pool", "reward", "test"):
            out[name] = out[name].clip(min=0)
        arrays = out | masks | {"budget": budget, "seed": seed}
        return TaskBatch(**{name: torch.from_numpy(values) for name, values in arrays.items()})

    def _draw(self, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], int]:
        c = self.config
        way, size, budget, initial = (
            int(rng.integers(*bounds(value), endpoint=True))
            for value in (c.way, c.pool_size, c.budget, c.initial_labels)
        )
        order = rng.permutation(self._usable)
        classes, others = order[:way], order[way:]
        held, pools = c.reward_per_class + c.test_per_class, []
        reward, test = [], []
        for member in classes:
            rows = rng.permutation(self._members[member])
            reward.append(rows[: c.reward_per_class])
            test.append(rows[c.reward_per_class : held])
            pools.append(rows[held:])

        n_distractors = round(c.distractors * size)
        counts = _class_counts(rng, size - n_distractors, np.array([len(p) for p in pools]), c.imbalance)
        items = [p[:count] for p, count in zip(pools, counts, strict=True)]
        labels = [np.full(count, j) for j, count in enumerate(counts)]
        if n_distractors:
            outside = np.concatenate([self._members[o] for o in others])
            items.append(rng.choice(outside, min(n_distractors, len(outside)), replace=False))
            labels.append(np.full(len(items[-1]), -1))
        shuffle = rng.permutation(sum(map(len, items)))
        pool, pool_labels = np.concatenate(items)[shuffle], np.concatenate(labels)[shuffle]

        # A wrong label is any other class of the task; distractors are always recognised as such.
        shift = rng.integers(1, way, size=len(pool))
        wrong = (rng.random(len(pool)) < c.label_noise) & (pool_labels >= 0)
        oracle_labels = np.where(wrong, (pool_labels + shift) % way, pool_labels)
        return {
            "pool": pool,
            "pool_labels": pool_labels,
            "oracle_labels": oracle_labels,
            "initial": rng.permutation(len(pool))[:initial],
            "reward": np.concatenate(reward),
            "reward_labels": np.repeat(np.arange(way), c.reward_per_class),
            "test": np.concatenate(test),
            "test_labels": np.repeat(np.arange(way), c.test_per_class),
            "classes": classes,
        }, budget


def _class_counts(rng: np.random.Generator, size: int, available: np.ndarray, imbalance: float) -> np.ndarray:
    """How many pool items each class gets: Dirichlet shares, at least one each, at most what is there."""
    way = len(available)
    imbalance = float(imbalance)  # NumPy has no place for a whole number as large as 10**30
    shares = np.full(way, 1 / way) if np.isinf(imbalance) else rng.dirichlet(np.full(way, imbalance))
    counts = np.ones(way, dtype=np.int64)
    size = min(size, int(available.sum()))
    while (left := size - counts.sum()) > 0:
        room = available - counts
        weights = np.where(room > 0, shares + 1e-9, 0)
        extra = np.minimum(np.floor(left * weights / weights.sum()).astype(np.int64), room)
        if extra.sum() == 0:  # what rounding left over goes one by one to the largest remaining shares
            extra[np.argsort(-weights)[: min(left, int((room > 0).sum()))]] = 1
        counts += np.minimum(extra, room)
    return counts


def fit_task(task: TaskConfig, data: ClassDataset, fixed: set[str]) -> tuple[TaskConfig, list[str]]:
    """Shrinks a task to what a data set can supply; returns it and what was changed.

    Args:
        fixed: names that the caller chose explicitly; these are never changed.
    """
    wanted = task
    sizes = np.sort(np.bincount(data.labels.numpy(), minlength=data.n_classes))[::-1]

    def change(name: str, value: Any) -> None:
        nonlocal task
        if name not in fixed and getattr(task, name) != value:
            task = replace(task, **{name: value})

    low, high = bounds(task.way)
    if high > data.n_classes:
        change("way", (min(low, data.n_classes), data.n_classes) if low < data.n_classes else data.n_classes)
    way_low, way_high = (min(n, data.n_classes) for n in bounds(task.way))
    smallest = int(sizes[way_high - 1])
    if smallest <= task.reward_per_class + task.test_per_class:
        for name in ("reward_per_class", "test_per_class"):
            change(name, max(1, smallest // 4))
    held = task.reward_per_class + task.test_per_class
    usable = np.sort(sizes[sizes > held] - held)[:way_low]
    initial, room = bounds(task.initial_labels)[1], int(usable.sum()) - 1
    if room < bounds(task.pool_size)[1] and room < task.max_labels and room > initial:
        low, high = bounds(task.budget)
        change("budget", (min(low, room - initial), room - initial) if low < high else room - initial)
    changed = [n for n in TaskConfig.__dataclass_fields__ if getattr(task, n) != getattr(wanted, n)]
    return task, [f"{name} {getattr(wanted, name)} → {getattr(task, name)}" for name in changed]
