"""Sparse matrices to items, such as TF-IDF of many words, without a dense copy."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from agents.acquisition.arrays import check_features
from agents.acquisition.items.encoding_cache import content_digest, encode_cached
from agents.acquisition.items.items import Items, content_ids
from agents.acquisition.own_head import MAX_COLUMNS, by_svd, dense
from metaal_env.datasets.readers.npz import DAMAGE, MAX_BYTES, read_arrays
from metaal_env.errors import InputError, brief

SHOWN = 12
"""Largest entries of a row that are shown."""
MAX_DENSE = 2**26
"""Numbers of a dense copy; more are brought to few dimensions."""
_SVD = "svd 1"
"""Name of the cached vectors; a change of `sparse_vectors` needs a new one."""


def is_sparse_file(path: Path) -> bool:
    """Returns whether an npz file is one of ``scipy.sparse.save_npz``."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"format.npy", "shape.npy", "data.npy"} <= set(archive.namelist())
    except DAMAGE:
        return False


def sparse_file_items(path: Path) -> Items:
    """Returns the items of a file of ``scipy.sparse.save_npz``: its rows.

    Raises:
        InputError: a damaged file, or entries that are no finite numbers.
    """
    what = f"data={str(path)!r}"
    declared = read_arrays(path, what, {"shape", "format"}.__contains__)
    arrays = read_arrays(path, what, {"data", "indices", "indptr", "row", "col", "offsets"}.__contains__)
    if sum(array.nbytes for array in arrays.values()) > MAX_BYTES or declared["shape"].shape != (2,):
        raise InputError(f"{what} is not a matrix, or too large to read; save fewer rows.")
    try:
        x = sparse.load_npz(path)
        x = x.tocsr()
        x.check_format(full_check=True)
    except (*DAMAGE, AttributeError, KeyError) as error:
        raise InputError(
            f"{what} is not a sparse matrix ({brief(error)}); use scipy.sparse.save_npz."
        ) from error
    return sparse_items(x, str(path))


def sparse_items(x: Any, source: str) -> Items:
    """Returns the rows of a sparse matrix as items.

    Raises:
        InputError: no rows or columns, or entries that are no finite numbers.
    """
    checked = sparse.csr_array(check_features(x, f"data={source!r}"))
    shown = [_shown(*row) for row in _rows(checked)]
    ids = content_ids(_contents(checked))
    return Items(source, ids, (None,) * len(ids), shown, matrix=checked, id_source="content")


def _rows(x: sparse.csr_array) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    for start, end in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        yield x.indices[start:end], x.data[start:end]


def _contents(x: sparse.csr_array) -> Iterable[bytes]:
    for columns, values in _rows(x):
        yield columns.astype(np.int64).tobytes() + values.astype(np.float32).tobytes()


def _shown(columns: np.ndarray, values: np.ndarray) -> str:
    largest = np.argsort(-np.abs(values), kind="stable")[:SHOWN]
    some = ", ".join(f"{columns[i]}: {values[i]:.4g}" for i in largest)
    more = f", {len(columns) - SHOWN} more" if len(columns) > SHOWN else ""
    return f"column: value is {some}{more}" if some else "an empty row"


def row_content(x: sparse.csr_array, i: int) -> bytes:
    """Returns what row `i` consists of."""
    return next(iter(_contents(x[[i]])))


def sparse_vectors(x: sparse.csr_array) -> np.ndarray:
    """Returns (N, D) vectors of sparse rows: the columns in use, or a truncated SVD of them where those are many.

    The SVD is computed once and then kept in METAAL_CACHE.
    """
    used = np.unique(x.indices)
    if len(used) <= MAX_COLUMNS and len(used) * x.shape[0] <= MAX_DENSE:
        return dense(x)
    whole = content_digest(b"".join((repr(x.shape).encode(), *_contents(x))))
    flat = encode_cached(_SVD, [whole], lambda _: by_svd(x, used).reshape(1, -1), "truncated SVD")
    return flat.reshape(x.shape[0], -1)
