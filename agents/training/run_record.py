"""The record of a run, ``config.json``: its settings, and fingerprints of the data and weights that it began with.

A command continues a run when it would lead to the same weights. Where files lie does not matter, their content does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.policy.sb3_policy import policy_fingerprint
from agents.training.ppo.train import CHECKPOINT
from metaal_env.datasets import data_fingerprint, joint_fingerprint, load_dataset
from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError, brief, some_of
from metaal_env.learners import learner_fingerprint
from metaal_env.runtime.checkpoints import differences
from metaal_env.runtime.files import read_json, write_atomic

FILE = "config.json"
FINISHED = "training_finished"
"""Empty file: nothing of the training is left to do."""

CHANGEABLE = (
    "name", "out", "verdict_tasks", "device", "spread.workers", "spread.cluster", "spread.cluster_options",
)  # fmt: skip
"""Settings on which no weight depends. Another device rounds differently, so there the weights of a continued run
are not those of an uninterrupted one, bit for bit; but a run must be able to leave a machine with its only GPU."""

SOURCES = ("dataset", "learner", "extra_sources", "ppo.start")
"""Settings that name data or weights: they are compared by content."""

ITERATIONS = "ppo.iterations"
"""May be raised; `agents.training.ppo.checkpoint.PPOCheckpoint` says what a raised run equals."""


def fingerprints(settings: Mapping[str, Any], parts: Sequence[ClassDataset] = ()) -> dict[str, Any]:
    """Returns the fingerprint of each of `SOURCES`; registered learners are known by their names.

    Args:
        settings: of the run, nested.
        parts: the train, validation and test part of its data set, where they are loaded already.

    Raises:
        InputError: one of them cannot be loaded.
    """
    start = settings["ppo"]["start"]
    return {
        "dataset": joint_fingerprint(parts) if parts else data_fingerprint(settings["dataset"]),
        "learner": learner_fingerprint(settings["learner"]),
        "extra_sources": [_source_fingerprint(spec) for spec in settings["extra_sources"]],
        "ppo.start": None if start is None else policy_fingerprint(start),
    }


def _source_fingerprint(spec: str) -> str:
    """``DATA+DATA@LEARNER`` with fingerprints in place of names."""
    names, _, learner = spec.partition("@")
    data = joint_fingerprint(map(load_dataset, names.split("+")))
    return f"{data}@{learner_fingerprint(learner or 'prototype')}"


def record_run(folder: Path, settings: Mapping[str, Any], prints: Mapping[str, Any]) -> list[str]:
    """Records a run, or its continuation with settings that lead to the same weights; returns remarks.

    Only for who holds the folder alone. A finished training whose `ITERATIONS` are raised counts as unfinished again.

    Raises:
        InputError: the folder holds a run with other settings or other data, with more iterations, or one that
            cannot go on for want of its checkpoint; or its record is damaged.
    """
    file, what = folder / FILE, f"name={folder.name!r}"
    now = json.loads(json.dumps({**settings, "fingerprints": prints}, default=str))
    notes: list[str] = []
    if file.is_file():
        then = read_json(file, f"{what}: config={str(file)!r}")
        differing, notes = _compare(then, now)
        if differing:
            raise InputError(
                f"{what} holds a run with other settings or data ({file}): {some_of(differing, 5, '; ')}; "
                "give what that run had to continue it, or another --name."
            )
        _raise_iterations(folder, then["ppo"]["iterations"], now["ppo"]["iterations"])
    write_atomic(file, json.dumps(now, indent=2).encode())
    return [f"{what}: {note}" for note in notes]


def _compare(then: dict[str, Any], now: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Returns what differs between two records, and remarks on what cannot be compared."""
    theirs, ours = _flat(then), _flat(now)
    skipped = [*CHANGEABLE, *SOURCES]
    if type(theirs.get(ITERATIONS)) is int:
        skipped.append(ITERATIONS)
    differing, trusted = differences(theirs, ours, skipped), []
    prints = then.get("fingerprints")
    known = prints if isinstance(prints, dict) else {}
    for name, fingerprint in now["fingerprints"].items():
        same = theirs.get(name) == ours[name]
        was, new = (brief(json.dumps(words), 60) for words in (theirs.get(name), ours[name]))
        if name not in known:  # a record of a version that kept none: the words are all there is to compare
            if not same:
                differing.append(f"{name} is {new}, was {was}, of unknown content")
            elif ours[name] and ours[name] != fingerprint:
                trusted.append(f"{name}={new}")
        elif known[name] != fingerprint:
            change = "whose content has changed since" if same else f"was {was}, of other content"
            differing.append(f"{name} is {new}, {change}")
    if not trusted:
        return differing, []
    return differing, [f"was begun without fingerprints; unchanged on trust: {', '.join(trusted)}"]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under the names that the command line gives them; without fingerprints."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and name != "fingerprints":
            found |= _flat(value, "" if prefix + name == "task" else f"{prefix}{name}.")
        elif name != "fingerprints":
            found[prefix + name] = value
    return found


def _raise_iterations(folder: Path, then: int, now: int) -> None:
    """Lets a finished training go on for more iterations. Raises: `InputError` for fewer."""
    finished, checkpoint = folder / FINISHED, folder / CHECKPOINT
    if now < then:
        raise InputError(
            f"{ITERATIONS}={now} is less than the {then} of the run in {str(folder)!r}; "
            f"give at least {then} to continue it, or another --name."
        )
    if now > then and finished.is_file():
        if not checkpoint.is_file():
            raise InputError(
                f"{ITERATIONS}={now} cannot be reached from the finished run in {str(folder)!r}: "
                f"{str(checkpoint)!r} is missing; give {then}, or another --name."
            )
        # Before the record: killed in between, the old command finds an unfinished run with nothing left to do.
        finished.unlink()
