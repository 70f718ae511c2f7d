"""Parts on a real instance of Ray on this machine, one of whose workers is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import parts as p

from metaal_env.runtime.executor import Executor, Part, PartsFailed, WorkerOptions, open_executor
from metaal_env.runtime.executor.watch import Watcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]


@pytest.fixture(scope="module")
def ray() -> Iterator[Executor]:
    pytest.importorskip("ray")
    with open_executor(WorkerOptions(workers=2, cluster="ray")) as executor:
        yield executor


def test_results_come_in_order_and_share_one_object(ray: Executor) -> None:
    numbers = [(n,) for n in range(5)]
    assert ray.map(p.square, numbers) == [0, 1, 4, 9, 16]
    assert ray.map(p.scaled, numbers, shared=[1.0, 2.0, 3.0, 4.0, 5.0]) == [10, 20, 30, 40, 50]
    found = ray.map(p.threads_and_process, [()] * 4)
    assert {threads for threads, _ in found} == {1} and os.getpid() not in {process for _, process in found}


def test_a_broken_part_is_named_and_the_others_go_on(ray: Executor) -> None:
    with pytest.raises(PartsFailed, match=r"1 of 4 parts failed, 3 are finished: 'bad_file 1': file='b.csv'"):
        ray.map(p.bad_file, [(n,) for n in range(4)])


def test_a_killed_worker_costs_its_own_part_alone(ray: Executor, tmp_path: Path) -> None:
    seen: list[str] = []

    class Seen(Watcher):
        def lost(self, part: Part, why: str) -> None:
            seen.append(part.name)

    parts = [Part("killed", p.killed_once, (tmp_path, 1)), *(Part(f"{n}", p.square, (n,)) for n in range(4))]
    assert ray.run(parts, watcher=Seen()) == {"killed": 1, "0": 0, "1": 1, "2": 4, "3": 9}
    assert seen == ["killed"]


def test_a_worker_that_dies_idle_is_replaced(ray: Executor) -> None:
    processes = {process for _, process in ray.map(p.threads_and_process, [()] * 4)}
    os.kill(next(iter(processes)), signal.SIGKILL)
    assert ray.map(p.scaled, [(n,) for n in range(4)], shared=[1.0, 2.0, 3.0, 4.0]) == [10, 20, 30, 40]
