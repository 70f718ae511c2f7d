"""Environment steps per second of this checkout by observation, number of environments and learner, against another.

``python -m benchmarks.speed.compare --against PATH`` plays whole episodes of the default task in one process for each
checkout, in alternation and on one core, and writes what `page.py` shows in docs/speed.md. The ratio of two
measurements next to each other hardly depends on how busy the machine is; the numbers of steps do.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

Request = dict[str, Any]


@dataclass(frozen=True)
class Config:
    against: Path
    """Checkout to compare with, e.g. of ``git worktree add /tmp/old 570bc01``."""
    learners: tuple[str, ...] = ("prototype", "maml")
    """Inner learners, freshly initialised."""
    num_envs: tuple[int, ...] = (1, 64, 256)
    """Sizes of the vector environment; 1 is also played as a single environment."""
    observations: tuple[str, ...] = ("raw", "raw shared", "standard", "full")
    """Each is compared with the other checkout's default observation. Those that end in ``shared`` share the memory of
    embeddings, where there are several environments."""
    repeats: int = 5
    """Alternating measurements of each cell; medians are reported."""
    output: Path = field(default=ROOT / "docs" / "measured" / "speed_ratios.json")
    """The results, written after every cell."""


class Worker:
    """A process that measures one checkout."""

    def __init__(self, checkout: Path):
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env=environment,
        )
        self.checkout = checkout.resolve()

    def ask(self, message: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(message), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"checkout {self.checkout} cannot be measured; see its error above.")
        found: dict[str, Any] = json.loads(answer)
        return found

    def prepare(self, request: Request) -> None:
        module = Path(self.ask(request)["checkout"])
        if not module.is_relative_to(self.checkout):
            raise SystemExit(f"{module} was imported instead of {self.checkout}; uninstall the package.")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Side:
    """What one process plays, and its seconds per environment step in each round."""

    name: str
    checkout: Path
    request: Request
    episodes: int = 1
    times: list[float] = field(default_factory=list)


def measure(sides: list[Side], config: Config) -> None:
    """Measures several sides in turn, round after round."""
    workers = [Worker(side.checkout) for side in sides]
    try:
        for worker, side in zip(workers, sides, strict=True):
            worker.prepare(side.request)
        for _ in range(config.repeats):
            for worker, side in zip(workers, sides, strict=True):
                side.times.append(worker.ask(side.episodes)["seconds_per_step"])
    finally:
        for worker in workers:
            worker.stop()


def row(learner: str, what: str, size: int, other: Side, ours: Side) -> str:
    rates = [f"{1 / statistics.median(side.times):,.0f}" for side in (other, ours)]
    ratios = [a / b for a, b in zip(other.times, ours.times, strict=True)]
    spread = [f"{statistics.median(ratios):.1f}", f"{min(ratios):.1f}–{max(ratios):.1f}"]
    return "| " + " | ".join([learner, what, str(size), *rates, *spread]) + " |"


def main(config: Config) -> None:
    rows: list[str] = []
    for learner in config.learners:
        options = {"learner": learner}
        for size in config.num_envs:
            kind = "single" if size == 1 else "vector"
            episodes = 3 if size == 1 else 1
            played = {"what": kind, "num_envs": size, "options": options}
            core = played | {"what": "core"}
            other = Side("", config.against, played, episodes)
            pair = [Side("", config.against, core, episodes), Side("", ROOT, core, episodes)]
            ours, loops = [], []
            for name in config.observations:
                shown = options | {"observation": name.removesuffix(" shared")}
                shared = {"copy": False} if name.endswith(" shared") else {}
                if shared and size == 1:
                    continue
                ours.append(Side(name, ROOT, played | {"options": shown | shared}, episodes))
                if size == max(config.num_envs) > 1:
                    single = {"what": "single", "num_envs": 1, "options": shown}
                    loops.append(Side(name, ROOT, single, 3))
            measure([*pair, other, *ours, *loops], config)
            rows.append(row(learner, "core alone", size, *pair))
            rows += [row(learner, side.name, size, other, side) for side in ours]
            rows += [
                row(learner, f"{side.name}, own loop", size, loop, side)
                for side, loop in zip(ours, loops)  # noqa: B905 (no loops but for the largest size)
            ]
            Console().print("\n".join(rows))
            write(config, rows)


def write(config: Config, rows: list[str]) -> None:
    """Writes the results, after every cell, so that an interrupted run leaves what it has."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=config.against, capture_output=True, text=True
    )
    name = commit.stdout.strip() or "the other checkout"
    found = {"against": name, "repeats": config.repeats, "machine": machine(), "rows": rows}
    config.output.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def machine() -> str:
    """Says what ran the measurements, when, and how busy it was."""
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores{load}"


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
