"""Local processes: one pool of one process for each slot, so that a worker that dies takes its own part alone along."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Collection, Hashable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress

import torch

from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.parts import (
    KEPT,
    Outcome,
    Part,
    Shared,
    WorkerLost,
    payload,
    unpickled,
    work,
)

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How workers start. A server imports the modules once and forks; where there is none, every worker imports them."""


def prepare_worker() -> None:
    """Prepares a worker: one thread, no reaction to Ctrl-C, and an end with its parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it; the part in work is finished
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)  # the parent was killed: without this a worker would wait for work for ever

    threading.Thread(target=follow, daemon=True).start()


class _Slot:
    """One worker process, started again when it is lost."""

    def __init__(self, modules: Sequence[str]):
        context = multiprocessing.get_context(METHOD)
        if METHOD == "forkserver":
            context.set_forkserver_preload([__name__, *modules])
        self.pool = ProcessPoolExecutor(1, context, initializer=prepare_worker)
        self.known: deque[str] = deque(maxlen=KEPT)

    def submit(self, batch: Sequence[Part], shared: Shared | None) -> Future[bytes]:
        calls, new = payload(batch, shared), None
        if shared is not None and shared.digest not in self.known:
            new = (shared.digest, shared.data)
            self.known.append(shared.digest)
        with environment_of_children():
            return self.pool.submit(work, calls, new)

    def kill(self) -> None:
        for process in list((self.pool._processes or {}).values()):  # no public way to stop a running call
            process.kill()
        self.pool.shutdown(wait=False, cancel_futures=True)


class LocalProcesses(Backend):
    """Computes parts in processes of this machine, one thread each.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int):
        self.slots = workers
        self.place = f"{workers} local processes"
        self._free: list[_Slot | None] = [None] * workers
        self._busy: dict[Hashable, _Slot] = {}

    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        handles: list[Hashable] = []
        for batch in batches:
            slot = self._free.pop() or _Slot(sorted({part.function.__module__ for part in batch}))
            try:
                future = slot.submit(batch, shared)
            except BrokenProcessPool:  # it died while it had nothing to do
                slot = _Slot(())
                future = slot.submit(batch, shared)
            self._busy[future] = slot
            handles.append(future)
        return handles

    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        futures: list[Future[bytes]] = list(handles)  # type: ignore[arg-type]
        done = concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED).done
        return [future for future in futures if future in done]

    def outcomes(self, handle: Hashable) -> list[Outcome]:
        slot = self._busy.pop(handle)
        future: Future[bytes] = handle  # type: ignore[assignment]
        try:
            outcomes = unpickled(future.result())
        except BrokenProcessPool as error:
            slot.pool.shutdown(wait=False)
            self._free.append(None)
            raise WorkerLost("its process was killed") from error
        except BaseException:
            self._free.append(slot)
            raise
        self._free.append(slot)
        return outcomes

    def close(self) -> None:
        for slot in self._free:
            if slot is not None:
                slot.pool.shutdown(wait=True)
        self._free = [None] * self.slots

    def kill(self) -> None:
        for slot in [*self._busy.values(), *filter(None, self._free)]:
            with suppress(OSError):
                slot.kill()
        self._busy, self._free = {}, [None] * self.slots


def child_environment() -> dict[str, str]:
    """Returns what workers read when they start: one thread each, and where modules lie.

    Threads of several workers would fight for the cores.
    """
    path = os.pathsep.join(os.path.abspath(place) for place in sys.path)
    return dict.fromkeys(THREAD_VARIABLES, "1") | {"PYTHONPATH": path}


@contextmanager
def environment_of_children() -> Iterator[None]:
    """Sets `child_environment` within the block, for children that are started there."""
    new = child_environment()
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
