"""Reads a path as a `ClassDataset`: npz, CSV or a folder of images."""

from __future__ import annotations

from pathlib import Path

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.readers.image_folder import load_image_folder
from metaal_env.datasets.readers.npz import load_npz
from metaal_env.datasets.readers.table import is_table, load_csv
from metaal_env.errors import InputError, brief

READERS = {".npz": load_npz, ".csv": load_csv, ".tsv": load_csv}
"""Suffix → reader, which takes the path and the name for messages."""


def is_folder(path: Path, subject: str) -> bool:
    """Returns whether a path is a folder rather than a file. Raises: `InputError` if nothing can be opened there."""
    try:
        if path.is_dir() or path.is_file():
            return path.is_dir()
    except (OSError, ValueError) as error:
        raise InputError(f"{subject} cannot be opened ({brief(error)}); check the path.") from error
    raise InputError(f"{subject}: there is no such file or folder; check the path.")


def load_file(path: Path, name: str, label: str | None = None) -> ClassDataset:
    """Reads ``*.npz``, ``*.csv``, ``*.tsv`` or a folder with one sub-folder of images per class.

    Args:
        label: column of a table that holds the classes, if it is known.

    Raises:
        InputError: the path is missing, of another kind, or has unusable contents.
    """
    if is_folder(path, f"dataset={name!r}"):
        return load_image_folder(path, name)
    if is_table(path):
        return load_csv(path, name, label)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"dataset={name!r} has the suffix {path.suffix!r}; give a file ending in "
            f"{' or '.join(sorted(READERS))}, or a folder with one sub-folder of images per class."
        )
    return reader(path, name)
