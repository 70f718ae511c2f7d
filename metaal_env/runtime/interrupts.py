"""Ctrl-C and SIGTERM, deferred until a training has written a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """Signals SIGTERM, which a scheduler sends some time before it kills a process."""


@contextmanager
def handling(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handles the signals within the block; ignored ones stay ignored, as under ``nohup``.

    Outside the main thread, where Python allows no handlers, it does nothing.
    """
    before = {n: signal.getsignal(n) for n in numbers}
    handled = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        handled = {}
    try:
        for number in handled:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in handled.items():
            signal.signal(number, old)


def terminate(number: int, frame: Any) -> None:
    """Raises `Terminated`; a signal handler."""
    raise Terminated


@contextmanager
def deferred_interrupts() -> Iterator[list[int]]:
    """Defers the first Ctrl-C or SIGTERM within the block and adds it to the list that is yielded.

    The loop inside should write a checkpoint and end once the list is not empty. Then the signal takes effect. A
    second signal takes effect at once.

    Raises:
        KeyboardInterrupt: at the end of the block, unless the process handles the signal otherwise.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        if len(noted) > 1:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        print("\nstopping after this iteration; press once more to stop at once.", file=sys.stderr)

    with handling(note, *SIGNALS):
        yield noted
    if noted:
        signal.raise_signal(noted[0])
        raise KeyboardInterrupt  # its handler returned, but the work is not done
