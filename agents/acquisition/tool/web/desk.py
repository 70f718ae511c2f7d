"""The state behind the page and the widget: who sees which item, and what becomes of each answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.acquisition.tool.answers import CHOSEN, RANDOM, Answer
from agents.acquisition.tool.choice import Choice
from agents.acquisition.tool.marks import Mark, mark_of, marked, now
from agents.acquisition.tool.menu import class_name
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.ahead import Ahead, Moment
from agents.acquisition.tool.web.claims import OVERLAP, Claim, Claims
from agents.acquisition.tool.web.opinions import after_answer
from agents.acquisition.tool.web.turns import Turns
from metaal_env.errors import InputError

MAX_SECONDS = 1e6


@dataclass(frozen=True)
class Step:
    """Holds what an answer replaced, so that it can be taken back."""

    position: int
    before: Answer | None


class Desk:
    """Gives every open page an item of its own and keeps the answers, from any number of threads.

    Attributes:
        session: Answers, shared with the terminal's `label`. Lock it before the desk is used.
        ahead: Items that come next.
        turns: Which page shows which item.
    """

    def __init__(
        self,
        session: Session,
        x: np.ndarray,
        choice: Choice | None = None,
        *,
        overlap: float = OVERLAP,
        idle: Callable[[], None] = lambda: None,
    ):
        self.session = session
        self.lock = threading.RLock()
        self.claims = Claims(session.path.with_name(f"{session.path.name}.page.json"), session.contents.names)
        self.turns = Turns(session, choice or Choice(), self.claims, overlap)
        self.ahead = Ahead(x, self.turns.choice, self._moment, idle)
        self._steps: dict[str, list[Step]] = {}  # annotator → steps that can be taken back

    @property
    def choice(self) -> Choice:
        """The items that are asked for."""
        return self.turns.choice

    def open(self) -> None:
        """Takes up what an earlier run left, and begins to choose."""
        left = set(self.session.open_positions().tolist())
        self.ahead.queue = [position for position in self.claims.read() if position in left]
        self.ahead.earlier = self.claims.origins
        self.ahead.start()

    def close(self) -> None:
        """Ends the thread."""
        self.ahead.close()

    def current(self, tab: str, annotator: str = "") -> Claim | None:
        """Returns the item that a page shows, a new one where it has none; None where nothing is left to ask.

        Waits for the first query of all, and for no other.
        """
        with self.lock:
            self.claims.heard(tab)
            claim = self.claims.of_tab.get(tab)
            if claim is not None and claim.annotator == annotator and self.turns.fits(claim):
                return claim
            ready = self.claims.orphans or self.ahead.queue or self.turns.drawn_now()
        if not ready:
            self.ahead.wait()
        with self.lock:
            return self.turns.claim(tab, annotator, self.ahead)

    def answer(
        self,
        tab: str,
        position: Any,
        label: Any,
        *,
        annotator: str = "",
        unsure: bool = False,
        seconds: Any = None,
    ) -> Claim | None:
        """Writes an answer to disk and returns what the page shows next.

        An item that another annotator answered keeps its label until somebody settles it, see `after_answer`.

        Args:
            label: Class, or None to skip.
            unsure: Whether the answer should be looked at again.
            seconds: From the item's appearance to the answer; nothing is kept of what is no such number.

        Raises:
            InputError: no such item, no usable class, or a file that cannot be written; nothing changed then.
        """
        with self.lock:
            self._check("position", position, len(self.session.items) - 1)
            name = None if label is None else class_name(self.session.menu, label)
            before = self.session.answers.get(position)
            earlier = self._origin(tab, position) if before is None else mark_of(self.session, before)
            measured = isinstance(seconds, (int, float)) and 0 <= seconds < MAX_SECONDS
            took = float(seconds) if measured else None
            mark = Mark(annotator, now(), earlier.policy, earlier.score, took, unsure)
            found = after_answer(None if before is None else before.label, earlier, name, mark)
            if found is not None:
                self._write(position, annotator, *found)
            claim = self.claims.of_tab.get(tab)
            if claim is not None and claim.position == position:
                del self.claims.of_tab[tab]
            self.ahead.refresh()
            return self.turns.claim(tab, annotator, self.ahead)

    def settle(self, position: Any, label: str) -> None:
        """Writes the class on which annotators, or one in doubt, agreed in the end.

        Raises:
            InputError: as `answer`, or an item without an answer.
        """
        with self.lock:
            self._check("position", position, len(self.session.items) - 1)
            before = self.session.answers.get(position)
            if before is None:
                raise InputError(f"item {position} has no answer yet.")
            mark = replace(mark_of(self.session, before), settled=True)
            self._write(position, mark.annotator, class_name(self.session.menu, label), mark)
            self.ahead.refresh()

    def undo(self, tab: str, annotator: str = "") -> int | None:
        """Takes the annotator's last answer back; the position of its item, or None where there is none.

        The page shows the item again if it is without an answer now. After a restart the last answer is that of the
        annotator's which stands last in the file.
        """
        with self.lock:
            steps = self._steps.get(annotator, [])
            step = steps[-1] if steps else self._last_in_file(annotator)
            if step is None:
                return None
            with self._restored_on_error():
                if step.before is None:
                    self.session.answers.pop(step.position, None)
                else:
                    self.session.answers[step.position] = step.before
                self.session.save()
            del steps[-1:]
            claim = Claim(step.position, annotator, second=step.before is not None)
            if self.turns.fits(claim):
                self.claims.of_tab[tab] = claim
                self.claims.write(self.ahead.queue, self.ahead.origin)
            self.ahead.refresh()
            return step.position

    def restore_skipped(self) -> int:
        """Makes skipped items unanswered again; their number."""
        with self.lock:
            count = self.session.restore_skipped()
            self._steps = {}
            self.ahead.refresh()
            return count

    def measure(self, size: Any) -> None:
        """Asks for `size` items drawn at random before any other, to measure the accuracy with."""
        self._check("yardstick", size, len(self.session.items))
        with self.lock:
            self.turns.choice = replace(self.choice, yardstick=size)

    def classes(self) -> dict[str, int]:
        """Returns class → number of labels, in the order of the menu."""
        with self.lock:
            counts = dict.fromkeys(self.choice.classes, 0) | self.session.counts()
        return dict(sorted(counts.items(), key=lambda pair: self.session.menu.add(pair[0])))

    def is_random(self, position: int) -> bool:
        """Returns whether an item belongs to the yardstick, answered or not."""
        answer = self.session.answers.get(position)
        return answer.drawn == RANDOM if answer is not None else position in self.turns.drawn_now()

    def _check(self, name: str, value: Any, most: int) -> None:
        """Refuses what is no whole number up to `most`: pages and notebooks may send anything. Raises: `InputError`."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name}={value!r:.80} must be a whole number.")
        if not 0 <= value <= most:
            raise InputError(f"{name}={value} must lie in 0…{most}.")

    def _write(self, position: int, annotator: str, label: str | None, mark: Mark) -> None:
        session, before = self.session, self.session.answers.get(position)
        drawn = RANDOM if before is None and position in self.turns.drawn_now() else CHOSEN
        with self._restored_on_error():
            session.set(position, label, drawn)
            session.answers[position] = marked(session, session.answers[position], mark)
            session.save()
        self._steps.setdefault(annotator, []).append(Step(position, before))

    @contextmanager
    def _restored_on_error(self) -> Iterator[None]:
        """Leaves the answers as they were where the file cannot be written."""
        before = dict(self.session.answers)
        try:
            yield
        except BaseException:
            self.session.answers = before
            raise

    def _last_in_file(self, annotator: str) -> Step | None:
        for position, answer in reversed(self.session.answers.items()):
            if mark_of(self.session, answer).annotator == annotator:
                return Step(position, None)
        return None

    def _origin(self, tab: str, position: int) -> Mark:
        """Returns what chose an item that a page shows; nothing where its annotator went there."""
        claim = self.claims.of_tab.get(tab)
        if claim is None or claim.position != position or self.is_random(position):
            return Mark()
        policy, score = ("random", None) if claim.at_random else self.ahead.origin(position)
        return Mark(policy=policy, score=score)

    def _moment(self) -> Moment:
        with self.lock:
            return self.turns.moment()
