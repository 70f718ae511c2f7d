"""Plays cells: in this process, in a local pool, or on any executor such as a cluster's."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any

import torch

from agents.evaluation.protocol.cells import Cell, run_cell

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def worker_processes(workers: int) -> Executor:
    """Returns a pool of fresh processes that compute on one thread each and end with this one."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)


def run_cells(
    cells: list[Cell],
    *,
    workers: int = 1,
    done: Callable[[Cell], None] = lambda cell: None,
    executor: Executor | None = None,
    pool: Callable[[int], Executor] = worker_processes,
    play: Callable[[Cell], Any] = run_cell,
) -> None:
    """Plays cells, in this process or in a pool.

    Args:
        workers: local processes; 1 plays here.
        done: called after each cell.
        executor: any `concurrent.futures` executor instead of the local pool; ``submitit.AutoExecutor`` fits,
            since all it is asked for is ``submit(play, cell)`` and a future.
        pool: makes the local pool of so many workers.
        play: plays one cell; another process must be able to import it.

    The first Ctrl-C lets local processes finish their cells, a second one kills them.

    Raises:
        InputError: the first failure; cells finished before it keep their rows.
    """
    if executor is None and workers <= 1:
        with _one_thread():
            for cell in cells:
                play(cell)
                done(cell)
        return
    with _single_threaded_children(), _killed_at_a_second_interrupt():
        used = executor or pool(min(workers, len(cells)))
        try:
            futures = {used.submit(play, cell): cell for cell in cells}
            for future in as_completed(futures) if executor is None else futures:
                future.result()
                done(futures[future])
        except KeyboardInterrupt:
            print("\nstopping after the cells in progress; press once more to stop at once.", file=sys.stderr)
            raise
        finally:
            if executor is None:
                used.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Prepares a worker: one thread, no reaction to Ctrl-C, and an end with its parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it; a cell in progress is finished
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)  # the parent was killed: without this a worker would wait for work for ever

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _killed_at_a_second_interrupt() -> Iterator[None]:
    """Kills the workers that the block leaves behind, which it does where an interrupt ends their orderly shutdown.

    The pool's own clean-up at exit would wait for them, and they for work, for ever.
    """
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for worker in set(multiprocessing.active_children()) - before:
            worker.kill()
        raise


@contextmanager
def _one_thread() -> Iterator[None]:
    """Computes on one thread, as in a worker: sums then round alike however many workers there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Sets what workers read when they import torch: threads of several workers would fight for the cores."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
