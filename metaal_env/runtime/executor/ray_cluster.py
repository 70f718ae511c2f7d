"""Ray (extra ``ray``): one actor for each slot, on a running cluster or on an instance of its own on this machine."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from contextlib import suppress
from typing import Any

from metaal_env.errors import InputError, brief
from metaal_env.runtime.executor.backend import Backend
from metaal_env.runtime.executor.local import child_environment
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

ADDRESS = "RAY_ADDRESS"
"""Environment variable with the address of a running cluster; without it, Ray starts on this machine."""


class RayWorker:
    """An actor: a process somewhere that computes what it is sent."""

    def compute(self, calls: bytes, digest: str | None, data: bytes | None) -> bytes:
        """Computes a batch; `data` is the pickle of a shared object that is new to this worker."""
        return work(calls, None if digest is None or data is None else (digest, data))

    def process(self) -> int:
        """Returns the number of its process."""
        return os.getpid()


class RayActors(Backend):
    """Computes parts in actors of Ray, one core and one thread each.

    Args:
        workers: number of actors.

    Raises:
        InputError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, workers: int):
        try:
            import ray
        except ImportError as error:
            raise InputError("cluster='ray' needs the package ray; install it: pip install ray.") from error
        self.ray: Any = ray
        self.slots = workers
        self._owns = not ray.is_initialized()
        if self._owns:
            try:
                own: dict[str, Any] = (
                    {} if os.environ.get(ADDRESS) else {"num_cpus": workers, "include_dashboard": False}
                )
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **own)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"cluster='ray' cannot be reached ({brief(error)}); check {ADDRESS}, or unset it."
                ) from error
        self.place = f"{workers} actors of Ray"
        one = {"env_vars": child_environment()}
        made: Any = ray.remote(num_cpus=1, max_restarts=0, runtime_env=one)
        self._make = made(RayWorker).remote
        self._free: list[Any] = [None] * workers
        self._busy: dict[Hashable, Any] = {}
        self._known: dict[Any, deque[str]] = {}
        self._stored: dict[str, Any] = {}

    def start(self, batches: Sequence[Sequence[Part]], shared: Shared | None) -> list[Hashable]:
        handles: list[Hashable] = []
        for batch in batches:
            calls = payload(batch, shared)
            actor = self._free.pop() or self._make()
            digest = data = None
            known = self._known.setdefault(actor, deque(maxlen=KEPT))
            if shared is not None and shared.digest not in known:
                digest, data = shared.digest, self._store(shared)
                known.append(shared.digest)
            handle = actor.compute.remote(calls, digest, data)
            self._busy[handle] = actor
            handles.append(handle)
        return handles

    def _store(self, shared: Shared) -> Any:
        """Puts a shared object into Ray's store once, from where every machine fetches it."""
        if shared.digest not in self._stored:
            self._stored[shared.digest] = self.ray.put(shared.data)
        return self._stored[shared.digest]

    def wait(self, handles: Collection[Hashable], seconds: float) -> list[Hashable]:
        ended, _ = self.ray.wait(list(handles), num_returns=1, timeout=seconds)
        return list(ended)

    def outcomes(self, handle: Hashable) -> list[Outcome]:
        actor = self._busy.pop(handle)
        try:
            data: bytes = self.ray.get(handle)
        except self.ray.exceptions.RayError as error:
            self._known.pop(actor, None)
            self._free.append(None)
            raise WorkerLost(f"an actor of Ray died: {brief(error)}") from error
        self._free.append(actor)
        return unpickled(data)

    def close(self) -> None:
        self.kill()

    def kill(self) -> None:
        for actor in [*self._busy.values(), *filter(None, self._free)]:
            with suppress(Exception):  # it may be dead already
                self.ray.kill(actor)
        self._busy, self._free, self._stored = {}, [None] * self.slots, {}
        self._known.clear()
        if self._owns:
            self.ray.shutdown()
