"""What hostile files are made of, and what every refusal must look like."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from safetensors.torch import save as save_tensors
from torch import Tensor

from agents.policy.network import AcquisitionNetwork
from agents.policy.sb3_policy import LearnedStrategy
from metaal_env.errors import InputError
from metaal_env.runtime import artifacts
from metaal_env.runtime.locks import LOCK

EXAMPLES = [200, pytest.param(10_000, marks=pytest.mark.slow)]
"""Generated inputs per border, shared out among its tests: a few in every run, many in the slow one."""
COMMANDS = [100, *EXAMPLES[1:]]
"""The same where each input is a whole command, which takes long."""


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, witness: Path) -> None:
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


@dataclass
class Config:
    """A training's configuration."""

    seed: int = 0


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path but empty lock files, which mark whose folder it is."""
    return {
        str(p): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
        if p.name != LOCK or p.is_symlink() or p.stat().st_size
    }


def resign(stem: Path, **changes: Any) -> None:
    """Makes the description fit the weights again, as an attacker would."""
    card_file, data = (
        stem.with_name(stem.name + ".json"),
        stem.with_name(stem.name + ".safetensors").read_bytes(),
    )
    card = json.loads(card_file.read_text()) | {"sha256": hashlib.sha256(data).hexdigest()}
    with contextlib.suppress(Exception):
        card["shapes"] = artifacts._shapes(artifacts._tensors(data, "policy"))
    card_file.write_text(json.dumps(card | changes))


def policy(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None) -> None:
    """Saves a policy, with `change`d weights that its description fits."""
    LearnedStrategy(AcquisitionNetwork()).save(folder / "policy", {})
    if change is not None:
        tensors = change(AcquisitionNetwork().state_dict())
        (folder / "policy.safetensors").write_bytes(save_tensors(tensors))
        resign(folder / "policy")
