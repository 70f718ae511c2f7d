"""The path without a terminal: suggestions out, labels filled in with a spreadsheet, suggestions again."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.clusters import clusters

from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.session import Session, labels_path

ENCODINGS: dict[str, tuple[str, str]] = {
    "comma": ("utf-8", ","), "semicolon": ("utf-8-sig", ";"), "western": ("cp1252", ";"), "utf-16": ("utf-16", "\t"),
}  # fmt: skip


@pytest.fixture()
def work(work: Path) -> Path:
    """The working folder, with a pool."""
    x = clusters(np.arange(30) % 2, 2, apart=3, on_axes=True)
    with open("pool.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["id", "weight", "length"], *([f"r{i}", *r.round(3)] for i, r in enumerate(x))]
        )
    return work


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def truth(item: str) -> str:
    return ("Äpfel", "NA")[int(item.removeprefix("r")) % 2]


def fill(path: Path, change: Callable[[list[dict[str, str]]], None], form: str = "comma") -> None:
    rows = read(path)
    change(rows)
    encoding, delimiter = ENCODINGS[form]
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def answers(data: str = "pool.csv") -> dict[str, str | None]:
    session = Session.open(labels_path(Path(data)), read_items(Path(data)))
    return {session.contents.names[i]: answer.label for i, answer in session.answers.items()}


@pytest.mark.parametrize("form", ENCODINGS)
def test_round_trip(work: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("suggestions.csv")
    expected: dict[str, str] = {}
    for turn in range(3):
        assert main(["suggest", "pool.csv", "--k", "4"]) == 0
        rows = read(out)
        assert len(rows) == 4 and not {row["item"] for row in rows} & set(expected)
        assert all(row["why"] and row["shown"] and not row["label"] for row in rows)

        def enter(rows: list[dict[str, str]]) -> None:
            for row in rows[:3]:  # one is left open
                row["label"] = truth(row["item"])

        fill(out, enter, form)
        expected |= {row["item"]: truth(row["item"]) for row in rows[:3]}
        filled = out.read_bytes()
        assert main(["suggest", "pool.csv", "--k", "4"]) == 0
        assert answers() == expected
        assert Path(f"suggestions.{turn + 1}.csv").read_bytes() == filled
    assert "new class 'Äpfel'" in capsys.readouterr().out
    assert main(["suggest", "pool.csv", "--k", "4"]) == 0  # nothing was entered: no further copy
    assert len(list(work.glob("suggestions.*.csv"))) == 3


def test_import_takes_any_table_with_item_and_label(work: Path) -> None:
    Path("mine.csv").write_text("notes;item;label\nsure;r3;x\n;r4;\nno;r5;y\n")
    before = Path("mine.csv").read_bytes()
    assert main(["import", "pool.csv", "--from", "mine.csv"]) == 0
    assert answers() == {"r3": "x", "r5": "y"} and Path("mine.csv").read_bytes() == before
    assert main(["import", "pool.csv", "--from", "mine.csv"]) == 0
    assert answers() == {"r3": "x", "r5": "y"}


def test_a_users_column_called_content_is_no_fingerprint(work: Path) -> None:
    Path("mine.csv").write_text("item,label,content\nr3,0.0,a text\nr4,,another\nr5,1.0,third\n")
    assert main(["import", "pool.csv", "--from", "mine.csv"]) == 0
    assert answers() == {"r3": "0", "r5": "1"}


@pytest.mark.parametrize(
    ("columns", "labels", "copied"),
    [("rank,item,score,why,shown", None, False), ("rank,item,score,why,label", "x", True),
     ("rank,item,score,why,notes", None, True)],
)  # fmt: skip
def test_suggestions_of_earlier_versions(work: Path, columns: str, labels: str | None, copied: bool) -> None:
    old = f"{columns}\n1,r3,0.5,it is far from every label,{labels or 'shown'}\n"
    Path("suggestions.csv").write_text(old)
    assert main(["suggest", "pool.csv", "--k", "2"]) == 0
    assert answers() == ({"r3": labels} if labels else {})
    assert [path.read_text() for path in work.glob("suggestions.1.csv")] == ([old] if copied else [])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("item,label\nr3,other\n", [], "'r3' is 'other' there and 'x' among the answers"),
        ("item,label\nr3,x\nr6,z\n", ["--classes", "x,y"], "'z', which is not among --classes"),
        ("item,label\nq1,x\n", [], "names no item"),
        ("rank,why\n1,x\n", [], "header must name item and label"),
    ],
)
def test_what_cannot_be_taken_is_named(
    work: Path, text: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("first.csv").write_text("item,label\nr3,x\n")
    assert main(["import", "pool.csv", "--from", "first.csv"]) == 0
    Path("mine.csv").write_text(text)
    assert main(["import", "pool.csv", "--from", "mine.csv", *options]) == 2
    assert message in capsys.readouterr().err
    assert answers() == {"r3": "x"}


def test_labels_are_replaced_when_told(work: Path) -> None:
    for text in ("item,label\nr3,x\nr4,y\n", "item,label\nr3,z\n"):
        Path("mine.csv").write_text(text)
        assert main(["import", "pool.csv", "--from", "mine.csv", "--overwrite"]) == 0
    assert answers() == {"r3": "z", "r4": "y"}


def test_filled_in_labels_follow_their_items(work: Path) -> None:
    """The pool is renumbered between the suggestions and the answers."""
    assert main(["suggest", "pool.csv", "--k", "3"]) == 0

    def enter(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["label"] = f"class of {row['shown']}"

    fill(Path("suggestions.csv"), enter)
    shown = {row["shown"] for row in read(Path("suggestions.csv"))}
    rows = Path("pool.csv").read_text().splitlines()
    moved = [f"r{i},{row.partition(',')[2]}" for i, row in enumerate(reversed(rows[1:]))]
    Path("pool.csv").write_text("\n".join([rows[0], *moved]) + "\n")
    assert main(["import", "pool.csv"]) == 0
    session = Session.open(labels_path(Path("pool.csv")), read_items(Path("pool.csv")))
    assert {session.items.shown[i] for i in session.answers} == shown
    assert all(a.label == f"class of {session.items.shown[i]}" for i, a in session.answers.items())


def test_budget_and_yardstick(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suggest = ["suggest", "pool.csv", "--k", "4", "--budget", "8", "--yardstick", "3"]
    assert main(suggest) == 0
    rows = read(Path("suggestions.csv"))
    assert [row["drawn"] for row in rows] == ["random"] * 3 + ["chosen"] * 4
    assert "little better than chance" in capsys.readouterr().out

    def enter(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["label"] = truth(row["item"])

    fill(Path("suggestions.csv"), enter)
    assert main(suggest) == 0
    assert len(read(Path("suggestions.csv"))) == 1  # one label of the budget is left
    assert "little better than chance" not in capsys.readouterr().out
    session = Session.open(labels_path(Path("pool.csv")), read_items(Path("pool.csv")))
    assert {session.contents.names[i] for i in np.flatnonzero(session.yardstick())} == {
        r["item"] for r in rows[:3]
    }
    fill(Path("suggestions.csv"), enter)
    assert main(suggest) == 2 and "budget=8 is spent: 8 items" in capsys.readouterr().err
    assert len(answers()) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["label", "pool.csv", "--count", "0"], "count=0 must be at least 1"),
        (["label", "pool.csv", "--count", "-1"], "count=-1 must be at least 1"),
        (
            ["label", "pool.csv", "--yardstick", "30"],
            "yardstick=30 leaves none of the 30 items to learn from",
        ),
        (
            ["suggest", "pool.csv", "--yardstick", "99"],
            "yardstick=99 leaves none of the 30 items to learn from",
        ),
    ],
)
def test_numbers_that_leave_nothing_to_do_are_refused(
    work: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(options) == 2 and message in capsys.readouterr().err


def test_dry_run_shows_and_does_nothing(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.csv").write_text("item,label\nr3,x\n")
    before = {path: path.read_bytes() for path in work.iterdir()}
    for command in (["suggest"], ["import", "--from", "mine.csv"], ["label"], ["status"], ["report"]):
        assert main([command[0], "pool.csv", *command[1:], "--dry-run"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 3 and lines[0].startswith("pool.csv: a table, 30 items; inputs: weight, length")
        assert lines[1].startswith("vectors: ") and lines[2].startswith("answers: none yet")
    assert {path: path.read_bytes() for path in work.iterdir()} == before
