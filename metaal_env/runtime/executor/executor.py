"""`Executor`: schedules parts on a backend, in the order of what they need, and survives workers that die."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from metaal_env.errors import InputError, brief, some_of
from metaal_env.runtime.executor.backend import Backend, Here
from metaal_env.runtime.executor.parts import Outcome, Part, Queue, Shared, WorkerLost
from metaal_env.runtime.executor.watch import Watcher
from metaal_env.runtime.interrupts import deferred_interrupts

ATTEMPTS = 3
"""Workers that a part may cost before it counts as broken."""

HOPELESS = 4
"""Broken parts after which a run ends early if no part has ever been finished: all are broken alike."""

TICK = 1.0
"""Seconds between looks at workers that say nothing."""


class PartsFailed(InputError):
    """Reports parts that are broken, when all others are finished.

    Attributes:
        errors: name → what was wrong.
    """

    def __init__(self, message: str, errors: dict[str, str]):
        super().__init__(message)
        self.errors = errors

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.errors)


class Executor:
    """Computes parts on the workers of a backend.

    Args:
        backend: where; this process by default.
    """

    def __init__(self, backend: Backend | None = None):
        self.backend = backend or Here()
        self._shared: list[Shared] = []

    @property
    def workers(self) -> int:
        """Number of parts that are computed at a time."""
        return self.backend.slots

    def map(
        self,
        function: Callable[..., Any],
        arguments: Iterable[tuple[Any, ...]],
        *,
        shared: Any = None,
        names: Sequence[str] | None = None,
        stopping: list[int] | None = None,
    ) -> list[Any]:
        """Returns ``function(*arguments)`` of every tuple, in order; `shared` is given before the arguments.

        Args:
            function: an importable function.
            arguments: of each part; best small.
            shared: an object that all parts need, sent to each worker once.
            names: of the parts, for messages.
            stopping: as for `run`; unfinished parts then are None.

        Raises:
            InputError: as `run`.
        """
        every = list(arguments)
        named = names or [f"{function.__name__} {number}" for number in range(len(every))]
        parts = [
            Part(name, function, given, kind=function.__name__)
            for name, given in zip(named, every, strict=True)
        ]
        results = self.run(parts, shared=shared, stopping=stopping)
        return [results.get(part.name) for part in parts]

    def run(
        self,
        parts: Sequence[Part],
        *,
        shared: Any = None,
        stopping: list[int] | None = None,
        watcher: Watcher | None = None,
        done: Callable[[Part, Any], None] | None = None,
    ) -> dict[str, Any]:
        """Computes parts, each after those that it needs, and returns name → result.

        A part whose worker dies is begun again, `ATTEMPTS` times at most. A part that raises is broken: what needs it
        is left out, everything else is finished, then the broken ones are named. Parts that are ready are started in
        their order. The first Ctrl-C or SIGTERM lets the parts in work finish.

        Args:
            parts: with unique names.
            shared: an object that is given to all functions before their arguments, sent to each worker once.
            stopping: no further parts are started once it is not empty; the results so far are returned. Without it,
                the run handles Ctrl-C itself.
            watcher: is told of everything that happens.
            done: called here with each part that is finished, and its result.

        Raises:
            PartsFailed: parts are broken. A single part's own `InputError` is raised as it is.
            FileError: files cannot be written; parts in work are finished before.
            KeyboardInterrupt: Ctrl-C or SIGTERM, without `stopping`.
        """
        with _interrupts(stopping) as noted:
            run = _Run(self.backend, parts, self._held(shared), watcher or Watcher(), done)
            try:
                run.play(noted)
            except BaseException:
                self.backend.kill()
                raise
        return run.results

    def _held(self, value: Any) -> Shared | None:
        """Returns the shared object, pickled once however many runs need it."""
        if value is None:
            return None
        for shared in self._shared:
            if shared.value is value:
                return shared
        self._shared = [*self._shared[-2:], Shared(value)]
        return self._shared[-1]

    def close(self) -> None:
        """Ends the workers."""
        self.backend.close()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def _interrupts(stopping: list[int] | None) -> Iterator[list[int]]:
    if stopping is not None:
        yield stopping
    else:
        with deferred_interrupts() as noted:
            yield noted


class _Run:
    """One call of `Executor.run`."""

    def __init__(
        self,
        backend: Backend,
        parts: Sequence[Part],
        shared: Shared | None,
        watcher: Watcher,
        done: Callable[[Part, Any], None] | None,
    ):
        self.backend, self.shared, self.watcher, self.done = backend, shared, watcher, done
        self.parts, self.ready = list(parts), Queue(parts)
        self.running: dict[Any, list[int]] = {}
        self.lost: Counter[int] = Counter()
        self.results: dict[str, Any] = {}
        self.broken: dict[int, Outcome] = {}
        self.fatal: Outcome | None = None

    def play(self, stopping: list[int]) -> None:
        self.watcher.begin(self.parts, self.backend)
        while True:
            if not stopping and not self._is_hopeless():
                self._start()
            if not self.running:
                break
            for handle in self.backend.wait(self.running, TICK):
                self._end(handle)
            self.watcher.tick()
        self.watcher.end()
        self._raise_errors()

    def _is_hopeless(self) -> bool:
        return self.fatal is not None or (not self.results and len(self.broken) >= HOPELESS)

    def _start(self) -> None:
        free = self.backend.slots - len(self.running)
        if not free or not self.ready:
            return
        size = -(-len(self.ready) // free) if self.backend.batches else 1
        batches: list[list[int]] = []
        while self.ready and len(batches) < free:
            batches.append([self.ready.take() for _ in range(min(size, len(self.ready)))])
        for batch in batches:
            for number in batch:
                self.watcher.started(self.parts[number])
        handles = self.backend.start(
            [[self.parts[number] for number in batch] for batch in batches], self.shared
        )
        self.running.update(zip(handles, batches, strict=True))

    def _end(self, handle: Any) -> None:
        batch = self.running.pop(handle)
        try:
            outcomes = self.backend.outcomes(handle)
        except WorkerLost as error:
            for number in batch:
                self._lose(number, error)
            return
        for number, outcome in zip(batch, outcomes, strict=True):
            if outcome.error is None:
                self._finish(number, outcome)
            else:
                self._break(number, outcome)

    def _finish(self, number: int, outcome: Outcome) -> None:
        part = self.parts[number]
        self.results[part.name] = outcome.result
        self.ready.finish(number)
        self.watcher.finished(part, outcome.seconds)
        if self.done is not None:
            self.done(part, outcome.result)

    def _lose(self, number: int, error: WorkerLost) -> None:
        self.lost[number] += 1
        self.watcher.lost(self.parts[number], str(error))
        if self.lost[number] < ATTEMPTS:
            self.ready.put_back(number)
        else:
            text = f"it cost {ATTEMPTS} workers ({error}); memory may be short"
            self._break(number, Outcome(None, InputError(text), "", 0.0))

    def _break(self, number: int, outcome: Outcome) -> None:
        self.broken[number] = outcome
        if outcome.is_fatal:
            self.fatal = outcome
        self.watcher.broken(self.parts[number], brief(outcome.error or ""))

    def _raise_errors(self) -> None:
        if self.fatal is not None and self.fatal.error is not None:
            raise self.fatal.error
        if not self.broken:
            return
        errors = {self.parts[n].name: _sentence(outcome) for n, outcome in sorted(self.broken.items())}
        first = self.broken[min(self.broken)].error
        if len(self.parts) == 1 and isinstance(first, InputError):
            raise first
        named = some_of([f"{name!r}: {text}" for name, text in errors.items()], 3, "; ")
        raise PartsFailed(
            f"{len(errors)} of {len(self.parts)} parts failed, {len(self.results)} are finished: {named}",
            errors,
        ) from first


def _sentence(outcome: Outcome) -> str:
    """Says what was wrong; of errors that are nobody's input, where it happened as well."""
    if isinstance(outcome.error, InputError) or not outcome.trace:
        return str(outcome.error)
    places = [line.strip() for line in outcome.trace.splitlines() if line.lstrip().startswith("File ")]
    return f"{outcome.error!r} at {places[-1]}" if places else repr(outcome.error)
