"""`Scenario`: data, learner and task settings of one part of an evaluation, with names that rows and tables give it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from metaal_env.tasks import TaskConfig

SCHEMA = 3
"""Version of the protocol and of the row files; raised when either changes its meaning.

In version 1 scenarios were known by the paths of data and learner, so that the same command with other paths did not
continue them. Before version 3 `TaskConfig.class_concentration` was called ``imbalance``. Such results can be drawn
and their protocols played again, but nothing is added to them any more.
"""

FORMER_NAMES = {"imbalance": "class_concentration"}
"""Task settings that were called otherwise in earlier versions."""

LATER = ("rare_share", "price", "batch_size", "item_costs", "cost_hardness", "target")
"""Task settings added since version 3. At their defaults they are no part of a scenario's identity, so that earlier
results stay what they are."""


@dataclass(frozen=True)
class Scenario:
    """One setting in which every strategy is tried; a stratum of the statistics.

    Attributes:
        dataset: name or path.
        split: which classes tasks are drawn from.
        task: what tasks look like.
        learner: registered name, or path of saved weights.
        data_digest, learner_digest: fingerprints of what was loaded.
        schema: version of the protocol that it belongs to.
    """

    dataset: str
    split: str
    task: TaskConfig
    learner: str
    data_digest: str = ""
    learner_digest: str = ""
    schema: int = SCHEMA

    @property
    def axes(self) -> dict[str, str]:
        """Returns the settings that may differ between scenarios, as short texts."""
        t = self.task
        return {
            "data": Path(self.dataset).stem,
            "split": self.split,
            "way": _text(t.way),
            "pool": _text(t.pool_size),
            "budget": _text(t.budget),
            "initial": _text(t.initial_labels),
            "concentration" if self.schema > 2 else "imbalance": _text(t.class_concentration),
            "rare": _text(t.rare_share),
            "noise": _text(t.label_noise),
            "distractors": _text(t.distractors),
            "learner": learner_name(self.learner),
        }

    @property
    def key(self) -> str:
        """Returns the scenario's name in row files, readable and unique."""
        shown = {name: value for name, value in self.axes.items() if name != "rare" or self.task.rare_share}
        readable = " ".join(f"{name}={value}" for name, value in shown.items())
        return f"{readable} #{digest_of(self.identity)[:6]}"

    @property
    def identity(self) -> dict[str, Any]:
        """Returns what rows depend on: names and content of data and learner, but not the folders where they lie."""
        found = {name: value for name, value in asdict(self).items() if name != "schema"}
        defaults = asdict(TaskConfig())
        task = {k: v for k, v in found["task"].items() if k not in LATER or v != defaults[k]}
        found["task"] = task
        if self.schema < 3:
            former = {new: old for old, new in FORMER_NAMES.items()}
            found["task"] = {former.get(name, name): value for name, value in task.items()}
        if self.schema > 1:
            found |= {"dataset": self.axes["data"]} if self.data_digest else {}
            found |= {"learner": self.axes["learner"]} if self.learner_digest else {}
        return found


def learner_name(spec: str) -> str:
    """Returns a learner's short name: ``prototype``, or the run folder of ``runs/<name>/learner``."""
    path = Path(spec)
    return path.parent.name if path.stem == "learner" and path.parent.name else path.name


def short_names(scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Returns scenario key → name of the data set and of whatever else differs between the scenarios."""
    varying = [a for a in scenarios[0].axes if len({s.axes[a] for s in scenarios}) > 1 and a != "data"]
    return {s.key: " ".join([s.axes["data"], *(f"{a} {s.axes[a]}" for a in varying)]) for s in scenarios}


def task_config(raw: dict[str, Any]) -> TaskConfig:
    """Returns a `TaskConfig` from JSON: lists become ranges, ``"inf"`` a number; other names are ignored."""
    known = {f.name for f in fields(TaskConfig)} | FORMER_NAMES.keys()
    return known_task({name: value for name, value in raw.items() if name in known})


def known_task(raw: dict[str, Any]) -> TaskConfig:
    """Returns a `TaskConfig` from JSON as `task_config` does; other names are a `TypeError`."""
    values: dict[str, Any] = {
        FORMER_NAMES.get(k, k): tuple(v) if isinstance(v, list) else float(v) if v == "inf" else v
        for k, v in raw.items()
    }
    return TaskConfig(**values)


def plain(value: Any) -> Any:
    """Returns what JSON can hold: infinities as the string ``"inf"``."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return "inf" if value == float("inf") else value


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def _text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return "–".join(map(str, value)) if value[0] != value[1] else str(value[0])
    return f"{value:g}" if isinstance(value, float) else str(value)
