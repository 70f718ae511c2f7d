"""Tables in every container: what pandas, polars, pyarrow and Hugging Face write means what the same CSV means."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.acquisition import query
from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.errors import InputError, InputTypeError

pd = pytest.importorskip("pandas")

N = 24
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "weight": RNG.normal(size=N).round(3),
        "count": RNG.integers(0, 9, N),
        "short": RNG.normal(size=N).astype(np.float32),
        "gaps": [None if i == 3 else i / 4 for i in range(N)],
        "colour": pd.Categorical([("red", "green", "blue")[i % 3] for i in range(N)]),
        "sold": [i % 4 == 0 for i in range(N)],
        "day": pd.date_range("2026-01-05", periods=N, freq="11D"),
        "seen": [dt.datetime(2026, 3, 1 + i, i % 24, 30) for i in range(N)],
        "label": [("ape", "bird")[i % 2] if i < 6 else None for i in range(N)],
    }
)
TEXTS = pd.DataFrame(
    {
        "id": [f"m{i:02d}" for i in range(N)],
        "text": [f"number {i} of my letters, which nobody answers" for i in range(N)],
        "stars": [i % 5 for i in range(N)],
        "label": [("praise", "complaint")[i % 2] if i < 4 else None for i in range(N)],
    }
)


def polars(frame: Any, _: Path) -> Any:
    pl = pytest.importorskip("polars")
    as_they_are = [name for name in frame if frame[name].dtype.kind in "fiubM"]
    columns = {
        name: frame[name].to_numpy() if name in as_they_are else [v if v == v else None for v in frame[name]]
        for name in frame
    }
    return pl.DataFrame(columns, nan_to_null=True)


def arrow(frame: Any) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(frame)


def parquet(frame: Any, folder: Path) -> Path:
    pytest.importorskip("pyarrow")
    frame.to_parquet(folder / "t.parquet")
    return folder / "t.parquet"


def parquet_of_polars(frame: Any, folder: Path) -> Path:
    polars(frame, folder).write_parquet(folder / "p.parquet")
    return folder / "p.parquet"


def feather(frame: Any, folder: Path) -> Path:
    pytest.importorskip("pyarrow")
    frame.to_feather(folder / "t.feather")
    return folder / "t.feather"


def stream(frame: Any, folder: Path) -> Path:
    pa = pytest.importorskip("pyarrow")
    with pa.ipc.new_stream(folder / "t.arrow", arrow(frame).schema) as writer:
        writer.write_table(arrow(frame))
    return folder / "t.arrow"


def jsonl(frame: Any, folder: Path) -> Path:
    frame.to_json(folder / "t.jsonl", orient="records", lines=True, date_format="iso", double_precision=15)
    return folder / "t.jsonl"


def json_by(orient: str) -> Callable[[Any, Path], Path]:
    def write(frame: Any, folder: Path) -> Path:
        frame.to_json(folder / "t.json", orient=orient, date_format="iso", double_precision=15)
        return folder / "t.json"

    return write


def saved_by_datasets(frame: Any, folder: Path) -> Path:
    pytest.importorskip("datasets", minversion="2").Dataset.from_pandas(frame).save_to_disk(
        str(folder / "saved")
    )
    return folder / "saved"


CONTAINERS: dict[str, Callable[[Any, Path], Any]] = {
    "pandas": lambda frame, _: frame,
    "polars": polars,
    "pyarrow": lambda frame, _: arrow(frame),
    "Parquet of pandas": parquet,
    "Parquet of polars": parquet_of_polars,
    "Feather": feather,
    "Arrow stream": stream,
    "JSON Lines": jsonl,
    "JSON records": json_by("records"),
    "JSON of pandas": json_by("columns"),
    "JSON split": json_by("split"),
    "JSON table": json_by("table"),
    "save_to_disk": saved_by_datasets,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_table_means_the_same_in_every_container(container: str, tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    plain = read_items(tmp_path / "t.csv")
    items = read_items(CONTAINERS[container](FRAME, tmp_path))
    assert items.kind == "table" and items.used == plain.used == tuple(FRAME.columns[:-1])
    assert list(items.labels) == list(plain.labels) and items.counts == {"ape": 3, "bird": 3}
    np.testing.assert_allclose(encode(items), encode(plain), atol=1e-4)
    if "JSON" not in container:  # which cannot tell a number of 32 bits from one of 64
        assert list(items.ids) == list(plain.ids)


@pytest.mark.parametrize("container", CONTAINERS)
def test_texts_with_ids_in_every_container(container: str, tmp_path: Path) -> None:
    items = read_items(CONTAINERS[container](TEXTS, tmp_path))
    assert items.texts == TEXTS["text"].tolist() and list(items.ids) == TEXTS["id"].tolist()
    assert items.counts == {"praise": 2, "complaint": 2} and items.left_out["stars"] == "beside the text"


def test_dates_categories_booleans_and_gaps_become_numbers_as_documented(tmp_path: Path) -> None:
    days = [dt.date(2026, 1, 1) + dt.timedelta(3 * i) for i in range(8)]
    clock = [f"{3 * i:02d}:00" for i in range(8)]
    frame = pd.DataFrame({"day": days, "clock": clock, "kind": list("aabbccaa"), "paid": [True, False] * 4})
    frame.loc[2, "day"] = None
    items = read_items(frame)
    x = encode(items)
    known = np.array([3.0 * i for i in range(8) if i != 2])
    np.testing.assert_allclose(np.delete(x[:, 0], 2), (known - known.mean()) / known.std(), atol=1e-5)
    assert x[2, 0] == 0 and x[:, 1].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(x[:, 2], np.sin(2 * np.pi * np.arange(8) / 8), atol=1e-6)
    np.testing.assert_allclose(x[:, 3], np.cos(2 * np.pi * np.arange(8) / 8), atol=1e-6)
    assert (
        x[:, 4:7].argmax(1).tolist() == [0, 0, 1, 1, 2, 2, 0, 0] and x[:, 7:].argmax(1).tolist() == [1, 0] * 4
    )
    for part in ("times since the first in day, clock", "for each value of kind (3), paid (2)", "in day (1)"):
        assert part in items.understood


@pytest.mark.parametrize(
    ("cells", "seconds"),
    [
        (["31/12/2025", "1/2/2026"], [1767139200, 1769904000]),
        (["12/31/2025", "1/2/2026"], [1767139200, 1767312000]),
        (["1.2.2026", "3.4.2026"], [1769904000, 1775174400]),
        (["2026-02-01T00:00:00+01:00", "2026-02-01 06:30"], [1769900400, 1769927400]),
        (["1 Feb 2026", "Feb 2, 2026 1:00 pm"], [1769904000, 1770037200]),
        (["2026-02-30", "2026-02-01"], [None, 1769904000]),
        (["1/2/2026", "3/4/2026"], []),
        (["31/12/2025", "12/31/2025"], []),
    ],
)
def test_dates_are_read_in_one_way_or_not_at_all(cells: list[str], seconds: list[float | None]) -> None:
    from metaal_env.datasets.readers.cell_dates import read_moments

    assert list(read_moments(cells)) == seconds


def test_dates_that_can_be_read_in_two_ways_are_left_out_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "day,a\n" + "".join(f"{i % 9 + 1}/{i % 7 + 2}/2026,{i}\n" for i in range(20))
    )
    items = read_items(tmp_path / "t.csv")
    assert items.used == ("a",) and items.left_out == {"day": "dates that can be read in two ways"}


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow", "Parquet of pandas", "JSON Lines"])
def test_a_column_of_vectors_is_what_distances_are_taken_of(container: str, tmp_path: Path) -> None:
    x = RNG.normal(size=(N, 5)).astype(np.float32)
    frame = TEXTS.assign(embedding=[row.tolist() for row in x])
    items = read_items(CONTAINERS[container](frame, tmp_path))
    np.testing.assert_allclose(encode(items), x, atol=1e-6)
    assert list(items.shown) == TEXTS["text"].tolist() and list(items.ids) == TEXTS["id"].tolist()
    assert "vectors: column 'embedding'" in items.understood and items.left_out == {
        "stars": "beside 'embedding'"
    }
    assert items.counts == {"praise": 2, "complaint": 2}
    with pytest.raises(
        InputError, match="'embedding' and 'other' may be what to look at; --ignore all but one"
    ):
        read_items(CONTAINERS[container](frame.assign(other=frame["embedding"]), tmp_path))
    plain = read_items(CONTAINERS[container](frame, tmp_path), ReadOptions(ignore=("embedding",)))
    assert plain.vectors is None and plain.texts == TEXTS["text"].tolist()


def test_what_is_read_can_be_queried() -> None:
    items = read_items(FRAME)
    picks = query(encode(items), items.labels, batch_size=3, missing_label=None)
    assert len(set(picks)) == 3 and all(items.labels[pick] is None for pick in picks)


def test_classes_of_hugging_face_are_named(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    texts = [f"a sentence with the number {i}" for i in range(6)]
    data = datasets.Dataset.from_dict({"text": texts, "label": [0, 1, -1, 1, 0, -1]}, features=features)
    shuffled = data.select([4, 2, 1])
    shuffled.save_to_disk(str(tmp_path / "some"))
    data.to_parquet(str(tmp_path / "all.parquet"))
    splits = datasets.DatasetDict({"train": data, "test": shuffled})
    splits.save_to_disk(str(tmp_path / "both"))
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "one"))
    whole = ["bad", "good", None, "good", "bad", None]
    for place in (data, tmp_path / "all.parquet", tmp_path / "both" / "train", tmp_path / "one"):
        assert list(read_items(place).labels) == whole
    for place in (shuffled, tmp_path / "some"):
        assert read_items(place).texts == [texts[4], texts[2], texts[1]]
        assert list(read_items(place).labels) == ["bad", None, "good"]
    with pytest.raises(InputError, match=r"the splits train, test; give one of them: '.*both.train' or"):
        read_items(tmp_path / "both")


def test_nested_records_chats_and_lists(tmp_path: Path) -> None:
    records = [
        {"messages": [{"role": "user", "content": f"question {i} of mine"}, {"role": "bot", "content": "yes"}],
         "meta": {"source": "mail", "tags": ["a", "b"]}} for i in range(4)
    ]  # fmt: skip
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n\n")
    items = read_items(tmp_path / "t.jsonl", ReadOptions(text_column="messages"))
    assert items.texts is not None and items.texts[2] == "user: question 2 of mine\nbot: yes"
    assert items.columns["meta.source"][0] == "mail" and items.columns["meta.tags"][0] == '["a", "b"]'
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    assert read_items(tmp_path / "t.jsonl.gz", ReadOptions(text_column="messages")).ids == items.ids
    (tmp_path / "t.json").write_text(json.dumps(["some text here", "another text"]))
    assert read_items(tmp_path / "t.json").texts == ["some text here", "another text"]
    (tmp_path / "v.json").write_text(json.dumps([[1, 2.5], [3, 4]]))
    np.testing.assert_array_equal(encode(read_items(tmp_path / "v.json")), [[1, 2.5], [3, 4]])
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": 1, "rows": [{"a": 1}, {"a": 2}]}))
    assert read_items(tmp_path / "wrapped.json").used == ("a",)


REFUSED: dict[str, tuple[str, str, str]] = {
    "no JSON": ("t.json", "{'a': 1}", "is not valid JSON"),
    "a broken line": ("t.jsonl", '{"a": 1}\n\n{"a": \n', "line 3 is not valid JSON"),
    "nothing": ("t.json", "[]", "holds no items"),
    "an empty file": ("t.jsonl", "\n", "holds no items"),
    "a number": ("t.json", "17", "holds no list of records"),
    "mixed": ("t.json", '[{"a": 1}, 3]', "item 2 is int, no record"),
    "deep": ("t.json", "[" * 100_000, "is nested too deeply"),
    "ragged columns": ("t.json", '{"a": [1, 2], "b": [1]}', "not columns of equal length"),
    "records by name": ("t.json", '{"x": {"a": 1}, "y": {"a": 2}}', "an object of objects"),
    "vectors of two lengths": ("t.json", '[{"v": [1, 2]}, {"v": [1]}]', "2 numbers in row 1 and 1 numbers in row 2"),
    "a row without": ("t.json", '[{"v": [1, 2]}, {"v": null}]', "lists of numbers but nothing in row 2"),
    "NaN": ("t.json", '[{"v": [1, NaN]}]', "NaN or infinity in row 1"),
    "labels of several": ("t.json", '[{"a": 1, "label": [0, 1]}, {"a": 2, "label": [1]}]', "one class per item"),
    "two names": ("t.json", '[{"a": 1, "a ": 2}]', "two columns called 'a'"),
    "no Parquet": ("t.parquet", "PAR1", "not a readable Parquet file"),
    "no Arrow": ("t.feather", "ARROW1 and more", "not a readable Arrow file"),
    "no stream": ("t.arrow", "else", "not a readable Arrow file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence_for_what_cannot_be_read(case: str, tmp_path: Path) -> None:
    name, content, message = REFUSED[case]
    if not name.endswith(("json", "jsonl")):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as error:
        read_items(tmp_path / name)
    assert "\n" not in str(error.value) and str(error.value).startswith("data=")


def test_other_objects_are_refused() -> None:
    with pytest.raises(InputTypeError, match="data is int; give a path, a data frame"):
        read_items(17)


def test_packages_that_are_lacking_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    (tmp_path / "t.h5").write_bytes(b"\x89HDF")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "h5py", None)
    for name, package in (("t.parquet", "pyarrow"), ("t.h5", "h5py")):
        with pytest.raises(InputError, match=f"pip install {package}"):
            read_items(tmp_path / name)


def test_an_index_that_says_something_is_a_column() -> None:
    assert read_items(FRAME).used == read_items(FRAME.iloc[3:]).used
    named = FRAME.set_index(pd.Index([f"s{i}" for i in range(N)], name="sample_id"))
    assert list(read_items(named).ids[:2]) == ["s0", "s1"]


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for part in (0, 1):
        TEXTS.iloc[part::2].to_parquet(tmp_path / f"train-0000{part}-of-00002.parquet")
    items = read_items(tmp_path)
    assert len(items) == N and items.counts == {"praise": 2, "complaint": 2}
    TEXTS.to_parquet(tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(InputError, match="holds files of the splits test, train; give the files of one"):
        read_items(tmp_path)
    FRAME.to_parquet(tmp_path / "train-00000-of-00002.parquet")
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match="its files have different columns"):
        read_items(tmp_path)


def test_types_of_arrow_that_csv_lacks(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import feather

    lists = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.5]]
    columns = {
        "took": pa.array([dt.timedelta(seconds=i) for i in range(3)]),
        "at": pa.array([1_767_225_600_000_000_001 + i * 10**13 for i in range(3)], pa.timestamp("ns")),
        "half": pa.array(np.array([1, 2, 3], np.float16)),
        "paid": pa.array(["1.50", "2.25", "3.00"]).cast(pa.decimal128(5, 2)),
        "word": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    feather.write_feather(pa.table(columns), tmp_path / "t.feather", version=2)
    items = read_items(tmp_path / "t.feather")
    assert items.used == ("took", "at", "half", "paid", "word") and items.columns["took"] == (
        "0.0",
        "1.0",
        "2.0",
    )
    assert encode(items).shape == (3, 1 + 3 + 1 + 1 + 2) and items.columns["at"][0] == "2026-01-01 00:00:00"
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 2)):
        np.testing.assert_array_equal(encode(read_items(pa.table({"v": pa.array(lists, kind)}))), lists)
    for kind, rows in (
        (pa.list_(pa.float32()), [[1.0], [2.0, 3.0], [4.0]]),
        (pa.list_(pa.float32()), [[1.0], None]),
    ):
        with pytest.raises(InputError, match=r"numbers in row 2; give equally many|but nothing in row 2"):
            read_items(pa.table({"v": pa.array(rows, kind)}))


def test_pictures_as_arrays_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", minversion="2")
    features = datasets.Features({"picture": datasets.Array2D((4, 5), "uint8")})
    x = RNG.integers(0, 255, (6, 4, 5)).astype(np.uint8)
    datasets.Dataset.from_dict({"picture": x}, features=features).save_to_disk(str(tmp_path / "d"))
    items = read_items(tmp_path / "d")
    assert items.vectors is not None
    np.testing.assert_array_equal(items.vectors, x)


def test_damaged_data_sets_are_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for content, message in (
        ("{", "state.json cannot be read"),
        ("[]", "names no files of data"),
        ('{"_indices_files": [{"filename": "i"}]}', "is a selection of another data set"),
    ):
        (folder / "state.json").write_text(content)
        with pytest.raises(InputError, match=message):
            read_items(folder)


def test_several_indices_and_repeated_columns() -> None:
    two = TEXTS.set_index(["id", "stars"])
    assert (
        list(read_items(two).ids) == TEXTS["id"].tolist() and read_items(two).texts == TEXTS["text"].tolist()
    )
    with pytest.raises(InputError, match="two columns called 'text'"):
        read_items(pd.concat([TEXTS, TEXTS[["text"]]], axis=1))
    assert read_items({"a": np.arange(3.0), "b": [1, None, 3]}).used == ("a", "b")
    with pytest.raises(InputError, match="holds no items"):
        read_items(pd.DataFrame({"a": []}))
