"""The answers of one pool: found again by name and content, and on disk after every change."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from agents.acquisition.items.items import Items
from agents.acquisition.tool.answers import CHOSEN, RANDOM, SHOWN, Answer, read_answers, written
from agents.acquisition.tool.held_groups import HeldGroups, draw_key
from agents.acquisition.tool.identity import Fingerprints, matched
from agents.acquisition.tool.menu import Menu, one_line
from agents.acquisition.tool.outputs import keep_copy, printable_name
from metaal_env.errors import FileError, InputError, brief
from metaal_env.runtime.files import write_atomic


def labels_path(data: Path) -> Path:
    """Returns where the answers for a file or folder are by default: beside it, as ``<data>.labels.csv``.

    Raises:
        InputError: the root folder, which has no name.
    """
    named = data if data.name not in ("", "..") else Path(os.path.realpath(data))
    if not named.name:
        raise InputError(f"data={str(data)!r} has no name that the answers could take; give --labels.")
    return named.with_name(f"{named.name}.labels.csv")


@dataclass
class Session:
    """Holds answers in the order given. A skipped item has the label None.

    Attributes:
        path: CSV file, rewritten whole and atomically after each answer. Columns: `answers.COLUMNS`, then those
            that a person added.
        answers: Position of an item → its answer.
        gone: Name and answer of items that are not in the data now; they stay in the file.
        further: Names of columns that a person added.
        notes: Sentences about what became of the answers.
        menu: Numbers of the classes.
    """

    path: Path
    items: Items
    answers: dict[int, Answer] = field(default_factory=dict)
    gone: list[tuple[str, Answer]] = field(default_factory=list)
    further: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    menu: Menu = field(default_factory=Menu)
    _on_disk: bytes | None = None
    _foreign: bool = False  # the file on disk is not as this tool writes it

    def __post_init__(self) -> None:
        self.contents = Fingerprints(self.items, [printable_name(name) for name in self.items.ids])
        groups = self.items.groups
        self.groups = None if groups is None else HeldGroups(groups, self.contents.names)

    @classmethod
    def open(
        cls, path: Path, items: Items, *, classes: tuple[str, ...] = (), same_ids: bool = False
    ) -> Session:
        """Returns the session in that file, or a new one.

        Args:
            classes: Classes that are known in advance, in the order of the menu.
            same_ids: See `identity.matched`.

        Raises:
            InputError: a foreign or damaged file, one that names none of the items, or one whose names may not
                tell the items any more.
        """
        session, what = cls(Path(path), items), f"labels={str(path)!r}"
        if session.path.is_file():
            session._on_disk = session.path.read_bytes()
            file = read_answers(session.path, what)
            found = matched(file, session.contents, what, same_ids)
            if file.rows and not found.answers:
                raise InputError(
                    f"{what} names none of the items of {items.source!r}, e.g. {file.rows[0][0]!r}; "
                    "give another file with --labels."
                )
            session.answers, session.gone, session.further = found.answers, found.gone, file.further
            session.notes, session._foreign = found.notes(), not file.exact or bool(found.respelled)
        elif os.path.lexists(session.path):
            raise InputError(f"{what} is not a regular file; give another name.")
        session.menu = Menu.of(classes, items.labels, session.answers.values())
        return session

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other sessions off the file.

        Raises:
            InputError: another session has it.
            FileError: its folder cannot be written.
        """
        lock = Path(f"{self.path}.lock")
        if os.path.lexists(lock) and (lock.is_symlink() or not lock.is_file() or lock.stat().st_size):
            raise InputError(f"file={str(lock)!r} is in the way of the lock for the answers; rename it.")
        held = FileLock(lock, timeout=0)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            held.acquire()
        except Timeout as error:
            raise InputError(f"labels={str(self.path)!r} is in use by another session; close it.") from error
        except (OSError, ValueError) as error:  # ValueError: a null byte
            raise FileError(
                f"labels={str(self.path)!r} cannot be written ({brief(error)}); give another place with --labels."
            ) from error
        try:
            yield
        finally:
            held.release()

    def save(self) -> None:
        """Writes the file; a file that a person edited is copied first.

        Raises:
            InputError: the file changed since it was read, or cannot be written; it stays as it is.
        """
        path = Path(os.path.realpath(self.path))  # a link stays one
        if (path.read_bytes() if path.is_file() else None) != self._on_disk:
            raise InputError(
                f"labels={str(self.path)!r} was changed by another program; the last answer is not in it: "
                "run the command again."
            )
        if self._foreign:
            self.notes.append(f"the file of answers as it was is kept as {keep_copy(path)}.")
            self._foreign = False
        named = [(self.contents.names[i], self._numbered(answer)) for i, answer in self.answers.items()]
        data = written([*named, *self.gone], self.further)
        write_atomic(path, data)
        self._on_disk = data

    def _numbered(self, answer: Answer) -> Answer:
        number = None if answer.label is None else self.menu.add(answer.label)
        return answer if answer.number == number else replace(answer, number=number)

    def set(self, position: int, label: str | None, drawn: str = CHOSEN) -> None:
        """Adds or changes an answer without writing the file."""
        earlier = self.answers.get(position)
        self.answers[position] = Answer(
            label,
            drawn if earlier is None else earlier.drawn,
            self.contents[position],
            one_line(self.items.shown[position], SHOWN),
            None if label is None else self.menu.add(label),
            ("",) * len(self.further) if earlier is None else earlier.further,
        )

    def undo(self) -> int | None:
        """Takes the last answer back and writes the file; its position, or None when there is none."""
        if not self.answers:
            return None
        position, _ = self.answers.popitem()
        self.save()
        return position

    def restore_skipped(self) -> int:
        """Makes skipped items unanswered again and writes the file; their number."""
        skipped = [i for i, answer in self.answers.items() if answer.label is None]
        for position in skipped:
            del self.answers[position]
        if skipped:
            self.save()
        return len(skipped)

    def labels(self) -> np.ndarray:
        """(N,) object labels: the answers over the labels of the data, None where unknown."""
        y = np.array([*self.items.labels, None], dtype=object)[:-1]  # the None keeps NumPy from making texts
        for position, answer in self.answers.items():
            y[position] = answer.label or y[position]
        return y

    def yardstick(self) -> np.ndarray:
        """(N,) bool: items that were drawn at random and labelled."""
        drawn = np.zeros(len(self.items), dtype=bool)
        drawn[[i for i, a in self.answers.items() if a.drawn == RANDOM and a.label is not None]] = True
        return drawn

    def choosing_labels(self) -> np.ndarray:
        """(N,) object labels that may guide the choice: all but the yardstick's."""
        y = self.labels()
        y[self.yardstick()] = None
        return y

    def counts(self) -> dict[str, int]:
        """Returns the number of labels of each class, in the order of the menu."""
        given = Counter(label for label in self.labels() if label is not None)
        return {name: given[name] for name in sorted(given, key=self.menu.add)}

    def open_positions(self) -> np.ndarray:
        """Positions of items that have no label and were not skipped."""
        answered = self.answers.keys()
        return np.array([i for i, y in enumerate(self.items.labels) if y is None and i not in answered], int)

    def choosable_positions(self, yardstick: int) -> np.ndarray:
        """Positions of open items that a policy may choose: of no group that is held back, where others are left.

        Args:
            yardstick: Items that the yardstick is to have.
        """
        left = self.open_positions()
        return left if self.groups is None else self.groups.free(left, self._held(yardstick))

    def training_labels(self) -> np.ndarray:
        """(N,) object labels of which an estimate may know: without others of the groups that measure it."""
        y = self.labels()
        return y if self.groups is None else self.groups.apart(y, self.yardstick())

    def _held(self, size: int) -> frozenset[str]:
        assert self.groups is not None
        drawn = [i for i, answer in self.answers.items() if answer.drawn == RANDOM]
        return self.groups.held(drawn, size, [i for i, y in enumerate(self.items.labels) if y is None])

    def next_of_yardstick(self, size: int) -> list[int]:
        """Positions of the items still to be labelled for a yardstick of `size` items, in a random but fixed order.

        The order follows from the items' names alone, so that leaving and coming back does not draw anew. Where items
        have groups, those of some groups are drawn, and the others are left to the choice; see `HeldGroups`.
        """
        order = self.open_positions().tolist()
        if self.groups is None:
            order.sort(key=lambda i: draw_key(self.contents.names[i]))
        else:
            held = self._held(size)
            order = self.groups.in_turn([i for i in order if self.groups.keys[i] in held])
        return order[: max(0, size - int(self.yardstick().sum()))]
