"""The labelling loop: asks a person for labels in a terminal, the most useful item first."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from agents.acquisition.policies import policy_name
from agents.acquisition.tool.answers import CHOSEN, RANDOM
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.marks import now, update_mark
from agents.acquisition.tool.menu import nearest, one_line, visible
from agents.acquisition.tool.session import Session
from agents.policy.reasons import in_words, reasons
from metaal_env.runtime.command_line import say

HELP = """Type a class, or its number where numbers are shown. A new class is taken after a question.
  :s  skip this item             :r    ask skipped items again
  :u  take the last answer back  :e 3  change answer 3 (to :s, a skip)
  :l  list the answers           :q    leave (every answer is saved already)
  :?  this help"""
SHOWN = 70  # characters of an item in lists
COUNTED = 8  # classes whose counts the prompt shows
_COMMAND = re.compile(r"(:[^\s\d])(?:\s*(\d+)|\s+(.*))?")  # ":e3" as well as ":e 3"


def label_loop(
    session: Session,
    x: np.ndarray,
    choice: Choice | None = None,
    *,
    count: int | None = None,
    annotator: str = "",
    ask: Callable[[str], str] | None = None,
    show: Callable[[str], object] = say,
) -> int:
    """Asks until `count` more labels are given, the budget is spent, all is labelled, or the person leaves.

    Args:
        x: (N, D) vectors of the items.
        annotator: Who answers; kept with every answer.
        ask: Takes a prompt and returns a line; raises `EOFError` at the end of the input. By default `typed_line`.

    Returns:
        Items labelled in this call.

    Raises:
        InputError: another process writes to the same file.
    """
    with session.locked():
        loop = _Loop(session, x, choice or Choice(), count, ask or typed_line, show, annotator)
        show(HELP)
        try:
            while loop.ask_next():
                pass
        except EOFError:
            show("")
    for note in session.notes:
        show(note)
    show(f"{len(loop.new)} labels given; {session.path} holds all answers. Run the same command to go on.")
    return len(loop.new)


@dataclass
class _Loop:
    session: Session
    x: np.ndarray
    choice: Choice
    count: int | None
    ask: Callable[[str], str]
    show: Callable[[str], object]
    annotator: str = ""

    def __post_init__(self) -> None:
        self.new: set[int] = set()  # items labelled in this call
        self.session.notes.clear()

    def ask_next(self) -> bool:
        """Asks for one item; whether to go on."""
        session = self.session
        n = sum(session.counts().values())
        if self.count is not None and len(self.new) >= self.count:
            return False
        if not len(session.open_positions()):
            return self._ask_skipped()
        drawn = session.next_of_yardstick(self.choice.yardstick)
        wanted = np.array(drawn[:1], int) if drawn else session.choosable_positions(self.choice.yardstick)
        if not len(self.choice.affordable(session, wanted)):
            self.show(f"the budget of {self.choice.budget_in_words} is spent.")
            return False
        chosen: dict[str, object] = {}  # what chose the item, for the file
        if drawn:
            position = drawn[0]
            done = int(session.yardstick().sum())
            why = f"yardstick, item {done + 1} of {done + len(drawn)}: drawn at random"
        else:
            found = choose_items(session, self.x, self.choice)
            position = int(found.picks[0])
            chosen = {"policy": policy_name(self.choice.policy), "score": float(found.scores[0])}
            why = f"why: {in_words(reasons(found.strategy, found.views[0], found.places[0]))}"
        self.show(f"\n[{self._so_far(n)}] {visible(session.items.shown[position])}")
        if beside := session.items.beside(position):
            self.show(f"  {visible(beside)}")
        self.show(f"  {why}")
        while True:  # commands that leave the item where it is
            if self._shown_classes():
                self.show(f"  {session.menu.line(self._shown_classes())}")
            text = self.ask("label> ").strip()
            if text == ":q":
                return False
            if text == ":s":
                self._record(position, None, RANDOM if drawn else CHOSEN, chosen)
                return True
            if text == ":u":
                self._undo()
                return True
            if text == ":r":
                self.show(f"{session.restore_skipped()} skipped items can be asked again.")
                return True
            label = None
            if command := _COMMAND.fullmatch(text):
                self._command(command[1], command[2] or "")
            else:
                label = self._class(text)
            if label is not None:
                self._record(position, label, RANDOM if drawn else CHOSEN, chosen)
                self.new.add(position)
                return True

    def _ask_skipped(self) -> bool:
        """Asks whether skipped items shall come back, where no other is left; whether to go on."""
        skipped = sum(answer.label is None for answer in self.session.answers.values())
        if not skipped:
            self.show("every item is labelled.")
            return False
        if not _is_yes(
            self.ask(f"every item is labelled or skipped; ask the {skipped} skipped again? [y/n] ")
        ):
            return False
        self.session.restore_skipped()
        return True

    def _so_far(self, n: int) -> str:
        counts = sorted(self.session.counts().items(), key=lambda pair: -pair[1])
        most = ", ".join(f"{name} {count}" for name, count in counts[:COUNTED])
        most += f" and {len(counts) - COUNTED} classes more" if len(counts) > COUNTED else ""
        of = "" if self.choice.budget is None else f" of {self.choice.budget:g}"
        money = "" if self.choice.costs is None else f" for {self.choice.spent(self.session):g}"
        said = f"{n} labelled{money}{of}" if money else f"{n}{of} labelled"
        return f"{said}{': ' if most else ''}{most}"

    def _shown_classes(self) -> list[str]:
        return list(dict.fromkeys([*self.choice.classes, *self.session.counts()]))

    def _class(self, text: str) -> str | None:
        """The class that a line means; None to ask again."""
        classes = self._shown_classes()
        known = self.session.menu.class_of(text, classes)
        if known is not None or not text:
            return known
        if not text.isprintable():
            self.show("that holds characters that cannot be shown; type it again.")
            return None
        near = nearest(text, classes)
        closed = ", not among --classes" if self.choice.classes else ""
        question = f"new class {text!r}{closed}{f', near to {near!r}' if near else ''}: keep it? [y/n] "
        return text if _is_yes(self.ask(question)) else None

    def _undo(self) -> None:
        last = next(reversed(self.session.answers.values()), None)
        position = self.session.undo()
        if position is None or last is None:
            self.show("there is no answer to take back.")
        else:
            item = one_line(self.session.items.shown[position], SHOWN)
            self.show(f"taken back: {last.label or '(skipped)'}  {item}")
            self.new.discard(position)

    def _command(self, name: str, number: str) -> None:
        """Does what leaves the item where it is."""
        if name == ":l":
            for i, (position, answer) in enumerate(self.session.answers.items(), 1):
                item = one_line(self.session.items.shown[position], SHOWN)
                self.show(f"{i:4d}  {answer.label or '(skipped)'}  {item}")
        elif name == ":e":
            self._edit(number)
        else:
            self.show(HELP)

    def _edit(self, number: str) -> None:
        positions = list(self.session.answers)
        if not number.isdecimal() or not 1 <= int(number) <= len(positions):
            self.show(f"give the number of an answer, 1 to {len(positions)}, e.g. :e 1; :l lists them.")
            return
        position = positions[int(number) - 1]
        self.show(f"  {one_line(self.session.items.shown[position], SHOWN)}")
        text = self.ask(f"label instead of {self.session.answers[position].label or '(skipped)'!r}> ").strip()
        label = None if _COMMAND.fullmatch(text) else self._class(text)
        if label is None and text != ":s":
            self.show("left as it was.")
            return
        self._record(position, label)
        if label is None:
            self.new.discard(position)

    def _record(
        self,
        position: int,
        label: str | None,
        drawn: str = CHOSEN,
        chosen: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.session.set(position, label, drawn)
        who = {"annotator": self.annotator} if self.annotator else {}
        update_mark(self.session, position, time=now(), **who, **chosen)
        self.session.save()


def _is_yes(text: str) -> bool:
    return text.strip().lower() in ("y", "yes")


def typed_line(prompt: str) -> str:
    """Asks in the terminal. Bytes that are no text in the terminal's encoding are read as Windows-1252."""
    if hasattr(sys.stdin, "reconfigure") and sys.stdin.errors != "surrogateescape":
        with suppress(io.UnsupportedOperation):  # something was read already
            sys.stdin.reconfigure(errors="surrogateescape")
    text = input(prompt)
    if not any("\udc80" <= c <= "\udcff" for c in text):
        return text
    return text.encode(sys.stdin.encoding, "surrogateescape").decode("cp1252", "replace")
