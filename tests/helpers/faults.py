"""Faults at moments of a training that anybody can name: the writes of a file, the reports to a logger, the updates."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stable_baselines3.common.logger import KVWriter
from torch.utils.tensorboard import SummaryWriter

Action = Callable[[], object]


def killed() -> None:
    raise RuntimeError("killed")


def at_write(monkeypatch: pytest.MonkeyPatch, name: str, number: int, action: Action) -> None:
    """Lets `action` happen when a file called `name` is about to be in place for the `number`-th time (from 1)."""
    replace, writes = os.replace, itertools.count(1)

    def replaced(source: Any, target: Any) -> None:
        if Path(target).name == name and next(writes) == number:
            action()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replaced)


class AtReport(KVWriter):
    """A format of stable-baselines3's logger that lets an action happen when an update of the policy is reported.

    Args:
        actions: by the number of the update, from 1.
        steps: in one roll-out.
    """

    def __init__(self, actions: dict[int, Action], steps: int) -> None:
        self.actions, self.steps = actions, steps
        self.learning_rates: list[float] = []
        """Of the updates that were reported."""

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        if "train/learning_rate" in key_values:  # the library reports roll-outs, too
            self.learning_rates.append(key_values["train/learning_rate"])
            self.actions.get(step // self.steps, lambda: None)()

    def close(self) -> None: ...


class AtUpdate(SummaryWriter):
    """A writer of meta-training's figures that writes none and lets `action` happen after update `number`."""

    def __init__(self, number: int, action: Action) -> None:
        self.number, self.action = number, action

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, *_: Any) -> None:  # type: ignore[override]
        if tag == "learner_by_update/loss" and global_step == self.number:
            self.action()
