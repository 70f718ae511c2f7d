"""The frame of every command line: options from a dataclass, threads, and bad input that ends in one sentence."""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

import torch
import tyro
from threadpoolctl import threadpool_limits

from metaal_env.errors import InputError
from metaal_env.runtime.interrupts import Terminated, handling, terminate

_PACKAGES = [Path(__file__).resolve().parents[2] / name for name in ("metaal_env", "agents")]
THREADS = "OMP_NUM_THREADS"
"""Environment variable with the number of threads of a command; one where it is not set."""

T = TypeVar("T")


def run_command(
    kind: type[T],
    run: Callable[[T], object],
    description: str | None,
    *,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Reads the options of a command, runs it and returns the exit code.

    Use as ``sys.exit(run_command(Options, main, __doc__))``.

    Args:
        kind: dataclass of the options; the docstring under each field is its help text.
        run: function of the options.
        description: first lines of the help.
        arguments: words of the command line; those of this process by default.
        program: name of the command in its help.
    """
    options: Any = kind
    return run_cli(lambda: run(tyro.cli(options, args=arguments, description=description, prog=program)))


PIPE = 13
"""Number of SIGPIPE, which Windows lacks."""


def run_cli(main: Callable[[], object]) -> int:
    """Runs `main` and returns the exit code.

    The code is 0 after success, 2 after bad input or an unusable file, 130 after Ctrl-C, 141 when nobody reads the
    output any more and 143 after SIGTERM. Characters that the terminal cannot show are replaced.

    Use as ``sys.exit(run_cli(main))``.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        with handling(terminate, signal.SIGTERM), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _limit_threads()
            main()
            sys.stdout.flush()
    except BrokenPipeError:  # e.g. ``| head``
        discard_output()
        return 128 + PIPE
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich exits with code 1
            return 128 + PIPE
        raise
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # no permission, too many open files: the message names the file
        print(f"error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"error: memory is exhausted ({error}); ask for less at once.", file=sys.stderr)
        return 2
    except Terminated:
        print("terminated; run the same command again to continue.", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("interrupted; run the same command again to continue.", file=sys.stderr)
        return 130
    return 0


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Prints our own warnings as one line; those of libraries keep the place in the code that they are about."""
    if category is UserWarning and any(Path(filename).is_relative_to(folder) for folder in _PACKAGES):
        text = f"warning: {message}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def _limit_threads() -> None:
    """Limits torch and the libraries behind NumPy and scikit-learn to `THREADS` threads.

    On two cores, two busy threads wait for each other more than they compute.

    Raises:
        InputError: the variable holds no positive whole number.
    """
    # Libraries that are loaded later, and child processes, read the variable themselves.
    text = os.environ.setdefault(THREADS, "1")
    first = text.partition(",")[0]  # a list gives a number for each level of nesting
    if not first.isdecimal() or int(first) < 1:
        raise InputError(f"{THREADS}={text!r} must be a whole number, at least 1; set it so, or unset it.")
    torch.set_num_threads(int(first))
    threadpool_limits(int(first))


def as_value(word: str) -> Any:
    """Returns a word of a command line as a number, a boolean or what else it is in JSON; else as it is."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def say(line: object) -> None:
    """Prints a line at once; when nobody reads the output any more, the program goes on silently."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Discards further output. Call after a `BrokenPipeError`, which Python would otherwise report again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
