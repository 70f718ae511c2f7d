"""Files that a command writes: never over what it reads, and over a user's file only when told to."""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from metaal_env.datasets.readers.image_folder import is_image
from metaal_env.errors import FileError, InputError, brief

MARK = b"metaal"
"""Figures of this project name it in their metadata."""
MAX_MARKED = 2**26  # bytes; no figure of ours is larger


def check_outputs(
    outputs: Mapping[str, Path | None], reads: Iterable[Path], headers: Iterable[list[str]], overwrite: bool
) -> None:
    """Refuses outputs that would destroy something. Call before the work.

    Args:
        outputs: option → file that the command will write; None where it writes none.
        reads: files and folders that the command reads.
        headers: first rows by which tables of this tool are known.
        overwrite: allow to replace files that this tool did not write.

    Raises:
        InputError: an output is one of `reads`, lies in a folder of images and would be one of them, is named
            twice, or exists and was written by something else.
    """
    reads, taken = list(reads), list[tuple[str, Path]]()
    for option, path in outputs.items():
        if path is None:
            continue
        for read in reads:
            if same_file(path, read):
                raise InputError(f"{option}={str(path)!r} is a file that this command reads; give another name.")
            if _inside(path, read) and (is_image(path) or path.exists() and not is_ours(path, headers)):
                raise InputError(f"{option}={str(path)!r} lies among the data; write it to another folder.")
        for other, earlier in taken:
            if same_file(path, earlier):
                raise InputError(f"{option}={str(path)!r} is the file of {other} too; give another name.")
        taken.append((option, path))
        if _exists(path) and not is_ours(path, headers) and not overwrite:
            raise InputError(
                f"{option}={str(path)!r} exists and was not written by this command; give another name, or --overwrite."
            )


def same_file(a: Path, b: Path) -> bool:
    """Returns whether two paths name one file, through links and on file systems that ignore case."""
    try:
        return os.path.realpath(a) == os.path.realpath(b) or os.path.samefile(a, b)
    except (OSError, ValueError):  # one does not exist
        return False


def is_ours(path: Path, headers: Iterable[list[str]]) -> bool:
    """Returns whether this tool wrote the file: a table with one of the headers, or a figure that it signed."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_MARKED:
            return False
        data = path.read_bytes()
    except (OSError, ValueError):
        return False
    if path.suffix.lower() in (".png", ".svg", ".pdf"):
        return MARK in data
    first = data.partition(b"\n")[0].decode("utf-8", "replace").strip()
    return any(first == _line(header).strip() for header in headers)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # a null byte
        return False


def _inside(path: Path, folder: Path) -> bool:
    try:
        return folder.is_dir() and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):
        return False


def keep_copy(path: Path) -> Path:
    """Copies a file to the first free name of ``name.1.csv``, ``name.2.csv``, …; returns that name.

    Raises:
        FileError: the copy cannot be written.
    """
    names = (path.with_name(f"{path.stem}.{i}{path.suffix}") for i in itertools.count(1))
    copy = next(name for name in names if not os.path.lexists(name))
    try:
        shutil.copy2(path, copy)
    except OSError as error:
        raise FileError(f"file={str(copy)!r} cannot be written ({brief(error)}); free the folder.") from error
    return copy


def as_csv(rows: Iterable[Iterable[object]]) -> bytes:
    """Returns a table in UTF-8; characters of file names that are no text are escaped."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def _line(header: list[str]) -> str:
    return as_csv([header]).decode()
