"""``metaal export``: what other tools' own readers make of it, and the way back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clusters import clusters
from helpers.own_pools import sounds_pool
from PIL import Image

from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.items.said_columns import EXPORTED
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.export.annotation_tools import label_config, label_studio_tasks
from agents.acquisition.tool.export.pictures import class_folder, class_folders
from agents.acquisition.tool.export.records import class_names, records, typed_column
from agents.acquisition.tool.marks import COLUMNS, Mark, mark_of, update_mark
from agents.acquisition.tool.session import Session, labels_path
from metaal_env.datasets.sources.torchvision_images import torchvision_datasets

TOLD = {"policy": "margin", "score": -0.25, "time": "2026-03-01T10:00:00+00:00", "seconds": 2.5}


@pytest.fixture()
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path: Path) -> Session:
    """A pool of 12 rows, four of which are answered in four ways."""
    x = clusters(np.arange(12) % 2, 2, apart=3, on_axes=True).round(3)
    rows = [[f"r{i}", f"Ann {i}", "north" if i % 2 else "south", f"{i:03d}", *x[i], i] for i in range(12)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "name", "site", "ward", "weight", "length", "score"], *rows])
    session = Session.open(labels_path(path), read_items(path, OPTIONS))
    session.set(3, 'böse, "ape"')
    update_mark(session, 3, annotator="ada", **TOLD)
    session.set(5, "bear", "random")
    update_mark(session, 5, annotator="bob", time=TOLD["time"], unsure=True)
    session.set(6, None)
    session.set(7, "bear")
    opinions = {"ada": "bear", "bob": 'böse, "ape"'}
    update_mark(session, 7, annotator="ada", opinions=opinions, settled=True)
    session.save()
    return session


OPTIONS = ReadOptions(meta=("site", "ward"), hide=("name",))
SAID = ["--meta", "site", "ward", "--hide", "name"]


def export(*arguments: str, pool: str = "pool.csv", code: int = 0) -> None:
    assert main(["export", pool, *arguments]) == code


def test_names_of_exported_columns_are_known_to_the_reader_of_tables() -> None:
    assert ("item", "label", "drawn", *COLUMNS, "content") == EXPORTED
    assert tuple(Mark().cells()) == COLUMNS


def test_a_table_holds_what_is_known_of_each_label(work: Path) -> None:
    table(work / "pool.csv")
    export(*SAID, "--out", "out/labels.csv")
    with (work / "out/labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["item"] for row in rows] == ["r3", "r5", "r7"]
    first, second, third = rows
    assert first["label"] == 'böse, "ape"' and (first["policy"], first["score"]) == ("margin", "-0.25")
    assert (first["annotator"], first["seconds"], first["drawn"]) == ("ada", "2.5", "chosen")
    assert second["drawn"] == "random" and second["unsure"] == "yes" and second["score"] == ""
    assert (
        json.loads(third["opinions"]) == {"ada": "bear", "bob": 'böse, "ape"'} and third["settled"] == "yes"
    )
    assert first["ward"] == "003" and first["score (data)"] == "3" and first["weight"].count(".") == 1
    assert "Ann" not in (work / "out/labels.csv").read_text()


def test_hidden_columns_and_names_of_annotators_are_nowhere(work: Path) -> None:
    table(work / "pool.csv")
    for form in ("csv", "jsonl", "label-studio", "prodigy"):
        export(*SAID, "--format", form, "--out", form, "--anonymous", "--unlabelled")
        text = (work / form).read_text()
        assert "Ann " not in text and "ada" not in text and "bob" not in text and "annotator 2" in text


def test_lines_of_json_keep_types(work: Path) -> None:
    table(work / "pool.csv")
    export(*SAID, "--out", "o.jsonl", "--unlabelled")
    rows = [json.loads(line) for line in (work / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 12 and rows[0]["score"] == -0.25 and rows[0]["score (data)"] == 3
    assert (
        rows[0]["ward"] == "003"
        and isinstance(rows[0]["weight"], float)
        and rows[2]["opinions"]["ada"] == "bear"
    )
    assert rows[3]["label"] is None and rows[3]["drawn"] is None


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "", "-3"], [1, None, -3]),
        (["1.5", "2", "1e3"], [1.5, 2.0, 1000.0]),
        (["007", "12"], ["007", "12"]),
        (["1_000", "3"], ["1_000", "3"]),
        (["nan", "1"], ["nan", "1"]),
        (["12345678901234567890", "1"], [12345678901234567890.0, 1.0]),
        (["", ""], [None, None]),
    ],
)
def test_columns_are_numbers_where_all_cells_are(cells: list[str], values: list[Any]) -> None:
    assert typed_column(cells) == values


def test_from_import_to_export_and_back(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An export gives an empty session all that the first one knew, also when the pool was sorted anew."""
    before = table(work / "pool.csv")
    export(*SAID, "--out", "out.csv")
    lines = (work / "pool.csv").read_text().splitlines()
    (work / "pool.csv").write_text("\n".join([lines[0], *sorted(lines[1:], reverse=True)]) + "\n")
    (work / "pool.csv.labels.csv").unlink()
    assert main(["import", "pool.csv", *SAID, "--from", "out.csv"]) == 0
    after = Session.open(work / "pool.csv.labels.csv", read_items(work / "pool.csv", OPTIONS))

    def known(session: Session) -> dict[str, tuple[str | None, str, Mark]]:
        return {
            session.contents.names[i]: (answer.label, answer.drawn, mark_of(session, answer))
            for i, answer in session.answers.items()
            if answer.label is not None
        }

    assert known(after) == known(before) and len(known(after)) == 3
    export(*SAID, "--out", "again.csv")
    assert (work / "again.csv").read_bytes() == (work / "out.csv").read_bytes()


def test_an_export_is_a_pool_of_its_own(work: Path) -> None:
    table(work / "pool.csv")
    export(*SAID, "--out", "out.csv", "--unlabelled")
    items = read_items(work / "out.csv", ReadOptions(meta=("site", "ward")))
    assert items.used == ("weight", "length", "score (data)") and items.ids[0] == "r3"
    assert items.labels[:3] == ('böse, "ape"', "bear", "bear") and items.counts == {
        'böse, "ape"': 1,
        "bear": 2,
    }


def test_a_score_in_somebody_elses_table_is_not_ours(work: Path) -> None:
    table(work / "pool.csv")
    (work / "theirs.csv").write_text("item,label,score\nr1,bear,0.99\n")
    assert main(["import", "pool.csv", *SAID, "--from", "theirs.csv"]) == 0
    session = Session.open(work / "pool.csv.labels.csv", read_items(work / "pool.csv", OPTIONS))
    mark = mark_of(session, session.answers[1])
    assert mark.score is None and mark.time


def test_the_file_of_answers_names_its_pool(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(work / "pool.csv")
    export(*SAID, "--out", "a.csv")
    export(*SAID, "--out", "b.csv", pool="pool.csv.labels.csv")
    assert (work / "a.csv").read_bytes() == (work / "b.csv").read_bytes()
    (work / "x.csv.labels.csv").write_text("item,label\nr1,a\n")
    export("--out", "c.csv", pool="x.csv.labels.csv", code=2)
    assert "'x.csv' is not there; give the pool" in capsys.readouterr().err


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
        (["--out", "notes.csv", "--format", "datasets", "--overwrite"], "out='notes.csv' is no folder"),
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
    table(work / "pool.csv")
    (work / "notes.csv").write_text("mine\n")
    (work / "full").mkdir()
    (work / "full" / "thesis.tex").write_text("mine\n")
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    export(*SAID, *arguments, code=2)
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in work.rglob("*") if path.is_file()} == before


def test_answers_of_items_that_are_gone_are_told(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(work / "pool.csv")
    lines = (work / "pool.csv").read_text().splitlines()
    (work / "pool.csv").write_text("\n".join(line for line in lines if not line.startswith("r3,")) + "\n")
    export(*SAID, "--out", "o.csv")
    assert "1 answers are left out, since their items are not in the data now" in capsys.readouterr().out


# Folders


def folder(root: Path) -> Path:
    """Six images of two classes with names that no folder takes; two of them in a folder of their own."""
    for i in range(6):
        path = root / "photos" / ("a" if i < 2 else "b") / f"p {i if i < 2 else i - 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + i, 10), (40 * i, 0, 0)).save(path)
    session = Session.open(root / "photos.labels.csv", read_items(root / "photos"))
    for i in range(5):
        session.set(i, ("wet/dry", "..")[i % 2])
        update_mark(session, i, policy="uherding", score=0.5)
    session.save()
    return root / "photos"


@pytest.mark.parametrize("link", [False, True])
def test_torchvision_reads_the_folder_of_folders(work: Path, link: bool) -> None:
    ImageFolder = torchvision_datasets().ImageFolder

    folder(work)
    for again in ([], ["--overwrite"]):  # ours may be replaced
        export(
            "--format", "imagefolder", "--out", "out", *(["--link"] if link else []), *again, pool="photos"
        )
    found = ImageFolder(str(work / "out"))
    assert found.classes == ["%2E%2E", "wet%2Fdry"] == sorted(map(class_folder, ["..", "wet/dry"]))
    assert sorted(image.size[0] for image, _ in found) == [20, 21, 22, 23, 24]
    assert {(image.size[0], found.classes[k]) for image, k in found} == {
        (20 + i, class_folder(("wet/dry", "..")[i % 2])) for i in range(5)
    }
    assert all(Path(path).is_symlink() == link for path, _ in found.samples)
    with (work / "out/labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and all((work / "out" / row["file"]).is_file() for row in rows)
    assert {row["label"] for row in rows} == {"wet/dry", ".."} and rows[0]["policy"] == "uherding"


def test_hugging_face_takes_the_folders_for_classes(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    folder(work)
    export("--format", "imagefolder", "--out", "out", pool="photos")
    found = datasets.load_dataset("imagefolder", data_dir=str(work / "out"), cache_dir=str(work / "cache"))[
        "train"
    ]
    assert found.features["label"].names == ["%2E%2E", "wet%2Fdry"]
    assert {(row["image"].size[0], row["label"]) for row in found} == {(20 + i, 1 - i % 2) for i in range(5)}


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (["ape", "Ape", "APE", "Ape-2"], ["ape", "Ape-2", "APE-3", "Ape-2-2"]),
        (["a/b", "a\\b", "..", "ärger", "50 %"], ["a%2Fb", "a%5Cb", "%2E%2E", "ärger", "50 %25"]),
    ],
)
def test_every_class_has_a_folder_of_its_own(classes: list[str], folders: list[str]) -> None:
    assert list(class_folders(classes).values()) == folders


def test_a_class_that_no_folder_takes_is_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = folder(work)
    session = Session.open(work / "photos.labels.csv", read_items(photos))
    session.set(5, "x" * 300)
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="photos", code=2)
    assert "cannot be written as 'xxx" in capsys.readouterr().err and not (work / "out").exists()


def test_files_of_one_name_in_two_folders_stay_two(work: Path) -> None:
    for name in ("a/b.png", "a_b.png", "A_B.png"):
        path = work / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    session = Session.open(work / "photos.labels.csv", read_items(work / "photos"))
    for i in range(3):
        session.set(i, "c")
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="photos")
    assert len({path.name.casefold() for path in (work / "out" / "c").iterdir()}) == 3


def test_a_copy_is_no_door_to_the_data(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(work)
    for out in ("photos/out", "photos", "."):
        export("--format", "imagefolder", "--out", out, "--overwrite", pool="photos", code=2)
        assert "lies among the data" in capsys.readouterr().err
    (work / "elsewhere").mkdir()
    (work / "door").symlink_to(work / "elsewhere")
    export("--format", "imagefolder", "--out", "door", "--overwrite", pool="photos", code=2)
    assert "is no folder" in capsys.readouterr().err


def test_sounds_are_sorted_into_folders(work: Path) -> None:
    pytest.importorskip("soundfile", reason="needs the extra audio")
    sounds_pool(work / "sounds", 4)
    session = Session.open(work / "sounds.labels.csv", read_items(work / "sounds"))
    session.set(0, "hum")
    session.save()
    export("--format", "imagefolder", "--out", "out", pool="sounds")
    assert len(list((work / "out" / "hum").iterdir())) == 1


def test_pycocotools_reads_the_classes(work: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    folder(work)
    export("--format", "coco", "--out", "coco.json", "--unlabelled", pool="photos")
    found = coco.COCO(str(work / "coco.json"))
    numbers = {category["name"]: category["id"] for category in found.loadCats(found.getCatIds())}
    assert numbers.keys() == {"wet/dry", ".."} and len(found.getImgIds()) == 6
    images = found.loadImgs(found.getImgIds(catIds=[numbers["wet/dry"]]))
    assert sorted(image["width"] for image in images) == [20, 22, 24]
    assert all((work / "photos" / image["file_name"]).is_file() for image in images)
    note = found.loadAnns(found.getAnnIds(imgIds=[images[0]["id"]]))[0]
    assert note["attributes"]["policy"] == "uherding" and note["attributes"]["score"] == 0.5


# Libraries


def test_hugging_face_opens_the_folder(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    table(work / "pool.csv")
    for again in ([], ["--overwrite"]):
        export(*SAID, "--format", "datasets", "--out", "ds", "--unlabelled", *again)
    found = datasets.load_from_disk(str(work / "ds"))
    assert len(found) == 12 and found.features["label"].names == ['böse, "ape"', "bear"]
    assert found[0]["label"] == 0 and found[1]["label"] == 1 and found[4]["label"] is None
    assert found[0]["score"] == -0.25 and found[0]["ward"] == "003" and found[0]["score (data)"] == 3
    assert found[2]["opinions"] == [["ada", "bear"], ["bob", 'böse, "ape"']]


def test_hugging_face_decodes_the_pictures(work: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2", reason="needs the extra datasets")
    folder(work)
    export("--format", "datasets", "--out", "ds", pool="photos")
    for path in (work / "photos").rglob("*.png"):
        path.unlink()  # the export stands alone
    found = datasets.load_from_disk(str(work / "ds"))
    assert [row["image"].size for row in found] == [(20 + i, 10) for i in range(5)]


def test_without_the_library_the_mend_is_named(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    table(work / "pool.csv")
    export(*SAID, "--format", "datasets", "--out", "ds", code=2)
    assert "pip install 'metaal[datasets]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("x", "columns"),
    [
        (np.eye(3, dtype=np.float32), ["x0", "x1", "x2"]),
        (np.zeros((3, 2, 2)), ["x0", "x1", "x2", "x3"]),
    ],
)
def test_vectors(work: Path, x: np.ndarray, columns: list[str]) -> None:
    np.savez(work / "pool.npz", X=x, y=np.array(["a", "b", ""]))
    export("--out", "o.csv", pool="pool.npz")
    export("--out", "o.jsonl", pool="pool.npz")
    with (work / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [name for name in rows[0] if name.startswith("x")] == columns
    assert [row["label"] for row in rows] == ["a", "b"] and {row["drawn"] for row in rows} == {"data"}
    first = json.loads((work / "o.jsonl").read_text().splitlines()[0])
    assert np.array_equal(first["x"], x[0]) and first["row"] == 0


def test_wide_rows_are_told_by_their_number_and_gaps_are_no_numbers(work: Path) -> None:
    from scipy import sparse

    wide = sparse.random(4, 5000, density=0.01, random_state=0, format="csr")
    sparse.save_npz(work / "wide.npz", wide)
    (work / "wide.npz.labels.csv").write_text(f"item,label\n{read_items(work / 'wide.npz').ids[2]},a\n")
    export("--out", "o.csv", pool="wide.npz")
    with (work / "o.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["row"] == "2" and row["label"] == "a" and "x0" not in row
    items = Items("a.npy", ["i0"], ["a"], ["i0"], vectors=np.array([[1.0, np.nan]]))
    (record,) = records(Session(Path("unused"), items))
    assert record.data["x"] == [1.0, None] and record.cells()["x1"] == ""


def test_pictures_that_a_table_names_keep_their_place(work: Path) -> None:
    """Names of items are ids there, and a file may be called as a column of ours."""
    photos = folder(work)
    (work / "elsewhere.png").write_bytes((photos / "a" / "p 0.png").read_bytes())
    rows = ["k1,photos/b/p 1.png,red", f"k2,{work / 'elsewhere.png'},blue", "k3,photos/a/p 1.png,green"]
    (work / "pool.csv").write_text("\n".join(["id,image,file", *rows]) + "\n")
    items = read_items(work / "pool.csv", ReadOptions(meta=("file",)))
    assert items.kind == "images"
    session = Session.open(work / "pool.csv.labels.csv", items)
    for i in range(3):
        session.set(i, "c")
    session.save()
    export("--meta", "file", "--out", "o.jsonl")
    found = [json.loads(line) for line in (work / "o.jsonl").read_text().splitlines()]
    assert [row["file"] for row in found][::2] == ["photos/b/p 1.png", "photos/a/p 1.png"]
    assert Path(found[1]["file"]).resolve() == (work / "elsewhere.png").resolve()
    assert [row["file (data)"] for row in found] == ["red", "blue", "green"]
    export("--meta", "file", "--out", "sorted", "--format", "imagefolder")
    names = sorted(path.name for path in (work / "sorted" / "c").iterdir())
    assert len(names) == 3 and {"photos_a_p 1.png", "photos_b_p 1.png"} < set(names)


# Label Studio


def texts() -> Session:
    items = Items("pool.txt", ["t0", "t1"], [None, None], ["<b>one</b>", "two"], texts=["<b>one</b>", "two"])
    session = Session(Path("unused"), items)
    session.set(0, "ham & eggs")
    update_mark(
        session, 0, annotator="ada", opinions={"ada": "ham & eggs", "bob": "spam"}, settled=True, **TOLD
    )
    return session


def test_tasks_of_label_studio_hold_every_opinion(answer_of: Callable[..., Any]) -> None:
    session = texts()
    (task,) = label_studio_tasks(records(session), session.items)
    assert task["data"] == {"item": "t0", "text": "<b>one</b>"} and task["meta"]["score"] == -0.25
    given = [a["result"][0]["value"]["choices"] for a in task["annotations"]]
    assert given == [["ham & eggs"], ["spam"], ["ham & eggs"]]
    assert [a["ground_truth"] for a in task["annotations"]] == [False, False, True]
    assert answer_of(task["annotations"]).label == "ham & eggs"
    config = label_config(session.items, class_names(session))
    assert '<Choice value="ham &amp; eggs"/>' in config and 'value="$text"' in config


@pytest.fixture()
def answer_of() -> Callable[..., Any]:
    """How metaal reads annotations of Label Studio."""
    try:
        from agents.acquisition.integrations.label_studio.answers import answer_of as found
    except ImportError:
        from agents.acquisition.items.label_studio_answers import answer_of as found
    return found


def test_pictures_are_local_files_of_label_studio(work: Path) -> None:
    folder(work)
    export("--format", "label-studio", "--out", "ls.json", pool="photos")
    first = json.loads((work / "ls.json").read_text())[0]
    assert first["data"]["image"] == "/data/local-files/?d=a/p%200.png"
