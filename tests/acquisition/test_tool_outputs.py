"""What commands write: never over what they read, whatever the terminal and the arguments."""

from __future__ import annotations

import csv
import io
import itertools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from helpers.hostile import COMMANDS, fuzz
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

from agents.acquisition.items import text_encoders
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.outputs import is_ours
from agents.acquisition.why.figures import save_figure
from metaal_env.runtime.command_line import run_cli

NUMBERS = "id,weight,length,label\n" + "".join(
    f"r{i},{i % 7}.5,{i * i % 11},{'ab'[i % 2] if i < 6 else ''}\n" for i in range(12)
)


@pytest.fixture()
def work(work: Path) -> Path:
    """The working folder, with a pool."""
    Path("items.csv").write_text(NUMBERS)
    return work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suggest", "items.csv", "--out", "items.csv"], "out='items.csv' is a file that this command reads"),
        (["suggest", "items.csv", "--out", "./x/../items.csv"], "is a file that this command reads"),
        (["suggest", "items.csv", "--out", "link.csv"], "is a file that this command reads"),
        (["suggest", "link.csv", "--out", "items.csv"], "is a file that this command reads"),
        (["suggest", "items.csv", "--out", "items.csv", "--overwrite"], "is a file that this command reads"),
        (["suggest", "items.csv", "--out", "items.csv.labels.csv", "--overwrite"], "this command reads"),
        (["suggest", "items.csv", "--labels", "l.csv", "--out", "l.csv"], "is a file that this command reads"),
        (["suggest", "suggestions.csv"], "out='suggestions.csv' is a file that this command reads"),
        (["suggest", "items.csv", "--labels", "items.csv"], "labels='items.csv' is a file"),
        (["label", "items.csv", "--labels", "items.csv"], "labels='items.csv' is a file"),
        (["suggest", "items.csv", "--policy", "own.py:Own", "--out", "own.py", "--overwrite"], "reads"),
        (["suggest", "items.csv", "--out", "new.csv", "--figure", "photo.png"], "figure='photo.png' exists"),
        (["suggest", "items.csv", "--out", "notes.csv"], "out='notes.csv' exists"),
        (["suggest", "items.csv", "--out", "new.xlsx"], "out='new.xlsx' would hold no spreadsheet"),
        (["export", "items.csv", "--out", "items.csv", "--overwrite"], "is a file that this command reads"),
        (["export", "items.csv", "--out", "notes.csv"], "out='notes.csv' exists"),
        (["suggest", "items.csv", "--out", "a.png", "--figure", "a.png"], "is the file of out too"),
        (["compare", "items.csv", "--out", "filled.csv", "--overwrite"], "out='filled.csv' is a table of sugg"),
        (["report", "items.csv", "--out", "filled.csv"], "a table of suggestions with labels in it"),
        (["compare", "items.csv", "--classifier", "own:model", "--out", "own.py", "--overwrite"], "reads"),
        (["compare", "items.csv", "--out", "pictures", "--overwrite"], "out='pictures' is a folder"),
        (["compare", "items.csv", "--out", "notes.csv/c.csv"], "out='notes.csv/c.csv' cannot be written"),
        (["suggest", "items.csv", "--out", "new.csv", "--figure", "own.py/x/f.png"], "figure='own.py/x/f.png' cannot"),
        (["report", "items.csv", "--out", "items.csv"], "out='items.csv' is a file that this command reads"),
        (["report", "items.csv", "--out", "notes.csv"], "out='notes.csv' exists"),
        (["report", "items.csv", "--figure", "photo.png"], "figure='photo.png' exists"),
        (["suggest", "pictures", "--out", "pictures/0.png", "--overwrite"], "lies among the data"),
        (["suggest", "pictures", "--out", "new.csv", "--figure", "pictures/why.png"], "lies among the data"),
        (["suggest", "pictures", "--out", "pictures/notes.csv", "--overwrite"], "lies among the data"),
    ],
)  # fmt: skip
def test_nothing_of_the_users_is_written_over(
    work: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("suggestions.csv", "notes.csv", "own.py"):
        Path(name).write_text("text,label\nmine,\nyours,\n")
    Path("filled.csv").write_text("rank,item,shown,label,score\n1,r7,seven,a,0.5\n")
    Path("link.csv").symlink_to("items.csv")
    Path("pictures").mkdir()
    for name in ("photo.png", "pictures/0.png", "pictures/notes.csv"):
        Path(name).write_bytes(b"mine")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_what_the_tool_wrote_is_replaced(work: Path) -> None:
    figure = Path("why.png")
    command = ["suggest", "items.csv", "--k", "1", "--out", "next.csv", "--figure", str(figure)]
    assert main(command) == 0
    first = figure.read_bytes()
    assert main(command) == 0 and figure.read_bytes() == first
    figure.write_bytes(b"mine")
    assert main(command) == 2 and figure.read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0 and figure.read_bytes() == first


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_are_signed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"why.{kind}"
    save_figure(Figure(figsize=(1, 1)), path)
    assert is_ours(path)
    Figure(figsize=(1, 1)).savefig(path)
    assert not is_ours(path)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_output_that_the_terminal_cannot_show(
    work: Path, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("texts.txt").write_text("日本語 one\n猫 two\nžluťoučký kůň\n", "utf-8")
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding=encoding, write_through=True))
    assert main(["suggest", "texts.txt", "--k", "3", "--encoder", "tfidf"]) == 0
    assert ("日本語" if encoding == "utf-8" else "??? one") in screen.getvalue().decode(encoding)
    with Path("suggestions.csv").open(encoding="utf-8-sig", newline="") as file:
        shown = {row["shown"] for row in csv.DictReader(file)}
    assert shown == {"日本語 one", "猫 two", "žluťoučký kůň"}


def test_nobody_reads_the_output(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as ``| head`` does
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["suggest", "items.csv", "--k", "6"]) == 0
    assert len(Path("suggestions.csv").read_text().splitlines()) == 7


@pytest.mark.parametrize("show", [print, lambda line: Console().print(line)], ids=["print", "rich"])
def test_other_commands_end_quietly_when_nobody_reads_the_output(
    show: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert run_cli(lambda: show("a line")) == 141


def test_a_label_typed_in_latin_1(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = io.BytesIO("Bär\ny\n:q\n".encode("latin-1"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(typed, encoding="utf-8"))
    assert main(["label", "items.csv"]) == 0
    assert ",Bär," in Path("items.csv.labels.csv").read_text("utf-8")


def test_file_names_that_are_no_text(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    folder = os.fsdecode(b"b\xe9ta")
    os.mkdir(folder)
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(
            os.fsencode(folder) + b"/caf\xe9%d.png" % i
        )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n"), encoding="utf-8"))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    for command in (["label", "--classes", "a,b"], ["suggest", "--k", "2"], ["status"]):
        assert main([command[0], folder, *command[1:], "--encoder", "pixels"]) == 0
    with Path("suggestions.csv").open(newline="") as file:
        suggested = {row["item"] for row in csv.DictReader(file)}
    with Path(f"{folder}.labels.csv").open(newline="") as file:
        labelled = {row["item"] for row in csv.DictReader(file)}
    assert suggested | labelled == {rf"caf\udce9{i}.png" for i in range(4)} and not suggested & labelled


INPUTS = (
    "items.csv",
    "texts.txt",
    "arrays.npz",
    "suggestions.csv",
    "mine.csv",
    "mine.labels.csv",
    "policy.py",
)
OPTIONS = {
    "--labels": (*INPUTS, "new.csv"), "--out": (*INPUTS, "new.csv", "sub/new.csv", "link.csv"),
    "--figure": (*INPUTS, "new.png"), "--policy": ("random", "policy.py:Own", "policy.py"), "--from": INPUTS,
    "--overwrite": (), "--same-ids": (), "--dry-run": (), "--k": ("2",), "--budget": ("8",), "--yardstick": ("2",),
    "--classes": ("a,b",), "--encoder": ("tfidf",), "--label-column": ("label",), "--ignore": ("weight",),
}  # fmt: skip
GIVEN = {"--labels": 1, "--out": 3, "--figure": 2, "--overwrite": 2}  # how often an option is drawn


def command_lines() -> st.SearchStrategy[list[str]]:
    names = [name for name in OPTIONS for _ in range(GIVEN.get(name, 1))]
    option = st.sampled_from(names).flatmap(
        lambda name: st.sampled_from([[name, v] for v in OPTIONS[name]] or [[name]])
    )
    start = st.tuples(
        st.sampled_from(
            ["suggest", "suggest", "suggest", "import", "label", "status", "report", "export", "compare"]
        ),
        st.sampled_from(["items.csv", *INPUTS]),
    )
    return st.tuples(start, st.lists(option, max_size=5)).map(
        lambda parts: [*parts[0], *(word for pair in parts[1] for word in pair)]
    )


@pytest.mark.parametrize("examples", COMMANDS)
def test_data_that_commands_read_stay_as_they_are(
    examples: int, work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("texts.txt").write_text("one cat\ntwo dogs\nthree birds\n")
    np.savez("arrays.npz", X=np.random.default_rng(0).normal(size=(9, 3)), y=np.arange(9) % 2)
    Path("mine.csv").write_text("text,label\nfirst one,\nsecond one,\nthird one,\n")
    Path("suggestions.csv").write_text("text\nfirst one\nsecond one\n")
    Path("policy.py").write_text("from agents.strategies import Strategy\nclass Own(Strategy):\n    pass\n")
    Path("mine.labels.csv").write_text("item,label\nr7,a\nr8,b\n")
    Path("link.csv").symlink_to("items.csv")
    before = {name: Path(name).read_bytes() for name in INPUTS}
    monkeypatch.setitem(sys.modules, text_encoders.MINILM_MODULE, None)  # the fuzz is about files
    monkeypatch.setattr("builtins.input", lambda *_: (_ for _ in ()).throw(EOFError))
    codes: list[int] = []

    @fuzz(examples * 4 // 10)
    @given(command_lines())
    def check(arguments: list[str]) -> None:
        for path in work.rglob("*"):  # what one command wrote must not decide the next
            if path.is_file() and path.name not in {*INPUTS, "link.csv"}:
                path.unlink()
        for name, data_before in before.items():
            Path(name).write_bytes(data_before)
        try:
            codes.append(main(arguments))
        except SystemExit as refused_by_tyro:
            codes.append(int(refused_by_tyro.code or 0))
        capsys.readouterr()
        named = dict(itertools.pairwise(arguments[2:]))  # option → its value; the last one counts
        reads = {named.get("--from"), named.get("--labels")}
        if "--policy" in named and named["--policy"] != "random":
            reads |= {"policy.py"}
        reads = {name for name in INPUTS if name in reads or "--overwrite" not in arguments}
        if arguments[0] == "import":  # the one file that it is to change
            reads -= {named.get("--labels")}
        reads |= {arguments[1]}
        changed = [name for name in reads if Path(name).read_bytes() != before[name]]
        assert not changed, (arguments, changed)

    check()
    assert {0, 2} == set(codes)


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be made read-only")
def test_a_folder_without_permission_is_named(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:  # root may write anywhere, so a read-only folder is no test
        raise PermissionError(13, "Permission denied", "items.csv.labels.csv.lock")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    assert main(["label", "items.csv"]) == 2
    message = "labels='items.csv.labels.csv' cannot be written (Permission denied); give another place"
    assert message in capsys.readouterr().err


def test_a_report_says_where_no_rule_can_be_compared(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("items.csv").read_text().replace(",\n", ",a\n")
    Path("full.csv").write_text(text)
    assert main(["report", "full.csv", "--policy", "margin", "--budget", "2"]) == 0
    assert "1 labels: all items score alike" in capsys.readouterr().out
