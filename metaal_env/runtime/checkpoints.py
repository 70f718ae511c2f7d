"""Checkpoints of unfinished trainings: tensors and plain containers, with their configuration."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_bytes, write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Config = DataclassInstance | Mapping[str, Any]

MAX_CHECKPOINT = 2**32
"""Largest file in bytes that is read."""


def write_checkpoint(path: Path, config: Config, state: dict[str, Any]) -> None:
    """Writes the state and the configuration of an unfinished training.

    The file is read back before it replaces the previous one.

    Raises:
        FileError: the file cannot be written; the previous checkpoint is intact.
    """
    buffer = io.BytesIO()
    torch.save(state | {"config": json.dumps(_plain(config))}, buffer)
    write_atomic(path, buffer.getvalue(), check=_read_state)


def read_checkpoint(path: Path, config: Config, changeable: Collection[str] = ()) -> dict[str, Any] | None:
    """Returns the state and configuration that `write_checkpoint` wrote, or None when there is no such file.

    Only tensors and plain containers are unpickled (``weights_only``).

    Args:
        changeable: names of settings that may differ from the checkpoint's.

    Raises:
        InputError: the file is damaged or foreign, holds NaN or infinite tensors, or has another configuration.
    """
    if not path.is_file():
        return None
    state = _read_state(path)
    # Through JSON, so that tuples and lists compare equal.
    state["config"] = json.loads(state["config"])
    if differing := differences(state["config"], json.loads(json.dumps(_plain(config))), changeable):
        raise InputError(
            f"checkpoint={str(path)!r} was made with other settings ({'; '.join(differing)}); "
            "give the same settings, choose another run name or delete it."
        )
    if not _is_finite(state):
        raise InputError(
            f"checkpoint={str(path)!r} holds NaN or infinite numbers; delete it to start afresh."
        )
    return state


def differences(old: dict[str, Any], new: dict[str, Any], changeable: Collection[str] = ()) -> list[str]:
    """Returns a phrase for each setting that differs, with both values: ``"clip is 0.1, was 0.2"``."""

    def text(settings: dict[str, Any], name: str) -> str:
        return brief(json.dumps(settings[name]), 60) if name in settings else "no setting"

    names = sorted((old.keys() | new.keys()) - set(changeable))
    missing = object()
    return [
        f"{name} is {text(new, name)}, was {text(old, name)}"
        for name in names
        if old.get(name, missing) != new.get(name, missing)
    ]


def _plain(config: Config) -> dict[str, Any]:
    return asdict(config) if is_dataclass(config) else dict(cast("Mapping[str, Any]", config))


def _read_state(path: Path) -> dict[str, Any]:
    """Reads a checkpoint and checks that its configuration is readable. Raises: `InputError`."""
    subject = f"checkpoint={str(path)!r}"
    data = read_bytes(path, subject, MAX_CHECKPOINT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch stores uncompressed; anything else could be a decompression bomb.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(json.loads(state["config"]), dict):
            raise ValueError("no configuration")
    except Exception as error:  # hostile bytes make the unpickler raise almost anything
        raise InputError(f"{subject} is damaged or foreign; delete it to start afresh.") from error
    return state


def _is_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, (list, tuple)) else True


@contextmanager
def as_input_error(path: Path) -> Iterator[None]:
    """Turns any error of restoring a checkpoint's state into one sentence. Raises: `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a tampered state can be wrong in any way
        raise InputError(
            f"checkpoint={str(path)!r} does not fit this training ({brief(error)}); delete it to start afresh."
        ) from error
