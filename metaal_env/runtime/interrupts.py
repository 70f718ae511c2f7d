"""Ctrl-C and SIGTERM, put off until a training has written a checkpoint."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a scheduler sends some time before it kills."""


@contextmanager
def handling(handler: Callable[[int, Any], None], *numbers: signal.Signals) -> Iterator[None]:
    """Handles the signals within; those that the process ignores stay ignored, as under ``nohup``.

    Does nothing outside the main thread, where Python allows no handlers.
    """
    before = {n: signal.getsignal(n) for n in numbers}
    ours = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    if threading.current_thread() is not threading.main_thread():
        ours = {}
    try:
        for number in ours:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in ours.items():
            signal.signal(number, old)


def terminate(number: int, frame: Any) -> None:
    """A handler that raises `Terminated`."""
    raise Terminated


@contextmanager
def deferred_interrupts() -> Iterator[list[int]]:
    """Within, the first Ctrl-C or SIGTERM is only noted in the list that is yielded.

    The loop inside is to write a checkpoint and end once the list is not empty; then the signal takes effect. A
    second one takes effect at once.

    Raises:
        KeyboardInterrupt: at the end, or whatever else the signal means to the process.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        noted.append(number)
        if len(noted) > 1:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated
        print("\nstopping after this iteration; once more stops at once.", file=sys.stderr)

    with handling(note, *SIGNALS):
        yield noted
    if noted:
        signal.raise_signal(noted[0])
        raise KeyboardInterrupt  # its handler returned, but the work is not done
