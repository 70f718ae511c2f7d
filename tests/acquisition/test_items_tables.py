"""A user's tables: which columns are inputs, ids, labels and texts, in the spellings that tools write."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from agents.acquisition.items.encoders import encode
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from metaal_env.errors import InputError

N = 60
RNG = np.random.default_rng(0)
A, B, C = (RNG.normal(size=N).round(2).tolist() for _ in range(3))
LABEL = [("ape", "bird", "mouse")[i % 3] if i < 9 else "" for i in range(N)]
THINGS = [
    f"{size} {thing}"
    for size in ("small", "big", "old", "new", "red")
    for thing in ("cat", "hat", "car", "cup")
]
REVIEWS = [f"I bought this {thing} for my {who}" for thing in THINGS for who in ("aunt", "dog", "son")]


def table(header: Sequence[object] | None, *columns: Iterable[object], delimiter: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    if header is not None:
        writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    return buffer.getvalue()


def read(folder: Path, content: str | bytes, name: str = "pool.csv", **options: object) -> Items:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_items(folder / name, ReadOptions(**options))  # type: ignore[arg-type]


ODD_COLUMNS: dict[str, list[object]] = {
    "blank cell": ["" if i == 3 else value for i, value in enumerate(A)],
    "NA": ["NA" if i == 3 else value for i, value in enumerate(A)],
    "decimal commas": [str(value).replace(".", ",") for value in A],
    "thousands": [f"{1000 * i + 1234:,}" for i in range(N)],
    "currency": [f"${value}" for value in A],
    "spaced thousands": [f"{1000 * i + 1234:,}".replace(",", "\u202f") for i in range(N)],
    "Swiss thousands": [f"{1000 * i + 1234.5:,}".replace(",", "'") for i in range(N)],
    "another minus": [str(value).replace("-", "\u2212") for value in A],
    "below zero in brackets": [f"({-value})" if value < 0 else value for value in A],
    "the sign behind": [f"{-value}-" if value < 0 else value for value in A],
    "a unit": [f"{value} kg" for value in A],
    "a stray": ["<5" if i == 7 else value for i, value in enumerate(A)],
    "dates": [f"2024-{i % 12 + 1:02d}-{i % 28 + 1:02d}" for i in range(N)],
    "American dates": [f"{i % 12 + 1}/{i % 28 + 1}/2024 12:30 PM" for i in range(N)],
    "spelt dates": [f"{i % 28 + 1} Jan {1960 + i}" for i in range(N)],
    "ids": [f"P-{i:04d}" for i in range(N)],
    "links": [f"https://example.org/{i}" for i in range(N)],
    "telephones": [f"+49 30 {7919 * i:06d}" for i in range(N)],
}
INPUTS = {*ODD_COLUMNS} - {"ids", "links", "telephones"}


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("odd", ODD_COLUMNS)
def test_one_odd_column_makes_no_text_pool(odd: str, delimiter: str, tmp_path: Path) -> None:
    content = table(["odd", "b", "c", "label"], ODD_COLUMNS[odd], B, C, LABEL, delimiter=delimiter)
    items = read(tmp_path, content)
    assert items.kind == "table" and list(items.counts.values()) == [3, 3, 3]
    assert items.used == (("odd", "b", "c") if odd in INPUTS else ("b", "c"))
    assert (odd not in INPUTS) == ("odd" in items.left_out)
    x = encode(items)
    assert np.isfinite(x).all() and x.shape == (N, len(items.used) + (odd in ("blank cell", "NA", "a stray")))


def test_a_missing_number_is_the_mean_and_says_so(tmp_path: Path) -> None:
    items = read(tmp_path, "a,b\n1,5\n,6\n3,7\n")
    x = encode(items)
    np.testing.assert_allclose(x[:, 0], [-1, 0, 1], atol=1e-6)
    assert x[:, 1].tolist() == [0, 1, 0]
    assert "missing values in a (1): column mean, and a column that says so" in items.understood


def test_numbers_in_two_notations_are_the_same_numbers(tmp_path: Path) -> None:
    plain = read(tmp_path, table(["a", "b"], [1234.5, 0.5, 1000, 7], [1, 2, 3, 5]))
    german = read(tmp_path, table(["a", "b"], ["1.234,5", "0,5", "1.000", "7"], [1, 2, 3, 5], delimiter=";"))
    english = read(tmp_path, table(["a", "b"], ["1,234.5", "0.5", "1,000", "7"], [1, 2, 3, 5]))
    for other in (german, english):
        np.testing.assert_allclose(encode(other), encode(plain), atol=1e-6)
    assert german.ids == english.ids == plain.ids, "the content is the same, so are the names"


@pytest.mark.parametrize(
    ("spelt", "plain"),
    [
        (["1\u00a0234,5", "0,5", "7"], [1234.5, 0.5, 7]),
        (["1'234.5", "2\u2019000", "7"], [1234.5, 2000, 7]),
        (["(1.5)", "\u22120.5", "7-"], [-1.5, -0.5, -7]),
        (["1.5 kg", "-2 kg", ""], [1.5, -2, ""]),
        (["21°C", "19.5°C", "7°C"], [21, 19.5, 7]),
    ],
)
def test_numbers_as_people_write_them(spelt: list[str], plain: list[object], tmp_path: Path) -> None:
    odd = read(tmp_path, table(["a", "b"], spelt, [1, 2, 3], delimiter=";"))
    np.testing.assert_array_equal(encode(odd), encode(read(tmp_path, table(["a", "b"], plain, [1, 2, 3]))))


@pytest.mark.parametrize("cells", [["12A", "7A"], ["5 kg", "5 g"], ["1 2", "3 4"], ["(a)", "(b)"]])
def test_codes_are_no_numbers(cells: list[str], tmp_path: Path) -> None:
    assert read(tmp_path, table(["a", "b"], cells * 5, range(10))).vectors.shape == (10, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["review", "comment", "tweet", "text", "verbatim", "answer"])
def test_few_texts_are_texts_and_no_categories(name: str, tmp_path: Path) -> None:
    items = read(
        tmp_path, table([name, "stars", "label"], REVIEWS[:40], [i % 5 for i in range(40)], LABEL[:40])
    )
    assert items.texts == REVIEWS[:40] and items.left_out == {"stars": "beside the text"}


def test_long_texts_that_repeat_are_texts(tmp_path: Path) -> None:
    items = read(tmp_path, table(["remark_of_customer", "a"], [REVIEWS[i % 20] for i in range(N)], A))
    assert items.kind == "texts" and len(items) == N


def test_repeated_words_are_categories(tmp_path: Path) -> None:
    answers = ["Strongly agree with it", "Agree with it somewhat", "Do not agree at all"]
    items = read(tmp_path, table(["poll", "a"], [answers[i % 3] for i in range(N)], A))
    assert items.kind == "table" and encode(items).shape == (N, 4)


X = [A, B, C, [round(a + b, 2) for a, b in zip(A, B, strict=True)]]
RISING = [400.1, 403.2, 405.5, 409.9, 414.0, 420.1]
HEADERS: dict[str, tuple[list[object], list[Iterable[object]], int]] = {
    "DataFrame(X).to_csv()": (["", 0, 1, 2, 3], [range(N), *X], 4),
    "DataFrame(X).to_csv(index=False)": ([0, 1, 2, 3], X, 4),
    "a filtered frame": (["", "a", "b"], [RNG.permutation(500)[:N], A, B], 2),
    "read and saved again": (["Unnamed: 0", "a", "b"], [range(N), A, B], 2),
    "R's row names": (["", "a", "b"], [range(1, N + 1), A, B], 2),
    "with labels": (["", 0, 1, 2, 3, "label"], [range(N), *X, LABEL], 4),
    "wavelengths": ([400, 410, 420, 430], X, 4),
    "wavenumbers fall": ([430, 420, 410, 400], X, 4),
    "saved twice": (["Unnamed: 0.1", "Unnamed: 0", "a", "b"], [range(N), range(N), A, B], 2),
    "reset twice": (["level_0", "index", "a", "b"], [range(N), RNG.permutation(500)[:N], A, B], 2),
    "serial numbers": (["S.No.", "a", "b"], [range(1, N + 1), A, B], 2),
    "odd wavelengths": (RISING, [*X, A, B], 6),  # type: ignore[dict-item]
    "wavelengths and labels": ([*RISING, "label"], [*X, A, B, LABEL], 6),
    "an index of names": (["", "a", "b"], [[f"row {i}" for i in range(N)], A, B], 2),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_of_numbers_and_row_numbers(case: str, tmp_path: Path) -> None:
    header, columns, inputs = HEADERS[case]
    items = read(tmp_path, table(header, *columns))
    assert len(items) == N and len(items.used) == inputs
    assert len(items.counts) == (3 if "label" in header else 0)
    assert ("row 0" in items.ids) == (case == "an index of names")


NO_HEADER: dict[str, list[Iterable[object]]] = {
    "numbers": X,
    "texts and labels": [REVIEWS, ["pos", "neg"] * (N // 2)],
    "texts": [REVIEWS],
    "numbers and names": [A, B, ["ape", "bird"] * (N // 2)],
}


@pytest.mark.parametrize("case", NO_HEADER)
def test_no_header(case: str, tmp_path: Path) -> None:
    items = read(tmp_path, table(None, *NO_HEADER[case]))
    assert len(items) == N and "no header" in items.understood
    named = read(tmp_path, table([f"c{i}" for i in range(len(NO_HEADER[case]))], *NO_HEADER[case]))
    assert len(named) == N and named.ids == items.ids
    assert len(read(tmp_path, table(None, *NO_HEADER[case]), header=True)) == N - 1


FORMATS = {
    "sep=": lambda text: "sep=;\r\n" + text,
    "tabs": lambda text: text.replace(";", "\t"),
    "bars": lambda text: text.replace(";", "|"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip in two parts": lambda text: gzip.compress(text[:99].encode()) + gzip.compress(text[99:].encode()),
    "title": lambda text: "Survey of animals, 2024\n\n" + text,
    "padded title": lambda text: "Survey;;\n;;\n" + text,
    "comments": lambda text: "# written by a logger\n# 12:30\n" + text,
    "units": lambda text: text.replace("\r\n", "\r\n[mm];kg;\r\n", 1),
    "rows end in a delimiter": lambda text: text.replace("\r\n", ";\r\n").replace(";\r\n", "\r\n", 1),
    "R's row names": lambda text: "\r\n".join(
        f"{i};{line}" if i and line else line for i, line in enumerate(text.split("\r\n"))
    ),
    "DOS's end": lambda text: text + "\x1a",
    "commented header": lambda text: "# " + text,
    "CR": lambda text: text.replace("\r\n", "\r"),
    "LF": lambda text: text.replace("\r\n", "\n"),
    "blank lines at the end": lambda text: text + ";;\r\n\r\n",
    "header twice": lambda text: text + text.partition("\r\n")[0] + "\r\n",
    "UTF-16": lambda text: text.encode("utf-16"),
}


@pytest.mark.parametrize("name", ["pool.csv", "pool.tsv", "pool.csv.gz"])
@pytest.mark.parametrize("case", FORMATS)
def test_formats(case: str, name: str, tmp_path: Path) -> None:
    plain = read(tmp_path, table(["a", "b", "label"], A, B, LABEL))
    items = read(tmp_path, FORMATS[case](table(["a", "b", "label"], A, B, LABEL, delimiter=";")), name)
    assert items.ids == plain.ids and items.labels == plain.labels and items.shown == plain.shown


@pytest.mark.parametrize("name", ["pool.csv", "pool.txt"])
@pytest.mark.parametrize("header", ["", "a b c"])
@pytest.mark.parametrize("delimiter", [" ", "   ", ","])
def test_numbers_between_spaces_are_a_table(delimiter: str, header: str, name: str, tmp_path: Path) -> None:
    buffer = io.StringIO()
    header = header.replace(" ", delimiter)
    np.savetxt(buffer, np.c_[A, B, C], delimiter=delimiter, header=header, comments="", fmt="%9.4f")
    items = read(tmp_path, buffer.getvalue(), name)
    assert len(items) == N and items.vectors is not None and items.vectors.shape == (N, 3)
    assert items.used == (tuple("abc") if header else ("column 1", "column 2", "column 3"))
    words = read(tmp_path, "3 cats 2\n4 dogs 5\n1 bird 7\n1 a 2\nno 5 at all\n", "words.txt")
    assert words.kind == "texts" and len(words) == 5


def test_a_header_that_lacks_a_name_is_no_title(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the header has 2 names, but each row has 3 cells"):
        read(tmp_path, "text,label\n" + "good thing, indeed,pos\nbad thing, alas,neg\n" * 4)


def test_quotes_after_backslashes(tmp_path: Path) -> None:
    items = read(tmp_path, 'text,label\n"she said \\"no\\", twice",a\n"another text, longer",b\n')
    assert items.texts == ['she said "no", twice', "another text, longer"] and items.labels == ("a", "b")


@pytest.mark.parametrize(("name", "told"), [("Complaint", True), ("text", False)])
def test_a_single_column_says_what_its_header_is(name: str, told: bool, tmp_path: Path) -> None:
    content = "\n".join([name, *REVIEWS])
    items = read(tmp_path, content)
    assert len(items) == len(REVIEWS) and ("else: --header False" in items.understood) == told
    assert len(read(tmp_path, content, header=False)) == len(REVIEWS) + 1


@pytest.mark.parametrize("delimiter", [";", "semicolon"])
def test_a_delimiter_can_be_named(delimiter: str, tmp_path: Path) -> None:
    """Both would do: rows of two cells by commas and by semicolons."""
    content = "a,b;c\n1,5;2\n3,5;4\n"
    assert read(tmp_path, content, delimiter=delimiter).used == ("a,b", "c")
    assert read(tmp_path, content, delimiter=",").used == ("a", "b;c")
    with pytest.raises(InputError, match="delimiter=';;' must be one character"):
        read(tmp_path, content, delimiter=";;")


def test_long_texts_and_bare_commas(tmp_path: Path) -> None:
    long = read(tmp_path, "text,label\n" + "word " * 40_000 + ",a\nshort one,b\n")
    assert long.texts is not None and len(long.texts[0]) == 199_999 and long.labels == ("a", "b")
    bare = read(tmp_path, "text\nhello, you there\nbye\none, two, three\n")
    assert bare.texts == ["hello, you there", "bye", "one, two, three"]
    sheet = read(tmp_path, "text\tlabel\r\nno go\tham\r\nwin now\t\r\n".encode("utf-16"), "pool.txt")
    assert sheet.texts == ["no go", "win now"] and sheet.labels == ("ham", None)
    assert read(tmp_path, "one\u2028text\nanother\n", "lines.txt").texts == ["one\u2028text", "another"]


ROLES: dict[str, tuple[str, dict[str, object], tuple[str, ...], str, str]] = {
    "names repeat": (table(["name", "a"], ["Bob", "Ann"] * 30, A), {}, ("name", "a"), "content", ""),
    "names are unique": (table(["name", "a"], THINGS * 3, A), {}, ("name", "a"), "content", ""),
    "x and y": (table(["x", "y", "class"], A, B, LABEL), {}, ("x", "y"), "content", "column 'class'"),
    "an id": (table(["sample_id", "a"], range(N), A), {}, ("a",), "column 'sample_id'", ""),
    "an id, not unique": (table(["id", "a"], [1, 2] * 30, A), {}, ("a",), "content", ""),
    "id named": (table(["key", "a"], range(N), A), {"id_column": "key"}, ("a",), "column 'key'", ""),
    "class is an input": (
        table(["class", "a"], [1, 2] * 30, A), {"no_label": True}, ("class", "a"), "content", "",
    ),
    "label named": (
        table(["class", "a", "kind"], [1, 2] * 30, A, LABEL), {"label_column": "KIND"},
        ("class", "a"), "content", "column 'kind'",
    ),
    "label beats class": (
        table(["class", "a", "label"], [1, 2] * 30, A, LABEL), {}, ("class", "a"), "content", "column 'label'",
    ),
    "ignored": (table(["status", "a"], ["on", "off"] * 30, A), {"ignore": ("status",)}, ("a",), "content", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ROLES)
def test_columns_that_mean_something_else(case: str, tmp_path: Path) -> None:
    content, options, used, ids, labels = ROLES[case]
    items = read(tmp_path, content, **options)
    assert (items.used, items.id_source, items.label_source) == (used, ids, labels)


REFUSED: dict[str, tuple[str, dict[str, object], str]] = {
    "two labels": (table(["a", "class", "target"], A, ["x", "y"] * 30, ["u", "v"] * 30), {}, "'class' and 'target'"),
    "annotators": (table(["a", "label_1", "label_2"], A, LABEL, LABEL), {}, "label_1, label_2.*--label-column"),
    "two texts": (table(["front", "back"], REVIEWS, REVIEWS[::-1]), {}, "'front' and 'back' hold texts"),
    "a few words again": (table(["text", "annotation"], REVIEWS, LABEL), {}, "--label-column annotation"),
    "names": (table(["customer", "a", "b"], [f"Ann Mary Smith{i}" for i in range(N)], A, B), {}, "--ignore customer"),
    "texts and numbers": (table(["memo", *"abcd"], REVIEWS, *X), {}, "--text-column memo or --ignore memo"),
    "regression": (table(["a", "target"], A, B), {}, "regression targets are not classes"),
    "counts": (table(["a", "y"], range(200), RNG.permutation(9000)[:200]), {}, "regression targets are not classes"),
    "several classes": (table(["a", "label"], A, ["x|y", "x", "y"] * 20), {}, r"'x\|y' names several classes"),
    "never alone": (table(["a", "label"], A, ["x|y", "y|z", "x|z"] * 20), {}, "names several classes"),
    "a tuple": (table(["a", "label"], A, ["('x', 'y')", "('x',)"] * 30), {}, "names several classes"),
    "a list": (table(["a", "label"], A, ["['x', 'y']", "x", "y"] * 20), {}, "names several classes"),
    "-1, 0, 1": (table(["a", "label"], A, [-1, 0, 1] * 20), {}, "--missing-label -1"),
    "id not unique": (table(["key", "a"], [1, 2] * 30, A), {"id_column": "key"}, "item 3 '1', as item 1"),
    "no such column": (table(["key", "a"], [1, 2] * 30, A), {"ignore": ("kye",)}, "'kye'; did you mean 'key'"),
    "infinite": ("a,b\n1,2\ninf,3\n", {}, "item 2 has 'inf' in column 'a'"),
    "twice": ("a,a\n1,2\n", {}, "two columns called 'a'"),
    "nothing left": (table(["at"], [f"{i % 9 + 1}/2/26" for i in range(N)]), {}, r"at \(dates that can be read in two"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_several_columns_may_mean_is_refused(case: str, tmp_path: Path) -> None:
    content, options, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, **options)


def test_understood_names_all_that_was_recognised(tmp_path: Path) -> None:
    columns = (ODD_COLUMNS["dates"], ODD_COLUMNS["decimal commas"], B, LABEL)
    content = table(["day", "a", "b", "label"], *columns, delimiter=";")
    line = read(tmp_path, content.replace("ape", "âne").encode("latin-1")).understood
    assert line.removeprefix(str(tmp_path / "pool.csv")) == (
        ": a table, 60 items; inputs: day, a, b; ids: content; labels: column 'label', 9 of 60, "
        "3 classes (âne: 3, bird: 3, mouse: 3); encoding cp1252; cells between semicolons; "
        "times since the first in day, and the time of day where it varies; decimal commas in a."
    )


def test_ids_follow_the_content(tmp_path: Path) -> None:
    """Next week's file: sorted otherwise, ten new texts on top, a column of labels filled in."""
    before = read(tmp_path, table(["text", "label"], REVIEWS, LABEL))
    more = [*(f"new text {i}" for i in range(10)), *reversed(REVIEWS)]
    after = read(tmp_path, table(["text", "label", "note"], more, ["x"] * 70, ["seen"] * 70))
    names = dict(zip(before.texts or [], before.ids, strict=True))
    assert [names.get(text) for text in after.texts or []] == [None] * 10 + list(reversed(before.ids))
    assert len(set(read(tmp_path, "text\nsame words here\nsame words here\nother words here\n").ids)) == 3


@pytest.mark.parametrize("beside", ["numbers", "texts"])
def test_answers_under_another_name_are_asked_about(beside: str, tmp_path: Path) -> None:
    """As an input, the answers given so far would tell labelled items from others."""
    inputs = A if beside == "numbers" else (REVIEWS * 2)[:N]
    content = table(["measured", "species"], inputs, LABEL)
    with pytest.raises(InputError, match="'species' is filled in 9 of 60 rows; say --label-column species"):
        read(tmp_path, content)
    assert list(read(tmp_path, content, label_column="species").labels[:3]) == ["ape", "bird", "mouse"]
    assert "species" in read(tmp_path, content, ignore=("species",)).left_out
    unlabelled = read(tmp_path, content, no_label=True)
    assert unlabelled.labels.count(None) == N and ("species" in unlabelled.used) == (beside == "numbers")


def test_numbers_of_classes_under_a_header_of_numbers_are_asked_about(tmp_path: Path) -> None:
    answers = [str(i % 3) if i < 9 else "" for i in range(N)]
    content = table(["0", "1", "2"], A, A[::-1], answers)
    with pytest.raises(InputError, match="'2' is filled in 9 of 60 rows; say --label-column 2"):
        read(tmp_path, content)
    assert read(tmp_path, content, label_column="2").labels[:4] == ("0", "1", "2", "0")
    measured = [str(i * 7 % 60) if i < 9 else "" for i in range(N)]  # no number twice
    assert "2" in read(tmp_path, table(["0", "1", "2"], A, A[::-1], measured)).used


def test_gaps_in_a_category_or_beside_labels_ask_nothing(tmp_path: Path) -> None:
    kind = ["" if i % 3 else "new" for i in range(N)]
    assert "kind" in read(tmp_path, table(["a", "kind", "label"], A, kind, LABEL)).used
    mostly = ["" if i % 3 == 0 else "ab"[i % 2] for i in range(N)]
    assert "kind" in read(tmp_path, table(["a", "kind"], A, mostly)).used


def test_a_spreadsheets_own_format_is_to_be_saved_as_csv(tmp_path: Path) -> None:
    file = tmp_path / "pool.xlsx"
    file.write_bytes(b"PK")
    with pytest.raises(InputError, match="save the sheet as CSV"):
        read_items(file)
