"""`Backend`: where parts are computed. This process is the simplest one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from metaal_env.errors import InputError
from metaal_env.runtime.executor.parts import Outcome, Part, Shared, attempt


class Backend(ABC):
    """Computes batches of parts, several batches at a time.

    Attributes:
        slots: batches that are computed at a time.
        batches: whether starting a batch is so costly that it should hold several parts.
        place: says where parts are computed.
    """

    slots: int = 1
    batches: bool = False
    place: str = ""

    @abstractmethod
    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        """Starts up to `slots` batches and returns a handle for each."""

    @abstractmethod
    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        """Returns the handles of batches that ended, waiting for the first at most `seconds`."""

    @abstractmethod
    def outcomes(self, handle: Hashable) -> list[Outcome]:
        """Returns what came of the parts of a batch that ended. Raises: `WorkerLost`."""

    def clock(self) -> float:
        """Returns the time in seconds."""
        return time.monotonic()

    def close(self) -> None:  # noqa: B027 (this process has nothing to end)
        """Ends the workers, which have nothing left to do."""

    def kill(self) -> None:
        """Ends the workers at once, whatever they do."""
        self.close()


class Here(Backend):
    """Computes parts in this process, one after the other, without pickling anything."""

    place = "this process"

    def __init__(self) -> None:
        self._ended: dict[Hashable, list[Outcome]] = {}
        self._number = 0

    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        handles: list[Hashable] = []
        before = () if shared is None else (shared.value,)
        for batch in batches:
            self._number += 1
            self._ended[self._number] = [_here(part, before) for part in batch]
            handles.append(self._number)
        return handles

    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        return list(handles)

    def outcomes(self, handle: Hashable) -> list[Outcome]:
        return self._ended.pop(handle)


def _here(part: Part, before: tuple[Any, ...]) -> Outcome:
    """Computes a part; an error that is nobody's input is a defect, and is raised with its traceback."""
    outcome = attempt(part.function, (*before, *part.arguments))
    if outcome.error is not None and not isinstance(outcome.error, InputError):
        raise outcome.error
    return outcome
