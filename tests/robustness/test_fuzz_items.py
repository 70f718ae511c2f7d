"""Generated tables and damaged files: sound items, or one sentence; the file stays as it is."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import EXAMPLES, fuzz, refused
from hypothesis import given
from hypothesis import strategies as st

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.errors import InputError

CELLS = st.one_of(
    st.integers(-3, 3).map(str),
    st.floats(-9, 9).map(lambda x: f"{x:.2f}"),
    st.sampled_from(
        ["", "NA", "1,5", "1.234,5", "2024-01-02", "12 %", "inf", "nan", "-1", "a|b", "x", "y", "1e999"]
    ),
    st.sampled_from(["\n", '"', "a,b;c", "ä", "\u2028", "some words in a row", "=1+1", "#", "\0"]),
    st.text(max_size=5),
)
NAMES = st.one_of(
    st.sampled_from(
        ["id", "label", "class", "y", "x", "text", "review", "name", "", "Unnamed: 0", "a", "b", "0", "1"]
    ),
    CELLS,
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A table of cells that repeat within columns, in any format, now and then damaged."""
    width, height = draw(st.integers(1, 5)), draw(st.integers(0, 12))
    pools = [draw(st.lists(CELLS, min_size=1, max_size=4)) for _ in range(width)]
    rows = [[draw(st.sampled_from(pool)) for pool in pools] for _ in range(height)]
    if draw(st.booleans()):
        rows.insert(0, [draw(NAMES) for _ in range(width)])
    buffer = io.StringIO()
    writer = csv.writer(
        buffer,
        delimiter=draw(st.sampled_from(",;\t|")),
        lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])),
    )
    writer.writerows(rows)
    text = draw(st.sampled_from(["", "", "sep=;\n", "# note\n", "A title\n"])) + buffer.getvalue()
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig"])), "replace")
    if draw(st.integers(0, 5)) == 0 and data:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=3)) + data[at + draw(st.integers(0, 9)) :]
    return data


OPTIONS = st.builds(
    ReadOptions,
    id_column=st.sampled_from([None, None, None, "id", "a"]),
    label_column=st.sampled_from([None, None, None, "label", "b"]),
    text_column=st.sampled_from([None, None, None, "text", "a"]),
    no_label=st.booleans(),
    ignore=st.sampled_from([(), (), ("a",), ("a", "b")]),
    missing_label=st.sampled_from([None, None, "", "-1", "NA"]),
    encoding=st.sampled_from([None, None, None, "cp1251", "utf-8"]),
    delimiter=st.sampled_from([None, None, None, ",", ";"]),
    header=st.sampled_from([None, None, True, False]),
)


LEAVES = st.one_of(
    *(st.none(), st.booleans(), st.integers(-5, 5), st.floats(), st.integers(), st.text(max_size=4)),
    st.sampled_from(
        ["", "a", "b", "a text of words", "2024-01-02", "1,5", "x.png", "data:image/png;base64,aa"]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.dictionaries(
            st.sampled_from(["choices", "text", "a", "bytes", "path", "id", ""]), parts, max_size=3
        ),
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    (
        *(
            "id",
            "label",
            "labels",
            "text",
            "a",
            "b",
            "answer",
            "_task_hash",
            "_input_hash",
            "_annotator_id",
            "accept",
        ),
        *("data", "annotations", "annotation_id", "annotator", "lead_time", "image", "meta", ""),
    )
)
FLAT = {
    name: st.lists(LEAVES, min_size=3, max_size=3)
    for name in ("annotation_id", "annotator", "lead_time", "id", "c")
}
DOCUMENTS = st.one_of(
    st.lists(st.dictionaries(KEYS, VALUES, max_size=6), max_size=6),
    st.lists(VALUES, max_size=5),
    st.dictionaries(KEYS, st.lists(VALUES, max_size=4), max_size=4),
    st.dictionaries(KEYS, VALUES, max_size=4),
    st.fixed_dictionaries(FLAT),
)
"""Records, columns, and what looks like an export of an annotation tool without being one."""


def check_sound(items: Items) -> None:
    assert 0 < len(items) == len(set(items.ids)) == len(items.labels) == len(items.shown)
    assert all(items.ids) and "\n" not in items.understood
    assert all(label is None or label == label.strip() != "" for label in items.labels)
    if items.vectors is not None:
        x = encode(items)
        assert len(x) == len(items) and np.isfinite(x).all()
    else:
        assert items.texts is not None and len(items.texts) == len(items)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_files(examples: int, tmp_path: Path) -> None:
    outcomes = {"read": 0, "refused": 0}

    @fuzz(examples)
    @given(files(), OPTIONS, st.sampled_from(["t.csv", "t.csv", "t.tsv", "t.txt"]))
    def check(data: bytes, options: ReadOptions, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(data)
        try:
            check_sound(read_items(path, options))
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused"] += 1
            refused(error, "data")
        assert path.read_bytes() == data

    check()
    assert min(outcomes.values()) > examples // 100, outcomes


@pytest.mark.parametrize("examples", EXAMPLES)
def test_json(examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METAAL_CACHE", str(tmp_path / "cache"))
    outcomes = {"read": 0, "refused": 0}

    @fuzz(examples)
    @given(DOCUMENTS, st.booleans())
    def check(document: object, by_line: bool) -> None:
        path = tmp_path / ("t.jsonl" if by_line else "t.json")
        lines = document if by_line and isinstance(document, list) else [document]
        path.write_text("\n".join(map(json.dumps, lines)))
        try:
            check_sound(read_items(path))
            outcomes["read"] += 1
        except InputError as error:
            outcomes["refused"] += 1
            refused(error, "data")

    check()
    assert min(outcomes.values()) > examples // 100, outcomes
