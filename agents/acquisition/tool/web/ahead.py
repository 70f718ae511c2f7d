"""Chooses items ahead in a thread, so that the next one is ready while a person looks at the present one."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from agents.acquisition.batch import Selection
from agents.acquisition.policies import policy_name
from agents.acquisition.tool.choice import Choice, choose_among
from agents.acquisition.tool.web.claims import Origin
from agents.policy.reasons import reasons
from metaal_env.errors import InputError

DEPTH = 8
"""Items that are kept ready: whoever answers faster than a query lasts does not wait for it."""

BREATH, REST = 0.15, 0.6
"""Seconds after an answer before a query and, where no further answer came, `idle` begin: first comes the next item."""

PATIENCE = 10.0
"""Seconds after which `idle` is called although answers keep coming."""

NICE = 5
"""Steps by which a query's thread stands back behind answers, where the system knows priorities of threads."""


class Moment(NamedTuple):
    """Holds what a query needs to know, taken while nobody changes the session.

    Attributes:
        y: (N,) labels that may guide the choice, None where unknown.
        candidates: Positions of items that may be chosen.
        shown: Positions of items that are being looked at.
        paid: Money that labels cost which `y` lacks.
    """

    y: np.ndarray
    candidates: np.ndarray
    shown: list[int]
    paid: float = 0.0


@dataclass
class Ahead:
    """Keeps a queue of the most useful items.

    While an item is looked at, the query that follows counts it as labelled like its nearest labelled item: so the
    items behind it are no near-copies of it. The answer itself guides the query after that.

    Attributes:
        x: (N, D) vectors of the items.
        take: Returns the present moment.
        idle: Called after a query when no other is due.
        queue: Positions of the items that come next, the most useful first.
        earlier: Policy and utility with which an earlier run chose items.
    """

    x: np.ndarray
    choice: Choice
    take: Callable[[], Moment]
    idle: Callable[[], None] = lambda: None
    queue: list[int] = field(default_factory=list)
    earlier: dict[int, Origin] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flat = np.asarray(self.x).reshape(len(self.x), -1)
        self.failure: InputError | None = None
        self._found: dict[int, tuple[Selection, int]] = {}  # position → where its reasons can be read
        self._changed = threading.Condition()
        self._due, self._busy, self._closed = False, False, False
        self._thread = threading.Thread(target=self._run, name="metaal-query", daemon=True)

    def start(self) -> None:
        """Starts the thread; the first query is due unless a queue was taken over."""
        self._due = not self.queue
        self._thread.start()

    def refresh(self) -> None:
        """Says that the answers changed."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits until no query is due or running; whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._due or self._busy), seconds)

    def close(self) -> None:
        """Ends the thread after its present work."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def why(self, position: int) -> list[tuple[str, float, str]]:
        """Returns the reasons for an item that a query chose, as `reasons`; none for others."""
        found = self._found.get(position)
        if found is None:
            return []
        selection, rank = found
        return reasons(selection.strategy, selection.views[rank], selection.places[rank])

    def origin(self, position: int) -> Origin:
        """Returns the policy that chose an item, and its utility then; nothing for items that no query chose."""
        found = self._found.get(position)
        if found is None:
            return self.earlier.get(position, ("", None))
        return policy_name(self.choice.policy), float(found[0].scores[found[1]])

    def _run(self) -> None:
        _give_way()
        rested = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed)
                if self._closed:
                    return
                if self.queue:
                    self._changed.wait_for(lambda: self._closed, BREATH)
                self._due, self._busy = False, True
            try:
                self._query(self.take())
                self.failure = None
            except InputError as error:  # shown on the page; items are then drawn at random
                self.failure = error
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
            with self._changed:
                again = self._changed.wait_for(lambda: self._due or self._closed, REST)
            if not again or time.monotonic() - rested > PATIENCE:
                self.idle()
                rested = time.monotonic()

    def _query(self, moment: Moment) -> None:
        if not len(moment.candidates):
            self.queue = []
            return
        y = self._believed(moment)
        size = min(DEPTH, len(moment.candidates))
        found = choose_among(self.x, y, moment.candidates, self.choice, size, paid=moment.paid)
        self._found |= {int(pick): (found, rank) for rank, pick in enumerate(found.picks)}
        kept = {*found.picks.tolist(), *moment.shown, *self.take().shown}  # pages may have gone on meanwhile
        self._found = {position: value for position, value in self._found.items() if position in kept}
        self.queue = found.picks.tolist()

    def _believed(self, moment: Moment) -> np.ndarray:
        """The labels, and for items being looked at the label of the nearest labelled item."""
        known = np.flatnonzero([label is not None for label in moment.y])
        y = moment.y.copy()
        for position in moment.shown if len(known) else []:
            if y[position] is None:
                y[position] = moment.y[self.nearest(position, known, 1)[0]]
        return y

    def nearest(self, position: int, among: np.ndarray, count: int) -> list[int]:
        """Returns the positions of the `count` items nearest to one, the nearest first, without itself."""
        among = among[among != position]
        if not len(among):
            return []
        apart = np.square(self.flat[among].astype(np.float64) - self.flat[position]).sum(1)
        return [int(i) for i in among[np.argsort(apart, kind="stable")[:count]]]


def _give_way() -> None:
    """Lowers the priority of this thread and of those that it starts: Linux takes a thread for a process here."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
