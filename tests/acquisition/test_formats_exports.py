"""Exports of annotation tools as input: Label Studio's as its converter wrote them, Prodigy's as documented."""

from __future__ import annotations

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from metaal_env.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")

EXPORTS = Path(__file__).parent / "exports"
"""Written by the converter of label-studio-sdk 2.1.2 for six tasks: five with annotations, one of them a skip."""


@pytest.mark.parametrize("name", ["label_studio.json", "label_studio_min.json", "label_studio.csv"])
def test_label_studio(name: str) -> None:
    items = read_items(EXPORTS / name)
    labels = dict(zip(items.ids, items.labels, strict=True))
    assert {name: label for name, label in labels.items() if label} == {
        "101": "glad",
        "102": "cross",
        "103": "glad",
    }
    assert items.kind == "texts" and len(items) == (6 if name == "label_studio.json" else len(set(items.ids)))
    assert items.texts is not None and items.texts[1] == "Still no parcel, after three weeks"
    assert items.columns["channel"][1] == "chat" and not {"annotator", "lead_time"} & set(items.columns)
    assert "Label Studio" in items.understood
    assert read_items(EXPORTS / name, ReadOptions(no_label=True)).counts == {}


def test_several_choices_and_controls_of_label_studio(tmp_path: Path) -> None:
    kept = {"annotator": 1, "annotation_id": 1, "created_at": "t", "updated_at": "t", "lead_time": 1.0}
    rows = [
        {"text": f"a text of number {i}", "id": i, "topic": topic, **kept}
        for i, topic in enumerate(
            ["sport", {"choices": ["politics", "money"]}, [["world", "asia"]], None, "sport"]
        )
    ]
    (tmp_path / "min.json").write_text(json.dumps(rows))
    found = read_items(tmp_path / "min.json").labels
    assert list(found) == ["sport", "money + politics", "world / asia", None, "sport"]
    with (tmp_path / "t.csv").open("w", newline="") as file:  # where Label Studio writes objects as JSON
        writer = csv.DictWriter(file, sorted(rows[0]))
        writer.writeheader()
        for row in rows:
            topic = row["topic"]
            writer.writerow(
                row | {"topic": topic if isinstance(topic, str) or topic is None else json.dumps(topic)}
            )
    assert list(read_items(tmp_path / "t.csv").labels) == list(found)
    (tmp_path / "two.json").write_text(
        json.dumps([{"text": r["text"], "id": r["id"], "topic": "a", "mood": "b", **kept} for r in rows])
    )
    with pytest.raises(
        InputError, match="'topic' and 'mood' may hold the answers: name it by --label-column"
    ):
        read_items(tmp_path / "two.json")
    assert read_items(tmp_path / "two.json", ReadOptions(label_column="mood")).counts == {"b": 5}


def task(number: int, **more: Any) -> dict[str, Any]:
    return {
        "text": f"the text of task {number}",
        "_input_hash": number,
        "_task_hash": hash(str(more)),
        **more,
    }


def jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, records)))
    return path


PRODIGY: dict[str, tuple[list[dict[str, Any]], list[str | None]]] = {
    "choice": (
        [task(i, options=[{"id": "a", "text": "A"}, {"id": "b", "text": "B"}], accept=accept, answer=answer)
         for i, (accept, answer) in enumerate([(["a"], "accept"), ([], "accept"), (["b"], "reject"),
                                               (["a", "b"], "accept"), ([], "ignore")])],
        ["a", None, None, "a + b", None],
    ),
    "binary": (
        [task(i, label="SPAM", answer=answer) for i, answer in enumerate(["accept", "reject", "ignore"])],
        ["SPAM", "not SPAM", None],
    ),
    "one of several": (
        [task(0, label="A", answer="reject"), task(0, label="B", answer="accept"), task(1, label="A", answer="reject"),
         task(2, label="A", answer="accept"), task(2, label="B", answer="accept")],
        ["B", None, "A + B"],
    ),
    "annotators": (
        [task(0, accept=[c], answer="accept", _annotator_id=f"p-{i}") for i, c in enumerate("abb")]
        + [task(1, accept=["a"], answer="accept", _annotator_id="p-0")],
        ["b", "a"],
    ),
    "not annotated yet": ([{"text": "one text here"}, {"text": "another text"}], [None, None]),
}  # fmt: skip


@pytest.mark.parametrize("case", PRODIGY)
def test_prodigy(case: str, tmp_path: Path) -> None:
    records, labels = PRODIGY[case]
    items = read_items(jsonl(tmp_path / "p.jsonl", records))
    assert list(items.labels) == labels and items.kind == "texts"
    assert not any(name.startswith("_") or name in ("options", "accept", "answer") for name in items.columns)


def test_pictures_of_prodigy_are_kept_beside_the_encodings(tmp_path: Path) -> None:
    records = []
    for i, colour in enumerate(["red", "green", "blue"]):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
        address = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        records.append({"image": address, "meta": {"file": f"{i}.png"}, "_task_hash": i, "answer": "accept"})
        records[-1] |= {"accept": [colour], "options": []}
    items = read_items(jsonl(tmp_path / "p.jsonl", records))
    assert items.kind == "images" and list(items.labels) == ["red", "green", "blue"]
    assert items.images is not None and Image.open(items.images[1]).convert("RGB").getpixel((0, 0)) == (
        0,
        128,
        0,
    )
    again = read_items(tmp_path / "p.jsonl")
    assert again.ids == items.ids and again.images == items.images


def test_a_table_that_names_its_images(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(tmp_path / "pictures" / f"{i}.png")
    lines = [f"pictures/{i}.png,{'red' if i > 1 else ''},{i}" for i in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["file_name,label,size", *lines]))
    items = read_items(tmp_path / "t.csv")
    assert items.kind == "images" and items.images == [tmp_path / "pictures" / f"{i}.png" for i in range(4)]
    assert list(items.ids) == [f"pictures/{i}.png" for i in range(4)] and items.counts == {"red": 2}
    assert items.left_out == {"size": "beside 'file_name'"} and items.columns["size"] == ("0", "1", "2", "3")
    tasks = [
        {"id": i, "data": {"image": f"/data/local-files/?d=pictures/{i}.png"}, "annotations": []}
        for i in range(4)
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    assert read_items(tmp_path / "tasks.json").images == items.images
    (tmp_path / "pictures" / "2.png").unlink()
    with pytest.raises(InputError, match=r"row 3 names the file 'pictures/2\.png', which is not there"):
        read_items(tmp_path / "t.csv")
    for i in (0, 1, 3):
        (tmp_path / "pictures" / f"{i}.png").unlink()
    assert read_items(tmp_path / "t.csv").left_out == {"file_name": "names of files that are not there"}
    (tmp_path / "names.csv").write_text("\n".join(["file", *(f"{i}.png" for i in range(4))]))
    with pytest.raises(InputError, match=r"file \(names of files that are not there\)"):
        read_items(tmp_path / "names.csv")


def test_images_and_sounds_inside_a_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2")
    for i in range(3):
        Image.new("RGB", (8, 8), (90 * i, 0, 0)).save(tmp_path / f"{i}.png")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])}
    )
    places = [str(tmp_path / f"{i}.png") for i in range(3)]
    data = datasets.Dataset.from_dict({"image": places, "label": [0, -1, 1]}, features=features)
    data.save_to_disk(str(tmp_path / "saved"))
    data.to_parquet(str(tmp_path / "p.parquet"))
    for place in (tmp_path / "p.parquet", tmp_path / "saved"):
        items = read_items(place)
        assert items.images is not None and list(items.labels) == ["dark", None, "light"]
        assert [Image.open(path).getpixel((0, 0)) for path in items.images] == [
            (90 * i, 0, 0) for i in range(3)
        ]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"image": "data:image/png;base64,!!"}], "row 1 holds a broken data: address"),
        ([{"image": "data:image/png;base64,aGVsbG8="}], "5 bytes of no known image or sound"),
        ([{"image": "data:image/png;base64,iVBORw=="}, {"image": "data:audio/wav;base64,UklGRgAAAABXQVZF"}],
         "holds images and sounds"),
    ],
)  # fmt: skip
def test_files_that_are_none(records: list[dict[str, str]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_items(jsonl(tmp_path / "p.jsonl", records))


def test_an_export_is_labelled_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "export.json", tmp_path / "s.csv"
    data.write_bytes((EXPORTS / "label_studio.json").read_bytes())
    assert main(["suggest", str(data), "--k", "2", "--encoder", "tfidf", "--out", str(out)]) == 0
    with out.open(newline="") as file:
        assert {row["item"] for row in csv.DictReader(file)} <= {"104", "105", "106"}
    assert "3 of 6, 2 classes" in capsys.readouterr().out


def test_images_beside_their_vectors(tmp_path: Path) -> None:
    rows = []
    for i in range(3):
        Image.new("RGB", (8, 8), (90 * i, 0, 0)).save(tmp_path / f"{i}.png")
        rows.append(
            {
                "picture": {"bytes": None, "path": f"{i}.png"},
                "embedding": [float(i), 1.0],
                "label": "ab"[i % 2],
            }
        )
    (tmp_path / "t.json").write_text(json.dumps(rows))
    items = read_items(tmp_path / "t.json")
    assert items.kind == "images" and items.images == [tmp_path / f"{i}.png" for i in range(3)]
    np.testing.assert_array_equal(encode(items), [[0, 1], [1, 1], [2, 1]])
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="1 rows without a readable file are left out: 2 "):
        left = read_items(tmp_path / "t.json", ReadOptions(skip_unreadable=True))
    np.testing.assert_array_equal(encode(left), [[0, 1], [2, 1]])
    assert list(left.labels) == ["a", "a"]
