"""Parts of a computation, and how a worker computes them."""

from __future__ import annotations

import errno
import hashlib
import heapq
import pickle
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import numpy as np
import torch

from metaal_env.errors import FileError, InputError, brief


@dataclass(frozen=True)
class Part:
    """A piece of a computation that any worker may do.

    Doing it twice must do no harm: where a worker is lost, what it had begun is begun again.
    """

    name: str
    """Names it in messages; unique within a run."""
    function: Callable[..., Any]
    """An importable function: workers find it by module and name."""
    arguments: tuple[Any, ...] = ()
    after: tuple[str, ...] = ()
    """Names of the parts that must be finished before; names outside the run count as finished."""
    kind: str = "part"
    """Parts of one kind take about equally long, for the estimate of the time left."""


class Queue:
    """Holds the numbers of parts that may be computed now, in the order of the parts, which need unique names."""

    def __init__(self, parts: Sequence[Part]):
        place = {part.name: number for number, part in enumerate(parts)}
        assert len(place) == len(parts), "parts need names of their own"
        needed = {n: [place[name] for name in part.after if name in place] for n, part in enumerate(parts)}
        self._order = TopologicalSorter(needed)
        self._order.prepare()
        self._ready = sorted(self._order.get_ready())  # a heap

    def __len__(self) -> int:
        return len(self._ready)

    def take(self) -> int:
        """Returns the first part and removes it."""
        return heapq.heappop(self._ready)

    def put_back(self, number: int) -> None:
        """Adds a part that was taken in vain."""
        heapq.heappush(self._ready, number)

    def finish(self, number: int) -> None:
        """Adds the parts that waited for this one alone."""
        self._order.done(number)
        for other in self._order.get_ready():
            heapq.heappush(self._ready, other)


class Call(NamedTuple):
    """Holds what is sent to a worker."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    shared: str | None  # digest of what is given before the arguments


class Outcome(NamedTuple):
    """Holds what comes back from a worker."""

    result: Any
    error: BaseException | None
    trace: str  # of the error, as text
    seconds: float

    @property
    def is_fatal(self) -> bool:
        """Whether no other part would fare better: files cannot be written."""
        full = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        error = self.error
        while error is not None:
            if isinstance(error, FileError) or (isinstance(error, OSError) and error.errno in full):
                return True
            error = error.__cause__
        return False


class WorkerLost(Exception):
    """Reports that a worker ended without an answer: killed, out of memory, its node lost."""


class Shared:
    """A large object that many parts need: pickled once, and sent once to each worker."""

    def __init__(self, value: Any):
        self.value = value
        self._data: bytes | None = None

    @property
    def data(self) -> bytes:
        if self._data is None:
            try:
                self._data = pickle.dumps(self.value, protocol=pickle.HIGHEST_PROTOCOL)
            except Exception as error:  # picklers raise almost anything
                raise not_sendable(type(self.value).__name__, error) from error
        return self._data

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()[:16]


KEPT = 4
"""Shared objects that a worker keeps: those that it was sent last."""


_kept: OrderedDict[str, Any] = OrderedDict()


def keep_shared(digest: str, data: bytes) -> None:
    """Makes a shared object known to this worker."""
    _kept[digest] = pickle.loads(data)
    while len(_kept) > KEPT:
        _kept.popitem(last=False)


def knows_shared(digest: str | None) -> bool:
    """Whether this worker needs not be sent the shared object."""
    return digest is None or digest in _kept


def work(calls: bytes, shared: tuple[str, bytes] | None = None) -> bytes:
    """Computes the calls of a worker, one after the other.

    Args:
        calls: of `payload`.
        shared: digest and pickle of an object that they need and that this worker has not been sent yet.

    Returns:
        Their outcomes, for `unpickled`.
    """
    if shared is not None:
        keep_shared(*shared)
    return pickle.dumps([pickled(perform(call)) for call in pickle.loads(calls)])


def perform(call: Call) -> Outcome:
    """Computes one call on one thread and catches its errors."""
    before = () if call.shared is None else (_kept[call.shared],)
    return attempt(call.function, (*before, *call.arguments))


def attempt(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    """Computes ``function(*arguments)`` on one thread and catches its errors.

    The global random generators start alike for every part and are restored afterwards: what a part draws from them
    depends neither on what its worker did before nor on whether it ran in the caller's process.
    """
    begin = time.perf_counter()
    result, error, trace = None, None, ""
    try:
        with one_thread(), torch.random.fork_rng(devices=[]), _numpy_generator():
            torch.default_generator.manual_seed(0)
            result = function(*arguments)
    except Exception as caught:
        error, trace = caught, traceback.format_exc()
    return Outcome(result, error, trace, time.perf_counter() - begin)


def pickled(outcome: Outcome) -> bytes:
    """Returns the outcome as bytes; what cannot be pickled becomes an error that can."""
    try:
        data = pickle.dumps(outcome, protocol=pickle.HIGHEST_PROTOCOL)
        if outcome.error is not None:
            pickle.loads(data)  # some errors can be written and not be read
        return data
    except Exception as error:
        text = repr(outcome.error or error)
        return pickle.dumps(outcome._replace(result=None, error=RuntimeError(text)))


def unpickled(data: bytes) -> list[Outcome]:
    """Returns the outcomes that `work` sent."""
    return [pickle.loads(outcome) for outcome in pickle.loads(data)]


def payload(batch: Sequence[Part], shared: Shared | None) -> bytes:
    """Returns what `work` is sent for a batch.

    Raises:
        InputError: a function or an argument cannot be pickled.
    """
    digest = None if shared is None else shared.digest
    try:
        return pickle.dumps([Call(part.function, part.arguments, digest) for part in batch])
    except Exception as error:  # picklers raise almost anything
        raise not_sendable(batch[0].name, error) from error


def not_sendable(what: str, error: Exception) -> InputError:
    """Returns the error for something that no other process could be given."""
    return InputError(
        f"workers: {what!r} cannot be sent to another process ({brief(error)}); define its functions in a module "
        "rather than inside of others, or use one local worker."
    )


@contextmanager
def _numpy_generator() -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


@contextmanager
def one_thread() -> Iterator[None]:
    """Computes on one thread, as every worker does: sums then round alike however many workers there are."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
