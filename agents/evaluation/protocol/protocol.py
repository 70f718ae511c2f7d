"""`Protocol`: an evaluation as data. It is saved with the results; its digest guards against mixing rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from agents.evaluation.protocol.scenario import SCHEMA, Scenario, digest_of, known_task, plain
from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_json, write_atomic

T = TypeVar("T")

BLOCK = 64
"""Tasks per cell: what is lost at most when a run is killed."""

SEED_STRIDE = 1_000_000
MAX_SEED = 2**62 // SEED_STRIDE


def file_name(name: str) -> str:
    """Returns a safe file name for a strategy: names may come from a stranger's protocol and hold any character."""
    return re.sub(r"[^\w.@+-]+", "_", name).lstrip(".")[:80] or "_"


@dataclass(frozen=True)
class Contestant:
    """A strategy in the protocol.

    Attributes:
        name: its name in tables.
        spec: text that rebuilds it: registered name, ``name@seed``, path of a policy, or ``file.py:Name``.
        digest: fingerprint of the files behind it.
    """

    name: str
    spec: str
    digest: str = ""


@dataclass(frozen=True)
class Protocol:
    """Everything that determines the rows.

    The strategies are no part of the digest: more of them may join the same tasks later, each guarded by its
    own digest.

    Attributes:
        scenarios: settings, each with `n_tasks` tasks per seed.
        contestants: strategies.
        n_tasks: tasks per scenario and seed.
        seeds: streams of tasks; task i of stream s has seed ``s · 1,000,000 + i``.
        measure_on: set on which accuracy is measured.
    """

    scenarios: tuple[Scenario, ...]
    contestants: tuple[Contestant, ...]
    n_tasks: int = 200
    seeds: tuple[int, ...] = (0,)
    measure_on: str = "test"
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if not 1 <= self.n_tasks <= SEED_STRIDE:
            raise InputError(f"n_tasks={self.n_tasks} must lie in [1, {SEED_STRIDE}].")
        outside = [seed for seed in self.seeds if not 0 <= seed < MAX_SEED]
        if not self.seeds or outside or len(set(self.seeds)) < len(self.seeds):
            raise InputError(f"seeds={self.seeds} must be different numbers in [0, {MAX_SEED}).")
        if self.measure_on not in ("test", "reward"):
            raise InputError(f"measure_on={self.measure_on!r} is unknown; choose 'test' or 'reward'.")
        for argument, names in (
            ("strategies", [c.name for c in self.contestants]),
            ("scenarios", [s.key for s in self.scenarios]),
        ):
            if not names:
                raise InputError(f"{argument} is empty; give at least one.")
            if double := next((n for n in names if names.count(n) > 1), None):
                raise InputError(f"{argument} holds {double!r} twice; leave one out.")

    @property
    def digest(self) -> str:
        """Returns the identity of the tasks and of how they are measured."""
        found = {k: v for k, v in asdict(self).items() if k != "contestants"}
        return digest_of(found | {"scenarios": [scenario.identity for scenario in self.scenarios]})[:16]

    def joined_to(self, path: Path) -> Protocol:
        """Returns this protocol with the strategies that an earlier run of it left at `path`, if any.

        Raises:
            InputError: the one at `path` is about other tasks.
        """
        if not path.is_file():
            return self
        earlier = Protocol.load(path)
        if earlier.schema != self.schema:
            raise InputError(
                f"out={str(path.parent)!r} holds results of version {earlier.schema}, this program adds to version "
                f"{self.schema}; give another --out (--redraw still shows those)."
            )
        if earlier.digest != self.digest:
            raise InputError(
                f"out={str(path.parent)!r} holds results of another protocol ({earlier.digest}, this one is "
                f"{self.digest}); give another --out, or delete that folder."
            )
        own = {c.name for c in self.contestants}
        others = tuple(c for c in earlier.contestants if c.name not in own)
        return replace(self, contestants=self.contestants + others)

    def blocks(self) -> Iterable[tuple[int, int, list[int]]]:
        """Yields ``(seed, block number, task seeds)`` of every block of tasks."""
        for seed in self.seeds:
            for start in range(0, self.n_tasks, BLOCK):
                tasks = range(start, min(start + BLOCK, self.n_tasks))
                yield seed, start // BLOCK, [seed * SEED_STRIDE + i for i in tasks]

    def save(self, path: Path) -> None:
        """Writes JSON; infinities as the string ``"inf"``."""
        write_atomic(path, (json.dumps(plain(asdict(self)), indent=2) + "\n").encode())

    @staticmethod
    def load(path: Path) -> Protocol:
        """Reads what `save` wrote.

        Raises:
            InputError: missing, damaged, or written by another version.
        """
        if not path.is_file():
            raise InputError(
                f"protocol={str(path)!r} does not exist; give the folder of a finished evaluation."
            )
        argument = f"protocol={str(path)!r}"
        raw = read_json(path, argument)
        schema = raw.get("schema")
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            raise InputError(
                f"{argument} has version {schema!r}, this program reads 1…{SCHEMA}; evaluate again."
            )
        try:
            scenarios = tuple(
                _typed(Scenario, s | {"task": known_task(s["task"]), "schema": schema})
                for s in raw["scenarios"]
            )
            contestants = tuple(_typed(Contestant, c) for c in raw["contestants"])
            lists = {"scenarios": scenarios, "contestants": contestants, "seeds": tuple(raw["seeds"])}
            return _typed(Protocol, raw | lists)
        except InputError as error:
            raise InputError(f"{argument}: {error}") from error
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{argument} is damaged ({brief(error)}); evaluate again.") from error


def _typed(dataclass_type: type[T], values: dict[str, Any]) -> T:
    """Builds a dataclass after comparing types, which a file may have wrong, with those declared."""
    plain = {"str": str, "int": int, "tuple[int, ...]": tuple}
    for f in fields(cast(Any, dataclass_type)):
        wanted = plain.get(str(f.type), object)
        items = values.get(f.name, f.default)
        right = isinstance(items, wanted) and not isinstance(items, bool)
        if not right or (wanted is tuple and not all(type(item) is int for item in items)):
            raise TypeError(f"{f.name}={items!r} is no {f.type}")
    return dataclass_type(**values)
