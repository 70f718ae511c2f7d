"""Files that are written whole or not at all, and read within bounds."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metaal_env.errors import FileError, InputError, brief

MAX_JSON = 16 * 2**20
MAX_DEPTH = 64

TEMPORARY = ".tmp"

_UMASK = os.umask(0)
os.umask(_UMASK)  # it can only be read by setting it


def write_atomic(path: Path, data: bytes, check: Callable[[Path], object] | None = None) -> None:
    """Writes a whole file or nothing: temporary file in the same folder, flush to disk, rename.

    Args:
        check: reads the temporary file back. If it raises, the file at `path` is not changed.

    Raises:
        FileError: the folder or the file cannot be written; an existing file is intact.
    """
    write_together({path: data}, check)


def write_together(contents: Mapping[Path, bytes], check: Callable[[Path], object] | None = None) -> None:
    """Writes several files, and renames them only when all are safely on disk, so that a full disk changes none.

    Raises:
        FileError: as `write_atomic`.
    """
    temporary: dict[Path, Path] = {}
    path = Path()
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(TEMPORARY, f".{path.name}.", path.parent)
            temporary[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o666 & ~_UMASK)  # mkstemp's files are private
            if check is not None:
                check(temporary[path])
        for path, written in temporary.items():
            os.replace(written, path)
        for folder in {path.parent for path in temporary}:
            _sync_folder(folder)
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        if isinstance(error, InputError):
            raise
        raise FileError(
            f"file={str(path)!r} cannot be written ({brief(error)}); give another place."
        ) from error
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def clear_temporaries(folder: Path) -> None:
    """Deletes temporary files of killed writers under `folder`. Call only while holding the folder's lock."""
    for file in folder.rglob(f".*{TEMPORARY}"):
        file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes renames in `folder` survive a power cut, where a folder can be opened (not on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # Some network file systems refuse it.
    finally:
        os.close(handle)


def read_bytes(path: Path, subject: str, most: int) -> bytes:
    """Returns the contents of a regular file of at most `most` bytes.

    Args:
        subject: start of error messages, e.g. ``"dataset='a.csv'"``.

    Raises:
        InputError: missing, no regular file, unreadable or too large.
    """
    try:
        if not path.is_file():  # a pipe or a device could block for ever
            raise InputError(f"{subject}: {path.name!r} is missing or no regular file; check the path.")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{subject} cannot be read ({brief(error)}); check the path.") from error
    if len(data) > most:
        raise InputError(f"{subject}: {path.name!r} exceeds {most:,} bytes; give a smaller file.")
    return data


def read_text(path: Path, subject: str, most: int) -> str:
    """Returns the contents of a UTF-8 file without its byte-order mark. Raises: `InputError` as `read_bytes`."""
    try:
        return read_bytes(path, subject, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{subject} is not UTF-8 ({brief(error)}); save it as UTF-8.") from error


def read_json(path: Path, subject: str, most: int = MAX_JSON) -> dict[str, Any]:
    """Returns a JSON object of bounded size and depth.

    Raises:
        InputError: as `read_bytes`, or the file is not a JSON object or is nested deeper than `MAX_DEPTH`.
    """
    data = read_bytes(path, subject, most)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{subject}: {path.name!r} is damaged ({brief(error)}); save it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{subject}: {path.name!r} is damaged (no JSON object); save it again.")
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        layer = [
            x
            for v in layer
            for x in (v.values() if isinstance(v, dict) else v)
            if isinstance(x, (dict, list))
        ]
        if not layer:
            return value
    raise InputError(f"{subject}: {path.name!r} is damaged (nested deeper than {MAX_DEPTH}); save it again.")


def refuse_unwritable(folder: Path, subject: str) -> None:
    """Refuses a folder that neither is there nor can be made; leaves none behind. Raises: `FileError`."""
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{subject} cannot be made ({brief(error)}); give another folder.") from error
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def refuse_outward_links(folder: Path, subject: str) -> None:
    """Refuses a folder with a link that leads out of it, through which writing would change files elsewhere.

    Raises:
        InputError: there is such a link, or `folder` is not a usable path.
    """
    try:
        root = folder.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise InputError(f"{subject} is not a usable path ({brief(error)}); give another folder.") from error
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            link = Path(parent) / name
            if link.is_symlink() and not Path(os.path.realpath(link)).is_relative_to(root):
                raise InputError(
                    f"{subject}: {str(link)!r} is a link that leads out of the folder; delete it."
                )
