"""Checkpoints of unfinished trainings: tensors and plain containers, with the configuration they belong to."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_bytes, write_atomic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MAX_CHECKPOINT = 2**32
"""Bytes; a larger file is not read."""


def write_checkpoint(path: Path, config: DataclassInstance, state: dict[str, Any]) -> None:
    """Writes the state of an unfinished training with the configuration it belongs to.

    The file is read back before it takes the place of the one before.

    Raises:
        FileError: it cannot be written; the checkpoint that was there before is intact.
    """
    buffer = io.BytesIO()
    torch.save(state | {"config": json.dumps(asdict(config))}, buffer)
    write_atomic(path, buffer.getvalue(), check=_read_state)


def read_checkpoint(path: Path, config: DataclassInstance) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote, or None when there is no such file.

    Only tensors and plain containers are unpickled (``weights_only``).

    Raises:
        InputError: damaged or foreign file, NaN or infinite tensors, or another configuration's checkpoint.
    """
    if not path.is_file():
        return None
    state = _read_state(path)
    # Through JSON, so that tuples and lists compare equal.
    theirs, ours = json.loads(state.pop("config")), json.loads(json.dumps(asdict(config)))
    if theirs != ours:
        differing = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
        raise InputError(
            f"checkpoint={str(path)!r} was made with other settings ({', '.join(differing)}); "
            "choose another run name or delete it."
        )
    if not _is_finite(state):
        raise InputError(
            f"checkpoint={str(path)!r} holds NaN or infinite numbers; delete it to start afresh."
        )
    return state


def _read_state(path: Path) -> dict[str, Any]:
    """The content of a checkpoint whose configuration is readable. Raises: `InputError`."""
    what = f"checkpoint={str(path)!r}"
    data = read_bytes(path, what, MAX_CHECKPOINT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # torch stores uncompressed; anything else could be a decompression bomb.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("compressed")
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(json.loads(state["config"]), dict):
            raise ValueError("no configuration")
    except Exception as error:  # hostile bytes make the unpickler raise almost anything
        raise InputError(f"{what} is damaged or foreign; delete it to start afresh.") from error
    return state


def _is_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return all(map(_is_finite, value)) if isinstance(value, (list, tuple)) else True


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Around putting a checkpoint's state back: what does not fit ends in one sentence. Raises: `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a tampered state can be wrong in any way
        raise InputError(
            f"checkpoint={str(path)!r} does not fit this training ({brief(error)}); delete it to start afresh."
        ) from error
