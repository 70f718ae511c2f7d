"""The exceptions that bad input raises; they name the argument, the value and the remedy."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Reports an unusable argument, file or option.

    The command lines print the message as one sentence and exit with code 2. In a library it is an ordinary
    `ValueError`.
    """


class InputTypeError(InputError, TypeError):
    """Reports an argument of the wrong type; also a `TypeError`, as scikit-activeml raises."""


class FileError(InputError, OSError):
    """Reports a file or folder that cannot be written; also an `OSError`."""


class OptionError(InputError, TypeError):
    """Reports an unknown option; also a `TypeError` in Python's words.

    Clients such as TorchRL pass options of their own and withdraw them at a `TypeError` that says "unexpected
    keyword argument".
    """


def brief(error: BaseException | str, most: int = 200) -> str:
    """Returns a library's message on one line, cut to fit in a sentence: some messages quote whole files."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


def some_of(texts: Sequence[str], most: int, between: str = ", ") -> str:
    """Returns the first texts and the number of those past `most`, e.g. ``"a, b and 3 more"``."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + more


def require_at_least(least: float, options: object, *names: str) -> None:
    """Checks the numbers that `options` holds under `names`; None passes.

    Raises:
        InputError: one is below `least`, infinite or not a number.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            finite = " and finite" if value == math.inf else ""
            raise InputError(f"{name}={value} must be at least {least}{finite}.")


def unknown_name(argument: str, value: object, known: Iterable[str]) -> InputError:
    """Returns the error for a name outside a registry; it suggests the nearest valid one.

    Args:
        argument: the caller's name of the argument, e.g. ``"dataset"``.
        value: the name that was not found.
        known: every valid name.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(f"{argument}={value!r} is unknown; {hint}choose one of: {', '.join(names)}.")
