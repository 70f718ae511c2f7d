"""The labelling loop: classes and their numbers, commands, budget, yardstick."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agents.acquisition.items.items import Items
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.label import label_loop
from agents.acquisition.tool.marks import mark_of
from agents.acquisition.tool.menu import Menu
from agents.acquisition.tool.session import Session
from metaal_env.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 3))


def new_session(path: Path, labels: dict[int, str] | None = None, classes: tuple[str, ...] = ()) -> Session:
    ids = [f"item {i}" for i in range(12)]
    own = [(labels or {}).get(i) for i in range(12)]
    return Session.open(
        path, Items("pool", ids, own, [f"shown {i}" for i in ids], vectors=X), classes=classes
    )


def talk(session: Session, *typed: str, choice: Choice | None = None, count: int | None = None) -> list[str]:
    """Runs the loop on what is typed, which must all be read; what the person saw."""
    lines: Iterator[str] = iter(typed)
    seen: list[str] = []

    def ask(prompt: str) -> str:
        seen.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    label_loop(session, X, choice, count=count, ask=ask, show=lambda line: seen.append(str(line)))
    assert next(lines, None) is None, seen
    return seen


def test_the_file_tells_when_and_why_an_item_was_asked(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("item,label,drawn\nitem 3,ape,chosen\n")  # of an earlier version
    session = new_session(path)
    talk(session, "ape", "bear", "y", ":e 2", "bear", choice=Choice("margin", yardstick=1))
    saved = new_session(path)
    marks = [mark_of(saved, answer) for answer in saved.answers.values()]
    assert [(mark.policy, mark.score is None) for mark in marks] == [
        ("", True),
        ("", True),
        ("margin", False),
    ]
    assert marks[0].time == "" and all(mark.time.endswith("+00:00") for mark in marks[1:])


def test_the_annotator_is_kept_with_every_answer(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", classes=("ape", "bear"))
    choice = Choice("margin", classes=("ape", "bear"))
    for name, words in [("ada", ["ape", ":s"]), ("", ["bear", ":e 1", "bear"]), ("bob", [":e 3", "ape"])]:
        lines = iter(words)

        def ask(prompt: str, lines: Iterator[str] = lines) -> str:
            if (line := next(lines, None)) is None:
                raise EOFError
            return line

        label_loop(session, X, choice, annotator=name, ask=ask, show=lambda line: None)
    saved = new_session(tmp_path / "answers.csv")
    names = [mark_of(saved, answer).annotator for answer in saved.answers.values()]
    assert names == ["ada", "ada", "bob"] and given(saved) == ["bear", None, "ape"]


def given(session: Session) -> list[str | None]:
    return [answer.label for answer in session.answers.values()]


def test_numbers_follow_the_first_appearance_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    session = new_session(path)
    seen = talk(session, "zebra", "y", "delivery", "y", "1", "2", "ape", "y", "3", ":u", ":u", "bear", "y")
    assert given(session) == ["zebra", "delivery", "zebra", "delivery", "bear"]
    assert session.menu.numbers == {"zebra": 1, "delivery": 2, "ape": 3, "bear": 4}
    assert any("1) zebra  2) delivery  4) bear" in line for line in seen)
    talk(session, ":e 1", "2")  # the order of first appearance in the file is another one now
    assert given(session)[0] == "delivery"
    again = new_session(path)
    assert again.menu.numbers == {"zebra": 1, "delivery": 2, "bear": 4}
    talk(again, "1", "4")
    assert given(again)[-2:] == ["zebra", "bear"]


def test_a_new_class_is_always_confirmed(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", classes=("delivery", "refund"))
    choice = Choice(classes=("delivery", "refund"))
    seen = talk(session, "del", "n", "Delivery", "", "1", "price", "y", "refund", choice=choice)
    assert given(session) == ["delivery", "price", "refund"]
    questions = [line for line in seen if line.startswith("new class")]
    assert len(questions) == 3 and "not among --classes, near to 'delivery'" in questions[1]


@pytest.mark.parametrize(
    ("classes", "typed", "label"),
    [
        (("0", "1", "2"), "1", "1"),
        (("5", "1"), "1", "1"),
        (("0", "1", "2"), "1.0", "1"),
        (("0.5", "1.5"), "1,5", "1.5"),
        (("-1", "1"), "-1", "-1"),
        (("1", "cat"), "1", "1"),
        (("cat", "dog"), "2", "dog"),
        (("cat", "dog"), "dog", "dog"),
        (("café",), "cafe\u0301", "café"),
        (("cat", "dog"), "3", None),
        (("0", "1"), "2", None),
        (("cat", "dog"), "²", None),
    ],
)
def test_what_is_typed_is_a_name_before_it_is_a_number(
    classes: tuple[str, ...], typed: str, label: str | None
) -> None:
    menu = Menu.of(classes, [], [])
    assert menu.class_of(typed, classes) == label
    numbers = any(name[-1].isdigit() for name in classes)
    assert ("1) " in menu.line(classes)) != numbers


def test_commands(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", classes=("a", "b"))
    choice = Choice(classes=("a", "b"))
    seen = talk(
        session, ":?", "1", ":s", "b", ":l", ":e 9", ":e 1", "2", ":e2", "a", ":e", ":x", ":q", choice=choice
    )
    assert given(session) == ["b", "a", "b"]
    assert sum(":u" in line for line in seen) == 3  # at the start, :? and the unknown :x
    listed = [line for line in seen if line.startswith(("   1  ", "   2  ", "   3  "))]
    assert [line.split()[1] for line in listed] == ["a", "(skipped)", "b"]
    assert any("1 to 3" in line for line in seen)
    seen = talk(
        session, ":s", ":s", ":r", ":e 3", ":l", ":e 3", ":s", ":u", ":u", ":u", ":u", "a", choice=choice
    )
    assert given(session) == ["a"]
    taken_back = [line.split()[2] for line in seen if line.startswith("taken back:")]
    assert taken_back == ["(skipped)", "a", "b"] and "there is no answer to take back." in seen


def test_skipped_items_come_back(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", classes=("a",))
    seen = talk(session, *[":s"] * 11, ":r", *["a"] * 12, choice=Choice(classes=("a",)))
    assert given(session) == ["a"] * 12 and any("11 skipped items" in line for line in seen)
    assert any("every item is labelled" in line for line in seen)
    last = new_session(tmp_path / "skipped.csv", classes=("a",))
    seen = talk(last, *["a"] * 11, ":s", "n", choice=Choice(classes=("a",)))  # no open item asks for :r
    assert "every item is labelled or skipped; ask the 1 skipped again? [y/n] " in seen
    talk(last, "y", "a", choice=Choice(classes=("a",)))
    assert given(last) == ["a"] * 12


def test_the_budget_stops_and_the_prompt_counts(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", {0: "a", 3: "b"}, classes=("a", "b"))
    choice = Choice(budget=5, classes=("a", "b"))
    seen = talk(session, "a", "a", "b", choice=choice)
    assert any(line.startswith("\n[2 of 5 labelled: a 1, b 1]") for line in seen)
    assert any(line.startswith("\n[4 of 5 labelled: a 3, b 1]") for line in seen)
    assert any("the budget of 5 labels is spent" in line for line in seen)
    assert len(talk(session, choice=choice)) == 3  # help, budget, how to go on


def test_the_yardstick_is_drawn_and_never_guides_the_choice(tmp_path: Path) -> None:
    session = new_session(tmp_path / "answers.csv", classes=("a", "b"))
    choice = Choice(yardstick=4, classes=("a", "b"))
    drawn = session.next_of_yardstick(4)
    seen = talk(session, "a", ":s", choice=choice)
    numbered = [line.strip() for line in seen if "yardstick, item" in line]
    assert numbered == [f"yardstick, item {i} of 4: drawn at random" for i in (1, 2, 2)]
    with pytest.raises(InputError, match="yardstick=12 leaves none of the 12 items to learn from"):
        Choice.of_items(session.items, yardstick=12)
    again = new_session(session.path, classes=("a", "b"))
    talk(again, "b", "a", "a", "b", "b", choice=choice)
    assert set(drawn) <= set(again.answers) and int(again.yardstick().sum()) == 4
    assert list(again.answers.values())[1].label is None  # skipped: the next in the order took its place
    assert [answer.drawn for answer in again.answers.values()] == ["random"] * 5 + ["chosen"] * 2
    picks = []
    for label in ("a", "b"):
        for position in np.flatnonzero(again.yardstick()):
            again.set(int(position), label)
        picks.append(choose_items(again, X, Choice("margin")).picks.tolist())
    assert picks[0] == picks[1]


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path) -> None:
    ids = ["a", "b"]
    items = Items("pool", ids, [None, None], ["red \x1b[2J", "blue \x07\nline"], texts=["red", "blue"])
    session = Session.open(tmp_path / "answers.csv", items)
    seen: list[str] = []
    answers = iter(["\x1b[A", "x", "y", "x"])
    label_loop(session, X[:2], ask=lambda _: next(answers), show=lambda line: seen.append(str(line)))
    assert not any(c in line for line in seen for c in "\x1b\x07") and any(
        "blue �\nline" in line for line in seen
    )
    assert given(session) == ["x", "x"]
