"""Draws tasks from a `ClassDataset`; `fit_task` shrinks a task to fit a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.tasks import TaskBatch, TaskConfig, bounds, float_bounds


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
        self._sizes = sizes = np.array([len(m) for m in self._members])
        self._largest = int(sizes.max(initial=0))
        self._ranges = [
            bounds(value) for value in (config.way, config.pool_size, config.budget, config.initial_labels)
        ]
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
        planned = bounds(config.budget)[1] + bounds(config.initial_labels)[1]
        if smallest < bounds(config.pool_size)[1] and smallest < planned + 1:
            raise InputError(
                f"pool_size={config.pool_size!r}: some tasks of dataset={dataset.name!r} have only {smallest} "
                f"pool items, too few for {planned} labels; lower the budget or the held-out items."
            )

    def sample(self, rngs: Sequence[np.random.Generator]) -> TaskBatch:
        """Draws one task per generator, in order."""
        c = self.config
        b, n, k = len(rngs), c.max_pool, c.max_way
        held = c.reward_per_class + c.test_per_class
        members = np.full((b, k, min(held + n, self._largest)), -1, dtype=np.int64)
        classes = np.full((b, k), -1, dtype=np.int64)
        initial = np.full((b, bounds(c.initial_labels)[1]), -1, dtype=np.int64)
        noise = np.zeros((2, b, n))  # shift of a wrong label, and chance of being wrong
        shuffle = np.zeros((b, n), dtype=np.int64)
        cost_noise = np.zeros((b, n), dtype=np.float32)
        drawn = [
            self._draw(rng, members[row], classes[row], initial[row], noise[:, row], shuffle[row])
            for row, rng in enumerate(rngs)
        ]
        terms = [self._draw_terms(rng, cost_noise[row]) for row, rng in enumerate(rngs)]
        price, share, hardness, batch_size = (np.array(column) for column in zip(*terms, strict=True))
        sizes, budget, seed = (
            np.array([getattr(d, name) for d in drawn]) for name in ("size", "budget", "seed")
        )
        class_mask = classes >= 0
        way = class_mask.sum(1)
        counts = np.zeros((b, k), dtype=np.int64)
        for number in np.unique(way):
            rows = np.flatnonzero(way == number)
            available = self._sizes[classes[rows, :number]] - held
            shares = np.stack([drawn[row].shares for row in rows])
            wanted = np.array([drawn[row].wanted for row in rows])
            counts[rows, :number] = _class_counts(shares, wanted, available)

        # Class by class as drawn, distractors last, then shuffled.
        place = np.arange(members.shape[2])
        chosen = (place >= held) & (place < held + counts[:, :, None])
        numbers = np.broadcast_to(np.arange(k)[:, None], chosen.shape[1:])
        pool, pool_labels = np.full((b, n), -1, dtype=np.int64), np.full((b, n), -1, dtype=np.int64)
        pool_mask = np.arange(n) < sizes[:, None]
        classed = np.arange(n) < counts.sum(1)[:, None]
        pool[classed] = members[chosen]
        pool_labels[classed] = np.broadcast_to(numbers, chosen.shape)[chosen]
        for row, draw in enumerate(drawn):
            if len(draw.distractors):
                pool[row, sizes[row] - len(draw.distractors) : sizes[row]] = draw.distractors
        pool, pool_labels = (
            np.where(pool_mask, np.take_along_axis(x, shuffle, 1), -1) for x in (pool, pool_labels)
        )
        # A wrong label is any other class of the task; distractors are always recognised as such.
        wrong = (noise[1] < c.label_noise) & (pool_labels >= 0)
        oracle_labels = np.where(wrong, (pool_labels + noise[0].astype(np.int64)) % way[:, None], pool_labels)
        held_out = {
            "reward": (members[:, :, : c.reward_per_class], c.reward_per_class),
            "test": (members[:, :, c.reward_per_class : held], c.test_per_class),
        }
        arrays = {
            "pool": pool.clip(min=0),
            "pool_mask": pool_mask,
            "pool_labels": pool_labels,
            "oracle_labels": oracle_labels,
            "initial": initial,
            "class_mask": class_mask,
            "classes": classes,
            "budget": budget,
            "seed": seed,
            "price": price.astype(np.float32),
            "batch_size": batch_size,
            "target_share": share.astype(np.float32),
            "cost_noise": cost_noise,
            "cost_hardness": hardness.astype(np.float32),
        }
        for name, (items, each) in held_out.items():
            arrays[name] = items.reshape(b, k * each).clip(min=0)
            arrays[f"{name}_labels"] = np.repeat(np.where(class_mask, np.arange(k), -1), each, axis=1)
        return TaskBatch(**{name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()})

    def _draw(
        self,
        rng: np.random.Generator,
        members: np.ndarray,
        classes: np.ndarray,
        initial: np.ndarray,
        noise: np.ndarray,
        shuffle: np.ndarray,
    ) -> _Drawn:
        """Draws all random numbers of a task from its generator, in an order that never changes.

        All further steps run for all tasks together. The arguments below are written to.

        Args:
            members: (K, W) items of each class in random order, as many as may be needed.
            classes: (K,) the classes.
            initial: (I,) pool positions of the initial labels.
            noise: (2, N) shifts of labels and chances that they are wrong.
            shuffle: (N,) the pool's order.
        """
        c = self.config
        way, size, budget, n_initial = (
            low if low == high else int(rng.integers(low, high, endpoint=True)) for low, high in self._ranges
        )
        order = rng.permutation(self._usable)
        classes[:way] = order[:way]
        width, available = members.shape[1], 0
        for place, member in enumerate(order[:way].tolist()):
            items = self._members[member].copy()
            rng.shuffle(items)
            members[place, : len(items)] = items[:width]
            available += len(items)

        n_distractors = round(c.distractors * size)
        wanted = size - n_distractors
        concentration = float(c.class_concentration)  # NumPy cannot hold a whole number as large as 10**30
        balanced = np.isinf(concentration)
        shares = np.full(way, 1 / way) if balanced else rng.dirichlet(np.full(way, concentration))
        held = c.reward_per_class + c.test_per_class
        total = max(way, min(wanted, available - way * held))
        distractors = np.empty(0, dtype=np.int64)
        if n_distractors:
            outside = np.concatenate([self._members[other] for other in order[way:]])
            distractors = rng.choice(outside, min(n_distractors, len(outside)), replace=False)
        total += len(distractors)
        shuffle[:total] = rng.permutation(total)
        noise[0, :total] = rng.integers(1, way, size=total)
        noise[1, :total] = rng.random(total)
        initial[:n_initial] = rng.permutation(total)[:n_initial]
        return _Drawn(total, budget, int(rng.integers(2**62)), wanted, shares, distractors)

    def _draw_terms(
        self, rng: np.random.Generator, cost_noise: np.ndarray
    ) -> tuple[float, float, float, int]:
        """Draws price, share of the target, correlation of cost and hardness, and batch size, after all else.

        Args:
            cost_noise: (N,) standard normal numbers of the costs; written to.
        """
        c = self.config
        low, high = float_bounds(c.price)
        price = low if low == high else float(np.exp(rng.uniform(np.log(low), np.log(high))))
        share, hardness = (
            low if low == high else float(rng.uniform(low, high))
            for low, high in map(float_bounds, (c.target, c.cost_hardness))
        )
        least, most = bounds(c.batch_size)
        batch_size = least if least == most else int(rng.integers(least, most, endpoint=True))
        if c.item_costs:
            cost_noise[:] = rng.standard_normal(len(cost_noise))
        return price, share, hardness, batch_size


class _Drawn(NamedTuple):
    """Holds the random numbers of one task."""

    size: int  # of the pool
    budget: int
    seed: int
    wanted: int  # items of the task's classes
    shares: np.ndarray  # (way,) of the classes
    distractors: np.ndarray


def _class_counts(shares: np.ndarray, size: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Computes the number of pool items of each class: by its share, at least one, at most all available.

    Args:
        shares: (B, way) of each class.
        size: (B,) items in all.
        available: (B, way) items of each class.
    """
    counts = np.ones_like(available)
    size = np.minimum(size, available.sum(1))
    while len(rows := np.flatnonzero((left := size - counts.sum(1)) > 0)):
        left, room = left[rows], available[rows] - counts[rows]
        weights = np.where(room > 0, shares[rows] + 1e-9, 0)
        exact = left[:, None] * weights / weights.sum(1, keepdims=True)
        extra = np.minimum(np.floor(exact).astype(np.int64), room)
        # The rest from rounding goes one by one to the largest remaining shares.
        rest = extra.sum(1) == 0
        if rest.any():
            rank = np.argsort(np.argsort(-weights[rest], axis=1), axis=1)
            most = np.minimum(left[rest], (room[rest] > 0).sum(1))
            extra[rest] = rank < most[:, None]
        counts[rows] += np.minimum(extra, room)
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
    planned = bounds(task.budget)[1] + initial
    if room < bounds(task.pool_size)[1] and room < planned and room > initial:
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
