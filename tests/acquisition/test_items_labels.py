"""What is a class, what is unlabelled, and what is neither: in tables, in arrays, as items and as data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.datasets import load_dataset
from metaal_env.datasets.readers.label_values import read_labels
from metaal_env.datasets.readers.load_file import load_file
from metaal_env.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 4
NAN = np.nan
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("word", ["None", "NONE", "NA", "null", "n/a", "?", "unknown"])
def test_words_for_nothing_are_classes(word: str) -> None:
    among_blanks = read_labels(["FAVOR", word, "", "nan"], "labels")
    assert among_blanks.values == ("FAVOR", word, None, None) and not among_blanks.notes
    alone = read_labels(["FAVOR", word, word], "labels")
    assert alone.values == ("FAVOR", word, word)
    assert alone.notes == (f"{word!r} counts as a class (else: --missing-label {word})",)
    assert read_labels(["FAVOR", word, word], "labels", missing=word).values == ("FAVOR", None, None)


@pytest.mark.parametrize(
    ("cells", "missing", "values"),
    [
        (["1.0", "", "0.0"], None, ("1", None, "0")),
        (["1.0", "2.5", ""], None, ("1.0", "2.5", None)),
        (["01", "02", ""], None, ("01", "02", None)),
        (["-1", "0", "2", "1"], None, (None, "0", "2", "1")),
        (["-1.0", "0.0", "2.0", "1.0"], None, (None, "0", "2", "1")),
        (["-1", "1", "1"], None, ("-1", "1", "1")),
        (["-1", "0", "0"], None, (None, "0", "0")),
        (["-1", "0", "1", ""], None, ("-1", "0", "1", None)),
        (["-1", "0", "1"], "-1", (None, "0", "1")),
        (["-1.0", "0.0", "1.0"], "-1", (None, "0", "1")),
        (["-1", "0", "1"], "", ("-1", "0", "1")),
        (["-1", "0", "2", "1"], "", ("-1", "0", "2", "1")),
        (["ham", "-1", "spam", "-1"], None, ("ham", None, "spam", None)),
        (["ham", "-1", "spam"], "", ("ham", "-1", "spam")),
        (["0", "-100", "1"], None, ("0", None, "1")),
        (["0", "-100", "1"], "", ("0", "-100", "1")),
        (["1.0", "-999.0", "2.0"], None, ("1", None, "2")),
        (["0", "255", "1", "2"], None, ("0", None, "1", "2")),
        (["0", "255"], None, ("0", "255")),
        ([*map(str, range(256))] * 2, None, tuple([*map(str, range(256))] * 2)),
        (["0", str(-(2**63)), "1"], None, ("0", None, "1")),
        (["caf\u00e9", "cafe\u0301", "\ufeffham\u200b"], None, ("caf\u00e9", "caf\u00e9", "ham")),
        (["nan", "<NA>", "NaN", "a"], None, (None, None, None, "a")),
        ([" a ", "b", ""], None, ("a", "b", None)),
        (["0.5", "1.5", "1.0", "0.5"], None, ("0.5", "1.5", "1.0", "0.5")),
    ],
)
def test_labels(cells: list[str], missing: str | None, values: tuple[str | None, ...]) -> None:
    assert read_labels(cells, "labels", missing).values == values


@pytest.mark.parametrize("other", ["Spam", "sp\u200bam", "\uff53pam"])
def test_spellings_of_one_class_are_named(other: str) -> None:
    assert read_labels(["spam", other, "ham"], "labels").notes == (
        f"the classes 'spam' and {other!r} differ in spelling only",
    )


TARGETS = 25 + RNG.choice(320, 220)
"""Like those of scikit-learn's diabetes data: 25 to 344, most of them once or twice."""


@pytest.mark.parametrize(
    ("numbers", "refused"),
    [
        (TARGETS, True),
        (TARGETS.astype(float), True),
        (TARGETS[:60], True),
        (RNG.normal(size=400).round(2), True),
        (RNG.choice(np.arange(0, 100, 0.5), 2000), True),  # most fractions come back several times
        (np.arange(120), True),
        (np.arange(60), True),
        (np.arange(120) % 60, False),  # two of each, without gaps
        (RNG.choice(100, 2000), False),
        (RNG.choice([3.5, 4.0, 4.5], 400), False),
    ],
)
def test_targets_of_a_regression_are_no_classes(numbers: np.ndarray, refused: bool) -> None:
    cells = [str(number) for number in numbers]
    if refused:
        with pytest.raises(InputError, match="regression targets are not classes"):
            read_labels(cells, "labels")
    else:
        assert None not in read_labels(cells, "labels").values


def test_a_few_labels_of_many_numbered_classes_are_read() -> None:
    cells = [*map(str, RNG.choice(150, 90)), *[""] * 400]
    assert read_labels(cells, "labels").values.count(None) == 400


ONE_HOT = np.eye(4)[Y]
ARRAYS: dict[str, tuple[dict[str, np.ndarray], list[str | None]]] = {
    "-1": ({"X": X, "y": np.where(Y == 3, -1, Y)}, ["0", "1", "2", None]),
    "-1.0": ({"X": X, "y": np.where(Y == 3, -1.0, Y)}, ["0", "1", "2", None]),
    "NaN": ({"X": X, "y": np.where(Y == 3, NAN, Y)}, ["0", "1", "2", None]),
    "strings": ({"X": X, "y": np.array(["a", "b", "None", ""])[Y]}, ["a", "b", "None", None]),
    "bytes": ({"X": X, "y": np.array([b"a", b"b", b"NA", b""])[Y]}, ["a", "b", "NA", None]),
    "one column": ({"X": X, "y": Y[:, None]}, ["0", "1", "2", "3"]),
    "one-hot": ({"X": X, "y": ONE_HOT.astype(int)}, ["0", "1", "2", "3"]),
    "one-hot in part": ({"X": X, "y": ONE_HOT * (Y < 3)[:, None]}, ["0", "1", "2", None]),
    "lower case": ({"x": X, "y": Y}, ["0", "1", "2", "3"]),
    "embeddings": ({"embeddings": X, "labels": Y}, ["0", "1", "2", "3"]),
    "scikit-learn": ({"data": X, "target": Y, "target_names": np.array(list("abcd"))}, ["a", "b", "c", "d"]),
    "named and -1": (
        {"X": X, "y": np.where(Y == 3, -1, Y), "class_names": np.array(list("abc"))}, ["a", "b", "c", None],
    ),
    "numbered": ({"arr_0": X, "arr_1": Y}, ["0", "1", "2", "3"]),
    "one row": ({"X": X, "y": Y[None]}, ["0", "1", "2", "3"]),
    "-1 among words": ({"X": X, "y": np.array(["a", "b", "c", "-1"])[Y]}, ["a", "b", "c", None]),
    "NaN as integers": ({"X": X, "y": np.where(Y == 3, -(2**63), Y)}, ["0", "1", "2", None]),
    "-1 unsigned": ({"X": X, "y": np.where(Y == 3, -1, Y).astype(np.uint8)}, ["0", "1", "2", None]),
    "classes": ({"vectors": X, "classes": Y}, ["0", "1", "2", "3"]),
    "alone": ({"pooled_output": X}, [None] * 4),
    "no labels": ({"features": X}, [None] * 4),
    "texts": ({"X": np.array(["one text", "two", "three", "four"])[Y], "y": Y}, ["0", "1", "2", "3"]),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(case: str, tmp_path: Path) -> None:
    arrays, labels = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    items = read_items(tmp_path / "a.npz")
    assert list(items.labels) == labels * 3 and len(set(items.ids)) == 12
    assert (items.texts is None) == (case != "texts")
    if items.vectors is not None:
        np.testing.assert_array_equal(items.vectors, X)


def test_arrays_that_are_not_read_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, gold=Y, split=Y)
    assert "left out: gold, split" in read_items(tmp_path / "a.npz").understood


@pytest.mark.parametrize("case", ["one-hot", "lower case", "embeddings", "scikit-learn", "numbered"])
def test_arrays_as_a_data_set(case: str, tmp_path: Path) -> None:
    arrays, labels = ARRAYS[case]
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    assert list(load_file(tmp_path / "a.npz", "a").class_names) == labels


def test_ids_and_types_of_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, ids=np.arange(12) + 70)
    assert read_items(tmp_path / "a.npz").ids[:2] == ("70", "71")
    np.save(tmp_path / "a.npy", X.astype(np.float32))
    np.savez(tmp_path / "b.npz", X=X, y=Y)
    assert read_items(tmp_path / "a.npy").ids == read_items(tmp_path / "b.npz").ids
    np.save(tmp_path / "t.npy", np.array(["one text", "two texts"]))
    assert read_items(tmp_path / "t.npy").texts == ["one text", "two texts"]


BAD: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "objects": (
        {"X": X, "y": Y.astype(str).astype(object)},
        r"objects are pickles.*'' where a label is unknown",
    ),
    "two inputs": ({"x": X, "embeddings": X}, "'x' and 'embeddings'; rename the right one to 'X'"),
    "several classes": ({"X": X, "y": np.maximum(ONE_HOT, ONE_HOT[0])}, "rows with several ones"),
    "annotators": ({"X": X, "y": np.stack([Y, Y, Y], 1)}, "annotators, save one label per item"),
    "regression": ({"X": X, "y": X[:, 0]}, "12 different numbers in 12 labels"),
    "-1, 0, 1": ({"X": X, "y": Y % 3 - 1}, "--missing-label -1"),
    "lengths": ({"X": X, "y": Y[:5]}, r"y has shape \(5,\) for 12 items"),
    "beyond the names": ({"X": X, "y": Y, "class_names": np.array(["a", "b"])}, "outside its 2 class names"),
    "ids": ({"X": X, "ids": Y}, "ids has shape"),
    "one axis": ({"X": X[:, 0]}, r"X has shape \(12,\)"),
    "nothing": ({"z": X, "w": Y}, r"neither an array X nor text \(left out: z, w\)"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays(case: str, tmp_path: Path) -> None:
    arrays, message = BAD[case]
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_items(tmp_path / "a.npz")
    if case in ("-1, 0, 1", "regression"):
        options = ReadOptions(no_label=True) if case == "regression" else ReadOptions(missing_label="-1")
        assert read_items(tmp_path / "a.npz", options).labels.count(None) == (
            12 if case == "regression" else 6
        )


SPECIES = ["setosa", "other"] * 6
DATA_SETS: dict[str, tuple[list[str], list[list[object]], int]] = {
    "label first": (["species", "a", "b"], [SPECIES, *X.T[:2].tolist()], 2),
    "count last": (["species", "a", "count"], [SPECIES, X[:, 0].tolist(), (Y % 3).tolist()], 2),
    "index and numbers": (["", "0", "1", "label"], [[*range(12)], *X.T[:2].tolist(), SPECIES], 2),
    "wavelengths": (["400", "410", "420", "label"], [*X.T.tolist(), SPECIES], 3),
    "NA is a category": (["pool", "a", "label"], [["NA", "Gd", "Ex"] * 4, X[:, 0].tolist(), SPECIES], 4),
    "NONE is a class": (["a", "label"], [X[:, 0].tolist(), ["FAVOR", "NONE"] * 6], 1),
}


@pytest.mark.parametrize("case", DATA_SETS)
def test_tables_as_data_sets(case: str, tmp_path: Path) -> None:
    header, columns, inputs = DATA_SETS[case]
    rows = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(header), *rows]))
    data = load_file(tmp_path / "t.csv", "t")
    assert len(data) == 12 and data.input_shape == (inputs,)
    assert data.class_names == (("FAVOR", "NONE") if case == "NONE is a class" else ("other", "setosa"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind,sex,a\n" + "x,m,1\ny,f,2\n" * 4, "'kind', 'sex' may hold the classes; call one 'label'"),
        ("a,label\n" + "1,0\n2,-1\n3,1\n4,2\n" * 3, r"item 2 has no value \('-1'\).*drop unlabelled items"),
        ("day,a,label\n" + "2024-01-02,1,x\n2024-01-03,2,y\n" * 4, "column 'day' .*drop or encode"),
    ],
)  # fmt: skip
def test_bad_data_sets(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load_file(tmp_path / "t.csv", "t")


def test_the_label_column_of_a_data_set_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("kind,sex,a\n" + "x,m,1\ny,m,2\ny,f,3\n" * 4)
    assert load_dataset(f"{tmp_path}/t.csv#kind").class_names == ("x", "y")
    assert load_dataset(f"{tmp_path}/t.csv#sex").class_names == ("f", "m")
    with pytest.raises(InputError, match="'sexx' is unknown; did you mean 'sex'"):
        load_dataset(f"{tmp_path}/t.csv#sexx")
