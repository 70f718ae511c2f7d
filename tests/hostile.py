"""What hostile files are made of, and what every refusal must look like."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from metaal_env.errors import InputError

EXAMPLES = [200, pytest.param(10_000, marks=pytest.mark.slow)]
"""Generated inputs per border, shared out among its tests: a few in every run, many in the slow one."""


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, witness: Path):
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.witness),)


def assert_sentence(error: BaseException | str, *arguments: str) -> None:
    """One line that names one of the arguments, a value and a mend."""
    message = str(error)
    assert "\n" not in message.strip() and "Traceback" not in message, message
    assert len(message) < 4000, message
    named = "|".join(map(re.escape, arguments))
    assert re.search(rf"(?<!\w)({named})(?!\w)", message), message
    assert re.search(r"['\"\d=\[(]| is \w+| inf\b| nan\b", message), f"no value: {message}"
    assert re.search(r"; |: |\bmust\b|\bgive\b|\buse\b|\bchoose\b", message), f"no mend: {message}"


def refused(error: BaseException, *arguments: str) -> None:
    """An `InputError` that is one sentence."""
    assert isinstance(error, InputError), repr(error)
    assert_sentence(error, *arguments)


def fuzz(examples: int) -> settings:
    """The same generated inputs in every run, so that a failure here is a failure anywhere."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
