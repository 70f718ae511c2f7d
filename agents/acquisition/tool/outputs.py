"""Files that a command writes: never over what it reads, and over a user's file only when told to."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from agents.acquisition.items.read_items import SPREADSHEETS
from agents.acquisition.tool.tables import read_table
from metaal_env.datasets.readers.image_files import SUFFIXES as IMAGE_SUFFIXES
from metaal_env.errors import FileError, InputError, brief

MARK = b"metaal"
"""Figures of this project name it in their metadata."""
MAX_MARKED = 2**26  # bytes; no figure of ours is larger
TABLES = ({"rank", "item", "score"}, {"labels", "rule", "correlation"}, {"policy", "aulc", "pools"})
"""Columns of the tables that the commands write: suggestions, a policy's report and a comparison."""


def check_outputs(
    outputs: Mapping[str, Path | None], reads: Iterable[Path], overwrite: bool, keeps: Path | None = None
) -> None:
    """Refuses outputs that would destroy something. Call before the work.

    Args:
        outputs: Option → file that the command will write; None where it writes none.
        reads: Files and folders that the command reads.
        overwrite: Whether to replace files that this tool did not write.
        keeps: A table of suggestions of which the command keeps a copy, once people filled it in.

    Raises:
        InputError: an output has the suffix of spreadsheets, is one of `reads`, lies in a folder of data and is or
            would be one of them, is named twice, is a folder, is a filled-in table of suggestions, or exists and was
            written by something else.
    """
    reads = list(reads)
    taken: list[tuple[str, Path]] = []
    for option, path in outputs.items():
        if path is None:
            continue
        what = f"{option}={str(path)!r}"
        if path.suffix.lower() in SPREADSHEETS:
            raise InputError(f"{what} would hold no spreadsheet but a CSV; let its name end in .csv.")
        for read in reads:
            if same_file(path, read):
                raise InputError(f"{what} is a file that this command reads; give another name.")
            if _inside(path, read) and (
                path.suffix.lower() in IMAGE_SUFFIXES or (os.path.lexists(path) and not is_ours(path))
            ):
                raise InputError(f"{what} lies among the data; write it to another folder.")
        for other, earlier in taken:
            if same_file(path, earlier):
                raise InputError(f"{what} is the file of {other} too; give another name.")
        taken.append((option, path))
        if os.path.isdir(path):
            raise InputError(f"{what} is a folder; give the name of a file in it.")
        if path != keeps and _filled_in(path):
            raise InputError(f"{what} is a table of suggestions with labels in it; give another name.")
        if os.path.lexists(path) and not is_ours(path) and not overwrite:
            raise InputError(
                f"{what} exists and was not written by this command; give another name, or --overwrite."
            )


def check_folders(outputs: Mapping[str, Path | None]) -> None:
    """Refuses files whose folder, or the nearest folder above that is there, takes no file. Call before the work.

    Args:
        outputs: As in `check_outputs`.

    Raises:
        FileError: the folder of an output can be neither written nor made.
    """
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            folder = next(above for above in path.absolute().parents if os.path.lexists(above))
            with tempfile.TemporaryFile(dir=folder):
                pass
        except (OSError, ValueError) as error:  # ValueError: a null byte
            raise FileError(
                f"{option}={str(path)!r} cannot be written ({brief(error)}); give another place."
            ) from error


def same_file(a: Path, b: Path) -> bool:
    """Returns whether two paths name one file, through links and on file systems that ignore case."""
    try:
        return os.path.realpath(a) == os.path.realpath(b) or os.path.samefile(a, b)
    except (OSError, ValueError):  # one does not exist
        return False


def is_ours(path: Path) -> bool:
    """Returns whether this tool wrote the file: a figure that it signed, or a table with one of its headers."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_MARKED:
            return False
        if path.suffix.lower() in (".png", ".svg", ".pdf"):
            return MARK in path.read_bytes()
        names = {name.strip().lower() for name in read_table(path, "").header}
    except (OSError, ValueError):
        return False
    return any(names >= columns for columns in TABLES)


def _filled_in(path: Path) -> bool:
    """Returns whether the file is a table of suggestions in which people entered labels."""
    if path.suffix.lower() in (".png", ".svg", ".pdf") or not is_ours(path):
        return False
    table = read_table(path, "")
    names = [name.strip().lower() for name in table.header]
    if not TABLES[0] <= set(names) or "label" not in names:
        return False
    place = names.index("label")
    return any(row[place].strip() for row in table.rows if len(row) > place)


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


def as_csv(rows: Iterable[Iterable[object]], *, for_people: bool = False) -> bytes:
    """Returns a table in UTF-8; what is no text in the name of a file is escaped.

    Args:
        for_people: Whether to begin other text than ASCII with a byte-order mark, without which spreadsheets
            show it wrongly.
    """
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    data = buffer.getvalue().encode("utf-8", "backslashreplace")
    return codecs.BOM_UTF8 + data if for_people and not data.isascii() else data


def printable_name(name: str) -> str:
    """Returns a name as a file can hold it: what is no text in the name of a file is escaped."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
