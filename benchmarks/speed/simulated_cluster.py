"""A cluster that exists on paper: the real scheduler on a clock of its own, with measured times and drawn failures."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from metaal_env.runtime.executor import Executor, Part
from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.parts import Outcome, Shared, WorkerLost


@dataclass(frozen=True)
class Measured:
    """Constants of one machine."""

    rollout_seconds: tuple[float, ...]
    """Of parts of roll-outs."""
    fit_seconds_per_state: float
    start_seconds: float
    """From the order to start a worker to its first part."""
    driver_seconds: float
    """That the driver needs for each part, to send it and to take its answer."""
    states: float
    """Examples of a part."""
    bytes: float
    """Of a part's file."""
    shared_bytes: int
    """That each worker is sent once."""


@dataclass(frozen=True)
class Cluster:
    """Assumptions about a cluster."""

    workers: int
    jobs: bool = False
    """Whether workers are jobs of Slurm, which end with their batch; else they stay."""
    wait_seconds: float = 30.0
    """That a job waits in Slurm's queue."""
    hours_between_failures: float = 1000.0
    """Of one worker."""


class SimulatedCluster(Backend):
    """Computes nothing: it draws how long parts take and which workers fail, and moves its clock."""

    def __init__(self, cluster: Cluster, measured: Measured, seed: int = 0):
        self.cluster, self.measured, self.slots = cluster, measured, cluster.workers
        self.batches, self.place = cluster.jobs, f"{cluster.workers} workers on paper"
        self.rng = np.random.default_rng(seed)
        self.now, self.busy, self.fresh = 0.0, 0.0, cluster.workers
        self.calls, self.lost, self.asked = 0, 0, 0.0
        self._ends: list[tuple[float, int]] = []
        self._batches: dict[Hashable, tuple[list[float], bool]] = {}
        self._number = 0

    def clock(self) -> float:
        return self.now

    def seconds(self, part: Part) -> float:
        """Draws how long a part takes a worker."""
        if part.kind == "roll-out":
            return float(self.rng.choice(self.measured.rollout_seconds))
        return self.measured.fit_seconds_per_state * float(part.arguments[0])

    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        self.calls += 1
        handles: list[Hashable] = []
        for batch in batches:
            self.now += self.measured.driver_seconds * len(batch)
            spent = [self.seconds(part) for part in batch]
            begin = self.now
            if self.cluster.jobs:
                begin += self.cluster.wait_seconds + self.measured.start_seconds
            elif self.fresh:
                begin, self.fresh = begin + self.measured.start_seconds, self.fresh - 1
            fails = self.rng.exponential(self.cluster.hours_between_failures * 3600)
            length = min(sum(spent), fails)
            self._number += 1
            heapq.heappush(self._ends, (begin + length, self._number))
            self._batches[self._number] = (spent, fails < sum(spent))
            self.busy += length
            handles.append(self._number)
        return handles

    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        end, number = heapq.heappop(self._ends)
        self.now = max(self.now, end)
        return [number]

    def outcomes(self, handle: Hashable) -> list[Outcome]:
        spent, failed = self._batches.pop(handle)
        if failed:
            self.lost, self.fresh = self.lost + 1, self.fresh + 1
            raise WorkerLost("on paper")
        return [Outcome(None, None, "", seconds) for seconds in spent]


def graph(seeds: int, iterations: int, rounds: int, places: int, states: float) -> list[Part]:
    """Returns the parts of a recipe, round by round; fits hold their number of states."""
    parts: list[Part] = []
    before: dict[int, tuple[str, ...]] = dict.fromkeys(range(seeds), ())
    ends = [round(iterations * (number + 1) / rounds) for number in range(rounds)]
    for begin, end in zip([0, *ends], ends, strict=False):
        for seed in range(seeds):
            rollouts = [
                Part(f"{seed} roll-out {n}.{place}", abs, (0,), before[seed], "roll-out")
                for n in range(begin, end)
                for place in range(places)
            ]
            fits = 2 if end == iterations else 1  # the last is a mean of two
            name = f"{seed} fit {end}"
            needs = (*before[seed], *(part.name for part in rollouts))
            parts += [*rollouts, Part(name, abs, (fits * end * places * states,), needs, "fit")]
            before[seed] = (name,)
    last = tuple(name for names in before.values() for name in names)
    parts.append(Part("pooled fit", abs, (2 * seeds * iterations * places * states,), last, "fit"))
    return parts


@dataclass(frozen=True)
class Simulation:
    """What came of a recipe on paper."""

    hours: float
    busy: float
    """Share of the workers' time in which they computed."""
    parts_per_second: float
    calls: int
    """Orders to start work: for Slurm, calls of sbatch."""
    lost: int
    """Workers."""


def simulate(cluster: Cluster, measured: Measured, parts: Sequence[Part], seed: int = 0) -> Simulation:
    """Plays a graph of parts on paper by the scheduler that plays real ones."""
    backend = SimulatedCluster(cluster, measured, seed)
    found = Executor(backend).run(parts, stopping=[])
    assert len(found) == len(parts)
    rollouts = sum(part.kind == "roll-out" for part in parts)
    return Simulation(
        hours=backend.now / 3600,
        busy=backend.busy / (backend.now * cluster.workers),
        parts_per_second=rollouts / backend.now,
        calls=backend.calls,
        lost=backend.lost,
    )
