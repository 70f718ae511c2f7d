"""Finds the item that an answer belongs to, also after rows were sorted, added, renamed or changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from agents.acquisition.items.items import Items, content_ids, row_contents
from agents.acquisition.items.sparse_items import row_content
from agents.acquisition.tool.answers import Answer, AnswerFile
from metaal_env.errors import InputError


class Fingerprints:
    """Computes fingerprints of the contents of items, each when it is first asked for.

    Attributes:
        names: (N,) name of each item as files hold it.
    """

    def __init__(self, items: Items, names: Sequence[str]):
        self.items, self.names = items, names
        self._known: dict[int, str] = {}

    def __getitem__(self, position: int) -> str:
        if position not in self._known:
            self._known[position] = content_ids([self._content(position)])[0]
        return self._known[position]

    def _content(self, i: int) -> bytes:
        files = self.items.images or self.items.sounds
        if files is not None:
            return files[i].read_bytes()
        if self.items.matrix is not None:
            return row_content(self.items.matrix, i)
        if self.items.kind == "vectors":
            assert self.items.vectors is not None
            return next(iter(row_contents(self.items.vectors[i : i + 1])))
        return self.items.shown[i].strip().encode("utf-8", "surrogatepass")

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Fingerprint → positions of the items that have it."""
        found: dict[str, list[int]] = defaultdict(list)
        for i in range(len(self.items)):
            found[self[i]].append(i)
        return found


@dataclass
class Match:
    """Holds what became of the answers of a file.

    Attributes:
        answers: Position of an item → answer, in the order of the file.
        moved: Names of items whose content now has another name.
        respelled: Names that a spreadsheet had changed, e.g. by dropping leading zeros.
        changed: Names of items that read differently now.
        gone: Name and answer of items that are not in the data.
        by_row: Whether the file named items by their row.
    """

    answers: dict[int, Answer] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)
    respelled: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[tuple[str, Answer]] = field(default_factory=list)
    by_row: bool = False

    def notes(self) -> list[str]:
        """Returns a sentence for each kind of answer whose item is not named as the file names it."""
        kinds = {
            "found under another name": self.moved,
            "found although their names had lost zeros or capitals": self.respelled,
            "of items that read differently now; check them": self.changed,
            "of items that are not in the data now; they are kept but not used": [
                item for item, _ in self.gone
            ],
        }
        sentences = [f"{len(v)} answers {kind}, e.g. {v[0]!r}." for kind, v in kinds.items() if v]
        if self.by_row:
            sentences.append(f"{len(self.answers)} answers kept by row number now follow their items.")
        return sentences


def matched(file: AnswerFile, contents: Fingerprints, what: str, same_ids: bool) -> Match:
    """Finds the items of a file's answers.

    Args:
        what: How messages begin, e.g. ``"labels='a.csv'"``.
        same_ids: Whether names still name the same items although contents changed, and rows of the data although
            it changed since.

    Raises:
        InputError: most answered items read differently now, or items are named by the rows of data that changed.
    """
    rows, names = file.rows, contents.names
    known = set(names)
    by_row = bool(rows) and not file.has_contents
    by_row = by_row and all(item not in known and _is_row(item, len(names)) for item, _ in rows)
    if by_row:
        source = Path(contents.items.source)
        if not same_ids and source.exists() and source.stat().st_mtime_ns > file.time:
            raise InputError(
                f"{what} names items by their row, and {str(source)!r} was changed since; "
                "--same-ids takes the rows as they stand now."
            )
        rows = [(names[int(item) - 1], answer) for item, answer in rows]
    found = match(rows, contents)
    found.by_row = by_row
    if 2 * len(found.changed) > len(found.answers) and not same_ids:
        raise InputError(
            f"{what}: {len(found.changed)} of {len(found.answers)} answered items read differently now, e.g. "
            f"{found.changed[0]!r}; give the options about columns with which they were answered, or, if the names "
            "still name the same items, --same-ids."
        )
    return found


def _is_row(item: str, count: int) -> bool:
    return item.isascii() and item.isdecimal() and 1 <= int(item) <= count


def match(rows: Sequence[tuple[str, Answer]], contents: Fingerprints) -> Match:
    """Finds the item of each answer: same name and content, else same content, else same name.

    Contents that changed under the same name are told apart as `Match.changed`. Where contents moved to other
    names, names say nothing, and answers whose content is nowhere count as gone.
    """
    names = contents.names
    place = {name: i for i, name in enumerate(names)}
    result = Match()
    positions: dict[int, int] = {}  # row of the file → position of the item
    taken: set[int] = set()

    def take(find: Callable[[str, Answer], int | None], noted: list[str] | None = None) -> None:
        for row, (item, answer) in enumerate(rows):
            i = None if row in positions else find(item, answer)
            if i is not None and i not in taken:
                positions[row] = i
                taken.add(i)
                if noted is not None:
                    noted.append(item)

    def if_same(i: int | None, answer: Answer) -> int | None:
        return i if i is not None and answer.content in ("", contents[i]) else None

    def elsewhere(item: str, answer: Answer) -> int | None:
        twins = contents.positions.get(answer.content, []) if answer.content else []
        return next((i for i in twins if i not in taken), None)

    take(lambda item, answer: if_same(place.get(item), answer))
    if len(positions) < len(rows):
        spelled = _spellings(names)
        take(lambda item, answer: if_same(spelled.get(_spelling(item)), answer), result.respelled)
        take(elsewhere, result.moved)
    if not result.moved:
        take(lambda item, answer: place.get(item), result.changed)
    for row, (item, answer) in enumerate(rows):
        if row in positions:
            result.answers[positions[row]] = replace(answer, content=contents[positions[row]])
        else:
            result.gone.append((item, answer))
    return result


def _spellings(names: Sequence[str]) -> dict[str, int]:
    """Spreadsheet's spelling of a name → position, where it is the spelling of one item alone."""
    found: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        found[_spelling(name)].append(i)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _spelling(name: str) -> str:
    """Returns what may remain of a name in a spreadsheet: no leading zeros, no ``.0``, no case, no outer spaces."""
    text = name.strip().casefold()
    whole, point, rest = text.partition(".")
    if whole.isdecimal() and (not point or not rest.strip("0")):
        return whole.lstrip("0") or "0"
    return text
