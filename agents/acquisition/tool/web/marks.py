"""What the page knows of an answer beyond its label, kept in columns of the same file of answers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from agents.acquisition.tool.answers import Answer
from agents.acquisition.tool.session import Session

COLUMNS = ("annotator", "time", "seconds", "unsure", "opinions", "settled")
"""Columns that the page appends; the terminal's `label` keeps them as it keeps columns of a person's own."""
YES = "yes"


@dataclass(frozen=True)
class Mark:
    """Holds what is known of one answer.

    Attributes:
        annotator: Name of who gave the answer; empty where nobody gave a name, and for answers of the terminal.
        time: When, in UTC, as ISO 8601.
        seconds: From the item's appearance to the answer.
        unsure: Whether the annotator wants the answer to be looked at again.
        opinions: Annotator → class, where more than one annotator answered.
        settled: Whether a person decided after a disagreement or a doubt.
    """

    annotator: str = ""
    time: str = ""
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
            "seconds": "" if self.seconds is None else f"{self.seconds:.1f}",
            "unsure": YES if self.unsure else "",
            "opinions": json.dumps(self.opinions, ensure_ascii=False) if self.opinions else "",
            "settled": YES if self.settled else "",
        }


def mark_of(session: Session, answer: Answer) -> Mark:
    """Returns what the file tells of an answer; cells that a person changed to something else tell nothing."""
    cell = dict(zip(session.further, answer.further, strict=False))
    return Mark(
        cell.get("annotator", "").strip(),
        cell.get("time", ""),
        _number(cell.get("seconds", "")),
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
    """Returns the answer with the cells of the mark; columns that the session lacks are appended to all answers."""
    absent = [name for name in COLUMNS if name not in session.further]
    if absent:
        session.further = [*session.further, *absent]
        for position, other in session.answers.items():
            session.answers[position] = _padded(session, other)
        session.gone = [(name, _padded(session, other)) for name, other in session.gone]
    cells = dict(zip(session.further, _padded(session, answer).further, strict=True)) | mark.cells()
    return replace(answer, further=tuple(cells[name] for name in session.further))


def _padded(session: Session, answer: Answer) -> Answer:
    width = len(session.further)
    return replace(answer, further=(*answer.further, *[""] * width)[:width])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _opinions(text: str) -> dict[str, str]:
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): value for name, value in found.items() if isinstance(value, str) and value}
