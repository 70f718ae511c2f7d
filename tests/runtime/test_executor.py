"""Parts give the same results in this process, in local processes and in jobs, whatever befalls workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from helpers import parts as p

from metaal_env.errors import FileError, InputError
from metaal_env.runtime.executor import (
    Executor,
    Part,
    PartsFailed,
    WorkerOptions,
    in_this_process,
    open_executor,
)
from metaal_env.runtime.executor.backend import Here
from metaal_env.runtime.executor.executor import HOPELESS
from metaal_env.runtime.executor.watch import Watcher


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    with open_executor(WorkerOptions(workers=2)) as executor:
        yield executor


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    pytest.importorskip("submitit")
    options = WorkerOptions(workers=2, cluster="slurm-here", cluster_options=("timeout_min=5",))
    with open_executor(options, tmp_path_factory.mktemp("jobs")) as executor:
        yield executor


@pytest.fixture(params=["here", "two", pytest.param("jobs", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest) -> Executor:
    return in_this_process() if request.param == "here" else request.getfixturevalue(request.param)


def test_results_come_in_order_and_share_one_object(executor: Executor) -> None:
    numbers = [(n,) for n in range(5)]
    assert executor.map(p.square, numbers) == [0, 1, 4, 9, 16]
    assert executor.map(p.scaled, numbers, shared=[1.0, 2.0, 3.0, 4.0, 5.0]) == [10, 20, 30, 40, 50]
    assert executor.map(p.scaled, [(0,)], shared=[7.0]) == [70], "another shared object"


def test_workers_are_other_processes_with_one_thread(two: Executor) -> None:
    found = two.map(p.threads_and_process, [()] * 4)
    assert {threads for threads, _ in found} == {1} and os.getpid() not in {process for _, process in found}
    assert two.workers == 2 and in_this_process().workers == 1


def test_a_part_waits_for_those_that_it_needs(executor: Executor, tmp_path: Path) -> None:
    first = [Part(f"first {n}", p.marked, (tmp_path, n)) for n in range(3)]
    names = tuple(part.name for part in first)
    order: list[str] = []
    found = executor.run(
        [*first, Part("sum", p.total, (tmp_path,), after=names)], done=lambda part, _: order.append(part.name)
    )
    assert found["sum"] == 3 and order[-1] == "sum" and sorted(order[:3]) == sorted(names)


def test_a_broken_part_is_named_and_the_others_go_on(executor: Executor) -> None:
    kept: dict[str, Any] = {}
    parts = [Part(f"table {n}", p.bad_file, (n,)) for n in range(4)]
    parts.append(Part("after all", p.square, (2,), after=("table 1",)))
    with pytest.raises(
        PartsFailed, match=r"1 of 5 parts failed, 3 are finished: 'table 1': file='b.csv'"
    ) as error:
        executor.run(parts, done=lambda part, result: kept.update({part.name: result}))
    assert kept == {"table 0": 0, "table 2": 2, "table 3": 3}
    assert error.value.errors == {"table 1": "file='b.csv' is damaged; save it again."}


def test_a_single_part_raises_its_own_error(executor: Executor) -> None:
    with pytest.raises(InputError, match=r"^file='b.csv' is damaged"):
        executor.map(p.bad_file, [(1,)])


def test_a_defect_is_raised_here_and_named_with_its_place_elsewhere(two: Executor) -> None:
    with pytest.raises(ZeroDivisionError):
        in_this_process().map(p.defect, [(1,), (0,)])
    with pytest.raises(PartsFailed, match=r"ZeroDivisionError.* at File .*parts.py"):
        two.map(p.defect, [(1,), (0,)])


def test_when_nothing_works_it_ends_early(two: Executor) -> None:
    with pytest.raises(PartsFailed) as error:
        two.map(p.bad_file, [(1,)] * 40, names=[f"part {n}" for n in range(40)])
    assert HOPELESS <= len(error.value.errors) <= HOPELESS + two.workers


@pytest.mark.parametrize("kind", ["two", "jobs"])
def test_a_killed_worker_costs_its_own_part_alone(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    seen: list[str] = []

    class Seen(Watcher):
        def lost(self, part: Part, why: str) -> None:
            seen.append(part.name)

    parts = [Part("killed", p.killed_once, (tmp_path, 1)), *(Part(f"{n}", p.square, (n,)) for n in range(4))]
    found = request.getfixturevalue(kind).run(parts, watcher=Seen())
    assert found == {"killed": 1, "0": 0, "1": 1, "2": 4, "3": 9}
    # Jobs hold several parts each, which are begun again together.
    assert seen == ["killed"] if kind == "two" else seen[0] == "killed"


def test_a_part_that_kills_every_worker_is_named(two: Executor) -> None:
    with pytest.raises(PartsFailed, match=r"'killed_always 1': it cost 3 workers .*memory may be short"):
        two.map(p.killed_always, [(0,), (1,), (2,)])
    assert two.map(p.square, [(3,)]) == [9], "the workers are there again"


def test_a_full_disk_ends_the_run_and_parts_in_work_are_finished(two: Executor, tmp_path: Path) -> None:
    done: list[str] = []
    parts = [Part(f"{n}", p.full_disk, (tmp_path, n)) for n in range(12)]
    with pytest.raises(FileError, match="No space left"):
        two.run(parts, done=lambda part, _: done.append(part.name))
    begun = {file.name.removeprefix("begun-") for file in tmp_path.iterdir()}
    assert begun == {"0", *done} and len(begun) <= 3


def test_what_cannot_be_sent_is_one_sentence(two: Executor) -> None:
    with pytest.raises(InputError, match="cannot be sent to another process"):
        two.map(lambda: 1, [()])
    with pytest.raises(InputError, match="cannot be sent to another process"):
        two.map(p.square, [(1,)], shared=lambda: 1)
    with pytest.raises(PartsFailed, match="unpicklable 0"):
        two.map(p.unpicklable, [(0,), (1,)])


def test_the_first_interrupt_lets_parts_in_work_finish(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        parts = [Part(f"{n}", p.marked, (tmp_path, n)) for n in range(4)]

        def interrupt(part: Part, _: Any) -> None:
            if part.name == "1":
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            in_this_process().run(parts, done=interrupt)
        assert p.total(tmp_path) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_caller_that_is_stopping_gets_what_there_is(two: Executor) -> None:
    stopping: list[int] = []
    parts = [Part(f"{n}", p.square, (n,)) for n in range(50)]
    found = two.run(parts, stopping=stopping, done=lambda *_: stopping.append(signal.SIGTERM))
    assert 1 <= len(found) <= 1 + two.workers


def test_an_error_in_between_kills_the_workers(tmp_path: Path) -> None:
    def stumble(*_: Any) -> None:
        raise RuntimeError("the driver stumbles")

    with open_executor(WorkerOptions(workers=2)) as executor:
        processes = [process for _, process in executor.map(p.threads_and_process, [()] * 2)]
        parts = [Part("quick", p.square, (1,)), Part("slow", p.marked, (tmp_path, 1, 600.0))]
        with pytest.raises(RuntimeError, match="stumbles"):
            executor.run(parts, done=stumble)
        for process in processes:
            assert _ends(process)
        assert executor.map(p.square, [(2,)]) == [4], "new workers are started"


def _ends(process: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process).wait(60)
    return not psutil.pid_exists(process)


def test_a_job_that_slurm_cuts_off_is_queued_again(tmp_path: Path) -> None:
    """The signal before a time limit: submitit asks the job for its checkpoint and queues it again."""
    pytest.importorskip("submitit")
    with open_executor(WorkerOptions(workers=1, cluster="slurm-here"), tmp_path) as executor:
        backend: Any = executor.backend
        start = backend.start

        def cut_off(batches: Any, shared: Any) -> Any:
            handles = start(batches, shared)
            (job,) = handles
            _wait_for(lambda: (tmp_path / "begun").exists())
            (task,) = psutil.Process(job._process.pid).children()
            task.send_signal(signal.SIGUSR2)
            return handles

        backend.start = cut_off
        assert executor.map(begun_and_then, [(tmp_path,)]) == [2]


def begun_and_then(folder: Path) -> int:
    """Waits to be cut off when it runs for the first time; returns how often it ran."""
    count = len(list(folder.glob("run-*"))) + 1
    (folder / f"run-{count}").touch()
    (folder / "begun").touch()
    if count == 1:
        time.sleep(60)
    return count


def _wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never happened")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": -1}, "workers=-1 must lie between 0"),
        ({"cluster": "moon"}, "choose one of: local, ray, slurm, slurm-here"),
        ({"cluster_options": ("partition",)}, "must have the form NAME=VALUE"),
    ],
)
def test_bad_options(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WorkerOptions(**wrong)


@pytest.mark.parametrize(("cluster", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_missing_package_is_one_sentence(
    cluster: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"pip install {package}"):
        open_executor(WorkerOptions(cluster=cluster), tmp_path)


def test_without_slurm_or_with_unknown_parameters_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"cluster='slurm' is not available here"):
        open_executor(WorkerOptions(cluster="slurm"), tmp_path)
    options = WorkerOptions(cluster="slurm-here", cluster_options=("no_such_thing=1",))
    with pytest.raises(InputError, match=r"cluster_options=\['no_such_thing'\]"):
        open_executor(options, tmp_path)


def test_one_local_worker_is_this_process() -> None:
    assert isinstance(open_executor(WorkerOptions()).backend, Here)


def test_nothing_else_starts_processes() -> None:
    """All parallel work goes through the executor; see the list for commands that are no part of a computation."""
    root = Path(__file__).resolve().parents[2]
    starts = re.compile(
        r"\b(multiprocessing|ProcessPoolExecutor|subprocess|Popen|submitit|os\.fork|joblib)\b|import ray\b"
    )
    found = {
        str(file.relative_to(root))
        for room in ("metaal_env", "agents", "benchmarks")
        for file in (root / room).rglob("*.py")
        if "runtime/executor" not in str(file)
        for line in file.read_text().splitlines()
        if starts.search(line) and re.match(r"\s*(from|import) |.*\w+\.\w+\(", line)
    }
    assert found == {
        "benchmarks/robustness/kills.py",  # trainings that are killed
        "benchmarks/speed/acquisition.py",  # one process for each measurement of memory
        "benchmarks/speed/compare.py",  # other commits
        "benchmarks/speed/features.py",  # other commits
        "benchmarks/speed/gpu.py",  # asks the driver
        "benchmarks/speed/label_page.py",  # the web page's server, which a browser visits
        "benchmarks/speed/page.py",  # the commands of which a page of figures is made
    }
