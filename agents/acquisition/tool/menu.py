"""The classes that a person chooses among, and what a typed line means."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agents.acquisition.tool.answers import Answer
from metaal_env.errors import InputError

MAX_NAME = 200
"""Characters of a class or an annotator on the page."""
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


@dataclass
class Menu:
    """Holds the number of each class. Numbers follow the first appearance; none is given to a second class.

    Attributes:
        numbers: Class → number.
        announced: Classes that were known in advance.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    announced: tuple[str, ...] = ()

    @classmethod
    def of(cls, announced: Sequence[str], labels: Iterable[str | None], answers: Iterable[Answer]) -> Menu:
        """Returns the menu of an earlier session: its numbers, then new classes in the order given."""
        menu, answers = cls(announced=tuple(announced)), list(answers)
        for answer in answers:
            free = answer.number is not None and answer.number not in menu.numbers.values()
            if answer.label is not None and answer.number is not None and free:
                menu.numbers.setdefault(answer.label, answer.number)
        for name in [*announced, *labels, *(answer.label for answer in answers)]:
            if name is not None:
                menu.add(name)
        return menu

    def add(self, name: str) -> int:
        """Returns the number of a class, a new one where it has none."""
        return self.numbers.setdefault(name, max(self.numbers.values(), default=0) + 1)

    def has_numbers(self, shown: Sequence[str]) -> bool:
        """Returns whether numbers are offered: not where a class is a number itself."""
        return not any(_NUMBER.fullmatch(name) for name in [*shown, *self.announced])

    def line(self, shown: Sequence[str]) -> str:
        """Returns the classes as one line."""
        names = sorted(shown, key=lambda name: self.numbers[name])
        numbered = self.has_numbers(shown)
        return "  ".join(f"{self.numbers[name]}) {name}" if numbered else name for name in names)

    def class_of(self, text: str, shown: Sequence[str]) -> str | None:
        """Returns the class that a typed line means, or None: its name, else an equal number, else its number here."""
        wanted = unicodedata.normalize("NFC", text)
        for name in shown:
            if unicodedata.normalize("NFC", name) == wanted:
                return name
        if self.has_numbers(shown):
            number = int(text) if text.isdecimal() else 0
            return next((name for name in shown if self.numbers[name] == number), None)
        value = _value(text)
        equal = [name for name in shown if value is not None and _value(name) == value]
        return equal[0] if len(equal) == 1 else None


def class_name(menu: Menu, text: str) -> str:
    """Returns a class as it is written, that of an equal class where there is one.

    Raises:
        InputError: an empty or long name, or one with characters that cannot be shown.
    """
    name = " ".join(unicodedata.normalize("NFC", text).split()) if isinstance(text, str) else ""
    for known in menu.numbers:
        if known == text or unicodedata.normalize("NFC", known) == name:
            return known
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"label={text!r:.80} cannot be a class; give 1 to {MAX_NAME} characters that can be shown."
        )
    return name


def nearest(text: str, classes: Sequence[str]) -> str | None:
    """Returns the class that a new name may be a misspelling of."""
    folded = {name.casefold(): name for name in classes if name != text}
    near = difflib.get_close_matches(text.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def one_line(text: str, most: int) -> str:
    """Returns a text without line ends and control characters, cut to `most` characters."""
    line = " ".join(visible(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def visible(text: str) -> str:
    """Returns a text in which control characters, which a terminal would obey, are replaced."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "�" for c in text)


def _value(text: str) -> float | None:
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
