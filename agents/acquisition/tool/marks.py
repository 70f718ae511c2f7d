"""Keeps what is known of an answer beyond its label in further columns of the same file of answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from agents.acquisition.tool.answers import Answer
from agents.acquisition.tool.session import Session

COLUMNS = ("annotator", "time", "policy", "score", "seconds", "unsure", "opinions", "settled")
"""Columns that are appended once an answer has something to say there; files of earlier versions lack some."""
YES = "yes"


@dataclass(frozen=True)
class Mark:
    """Holds what is known of one answer.

    Attributes:
        annotator: Name of who gave the answer; empty where nobody gave a name, and for answers of the terminal.
        time: When, in UTC, as ISO 8601.
        policy: What chose the item; empty where a person did, it was drawn for the yardstick, or nobody knows.
        score: Its utility when it was chosen.
        seconds: From the item's appearance to the answer.
        unsure: Whether the annotator wants the answer to be looked at again.
        opinions: Annotator → class, where more than one annotator answered.
        settled: Whether a person decided after a disagreement or a doubt.
    """

    annotator: str = ""
    time: str = ""
    policy: str = ""
    score: float | None = None
    seconds: float | None = None
    unsure: bool = False
    opinions: dict[str, str] = field(default_factory=dict)
    settled: bool = False

    @property
    def disagrees(self) -> bool:
        """Whether annotators gave several classes and nobody decided yet."""
        return len(set(self.opinions.values())) > 1 and not self.settled

    def cells(self) -> dict[str, str]:
        """Returns the cell of each of `COLUMNS`."""
        return {
            "annotator": self.annotator,
            "time": self.time,
            "policy": self.policy,
            "score": "" if self.score is None else f"{self.score:.6g}",
            "seconds": "" if self.seconds is None else f"{self.seconds:.1f}",
            "unsure": YES if self.unsure else "",
            "opinions": json.dumps(self.opinions, ensure_ascii=False) if self.opinions else "",
            "settled": YES if self.settled else "",
        }


def mark_of(session: Session, answer: Answer) -> Mark:
    """Returns what the file tells of an answer; cells that a person changed to something else tell nothing."""
    return read_mark(session.further, answer)


def read_mark(columns: Sequence[str], answer: Answer) -> Mark:
    """Returns what the cells of an answer tell, under the names of further columns."""
    cell = dict(zip(columns, answer.further, strict=False))
    seconds = _number(cell.get("seconds", ""))
    return Mark(
        cell.get("annotator", "").strip(),
        cell.get("time", ""),
        cell.get("policy", "").strip(),
        _number(cell.get("score", "")),
        None if seconds is None or seconds < 0 else seconds,
        cell.get("unsure", "") == YES,
        _opinions(cell.get("opinions", "")),
        cell.get("settled", "") == YES,
    )


def annotators(session: Session) -> dict[int, str]:
    """Returns who gave each answer, by position in the order of the answers, faster than a mark of each."""
    if "annotator" not in session.further:
        return dict.fromkeys(session.answers, "")
    column = session.further.index("annotator")
    cells = {i: answer.further[column : column + 1] for i, answer in session.answers.items()}
    return {i: "".join(cell).strip() for i, cell in cells.items()}


def contested(session: Session) -> dict[int, Mark]:
    """Returns the marks of the items that several annotators answered, by position."""
    if "opinions" not in session.further:
        return {}
    column = session.further.index("opinions")
    found = {
        i: answer for i, answer in session.answers.items() if answer.further[column : column + 1] > ("",)
    }
    return {i: mark_of(session, answer) for i, answer in found.items()}


def marked(session: Session, answer: Answer, mark: Mark) -> Answer:
    """Returns the answer with the cells of the mark; columns that it needs are appended to all answers."""
    told = mark.cells()
    absent = [name for name in COLUMNS if name not in session.further and told[name]]
    if absent:
        session.further = [*session.further, *absent]
        for position, other in session.answers.items():
            session.answers[position] = _padded(session, other)
        session.gone = [(name, _padded(session, other)) for name, other in session.gone]
    cells = dict(zip(session.further, _padded(session, answer).further, strict=True)) | told
    return replace(answer, further=tuple(cells[name] for name in session.further))


def update_mark(session: Session, position: int, **changes: Any) -> None:
    """Changes fields of the mark of an item's answer, without writing the file."""
    answer = session.answers[position]
    session.answers[position] = marked(session, answer, replace(mark_of(session, answer), **changes))


def now() -> str:
    """Returns the time as marks hold it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _padded(session: Session, answer: Answer) -> Answer:
    width = len(session.further)
    return replace(answer, further=(*answer.further, *[""] * width)[:width])


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))  # spreadsheets of many countries save decimal commas
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _opinions(text: str) -> dict[str, str]:
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, str) and value}
