"""The table of suggestions, which a person fills in with any spreadsheet and gives back."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from agents.acquisition.batch import Selection
from agents.acquisition.tool.answers import CHOSEN, RANDOM, AnswerFile, read_answers
from agents.acquisition.tool.identity import matched
from agents.acquisition.tool.marks import Mark, marked, now, read_mark
from agents.acquisition.tool.menu import nearest
from agents.acquisition.tool.outputs import is_ours
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.tables import read_table
from agents.policy.reasons import in_words, reasons
from metaal_env.errors import InputError

COLUMNS = ["rank", "item", "shown", "label", "why", "policy", "score", "drawn", "content"]


def suggestion_rows(
    session: Session, drawn: list[int], found: Selection | None, policy: str
) -> list[list[object]]:
    """Returns a row for each suggested item, under `COLUMNS`; the person fills in the labels.

    Args:
        drawn: Positions of items drawn at random for the yardstick.
        found: The items that the policy chose.
        policy: Its name.
    """
    items, contents = session.items, session.contents
    reasoned = [(i, "drawn at random to measure the accuracy", "", "", RANDOM) for i in drawn]
    if found is not None:
        for i, pick in enumerate(found.picks.tolist()):
            why = in_words(reasons(found.strategy, found.views[i], found.places[i]))
            reasoned.append((pick, why, policy, f"{found.scores[i]:.6g}", CHOSEN))
    return [
        [rank, contents.names[i], items.shown[i], "", *why, contents[i]]
        for rank, (i, *why) in enumerate(reasoned, start=1)
    ]


@dataclass(frozen=True)
class Earlier:
    """Holds what stands in a table of suggestions that is to be replaced.

    Attributes:
        answers: Labels that a person filled in; None where there is no column for them.
        edited: Whether it holds anything that a person entered, so that a copy must be kept.
    """

    answers: AnswerFile | None
    edited: bool


def earlier_table(path: Path) -> Earlier:
    """Returns what stands in the table of suggestions at `path`; nothing where no such table is there.

    Raises:
        InputError: labels that cannot be read; see `read_answers`.
    """
    if not is_ours(path):
        return Earlier(None, False)
    names = {name.strip().lower() for name in read_table(path, f"out={str(path)!r}").header}
    foreign = bool(names - {*COLUMNS, ""})
    if "label" not in names:  # written by an earlier version
        return Earlier(None, foreign)
    answers = read_answers(path, f"out={str(path)!r}", skips=False)
    return Earlier(answers, foreign or bool(answers.rows))


def take_answers(
    session: Session,
    file: AnswerFile,
    what: str,
    *,
    classes: tuple[str, ...],
    same_ids: bool,
    overwrite: bool,
) -> list[str]:
    """Takes labels from a table over into the session and writes its file.

    Args:
        what: How messages begin, e.g. ``"answers='a.csv'"``.
        overwrite: Whether labels replace other labels of the same items.

    Returns:
        Sentences about what was taken.

    Raises:
        InputError: labels that contradict answers, labels outside `classes`, or names that may not tell the items.
    """
    if not file.rows:
        return []
    found = matched(file, session.contents, what, same_ids)
    if not found.answers:
        raise InputError(
            f"{what} names no item of {session.items.source!r}, e.g. {file.rows[0][0]!r}; give its table."
        )
    before, known = session.labels(), list(session.counts())
    given = {i: answer for i, answer in found.answers.items() if answer.label is not None}
    for i, answer in given.items():
        if classes and answer.label not in classes and answer.label not in known:
            raise InputError(
                f"{what} has the label {answer.label!r}, which is not among --classes; add it there."
            )
        if before[i] not in (None, answer.label) and not overwrite:
            raise InputError(
                f"{what}: {session.contents.names[i]!r} is {answer.label!r} there and {before[i]!r} among the "
                "answers; make them equal, or --overwrite."
            )
    changed = {i: answer for i, answer in given.items() if before[i] != answer.label}
    tells_when = file.has_contents and "time" in file.further  # an export does, if that is known
    if changed:
        with session.locked():
            for i, answer in changed.items():
                session.set(i, answer.label, answer.drawn)
                mark = read_mark(file.further, answer) if file.has_contents else Mark()
                if not tells_when:
                    mark = replace(mark, time=now())
                session.answers[i] = marked(session, session.answers[i], mark)
            session.save()
    notes = [
        f"{len(changed)} new answers of {len(given)} taken from {what.partition('=')[2]} into {session.path}.",
        *found.notes(),
    ]
    new = Counter(a.label for a in given.values() if a.label is not None and a.label not in known)
    for name, count in new.items():
        near = nearest(name, known)
        notes.append(f"new class {name!r}: {count}{f', near to {near!r}; is it the same?' if near else ''}")
    return notes
