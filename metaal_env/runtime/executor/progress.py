"""`Progress`: a bar with the time left over all workers, and a file that other shells can read."""

from __future__ import annotations

import heapq
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.parts import Part, Queue
from metaal_env.runtime.executor.watch import Watcher
from metaal_env.runtime.files import write_atomic

PROGRESS = "progress.json"
"""File of a run's folder with its state."""

EVERY = 2.0
"""Seconds between estimates of the time left."""


def makespan(parts: Sequence[Part], seconds: Mapping[str, float], slots: int) -> float:
    """Returns how long `slots` workers need for parts: each starts, in the given order, as soon as it may.

    Args:
        seconds: by the parts' kinds.
    """
    ready, now, running = Queue(parts), 0.0, list[tuple[float, int]]()
    while ready or running:
        while ready and len(running) < slots:
            number = ready.take()
            heapq.heappush(running, (now + seconds[parts[number].kind], number))
        now, number = heapq.heappop(running)
        ready.finish(number)
    return now


class Progress(Watcher):
    """Shows a bar with the time left over all workers.

    Args:
        title: of the bar.
        total: number of parts, those included that were finished in earlier runs.
        file: where the state is kept for other shells, `PROGRESS` in the run's folder.
        clock: returns seconds.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        file: Path | None = None,
        clock: Callable[[], float] = time.time,
    ):
        self.title, self.total, self.file, self.clock = title, total, file, clock
        self.left: dict[str, Part] = {}
        self.begun: dict[str, float] = {}
        self.spent: dict[str, list[float]] = defaultdict(list)
        self.losses: list[str] = []
        self.errors: dict[str, str] = {}
        self.slots, self.place, self.looked, self.state = 1, "", 0.0, "running"
        self.bar: Any = None

    def begin(self, parts: Sequence[Part], backend: Backend) -> None:
        self.left = {part.name: part for part in parts}
        self.slots, self.place = backend.slots, backend.place
        self.total = max(self.total or 0, len(parts))
        self.bar = tqdm(
            total=self.total, initial=self.total - len(parts), desc=self.title, unit="part",
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )  # fmt: skip
        self._write()

    def started(self, part: Part) -> None:
        self.begun[part.name] = self.clock()

    def finished(self, part: Part, seconds: float) -> None:
        self._ended(part)
        self.spent[part.kind].append(seconds)
        self.bar.update()

    def lost(self, part: Part, why: str) -> None:
        self.begun.pop(part.name, None)
        self.losses.append(f"{part.name}: {why}")
        self.bar.write(f"lost: {part.name} ({why}); it is begun again")

    def broken(self, part: Part, why: str) -> None:
        self._ended(part)
        self.errors[part.name] = why
        self.bar.write(f"failed: {part.name}: {why}")

    def _ended(self, part: Part) -> None:
        self.begun.pop(part.name, None)
        self.left.pop(part.name, None)

    def tick(self) -> None:
        if self.clock() - self.looked >= EVERY:
            self.looked = self.clock()
            if (left := self.seconds_left()) is not None:
                where = f" on {self.slots} workers" if self.slots > 1 else ""
                self.bar.set_postfix_str(f"{duration(left)} left{where}")
            self._write()

    def end(self) -> None:
        self.state = "ended" if self.left or self.errors else "finished"
        self._write()
        self.bar.close()

    def seconds_left(self) -> float | None:
        """Returns an estimate of the seconds left over all workers; None before the first part is finished."""
        every = [seconds for kind in self.spent.values() for seconds in kind]
        if not every:
            return None
        usual = sum(every) / len(every)
        kinds = {part.kind for part in self.left.values()}
        mean = {
            kind: sum(self.spent[kind]) / len(self.spent[kind]) if self.spent[kind] else usual
            for kind in kinds
        }
        return makespan(list(self.left.values()), mean, self.slots)

    def _write(self) -> None:
        if self.file is None:
            return
        record = {
            "title": self.title,
            "state": self.state,
            "place": self.place,
            "total": self.total,
            "finished": (self.total or 0) - len(self.left) - len(self.errors),
            "in_work": {name: round(self.clock() - begun) for name, begun in self.begun.items()},
            "seconds_left": self.seconds_left(),
            "lost": self.losses[-5:],
            "failed": self.errors,
            "time": self.clock(),
        }
        write_atomic(self.file, json.dumps(record, indent=1).encode())


def duration(seconds: float) -> str:
    """Returns seconds in words: ``"2 h 05 min"``."""
    if seconds < 60:
        return f"{round(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
