"""One process at a time in a folder of results."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from metaal_env.errors import FileError, InputError, brief
from metaal_env.runtime.files import clear_temporaries, refuse_outward_links

LOCK = ".lock"


def lock_folder(folder: Path, subject: str) -> FileLock:
    """Locks `folder` for this process as long as the lock lives, and deletes temporary files of killed writers.

    Args:
        subject: start of error messages, e.g. ``"out='results/x'"``.

    Returns:
        The lock; the folder stays locked for as long as it lives.

    Raises:
        InputError: another process uses the folder, or a link leads out of it.
        FileError: the folder cannot be written.
    """
    refuse_outward_links(folder, subject)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{subject}: another process is at work there; wait or choose another folder."
        ) from error
    except OSError as error:
        raise FileError(f"{subject} cannot be written ({brief(error)}); give another place.") from error
    clear_temporaries(folder)
    return lock
