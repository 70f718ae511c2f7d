"""Compares tasks with what a data set can supply: `check_supply` refuses, `fit_task` shrinks a task to fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError, some_of
from metaal_env.tasks import TaskConfig, bounds


def check_supply(dataset: ClassDataset, config: TaskConfig, sizes: np.ndarray, usable: np.ndarray) -> None:
    """Checks that a data set can supply tasks.

    Args:
        sizes: (C,) items of its classes.
        usable: the classes with enough items.

    Raises:
        InputError: it cannot.
    """
    held = config.reward_per_class + config.test_per_class
    if config.max_way > dataset.n_classes:
        raise InputError(
            f"way={config.way!r} exceeds the {dataset.n_classes} classes of dataset={dataset.name!r} "
            "in this split; lower way or take another split."
        )
    if len(usable) < config.max_way:
        least = int(np.argmin(sizes))
        advice = "lower them"
        if len(usable) < 2 and held == 2:
            advice = "give more items of it, or take split='all', which holds back none for other splits"
        raise InputError(
            f"dataset={dataset.name!r}: class {dataset.class_names[least]!r} has {sizes[least]} items, but "
            f"reward_per_class={config.reward_per_class} and test_per_class={config.test_per_class} leave "
            f"none for the pool, and only {len(usable)} classes are large enough for "
            f"way={config.way!r}; {advice}."
        )
    if config.distractors and len(usable) <= config.max_way:
        raise InputError(
            f"distractors={config.distractors} needs classes outside the task, but dataset={dataset.name!r} "
            f"has only {len(usable)} usable classes for way={config.way!r}; lower way."
        )
    smallest = np.sort(sizes[usable] - held)[: bounds(config.way)[0]].sum()
    planned = bounds(config.budget)[1] + bounds(config.initial_labels)[1]
    if smallest < bounds(config.pool_size)[1] and smallest < planned + 1:
        raise InputError(
            f"pool_size={config.pool_size!r}: some tasks of dataset={dataset.name!r} have only {smallest} "
            f"pool items, too few for {planned} labels; lower the budget or the held-out items."
        )


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
        named = [f"{data.class_names[c]!r} ({sizes[c]} items)" for c in rare]
        notes.append(f"too rare for tasks: {some_of(named, 3)}")
    return task, notes
