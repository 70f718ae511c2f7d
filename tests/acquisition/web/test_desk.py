"""The desk: who is shown which item, and what becomes of answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.desks import CLASSES, TRUTH, Page, X, client, desk, texts

from agents.acquisition.policies import DEFAULT_POLICY
from agents.acquisition.tool.answers import CHOSEN, RANDOM
from agents.acquisition.tool.choice import Choice, choose_items
from agents.acquisition.tool.label import label_loop
from agents.acquisition.tool.marks import mark_of
from agents.acquisition.tool.session import Session
from agents.acquisition.tool.web.desk import Desk
from metaal_env.errors import InputError


def truth(position: int) -> str:
    return CLASSES[TRUTH[position]]


def opened(folder: Path) -> Session:
    return Session.open(folder / "answers.csv", texts(), classes=CLASSES)


def labelled(found: Desk, count: int, tab: str = "one", annotator: str = "") -> list[int]:
    """Answers as many items rightly; their positions."""
    claim, given = found.current(tab, annotator), []
    for _ in range(count):
        assert claim is not None
        given.append(claim.position)
        claim = found.answer(tab, claim.position, truth(claim.position), annotator=annotator, seconds=1.5)
    return given


def test_the_first_item_is_the_most_useful_and_every_answer_is_on_disk(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        first = found.current("one")
        assert first is not None
        assert first.position == choose_items(opened(tmp_path), X, Choice(classes=CLASSES)).picks[0]
        for count in range(1, 6):
            given = labelled(found, 1)
            saved = opened(tmp_path)
            assert len(saved.answers) == count and list(saved.answers)[-1] == given[0]
            assert saved.answers[given[0]].label == truth(given[0])
        mark = mark_of(saved, saved.answers[given[0]])
        assert mark.seconds == 1.5 and mark.time.endswith("+00:00") and not mark.unsure


def test_answers_guide_the_choice_after_one_more_item(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 6)
        found.ahead.wait()
        moment = found._moment()
        y = moment.y.copy()
        known = np.flatnonzero([label is not None for label in y])
        assert len(known) == 6 and len(moment.shown) == 1
        nearest = known[np.square(X[known] - X[moment.shown[0]]).sum(1).argmin()]
        y[moment.shown[0]] = y[nearest]
        session = opened(tmp_path)
        session.set(moment.shown[0], str(y[nearest]))
        assert found.ahead.queue == choose_items(session, X, Choice(classes=CLASSES), 8).picks.tolist()


def test_the_terminal_goes_on_and_the_page_after_it(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        on_page = labelled(found, 4)
    session = opened(tmp_path)
    typed = iter(["spam", ":s", "ham"])
    label_loop(
        session, X, Choice(classes=CLASSES), ask=lambda _: next(typed), count=2, show=lambda line: None
    )
    with desk(tmp_path) as found:
        answers = list(found.session.answers.items())
        assert [position for position, _ in answers[:4]] == on_page
        assert [answer.label for _, answer in answers[4:]] == ["spam", None, "ham"]
        assert [mark_of(found.session, a).seconds for _, a in answers] == [1.5] * 4 + [None] * 3
        again = labelled(found, 2)
        assert not set(again) & {position for position, _ in answers}
    saved = opened(tmp_path)
    assert set(saved.further) == {"time", "policy", "score", "seconds"}
    marks = [mark_of(saved, answer) for answer in saved.answers.values()]
    assert all(mark.policy == DEFAULT_POLICY and mark.score is not None and mark.time for mark in marks)


def test_the_file_tells_what_was_drawn_at_random_and_what_a_person_looked_for(tmp_path: Path) -> None:
    with desk(tmp_path) as found, client(found) as http:
        page = Page(http)
        labelled(found, 1)
        found.ahead.wait()
        found.ahead.queue = []  # the person was faster than the query
        claim = found.current("one")
        assert claim is not None
        hasty = found.answer("one", claim.position, truth(claim.position))
        assert hasty is not None and hasty.at_random
        assert page.read(f"why/{hasty.position}")["reasons"] == [
            "it was drawn at random, since you were faster than the next choice"
        ]
        looked_for = next(
            i
            for i in found.session.open_positions().tolist()
            if i != hasty.position and not found.ahead.why(i)  # no query chose it
        )
        assert "you opened it yourself" in page.read(f"why/{looked_for}")["reasons"][0]
        found.answer("one", int(looked_for), "ham")
        found.answer("one", hasty.position, truth(hasty.position))
        assert page.read(f"why/{hasty.position}")["reasons"] == ["random chose it"]
    saved = opened(tmp_path)
    marks = {i: mark_of(saved, answer) for i, answer in saved.answers.items()}
    assert (marks[hasty.position].policy, marks[hasty.position].score) == ("random", None)
    assert (marks[int(looked_for)].policy, marks[int(looked_for)].score) == ("", None)
    assert saved.answers[hasty.position].drawn == CHOSEN, "no item of the yardstick"


def test_reasons_that_a_restart_lost_are_owned_up_to(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 3)
    with desk(tmp_path) as found, client(found) as http:
        found.ahead.close()  # no query of this run
        claim = found.current("one")
        assert claim is not None and not claim.at_random
        assert "which keeps no reasons" in Page(http).read(f"why/{claim.position}")["reasons"][0]


def test_the_same_item_comes_next_after_a_crash(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 5)
        shown = found.current("one")
        assert shown is not None
        # What a killed process leaves: the files as they are now, and no word to any of its threads.
    with desk(tmp_path) as again:
        next_one = again.current("another tab")
        assert next_one is not None and next_one.position == shown.position
        assert len(again.session.answers) == 5


def test_what_was_shown_last_may_be_lost_or_damaged(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 3)
    for damage in ("", "[]", '{"shown": [["t01"]], "next": [7]}', '{"shown": 3, "next": {}}'):
        (tmp_path / "answers.csv.page.json").write_text(damage)
        with desk(tmp_path) as again:
            assert again.current("one") is not None and len(again.session.answers) == 3


def test_two_tabs_get_different_items(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        seen: set[int] = set()
        for _ in range(6):
            a, b = found.current("one"), found.current("two")
            assert a is not None and b is not None and a.position != b.position
            assert not {a.position, b.position} & seen
            for tab, claim in (("one", a), ("two", b)):
                found.answer(tab, claim.position, truth(claim.position))
                seen.add(claim.position)
        assert found.current("one") == found.current("one")


def test_a_closed_tab_frees_its_item(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        left, other = found.current("left"), found.current("other")
        assert left is not None and other is not None
        found.claims.of_tab["left"] = replace(left, heard=left.heard - 1000)
        next_one = found.answer("other", other.position, "ham")
        assert next_one is not None and next_one.position != left.position  # heard of within the same request
        new = found.current("new")
        assert new is not None and new.position == left.position


def test_undo_restores_labels_skips_and_changes(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        a, b = labelled(found, 2)
        found.answer("one", a, "a new class")
        skipped = found.current("one")
        assert skipped is not None
        found.answer("one", skipped.position, None)
        steps = [skipped.position, a, b, a]
        left = [{a: "a new class", b: truth(b)}, {a: truth(a), b: truth(b)}, {a: truth(a)}, {}]
        shown = [skipped.position, skipped.position, b, a]
        for position, labels, now in zip(steps, left, shown, strict=True):
            assert found.undo("one") == position
            assert {i: answer.label for i, answer in opened(tmp_path).answers.items()} == labels
            claim = found.current("one")
            assert claim is not None and claim.position == now
        assert found.undo("one") is None


def test_undo_after_a_restart_takes_the_last_answer_in_the_file(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        given = labelled(found, 3)
    with desk(tmp_path) as again:
        assert again.undo("one") == given[-1]
        assert list(opened(tmp_path).answers) == given[:2]
        claim = again.current("one")
        assert claim is not None and claim.position == given[-1]


def test_a_second_annotator_is_asked_blind_and_disagreements_are_settled(tmp_path: Path) -> None:
    with desk(tmp_path, overlap=0.5) as found:
        first = labelled(found, 6, "one", "ada")
        asked = []
        claim = found.current("two", "bob")
        for _ in range(8):
            assert claim is not None
            if claim.second:
                asked.append(claim.position)
            claim = found.answer("two", claim.position, "eggs", annotator="bob")
        assert len(asked) == 4 and set(asked) <= set(first)
        session = opened(tmp_path)
        for position in asked:
            mark = mark_of(session, session.answers[position])
            assert session.answers[position].label == truth(position)  # until somebody decides
            assert mark.opinions == {"ada": truth(position), "bob": "eggs"}
            assert mark.disagrees == (truth(position) != "eggs")
        position = next(i for i in asked if truth(i) != "eggs")
        found.settle(position, "spam")
        mark = mark_of(found.session, found.session.answers[position])
        assert found.session.answers[position].label == "spam" and mark.settled and not mark.disagrees
        last = asked[-1]
        while found.undo("two", "bob") != last:
            pass
        claim = found.current("two", "bob")
        assert claim is not None and (claim.position, claim.second) == (last, True)
        assert mark_of(found.session, found.session.answers[last]).opinions == {}


def test_a_second_annotator_who_skips_changes_nothing(tmp_path: Path) -> None:
    with desk(tmp_path, overlap=1.0) as found:
        labelled(found, 2, "one", "ada")
        before = opened(tmp_path).answers
        claim = found.current("two", "bob")
        assert claim is not None and claim.second
        found.answer("two", claim.position, None, annotator="bob")
        assert opened(tmp_path).answers == before


def test_one_annotator_is_never_asked_twice(tmp_path: Path) -> None:
    with desk(tmp_path, overlap=1.0) as found:
        assert len(set(labelled(found, 10, "one", "ada") + labelled(found, 10, "two", "ada"))) == 20


def test_the_yardstick_comes_first_and_is_marked(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        chosen = labelled(found, 1)
        found.measure(5)
        drawn = found.session.next_of_yardstick(5)
        given = labelled(found, 7)
        assert set(drawn) <= set(given[:6])  # the item that was shown already comes before
        answers = opened(tmp_path).answers
        assert {i for i, answer in answers.items() if answer.drawn == RANDOM} == set(drawn)
        assert answers[chosen[0]].drawn == CHOSEN
        with pytest.raises(InputError, match="yardstick=41 must lie in 0…40"):
            found.measure(41)


def test_the_budget_ends_the_session_and_so_does_the_pool(tmp_path: Path) -> None:
    with desk(tmp_path, choice=Choice(budget=3, classes=CLASSES)) as found:
        labelled(found, 3)
        assert found.current("one") is None
    with desk(tmp_path) as found:
        claim = found.current("one")
        while claim is not None:
            claim = found.answer("one", claim.position, None)
        assert len(found.session.answers) == 40 and found.restore_skipped() == 37
        assert found.current("one") is not None


def test_whoever_is_faster_than_the_query_does_not_wait(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 1)
        found.ahead.wait()
        found.ahead.close()  # no query ends any more
        assert len(set(labelled(found, 30))) == 30


@pytest.mark.parametrize(
    ("position", "label", "message"),
    [
        (40, "ham", "position=40 must lie in 0…39"),
        (-1, "ham", "position=-1 must lie in"),
        (True, "ham", "position=True must be a whole number"),
        (3, " ", "label=' ' cannot be a class"),
        (3, "a\x00b", "cannot be a class"),
        (3, "x" * 201, "cannot be a class"),
    ],
)
def test_unusable_answers_change_nothing(tmp_path: Path, position: int, label: str, message: str) -> None:
    with desk(tmp_path) as found:
        with pytest.raises(InputError, match=message):
            found.answer("one", position, label)
        assert not found.session.answers and not (tmp_path / "answers.csv").exists()


def test_equal_names_are_one_class(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        for position, name in enumerate(["caf\u00e9", "cafe\u0301", "  caf\u00e9 ", "ham"]):
            found.answer("one", position, name)
        assert found.classes() == {"ham": 1, "spam": 0, "eggs": 0, "café": 3}


def test_a_file_that_cannot_be_written_loses_nothing(tmp_path: Path) -> None:
    with desk(tmp_path) as found:
        labelled(found, 2)
        shown = found.current("one")
        assert shown is not None
        with (tmp_path / "answers.csv").open("a") as file:
            file.write("\r\n")
        with pytest.raises(InputError, match="was changed by another program"):
            found.answer("one", shown.position, "ham")
        assert len(found.session.answers) == 2 and found.current("one") == shown


def test_columns_of_a_person_stay(tmp_path: Path) -> None:
    (tmp_path / "answers.csv").write_text("item,label,remark,seconds\nt03,ham,see mail,soon\n")
    with desk(tmp_path) as found:
        assert mark_of(found.session, found.session.answers[3]).seconds is None
        labelled(found, 1)
    saved = opened(tmp_path)
    assert saved.further == ["remark", "seconds", "time", "policy", "score"]
    assert saved.answers[3].further[:2] == ("see mail", "soon")
