"""One process at a time in a folder of results."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from metaal_env.errors import FileError, InputError, brief
from metaal_env.runtime.files import clear_temporaries, refuse_outward_links

LOCK = ".lock"


def lock_folder(folder: Path, what: str) -> FileLock:
    """Locks `folder` for this process as long as the lock lives, and deletes temporary files of killed writers.

    Args:
        what: how messages begin, e.g. ``"out='results/x'"``.

    Raises:
        InputError: another process is at work there, or a link leads out of the folder.
        FileError: the folder cannot be written.
    """
    refuse_outward_links(folder, what)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{what}: another process is at work there; wait or choose another folder."
        ) from error
    except OSError as error:
        raise FileError(f"{what} cannot be written ({brief(error)}); give another place.") from error
    clear_temporaries(folder)
    return lock
