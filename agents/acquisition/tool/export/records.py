"""Holds what is exported of an item: its data, its label, and how the label came about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.items import Items
from agents.acquisition.items.said_columns import EXPORTED
from agents.acquisition.tool.marks import Mark, mark_of
from agents.acquisition.tool.session import Session

OURS = ("text", "file", "row", "x")
"""Names under which items that are no rows of cells are written."""
DATA = "data"
"""What stands under ``drawn`` where a label came with the data."""
MOST_NUMBERS = 4096
"""Numbers of an item that are written; rows of wider arrays are told by their number alone."""
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Record:
    """Holds what is exported of one item.

    Attributes:
        item: Its name.
        data: Text, cells, file, or row and numbers, by column.
        meta: Cells of the columns of metadata. A column whose name is taken is called ``name (data)``.
        raw: Cells of a table as they stand there.
        label: Class; None where nobody gave one.
        drawn: ``"chosen"``, ``"random"`` for items of the yardstick, `DATA`, or empty for an item without an answer.
        mark: What is known of the answer.
        content: Fingerprint of the item.
    """

    position: int
    item: str
    data: Mapping[str, Any]
    meta: Mapping[str, Any]
    raw: Mapping[str, str]
    label: str | None
    drawn: str
    mark: Mark
    content: str

    def flat(self) -> dict[str, Any]:
        """Returns all of it under one name each, None where nothing is known."""
        mark = self.mark
        told = {
            "label": self.label,
            "drawn": self.drawn or None,
            **{name: getattr(mark, name) or None for name in mark.cells()},
            "score": mark.score,
            "seconds": mark.seconds,
            "content": self.content,
        }
        return {"item": self.item, **self.data, **told, **self.meta}

    def cells(self) -> dict[str, str]:
        """Returns all of it as text under one name each, as the file of answers has it."""
        data: dict[str, str] = {}
        for name, value in self.data.items():
            if isinstance(value, list):
                data |= {f"{name}{i}": _cell(number) for i, number in enumerate(np.ravel(value).tolist())}
            else:
                data[name] = _cell(value)
        told = {"label": self.label or "", "drawn": self.drawn, **self.mark.cells(), "content": self.content}
        meta = {name: _cell(value) for name, value in self.meta.items()}
        return {"item": self.item, **data, **told, **meta, **self.raw}

    def opinions(self) -> dict[str, str]:
        """Returns annotator → class; the label under its annotator's name where one person gave it."""
        if self.mark.opinions:
            return dict(self.mark.opinions)
        return {} if self.label is None else {self.mark.annotator: self.label}


def records(session: Session, *, unlabelled: bool = False, anonymous: bool = False) -> list[Record]:
    """Returns the items with a label: answers in the order given, then labels of the data.

    Args:
        unlabelled: Whether to add items that were skipped or never asked for.
        anonymous: Whether annotators are numbered instead of named.
    """
    items, y = session.items, session.labels()
    order = [i for i in session.answers if y[i] is not None]
    order += [i for i in range(len(items)) if y[i] is not None and i not in session.answers]
    if unlabelled:
        order += [i for i in range(len(items)) if y[i] is None]
    columns = {name: items.columns[name] for name in items.columns if name in {*items.used, *items.meta}}
    typed = {name: typed_column(values) for name, values in columns.items()}
    numbers: dict[str, str] = {}
    found = []
    for i in order:
        answer = session.answers.get(i)
        mark = Mark() if answer is None else mark_of(session, answer)
        given = answer is not None and answer.label is not None
        drawn = (answer.drawn if answer else "") if given else DATA if y[i] is not None else ""
        found.append(
            Record(
                i,
                session.contents.names[i],
                _data(items, i, typed),
                {free_name(name): typed[name][i] for name in items.meta},
                {free_name(name): values[i] for name, values in columns.items()},
                None if y[i] is None else str(y[i]),
                drawn,
                _numbered(mark, numbers) if anonymous else mark,
                session.contents[i],
            )
        )
    return found


def class_names(session: Session) -> list[str]:
    """Returns the classes that are known in advance or have a label, in the order of the menu."""
    counts = session.counts()
    names = [*session.menu.announced, *(name for name in counts if name not in session.menu.announced)]
    return sorted(names, key=session.menu.add)


def typed_column(cells: Sequence[str]) -> list[Any]:
    """Returns cells as whole numbers, numbers or texts, whatever all of them are; None where one is empty."""
    for pattern, read in ((_INTEGER, int), (_NUMBER, float)):  # 007 is a name, no number
        if all(pattern.fullmatch(cell) for cell in cells if cell):
            return [read(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _data(items: Items, i: int, typed: Mapping[str, list[Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {} if items.texts is None else {"text": items.texts[i]}
    files = items.images or items.sounds
    if files is not None:
        data["file"] = _place(files[i], Path(items.source))
    elif items.kind == "table":
        data |= {free_name(name): typed[name][i] for name in items.used}
    elif items.kind == "vectors":
        data["row"] = i
        if items.vectors is not None:
            x = np.asarray(items.vectors[i])
        else:
            assert items.matrix is not None  # vectors have one of the two
            x = items.matrix[[i]].toarray()[0]
        if x.size <= MOST_NUMBERS:
            numbers = x.astype(object)
            numbers[~np.isfinite(x)] = None  # JSON knows no NaN
            data["x"] = numbers.tolist()
    return data


def _place(file: Path, source: Path) -> str:
    """A file's place below the folder of the data; its whole path where it lies elsewhere."""
    folder = source if source.is_dir() else source.parent
    try:
        return file.relative_to(folder).as_posix()
    except ValueError:
        return Path(os.path.abspath(file)).as_posix()


def free_name(name: str) -> str:
    """Returns how a column of the data is called beside those of `EXPORTED` and `OURS`."""
    return f"{name} (data)" if name.strip().lower() in {*EXPORTED, *OURS} else name


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _numbered(mark: Mark, numbers: dict[str, str]) -> Mark:
    """The mark with numbers in the place of names, the same for the same name."""

    def of(name: str) -> str:
        return numbers.setdefault(name, f"annotator {len(numbers) + 1}") if name else ""

    return replace(
        mark,
        annotator=of(mark.annotator),
        opinions={of(name): label for name, label in mark.opinions.items()},
    )


def as_json(value: object) -> str:
    """Returns a value as JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
