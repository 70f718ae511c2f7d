"""The file of answers: found again by content, read as spreadsheets save it, never lost."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agents.acquisition.items.items import Items
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.session import Session, labels_path
from metaal_env.errors import InputError

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
TEXTS = [f"sentence number {word} of the pool" for word in NUMBERS]


def by_shown(session: Session) -> dict[str, str]:
    y = session.labels()
    return {shown: label for shown, label in zip(session.items.shown, y, strict=True) if label is not None}


def answered(data: Path, labels: list[str | None]) -> Path:
    """Labels the first items of a file through a session; the file of answers."""
    items = read_items(data)
    session = Session.open(labels_path(data), items)
    for position, label in enumerate(labels):
        session.set(position, label)
    session.save()
    return session.path


def write_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")


def write_table(path: Path, texts: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label"], *([text, ""] for text in texts)])


def write_numbers(path: Path, texts: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["weight", "length"], *([0.5 + len(t), sum(map(ord, t))] for t in texts)])


def write_numbered(path: Path, texts: list[str]) -> None:
    """An id column that counts rows, so that it names other items after sorting."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "text"], *([i, text] for i, text in enumerate(texts))])


@pytest.mark.parametrize(
    ("suffix", "write"),
    [(".txt", write_lines), (".csv", write_table), (".csv", write_numbers), (".csv", write_numbered)],
)
def test_answers_follow_their_items(
    tmp_path: Path, suffix: str, write: Callable[[Path, list[str]], None]
) -> None:
    data = tmp_path / f"pool{suffix}"
    write(data, TEXTS)
    answered(data, ["bill", "garden", None, "puppy"])
    before = by_shown(Session.open(labels_path(data), read_items(data)))
    assert len(before) == 3
    gone = TEXTS[1]
    write(data, ["quite new 1", "quite new 22", *sorted(set(TEXTS) - {gone}, reverse=True)])
    session = Session.open(labels_path(data), read_items(data))
    kept = {shown: label for shown, label in before.items() if label != "garden"}
    assert by_shown(session) == kept
    assert len(session.gone) == 1 and any("not in the data now" in note for note in session.notes)
    assert len(session.open_positions()) == 9 - 3  # the skipped one is found again too
    session.set(int(session.open_positions()[0]), "bill")
    session.save()
    write(data, TEXTS)
    assert before.items() <= by_shown(Session.open(labels_path(data), read_items(data))).items()


def test_renamed_images_keep_their_answers(tmp_path: Path) -> None:
    from PIL import Image

    data = tmp_path / "pictures"
    data.mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(data / f"{i}.png")
    path = answered(data, ["dark", "dim"])
    (data / "0.png").rename(data / "z.png")
    (data / "1.png").rename(data / "0.png")
    session = Session.open(path, read_items(data))
    found = {session.items.ids[i]: answer.label for i, answer in session.answers.items()}
    assert found == {"z.png": "dark", "0.png": "dim"} and not session.gone


def test_a_changed_item_is_told_and_many_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "pool.csv"
    rows = [[f"k{i}", text] for i, text in enumerate(TEXTS)]

    def write() -> None:
        with data.open("w", newline="") as file:
            csv.writer(file).writerows([["id", "text"], *rows])

    write()
    path = answered(data, ["a", "b", "c"])
    rows[0][1] += ", corrected"
    write()
    session = Session.open(path, read_items(data))
    assert [answer.label for answer in session.answers.values()] == ["a", "b", "c"]
    assert any("read differently" in note and "'k0'" in note for note in session.notes)
    for row in rows:
        row[1] = row[1][::-1]
    write()
    with pytest.raises(InputError, match=r"3 of 3 answered items read differently now.*--same-ids"):
        Session.open(path, read_items(data))
    assert len(Session.open(path, read_items(data), same_ids=True).answers) == 3


def test_answers_by_row_number_are_converted_once(tmp_path: Path) -> None:
    data = tmp_path / "pool.txt"
    write_lines(data, TEXTS)
    path = labels_path(data)
    old = b"item,label\r\n2,bill\r\n5,\r\n"
    path.write_bytes(old)
    os.utime(data, ns=(1, 1))
    session = Session.open(path, read_items(data))
    assert by_shown(session) == {TEXTS[1]: "bill"} and list(session.answers) == [1, 4]
    session.set(0, "garden")
    session.save()
    assert (tmp_path / "pool.txt.labels.1.csv").read_bytes() == old
    write_lines(data, TEXTS[::-1])
    assert by_shown(Session.open(path, read_items(data))) == {TEXTS[1]: "bill", TEXTS[0]: "garden"}

    path.write_bytes(old)
    os.utime(path, ns=(2, 2))
    with pytest.raises(InputError, match=r"by their row, and .*changed since; --same-ids"):
        Session.open(path, read_items(data))
    assert by_shown(Session.open(path, read_items(data), same_ids=True)) == {TEXTS[6]: "bill"}


SPREADSHEETS = {
    "as it is": lambda text: text.encode(),
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "sep=": lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(),
    "UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "Latin-1": lambda text: text.encode("latin-1"),
    "line ends": lambda text: text.replace("\r\n", "\n").encode(),
    "empty last lines": lambda text: (text + ",,,,,\r\n\r\n").encode(),
    "empty columns": lambda text: text.replace("\r\n", ",,\r\n").encode(),
    "a column of notes": lambda text: text.replace("shown\r\n", "shown,notes\r\n").encode(),
    "leading zeros lost": lambda text: text.replace("\n00", "\n").encode(),
    "numbers with points": lambda text: text.replace("007,", "7.0,").replace(",1,", ",1.0,").encode(),
    "capitals": lambda text: text.replace("label", "Label").replace("item", "ITEM").encode(),
    "two columns": lambda text: "".join(",".join(line.split(",")[:2]) + "\r\n" for line in text.splitlines()).encode(),
}  # fmt: skip


@pytest.mark.parametrize("kind", SPREADSHEETS)
def test_what_a_spreadsheet_saves_is_read(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "pool.csv"
    with data.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([f"00{7 + i}", t] for i, t in enumerate(TEXTS[:3]))])
    path = answered(data, ["Ärger", "NA", None])
    text = path.read_bytes().decode()
    path.write_bytes(SPREADSHEETS[kind](text))
    before = path.read_bytes()
    session = Session.open(path, read_items(data))
    assert [(i, answer.label) for i, answer in session.answers.items()] == [
        (0, "Ärger"),
        (1, "NA"),
        (2, None),
    ]
    assert list(session.labels()) == ["Ärger", "NA", None]
    session.undo()
    again = Session.open(path, read_items(data))
    assert [(i, answer.label) for i, answer in again.answers.items()] == [(0, "Ärger"), (1, "NA")]
    copies = list(tmp_path.glob("*.labels.1.csv"))
    assert [copy.read_bytes() for copy in copies] == ([] if kind == "as it is" else [before])
    assert ("notes" in path.read_text().partition("\n")[0]) == (kind == "a column of notes")


def test_columns_of_a_person_stay(tmp_path: Path) -> None:
    data = tmp_path / "pool.txt"
    write_lines(data, TEXTS)
    path = answered(data, ["bill", "garden"])
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    edited = io.StringIO()
    notes = ["notes", "unsure", ""]
    csv.writer(edited).writerows([[note, *row] for row, note in zip(rows, notes, strict=True)])
    path.write_text(edited.getvalue())
    session = Session.open(path, read_items(data))
    session.set(5, "bill")
    session.save()
    with path.open(newline="") as file:
        assert [row["notes"] for row in csv.DictReader(file)] == ["unsure", "", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "header must name item and label"),
        ("item,label,label\nx,a,b\n", "header must name item and label once"),
        ("", "is empty"),
        ("item,label\nr0,a\nr0,b\n", "gives 'r0' the labels 'a' and 'b'"),
        ("item,label\n,a\n", "row 2 has the label 'a' but no item"),
        ("item,label\nr0,a,too,many\n", "row 2 has 4 cells"),
        ('item,label\nr0,"a\n', "not a readable CSV"),
        ("item,label\nr9,a\nr8,b\n", "names none of the items"),
    ],
)
def test_what_is_ambiguous_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(text)
    items = Items("pool", ["r0", "r1"], [None, None], ["x", "y"], texts=["x", "y"])
    with pytest.raises(InputError, match=message) as caught:
        Session.open(path, items)
    assert "answers.csv" in str(caught.value) and path.read_text() == text


def test_a_file_that_changed_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    data = tmp_path / "pool.txt"
    write_lines(data, TEXTS)
    path = answered(data, ["bill"])
    session = Session.open(path, read_items(data))
    edited = path.read_bytes().replace(b"bill", b"garden")
    path.write_bytes(edited)
    session.set(3, "puppy")
    with pytest.raises(InputError, match="was changed by another program"):
        session.save()
    assert path.read_bytes() == edited


def test_a_link_to_the_answers_stays_a_link(tmp_path: Path) -> None:
    data, link = tmp_path / "pool.txt", tmp_path / "pool.txt.labels.csv"
    write_lines(data, TEXTS)
    link.symlink_to(tmp_path / "elsewhere.csv")
    (tmp_path / "elsewhere.csv").write_text("item,label\n")
    answered(data, ["bill"])
    assert link.is_symlink() and "bill" in (tmp_path / "elsewhere.csv").read_text()


@pytest.mark.parametrize("name", [".", "./", "..", "../work", "sub/.."])
def test_answers_for_a_folder_lie_beside_it(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "outer" / "work"
    (work / "sub").mkdir(parents=True)
    monkeypatch.chdir(work)
    expected = {"..": tmp_path / "outer.labels.csv"}.get(name, tmp_path / "outer" / "work.labels.csv")
    assert Path(os.path.realpath(labels_path(Path(name)))) == Path(os.path.realpath(expected))
    with pytest.raises(InputError, match="--labels"):
        labels_path(Path("/"))


@pytest.mark.parametrize("name", ["None", "NA", "null", "nan", "?", "0"])
def test_odd_class_names_are_labels(tmp_path: Path, name: str) -> None:
    data = tmp_path / "pool.txt"
    write_lines(data, TEXTS)
    path = answered(data, [name, "FAVOR", None])
    session = Session.open(path, read_items(data))
    assert list(session.labels()[:3]) == [name, "FAVOR", None]
    assert 0 not in session.open_positions() and 2 not in session.open_positions()
