"""``metaal train --status RUN``: how far a run is, read from its folder by any shell."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from agents.training.run_record import FINISHED
from metaal_env.errors import InputError
from metaal_env.runtime.command_line import say
from metaal_env.runtime.executor.progress import PROGRESS, duration
from metaal_env.runtime.files import read_json

SILENT = 60.0
"""Seconds without a sign of life after which a run may have ended."""


@dataclass
class StatusOptions:
    """Says which run is looked at."""

    status: Path
    """Folder of the run."""


def show_status(options: StatusOptions) -> None:
    """Prints how far a run is. Raises: `InputError` if the folder holds none."""
    for line in status_lines(options.status, time.time()):
        say(line)


def status_lines(folder: Path, now: float) -> list[str]:
    """Returns how far the run in `folder` is, line by line.

    Raises:
        InputError: the folder holds no run, or its record is damaged.
    """
    file = folder / PROGRESS
    if (folder / FINISHED).is_file():
        return ["finished"]
    if not file.is_file():
        raise InputError(
            f"status={str(folder)!r} holds no {PROGRESS}; give the folder of a run that has begun."
        )
    record = read_json(file, f"status={str(file)!r}")
    try:
        lines = [
            f"{record['title']}: {record['finished']} of {record['total']} parts are finished; {record['place']}"
        ]
        if record["state"] == "running":
            silent = now - float(record["time"])
            if record["seconds_left"] is not None:
                lines.append(f"about {duration(float(record['seconds_left']))} left")
            if silent > SILENT:
                lines.append(
                    f"no sign of life for {duration(silent)}: a long part, or an end; the same command continues it"
                )
        else:
            lines.append(str(record["state"]))
        lines += [f"in work for {duration(float(age))}: {name}" for name, age in record["in_work"].items()]
        lines += [f"lost: {text}" for text in record["lost"]]
        lines += [f"failed: {name}: {text}" for name, text in record["failed"].items()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"status={str(file)!r} is damaged; wait for the next part, or delete it.") from error
    return lines
