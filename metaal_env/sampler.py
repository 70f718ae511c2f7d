"""Draws tasks from a `ClassDataset`; `fit_task` shrinks a task to fit a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.tasks import TaskBatch, TaskConfig, bounds


class TaskSampler:
    """Draws tasks from a data set.

    Each task uses its own NumPy generator, so a batch equals its members drawn one by one, and the same seed gives
    the same episode under every strategy.

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
            advice = "lower them"
            if len(self._usable) < 2 and held == 2:
                advice = "give more items of it, or take split='all', which holds back none for other splits"
            raise InputError(
                f"dataset={dataset.name!r}: class {dataset.class_names[least]!r} has {sizes[least]} items, but "
                f"reward_per_class={config.reward_per_class} and test_per_class={config.test_per_class} leave "
                f"none for the pool, and only {len(self._usable)} classes are large enough for "
                f"way={config.way!r}; {advice}."
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
        """Draws one task per generator, in order."""
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
        counts = _class_counts(
            rng, size - n_distractors, np.array([len(p) for p in pools]), c.class_concentration
        )
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


def _class_counts(
    rng: np.random.Generator, size: int, available: np.ndarray, concentration: float
) -> np.ndarray:
    """Draws the number of pool items of each class: Dirichlet shares, at least one each, at most all available."""
    way = len(available)
    concentration = float(concentration)  # NumPy has no place for a whole number as large as 10**30
    shares = np.full(way, 1 / way) if np.isinf(concentration) else rng.dirichlet(np.full(way, concentration))
    counts = np.ones(way, dtype=np.int64)
    size = min(size, int(available.sum()))
    while (left := size - counts.sum()) > 0:
        room = available - counts
        weights = np.where(room > 0, shares + 1e-9, 0)
        extra = np.minimum(np.floor(left * weights / weights.sum()).astype(np.int64), room)
        if extra.sum() == 0:  # the rest from rounding goes one by one to the largest remaining shares
            extra[np.argsort(-weights)[: min(left, int((room > 0).sum()))]] = 1
        counts += np.minimum(extra, room)
    return counts


def fit_task(task: TaskConfig, data: ClassDataset, fixed: set[str]) -> tuple[TaskConfig, list[str]]:
    """Shrinks a task to fit a data set, and returns it with a note for each change.

    Held-out sets shrink until the rarest class of a task keeps an item for the pool. Classes that are too rare even
    for one item in each set are left out of tasks and named in a note.

    Args:
        fixed: names that the caller chose explicitly; these are never changed.
    """
    wanted = task
    sizes = np.bincount(data.labels.numpy(), minlength=data.n_classes)
    descending = np.sort(sizes)[::-1]

    def change(name: str, value: Any) -> None:
        nonlocal task
        if name not in fixed and getattr(task, name) != value:
            task = replace(task, **{name: value})

    held_out = ("reward_per_class", "test_per_class")
    least = sum(getattr(task, name) if name in fixed else 1 for name in held_out)
    servable = int((sizes > least).sum())
    most = servable if servable >= 2 else data.n_classes
    low, high = bounds(task.way)
    if high > most:
        change("way", (min(low, most), most) if low < most else most)
    way_low, way_high = (min(n, data.n_classes) for n in bounds(task.way))
    smallest = int(descending[way_high - 1])
    if smallest <= task.reward_per_class + task.test_per_class:
        for name in held_out:
            change(name, max(1, smallest // 4))
    held = task.reward_per_class + task.test_per_class
    usable = np.sort(sizes[sizes > held] - held)[:way_low]
    initial, room = bounds(task.initial_labels)[1], int(usable.sum()) - 1
    if room < bounds(task.pool_size)[1] and room < task.max_labels and room > initial:
        low, high = bounds(task.budget)
        change("budget", (min(low, room - initial), room - initial) if low < high else room - initial)
    changed = [n for n in TaskConfig.__dataclass_fields__ if getattr(task, n) != getattr(wanted, n)]
    notes = [f"{name} {getattr(wanted, name)} → {getattr(task, name)}" for name in changed]
    rare = [c for c in np.argsort(sizes, kind="stable") if 0 < sizes[c] <= held]
    if rare and data.n_classes - len(rare) >= 2:
        named = ", ".join(f"{data.class_names[c]!r} ({sizes[c]} items)" for c in rare[:3])
        more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
        notes.append(f"too rare for tasks: {named}{more}")
    return task, notes
