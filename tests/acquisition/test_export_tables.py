"""``metaal export`` to csv and JSON lines: what is known of each label, with the types of its columns."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.exports import SAID, export, labelled_table

from agents.acquisition.items.items import Items
from agents.acquisition.items.read_items import read_items
from agents.acquisition.items.said_columns import EXPORTED
from agents.acquisition.tool.export.records import records, typed_column
from agents.acquisition.tool.marks import COLUMNS, Mark
from agents.acquisition.tool.session import Session


def test_names_of_exported_columns_are_known_to_the_reader_of_tables() -> None:
    assert ("item", "label", "drawn", *COLUMNS, "content") == EXPORTED
    assert tuple(Mark().cells()) == COLUMNS


def test_a_table_holds_what_is_known_of_each_label(work: Path) -> None:
    labelled_table(work / "pool.csv")
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
    labelled_table(work / "pool.csv")
    for form in ("csv", "jsonl", "label-studio", "prodigy"):
        export(*SAID, "--format", form, "--out", form, "--anonymous", "--unlabelled")
        text = (work / form).read_text()
        assert "Ann " not in text and "ada" not in text and "bob" not in text and "annotator 2" in text


def test_lines_of_json_keep_types(work: Path) -> None:
    labelled_table(work / "pool.csv")
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
