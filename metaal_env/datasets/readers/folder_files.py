"""Files of a folder: found at any depth, and read one after the other; what cannot be read is named together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from metaal_env.errors import InputError, some_of

T = TypeVar("T")

_SERVICE_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"}


class FolderFiles(NamedTuple):
    """Holds the files that were looked for, and the number of others by suffix. Hidden files are in neither."""

    paths: list[Path]
    left_out: dict[str, int]


def files_below(root: Path, wanted: Callable[[Path], bool]) -> FolderFiles:
    """Finds files at any depth below `root`, sorted by path.

    Hidden files and folders and the service folders of operating systems are skipped.

    Args:
        wanted: says of a regular file whether it is looked for. Pipes and devices, which could block for ever, never
            are.

    Raises:
        InputError: a folder cannot be read.
    """
    paths: list[Path] = []
    left_out: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(root, onerror=_refuse):
        subfolders[:] = [s for s in subfolders if not s.startswith(".") and s not in _SERVICE_FOLDERS]
        for path in (Path(folder) / name for name in names if not name.startswith(".")):
            if not os.path.isfile(path):  # also where permissions forbid to look
                if path.is_symlink():  # files that git-annex has not fetched, say
                    left_out["behind broken links"] += 1
            elif wanted(path):
                paths.append(path)
            else:
                left_out[path.suffix.lower() or "without a suffix"] += 1
    return FolderFiles(sorted(paths), dict(sorted(left_out.items())))


def _refuse(error: OSError) -> None:
    raise InputError(f"folder {error.filename!r} cannot be read ({error.strerror}); check its permissions.")


def read_each(
    paths: Iterable[Path], read: Callable[[Path], T], unit: str, label: str | None = None, mend: str = ""
) -> Iterator[T]:
    """Yields what `read` makes of each file.

    Args:
        read: raises `InputError` for a file that cannot be read.
        unit: what a file is called, e.g. ``"image"``.
        label: of a progress bar; None for no bar.
        mend: ends the error, e.g. ``", or add --skip-unreadable"``.

    Raises:
        InputError: after the last file, naming the first ones of those that cannot be read.
    """
    failures: list[InputError] = []
    for path in tqdm(list(paths), label, unit=unit, disable=None if label else True):
        try:
            yield read(path)
        except InputError as error:
            failures.append(error)
    if len(failures) == 1:
        raise InputError(f"{str(failures[0]).rstrip('.')}{mend}.")
    if failures:
        named = some_of([str(error).rstrip(".") for error in failures], 5, "; ")
        raise InputError(f"{len(failures)} {unit}s cannot be read: {named}{mend}.")


def unreadable_files(paths: Iterable[Path], read: Callable[[Path], object], unit: str) -> dict[Path, str]:
    """Returns the files that cannot be read, with the reason; arguments as of `read_each`."""
    broken: dict[Path, str] = {}
    for path in tqdm(list(paths), f"checking {unit}s", unit=unit, disable=None):
        try:
            read(path)
        except InputError as error:
            broken[path] = str(error)
    return broken
