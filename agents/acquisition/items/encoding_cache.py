"""Keeps the vectors of texts and images on disk, by their content, so that no command encodes them twice."""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from metaal_env.datasets.cache import cache_dir
from metaal_env.errors import brief

T = TypeVar("T")

CHUNK = 256
"""Items encoded and stored at a time; what was encoded before an interruption is not lost."""
_TIMEOUT = 10.0  # seconds to wait for another process's write
_LOOKED_UP = 500  # SQLite takes 999 variables in one statement


def cache_path() -> Path:
    """Returns the file of the cache. It may be deleted at any time."""
    return cache_dir() / "encodings.sqlite"


def content_digest(content: bytes) -> str:
    """Returns what names a content in the cache."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def encode_cached(
    encoder: str,
    digests: Sequence[str],
    encode: Callable[[list[int]], np.ndarray],
    label: str,
    chunk: int = CHUNK,
) -> np.ndarray:
    """Returns (N, D) float32 vectors: those in the cache, and the others newly encoded and then stored.

    A cache that cannot be read or written costs a warning and the encoding of all items.

    Args:
        encoder: Name and version of what encodes; vectors of another name are not taken.
        digests: `content_digest` of each item. Equal items are encoded once.
        encode: Positions of b items → (b, D) vectors.
        label: What the progress bar says.
        chunk: Items to encode at a time.
    """
    kept = _load(encoder, set(digests))
    known = kept or {}
    missing = {digest: position for position, digest in reversed(list(enumerate(digests)))}
    todo = sorted(position for digest, position in missing.items() if digest not in known)
    with tqdm(total=len(todo), desc=label, unit="item", disable=None if todo else True) as bar:
        for start in range(0, len(todo), chunk):
            positions = todo[start : start + chunk]
            rows = np.asarray(encode(positions), dtype=np.float32)
            fresh = {digests[position]: row for position, row in zip(positions, rows, strict=True)}
            known.update(fresh)
            if kept is not None:
                _store(encoder, fresh)
            bar.update(len(positions))
    return np.stack([known[digest] for digest in digests])


def _load(encoder: str, digests: set[str]) -> dict[str, np.ndarray] | None:
    def look_up(connection: sqlite3.Connection) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        wanted = sorted(digests)
        for start in range(0, len(wanted), _LOOKED_UP):
            part = wanted[start : start + _LOOKED_UP]
            marks = ",".join("?" * len(part))
            query = f"SELECT digest, vector FROM vectors WHERE encoder = ? AND digest IN ({marks})"
            for digest, vector in connection.execute(query, (encoder, *part)):
                found[digest] = np.frombuffer(vector, dtype=np.float32)
        return found

    return _with_database(look_up)


def _store(encoder: str, vectors: dict[str, np.ndarray]) -> None:
    rows = [(encoder, digest, vector.tobytes()) for digest, vector in vectors.items()]
    _with_database(lambda c: c.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows))


def _with_database(action: Callable[[sqlite3.Connection], T]) -> T | None:
    """Runs an action on the cache in one transaction. Returns None, with a warning, where that fails."""
    path = cache_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _transaction(path, action)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, read-only or a full disk: no damage
                raise
            path.unlink()
            return _transaction(path, action)
    except (sqlite3.Error, OSError) as error:
        warnings.warn(
            f"encodings are not kept ({path}: {brief(error)}); set METAAL_CACHE to a folder that can be written.",
            stacklevel=4,
        )
        return None


def _transaction(path: Path, action: Callable[[sqlite3.Connection], T]) -> T:
    with closing(sqlite3.connect(path, timeout=_TIMEOUT)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors "
            "(encoder TEXT, digest TEXT, vector BLOB, PRIMARY KEY (encoder, digest)) WITHOUT ROWID"
        )
        return action(connection)
