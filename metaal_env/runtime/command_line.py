"""The frame of every command line: bad input ends in one sentence, never in a traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from metaal_env.errors import InputError
from metaal_env.runtime.interrupts import Terminated, handling, terminate

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
        with handling(terminate, signal.SIGTERM):
            main()
            sys.stdout.flush()
    except BrokenPipeError:  # e.g. ``| head``
        discard_output()
        return 128 + PIPE
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


def say(line: object) -> None:
    """Prints a line at once; when nobody reads the output any more, the program goes on silently."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Discards further output. Call after a `BrokenPipeError`, which Python would otherwise report again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
