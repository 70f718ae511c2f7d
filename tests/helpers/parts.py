"""Functions that tests give to workers, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch

from metaal_env.errors import FileError, InputError


def square(number: float) -> float:
    return number * number


def scaled(shared: list[float], place: int) -> float:
    return 10 * shared[place]


def threads_and_process() -> tuple[int, int]:
    return torch.get_num_threads(), os.getpid()


def killed_once(folder: Path, number: int) -> int:
    """Kills its own worker the first time that it is called for a number."""
    mark = folder / f"killed-{number}"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def killed_always(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def bad_file(number: int) -> int:
    if number == 1:
        raise InputError("file='b.csv' is damaged; save it again.")
    return number


def defect(number: int) -> float:
    return 1 / number


def full_disk(folder: Path, number: int) -> int:
    (folder / f"begun-{number}").touch()
    if number == 0:
        raise FileError("file='x' cannot be written (No space left on device); give another place.")
    time.sleep(0.2)
    return number


def unpicklable(number: int) -> Any:
    return lambda: number


def marked(folder: Path, number: int, seconds: float = 0.0) -> int:
    time.sleep(seconds)
    (folder / f"done-{number}").touch()
    return number


def total(folder: Path) -> int:
    """Counts what `marked` has left."""
    return len(list(folder.glob("done-*")))


def broken_reward(before: Any, after: Any, *_: Any) -> torch.Tensor:
    return after.accuracy * torch.nan
