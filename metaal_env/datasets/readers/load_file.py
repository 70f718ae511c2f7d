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


def load_file(path: Path, name: str, label: str | None = None) -> ClassDataset:
    """Reads ``*.npz``, ``*.csv``, ``*.tsv`` or a folder with one sub-folder of images per class.

    Args:
        label: column of a table that holds the classes, if it is known.

    Raises:
        InputError: the path is missing, of another kind, or has unusable contents.
    """
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise InputError(f"dataset={name!r} cannot be opened ({brief(error)}); check the path.") from error
    if is_folder:
        return load_image_folder(path, name)
    if not is_file:
        raise InputError(f"dataset={name!r}: there is no such file or folder; check the path.")
    if is_table(path):
        return load_csv(path, name, label)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"dataset={name!r} has the suffix {path.suffix!r}; give a file ending in "
            f"{' or '.join(sorted(READERS))}, or a folder with one sub-folder of images per class."
        )
    return reader(path, name)
