"""Artifacts: weights as safetensors beside a JSON description; nothing here reads or writes pickles."""

from __future__ import annotations

import io
import json
import os
import pickle
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from metaal_env.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCHEMA = 1
MAX_BYTES = 256 * 2**20
"""No policy or inner learner of ours comes near this; a larger file is refused before it is read."""

_UMASK = os.umask(0)
os.umask(_UMASK)  # it can only be read by setting it


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a whole file or nothing: temporary file in the same folder, flush to disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)  # mkstemp's files are private; these are like any other
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_artifact(
    stem: Path, kind: str, module: nn.Module, config: dict[str, Any], summary: dict[str, Any]
) -> None:
    """Writes ``<stem>.safetensors`` and ``<stem>.json``.

    Args:
        stem: path without suffix.
        kind: ``"learner"`` or ``"policy"``; checked on loading.
        module: whose `state_dict` is stored.
        config: what rebuilds the module.
        summary: how it was trained; free form.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    card = {
        "schema": SCHEMA,
        "kind": kind,
        "config": config,
        "summary": summary,
        "versions": {name: version(name) for name in ("torch", "gymnasium", "stable-baselines3", "numpy")},
    }
    write_atomic(stem.with_name(stem.name + ".safetensors"), save_tensors(tensors))
    write_atomic(stem.with_name(stem.name + ".json"), json.dumps(card, indent=2).encode())


def load_artifact(stem: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads what `save_artifact` wrote: the description and the tensors.

    Raises:
        InputError: a file is missing, too large, damaged, foreign, of another kind or of a later schema.
    """
    stem = Path(stem)
    weights, card_file = stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")
    for file in (weights, card_file):
        if not file.is_file():
            raise InputError(
                f"{kind}={str(stem)!r}: {file.name} is missing; give the path of a saved {kind}."
            )
        if file.stat().st_size > MAX_BYTES:
            raise InputError(
                f"{kind}={str(stem)!r}: {file.name} exceeds {MAX_BYTES} bytes; it is no metaal {kind}."
            )
    try:
        card = json.loads(card_file.read_bytes())
        tensors = load_tensors(weights.read_bytes())
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"{kind}={str(stem)!r} is damaged or foreign ({error}); save it again.") from error
    if not isinstance(card, dict) or card.get("kind") != kind or not isinstance(card.get("config"), dict):
        raise InputError(f"{kind}={str(stem)!r}: {card_file.name} does not describe a metaal {kind}.")
    if card.get("schema") != SCHEMA:
        raise InputError(
            f"{kind}={str(stem)!r} has schema {card.get('schema')!r}, this version reads {SCHEMA}; update metaal."
        )
    return card, tensors


def load_weights(module: nn.Module, tensors: dict[str, Tensor], what: str) -> None:
    """Copies `tensors` into `module`. Raises: `InputError` when names or shapes do not fit."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(f"{what} does not fit its own description ({first}); save it again.") from error
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise InputError(f"{what} holds NaN or infinite weights in {name!r}; train it again.")


def write_checkpoint(path: Path, config: DataclassInstance, state: dict[str, Any]) -> None:
    """Writes the state of an unfinished training, atomically, with the configuration it belongs to."""
    buffer = io.BytesIO()
    torch.save(state | {"config": json.dumps(asdict(config))}, buffer)
    write_atomic(path, buffer.getvalue())


def read_checkpoint(path: Path, config: DataclassInstance) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote, or None when there is no such file.

    Only tensors and plain containers are unpickled (``weights_only``).

    Raises:
        InputError: damaged file, or one that belongs to another configuration.
    """
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        theirs = json.loads(state.pop("config"))
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError) as error:
        raise InputError(
            f"checkpoint={str(path)!r} is damaged or foreign; delete it to start afresh."
        ) from error
    # Through JSON, so that tuples and lists compare equal.
    ours = json.loads(json.dumps(asdict(config)))
    if theirs != ours:
        differing = sorted(k for k in theirs.keys() | ours.keys() if theirs.get(k) != ours.get(k))
        raise InputError(
            f"checkpoint={str(path)!r} was made with other settings ({', '.join(differing)}); "
            "choose another run name or delete it."
        )
    return state
