"""A labelling session: one CSV file that is complete after every answer, and the loop that fills it."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from agents.acquisition.items.read_items import Items
from agents.acquisition.policies import PolicySpec
from agents.acquisition.query import select
from agents.policy.reasons import in_words, reasons
from metaal_env.errors import InputError
from metaal_env.runtime.files import write_atomic

HEADER = ["item", "label"]
HELP = "type a label (or its number); :s skips, :u takes the last answer back, :q saves and leaves."


@dataclass
class Session:
    """Answers in the order given; a skipped item has the label None.

    Attributes:
        path: CSV file with the columns item and label, rewritten whole and atomically after each answer.
    """

    path: Path
    answers: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, items: Items) -> Session:
        """The session in that file, or a new one. Raises: `InputError` for a foreign or damaged file."""
        session = cls(Path(path))
        if not session.path.is_file():
            return session
        try:
            with session.path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file, strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"labels={str(path)!r} is no readable CSV file ({error}).") from error
        if not rows or rows[0] != HEADER or any(len(row) != 2 for row in rows):
            raise InputError(f"labels={str(path)!r} is no file of this tool; its header must be item,label.")
        session.answers = {item: label or None for item, label in rows[1:]}
        foreign = set(session.answers) - set(items.ids)
        if foreign:
            raise InputError(
                f"labels={str(path)!r} names {min(foreign)!r}, which is not in {items.source!r}."
            )
        return session

    def save(self) -> None:
        buffer = io.StringIO()
        rows = [[item, label or ""] for item, label in self.answers.items()]
        csv.writer(buffer).writerows([HEADER, *rows])
        write_atomic(self.path, buffer.getvalue().encode())

    def record(self, item: str, label: str | None) -> None:
        """Adds an answer and writes the file."""
        self.answers[item] = label
        self.save()

    def undo(self) -> str | None:
        """Takes the last answer back and writes the file; its item, or None when there is none."""
        if not self.answers:
            return None
        item, _ = self.answers.popitem()
        self.save()
        return item

    def labels(self, items: Items) -> np.ndarray:
        """(N,) object labels: the session's answers over those of the data, None where unknown."""
        known = [self.answers.get(i) or own for i, own in zip(items.ids, items.labels, strict=True)]
        return np.array(known, dtype=object)

    def open_positions(self, items: Items) -> np.ndarray:
        """Positions of items that have no label and were not skipped."""
        y = self.labels(items)
        skipped = {item for item, label in self.answers.items() if label is None}
        return np.array([i for i, item in enumerate(items.ids) if y[i] is None and item not in skipped], int)


def label_loop(
    session: Session,
    items: Items,
    x: np.ndarray,
    *,
    policy: PolicySpec = None,
    count: int | None = None,
    budget: int | None = None,
    ask: Callable[[str], str] = input,
    show: Callable[[str], object] = print,
) -> int:
    """Asks for labels, the most useful item first, until `count` more are given, all are, or the user leaves.

    Args:
        x: (N, D) vectors of the items.
        ask: takes a prompt and returns a line; raises `EOFError` at the end of the input.

    Returns:
        Labels given in this call.

    Raises:
        InputError: another process writes to the same file.
    """
    session.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(f"{session.path}.lock", timeout=0):
            return _loop(session, items, x, policy, count, budget, ask, show)
    except Timeout as error:
        raise InputError(f"labels={str(session.path)!r} is in use by another session; close it.") from error


def _loop(
    session: Session,
    items: Items,
    x: np.ndarray,
    policy: PolicySpec,
    count: int | None,
    budget: int | None,
    ask: Callable[[str], str],
    show: Callable[[str], object],
) -> int:
    show(HELP)
    new: set[str | None] = set()  # items labelled in this call
    while count is None or len(new) < count:
        left = session.open_positions(items)
        if not len(left):
            show("every item is labelled or skipped.")
            break
        y = session.labels(items)
        found = select(x, y, candidates=left, policy=policy, missing_label=None, budget=budget)
        position = int(found.picks[0])
        classes = sorted({label for label in y if label is not None})
        show(f"\n[{sum(label is not None for label in y)} labelled] {items.shown[position]}")
        show(f"  why: {in_words(reasons(found.strategy, found.views[0], found.places[0]))}")
        if classes:
            show("  " + "  ".join(f"{i}) {name}" for i, name in enumerate(classes, 1)))
        try:
            answer = _answer(classes, ask)
        except EOFError:
            break
        if answer == ":q":
            break
        if answer == ":u":
            new.discard(session.undo())
        elif answer == ":s":
            session.record(items.ids[position], None)
        else:
            session.record(items.ids[position], answer)
            new.add(items.ids[position])
    show(f"\n{len(new)} labels given; {session.path} holds all answers. Run the same command to go on.")
    return len(new)


def _answer(classes: list[str], ask: Callable[[str], str]) -> str:
    """A label or a command; numbers name classes unless the classes are numbers themselves."""
    numbered = not any(name.isdecimal() for name in classes)
    while True:
        text = ask("label> ").strip()
        if text in (":q", ":s", ":u") or text in classes:
            return text
        if text.isdecimal() and classes and numbered:
            if 1 <= int(text) <= len(classes):
                return classes[int(text) - 1]
            continue
        near = difflib.get_close_matches(text, classes, n=1, cutoff=0.6)
        if near and ask(f"new class {text!r}, near to {near[0]!r}: keep it? [y/n] ").strip().lower() != "y":
            continue
        if text and not text.startswith(":"):
            return text
