"""``metaal export`` refuses in one sentence, and leaves every file as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import SAID, export, labelled_photos, labelled_table

from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.session import Session


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "notes.csv"], "out='notes.csv' exists"),
        (["--out", "pool.csv", "--overwrite"], "out='pool.csv' is a file that this command reads"),
        (["--out", "pool.csv.labels.csv", "--overwrite"], "is a file that this command reads"),
        (["--out", "labels.xyz"], "out='labels.xyz' does not say in which format; give --format: csv"),
        (
            ["--out", "full", "--format", "datasets", "--overwrite"],
            "is a folder with files in it; give a new one",
        ),
        (["--out", "notes.csv", "--format", "datasets", "--overwrite"], "out='notes.csv' is not a folder"),
        (["--out", "new", "--format", "coco"], "format='coco' is for folders of images, these are table"),
        (["--out", "new", "--format", "imagefolder"], "is for folders of images or sounds"),
        (["--out", "new.csv", "--link"], "link=True is for --format imagefolder, not csv"),
        (["--out", "new.csv", "--labels", "none.csv"], "has no label yet"),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(
    work: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("datasets", minversion="2") if "datasets" in arguments else None
    labelled_table(work / "pool.csv")
    (work / "notes.csv").write_text("mine\n")
    (work / "full").mkdir()
    (work / "full" / "thesis.tex").write_text("mine\n")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    export(*SAID, *arguments, code=2)
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_a_class_that_no_folder_takes_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = labelled_photos(work)
    session = Session.open(work / "photos.labels.csv", read_items(photos))
    session.set(5, "x" * 300)
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="photos", code=2)
    assert "cannot be written as 'xxx" in capsys.readouterr().err and not (work / "out").exists()


def test_an_export_with_files_of_somebody_else_stays(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled_photos(work)
    arguments = ["--format", "imagefolder", "--out", "out", "--overwrite"]
    export(*arguments, pool="photos")
    (work / "out" / ".DS_Store").touch()
    export(*arguments, pool="photos")
    mine = work / "out" / "%2E%2E" / "mine.txt"
    mine.write_text("mine")
    export(*arguments, pool="photos", code=2)
    assert "holds 1 files that no export wrote, e.g. '%2E%2E/mine.txt'; move" in capsys.readouterr().err
    assert mine.read_text() == "mine"


def test_a_copy_is_no_door_to_the_data(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled_photos(work)
    for out in ("photos/out", "photos", "."):
        export("--format", "imagefolder", "--out", out, "--overwrite", pool="photos", code=2)
        assert "lies among the data" in capsys.readouterr().err
    (work / "elsewhere").mkdir()
    (work / "door").symlink_to(work / "elsewhere")
    export("--format", "imagefolder", "--out", "door", "--overwrite", pool="photos", code=2)
    assert "is not a folder" in capsys.readouterr().err


def test_without_the_library_the_mend_is_named(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    labelled_table(work / "pool.csv")
    export(*SAID, "--format", "datasets", "--out", "ds", code=2)
    assert "pip install datasets" in capsys.readouterr().err
