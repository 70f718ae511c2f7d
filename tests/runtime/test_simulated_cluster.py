"""A recipe on paper takes as long as counting says, and failures lose no part."""

from __future__ import annotations

import pytest

from benchmarks.speed.simulated_cluster import Cluster, Measured, graph, simulate
from metaal_env.runtime.executor import Part
from metaal_env.runtime.executor.progress import makespan

EXACT = Measured((10.0,), 0.001, 0.0, 0.0, 100.0, 1e6, 0)
NEVER = 1e12


def test_one_worker_takes_the_sum_and_more_take_it_in_waves() -> None:
    parts = graph(seeds=1, iterations=2, rounds=2, places=4, states=100)
    assert [part.kind for part in parts] == [*["roll-out"] * 4, "fit", *["roll-out"] * 4, "fit", "fit"]
    fits = 0.001 * (400 + 2 * 800 + 2 * 800)
    for workers, waves in ((1, 8), (2, 4), (4, 2), (100, 2)):
        found = simulate(Cluster(workers, hours_between_failures=NEVER), EXACT, parts)
        assert found.hours * 3600 == pytest.approx(10 * waves + fits)
        assert found.busy == pytest.approx((80 + fits) / (workers * (10 * waves + fits))) and found.lost == 0


def test_jobs_take_batches_and_wait_for_each() -> None:
    parts = graph(seeds=1, iterations=2, rounds=2, places=4, states=100)
    found = simulate(Cluster(2, jobs=True, wait_seconds=30, hours_between_failures=NEVER), EXACT, parts)
    # Two rounds of two batches of two parts, three fits: five turns.
    assert found.hours * 3600 == pytest.approx(5 * 30 + 40 + 0.001 * (400 + 1600 + 1600))
    assert found.calls == 5


def test_failures_cost_time_and_no_part() -> None:
    parts = graph(seeds=2, iterations=4, rounds=2, places=8, states=100)
    calm = simulate(Cluster(4, hours_between_failures=NEVER), EXACT, parts)
    stormy = simulate(Cluster(4, hours_between_failures=0.05), EXACT, parts, seed=1)
    assert stormy.lost > 0 and stormy.hours > calm.hours


def test_time_left_is_that_of_the_schedule() -> None:
    parts = [Part(str(n), abs, kind="short") for n in range(3)]
    parts.append(Part("after", abs, after=("0", "earlier"), kind="long"))
    assert makespan(parts, {"short": 1.0, "long": 5.0}, 1) == 8.0
    assert makespan(parts, {"short": 1.0, "long": 5.0}, 2) == 6.0, "it starts when a worker is free, in order"
    assert makespan([], {}, 2) == 0.0
