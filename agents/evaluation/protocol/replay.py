"""Plays a saved protocol again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.evaluation.protocol.loading import learner_digest, load_parts, strategy_digest
from agents.evaluation.protocol.planning import Planned
from agents.evaluation.protocol.protocol import Protocol
from agents.evaluation.protocol.scenario import SCHEMA
from agents.loading import load_strategy, runs_code
from metaal_env.errors import InputError
from metaal_env.sampler import TaskSampler


def replay(path: Path, trusted: Sequence[str] = ()) -> Planned:
    """Takes a saved protocol, to be played again here; says where data, learner or strategies differ from then.

    Args:
        path: file of a protocol, or folder of results.
        trusted: ``file.py:Name`` strategies that may be imported: a protocol may come from a stranger.

    Raises:
        InputError: the protocol, or something that it names, is missing or damaged, or names a Python file that
            is not trusted.
    """
    saved = Protocol.load(path / "protocol.json" if path.is_dir() else path)
    for contestant in saved.contestants:
        if runs_code(contestant.spec) and contestant.spec not in trusted:
            raise InputError(
                f"protocol={str(path)!r} would run the code in {contestant.spec!r}; if you trust it, add: "
                f"--trust {contestant.spec}"
            )
    scenarios, notes = [], []
    for scenario in saved.scenarios:
        data, learner = load_parts(scenario.dataset, scenario.split, scenario.learner)
        TaskSampler(data, scenario.task)
        now = replace(
            scenario,
            data_digest=data.fingerprint,
            learner_digest=learner_digest(scenario.learner, learner),
            schema=SCHEMA,
        )
        for part in ("data", "learner"):
            if scenario.schema > 1 and getattr(now, f"{part}_digest") != getattr(scenario, f"{part}_digest"):
                notes.append(f"{scenario.dataset}: the {part} differ(s) from when the protocol was saved")
        scenarios.append(now)
    contestants = []
    for contestant in saved.contestants:
        load_strategy(contestant.spec)
        digest = strategy_digest(contestant.spec)
        if digest != contestant.digest:
            notes.append(f"{contestant.name} differs from when the protocol was saved")
        contestants.append(replace(contestant, digest=digest))
    if saved.schema == 1:
        notes.append(
            f"protocol of version {saved.schema}: whether data and learners differ from then is unknown"
        )
    return Planned(
        replace(saved, schema=SCHEMA, scenarios=tuple(scenarios), contestants=tuple(contestants)), notes
    )
