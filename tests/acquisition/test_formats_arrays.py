"""Arrays on disk: SciPy's sparse matrices, HDF5, and files that are mapped instead of read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from agents.acquisition.items import sparse_items
from agents.acquisition.items.encoders import encode
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.read_items import read_items
from agents.acquisition.tool.commands import main
from agents.acquisition.tool.web.item_view import item_view
from metaal_env.errors import InputError

pytestmark = pytest.mark.usefixtures("own_cache")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = np.arange(12) % 3


def wide(n: int = 60, d: int = 100_000) -> sparse.csr_matrix:
    """Two topics of words that do not overlap."""
    rows = np.repeat(np.arange(n), 60)
    columns = RNG.integers(0, d // 2, len(rows)) // 9 * 9 + (rows % 2) * (d // 2)
    common = (rows % 2) * (d // 2) + RNG.integers(0, 20, len(rows))
    return sparse.csr_matrix((np.ones(2 * len(rows)), (np.r_[rows, rows], np.r_[columns, common])), (n, d))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.coo_array, sparse.csr_array])
@pytest.mark.parametrize("compressed", [True, False])
def test_sparse_files_never_become_dense(
    kind: Any, compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = wide()
    sparse.save_npz(tmp_path / "x.npz", kind(x), compressed=compressed)
    for dense_kind in (sparse.csr_array, sparse.csr_matrix, sparse.csc_matrix):
        monkeypatch.setattr(dense_kind, "toarray", lambda *_: pytest.fail("became dense"))
    items = read_items(tmp_path / "x.npz")
    assert items.kind == "vectors" and "of shape 100000, sparse" in items.understood
    vectors = encode(items)
    assert vectors.shape == (60, 59) and np.isfinite(vectors).all()
    topic = np.arange(60) % 2
    centres = np.stack([vectors[topic == k].mean(0) for k in (0, 1)])
    nearest = np.square(vectors[:, None] - centres).sum(-1).argmin(1)
    assert (nearest == topic).all()
    monkeypatch.setattr(sparse_items, "by_svd", lambda *_: pytest.fail("computed twice"))
    np.testing.assert_array_equal(encode(read_items(tmp_path / "x.npz")), vectors)
    assert list(read_items(kind(x)).ids) == list(items.ids)


def test_tfidf_of_texts_is_read_as_saved(tmp_path: Path) -> None:
    texts = [f"word{i % 4} and fox {i % 5}" for i in range(20)]
    x = TfidfVectorizer().fit_transform(texts)
    sparse.save_npz(tmp_path / "x.npz", x)
    items = read_items(tmp_path / "x.npz")
    np.testing.assert_allclose(encode(items), x.toarray()[:, np.unique(x.indices)])
    view = item_view(items, 0)
    assert view["kind"] == "text" and view["text"].startswith("column: value is ")
    assert main(["suggest", str(tmp_path / "x.npz"), "--k", "2", "--out", str(tmp_path / "s.csv")]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * np.inf, "is inf; impute"),
        (lambda x: sparse.csr_matrix((0, 5)), "not empty"),
        (lambda x: x.astype(complex), "type complex128"),
    ],
)
def test_sparse_files_that_are_refused(change: Any, message: str, tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "x.npz", change(wide(6, 50)))
    with pytest.raises(InputError, match=message):
        read_items(tmp_path / "x.npz")


def test_sparse_files_with_false_indices_are_refused(tmp_path: Path) -> None:
    parts = {"data": np.ones(2), "indices": np.array([0, 900]), "indptr": np.array([0, 2])}
    np.savez(tmp_path / "x.npz", format=np.array("csr"), shape=np.array([1, 3]), **parts)
    with pytest.raises(InputError, match="is not a sparse matrix"):
        read_items(tmp_path / "x.npz")


def hdf5(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **(options if np.ndim(values) else {}))
    return path


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": True}], ids=str)
def test_hdf5_means_what_npz_means(options: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=X, y=Y)
    plain = read_items(tmp_path / "a.npz")
    items = read_items(hdf5(tmp_path / "a.h5", {"embeddings": X, "labels": Y}, **options))
    np.testing.assert_array_equal(encode(items), X)
    assert items.ids == plain.ids and items.labels == plain.labels
    assert isinstance(items.vectors, np.memmap) == (not options)
    assert "X is the array 'embeddings'" in items.understood


def test_texts_names_and_groups_of_hdf5(tmp_path: Path) -> None:
    texts = [f"ein Text über {i}" for i in range(4)]
    names = np.array([f"n{i}" for i in range(4)], dtype="S")
    items = read_items(
        hdf5(tmp_path / "a.hdf5", {"all/text": texts, "all/ids": names, "all/y": [1, 2, -1, 2]})
    )
    assert items.texts == texts and items.ids == ("n0", "n1", "n2", "n3")
    assert list(items.labels) == ["1", "2", None, "2"]
    assert read_items(tmp_path / "a.hdf5", ReadOptions(no_label=True)).counts == {}
    mapped = read_items(hdf5(tmp_path / "b.h5", {"X": X, "text": [f"text {i}" for i in range(12)]}))
    assert item_view(mapped, 3)["text"] == "text 3" and encode(mapped).shape == (12, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": X, "b": X}, r"neither an array X nor text \(its arrays: a, b\)"),
        ({"train/X": X, "test/X": X}, "several arrays called 'X'"),
        ({"X": X, "y": Y[:4]}, r"y has shape \(4,\) for 12 items"),
        ({"X": X.astype(np.complex128)}, "'X' has type complex128; save numbers or texts"),
        ({"X": X[:, 0]}, r"X has shape \(12,\)"),
    ],
)
def test_hdf5_that_is_refused(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_items(hdf5(tmp_path / "a.h5", arrays))


def test_a_file_that_is_no_hdf5(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    with pytest.raises(InputError, match="is not a readable HDF5 file"):
        read_items(tmp_path / "a.h5")
