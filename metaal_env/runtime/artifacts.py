"""Artifacts: weights as safetensors beside a JSON description; nothing here reads or writes pickled code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metaal_env.errors import InputError, brief
from metaal_env.runtime.files import read_bytes, read_json, write_together

SCHEMA = 2
"""Version of the description. Version 1 had no checksum and no shapes; it is still read."""

MAX_BYTES = 256 * 2**20
"""Largest file that is read, far above any policy or inner learner of this project."""
MAX_CARD = 2**20
MAX_TENSORS = 10_000
MAX_HEADER = 2**21


def save_artifact(
    stem: Path, kind: str, module: nn.Module, config: dict[str, Any], summary: dict[str, Any]
) -> None:
    """Writes ``<stem>.safetensors`` and ``<stem>.json``.

    Args:
        stem: path without suffix.
        kind: ``"learner"``, ``"policy"`` or ``"strategy"``; checked on loading.
        module: module of which the `state_dict` is stored.
        config: arguments that rebuild the module.
        summary: how the module was trained, in free form.

    Raises:
        FileError: a file cannot be written; an artifact that existed before is intact.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    data = save_tensors(tensors)
    card = {
        "schema": SCHEMA,
        "kind": kind,
        "config": config,
        "summary": summary,
        "sha256": hashlib.sha256(data).hexdigest(),
        "shapes": _shapes(tensors),
        "versions": {name: version(name) for name in ("torch", "gymnasium", "stable-baselines3", "numpy")},
    }
    weights, card_file = _files(stem)
    write_together({weights: data, card_file: json.dumps(card, indent=2).encode()})


def load_artifact(stem: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the description and the tensors that `save_artifact` wrote.

    Raises:
        InputError: a file is missing, too large, a link to another folder, damaged, foreign, of another kind or
            of a later schema, or the weights do not belong to the description.
    """
    stem = Path(stem)
    subject = f"{kind}={str(stem)!r}"
    weights, card_file = _files(stem)
    for file in (weights, card_file):
        if not file.is_file():
            raise InputError(f"{subject}: {file.name} is missing; give the path of a saved {kind}.")
        if file.resolve().parent != file.parent.resolve():
            raise InputError(
                f"{subject}: {file.name} is a link to another folder; put the file itself there."
            )
    card = read_json(card_file, subject, MAX_CARD)
    schema = card.get("schema")
    if card.get("kind") != kind or not isinstance(card.get("config"), dict) or type(schema) is not int:
        raise InputError(f"{subject}: {card_file.name} does not describe a metaal {kind}; give another path.")
    if not 1 <= schema <= SCHEMA:
        raise InputError(f"{subject} has schema {schema} but this version reads 1…{SCHEMA}; update metaal.")
    data = read_bytes(weights, subject, MAX_BYTES)
    if schema > 1 and card.get("sha256") != hashlib.sha256(data).hexdigest():
        raise InputError(
            f"{subject} is damaged (its checksum is not that in {card_file.name}); save it again."
        )
    tensors = _tensors(data, subject)
    if schema > 1 and card.get("shapes") != _shapes(tensors):
        raise InputError(
            f"{subject} is damaged (its shapes are not those in {card_file.name}); save it again."
        )
    return card, tensors


def artifact_stem(source: str | Path, name: str) -> Path:
    """Returns the path of an artifact's files without suffix.

    Args:
        source: the folder that holds it, one of its files, or that path itself.
        name: of the files in a folder.
    """
    path = Path(source)
    if path.is_dir():
        return path / name
    return path.with_suffix("") if path.suffix in (".json", ".safetensors") else path


def fingerprint(stem: Path, kind: str) -> str:
    """Returns 16 hexadecimal digits that identify an artifact's configuration and tensors.

    They do not depend on its path, nor on the versions and the training in its description.

    Raises:
        InputError: as `load_artifact`.
    """
    card, tensors = load_artifact(stem, kind)
    digest = hashlib.sha256(json.dumps([kind, card["config"]], sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _files(stem: Path) -> tuple[Path, Path]:
    return stem.with_name(stem.name + ".safetensors"), stem.with_name(stem.name + ".json")


def _shapes(tensors: dict[str, Tensor]) -> dict[str, str]:
    return {name: "x".join(map(str, value.shape)) for name, value in sorted(tensors.items())}


def _tensors(data: bytes, subject: str) -> dict[str, Tensor]:
    """Reads the tensors of a safetensors file; the library checks that names and offsets are sound."""
    if int.from_bytes(data[:8], "little") > MAX_HEADER:
        raise InputError(
            f"{subject} has a header of more than {MAX_HEADER:,} bytes; it is not a metaal file."
        )
    try:
        tensors: dict[str, Tensor] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{subject} is damaged or foreign ({brief(error)}); save it again.") from error
    if len(tensors) > MAX_TENSORS:
        raise InputError(
            f"{subject} holds {len(tensors):,} tensors, at most {MAX_TENSORS:,} are read; save it again."
        )
    return tensors


def load_weights(module: nn.Module, tensors: dict[str, Tensor], subject: str) -> None:
    """Copies `tensors` into `module`.

    Raises:
        InputError: names, shapes or types do not fit, or a weight is NaN or infinite.
    """
    own = module.state_dict()
    if odd := sorted(own.keys() ^ tensors.keys()):
        raise InputError(f"{subject} does not fit its own description ({odd[0]!r}); save it again.")
    for name, value in tensors.items():
        if (value.shape, value.dtype) != (own[name].shape, own[name].dtype):
            raise InputError(
                f"{subject} does not fit its own description ({name!r} is {tuple(value.shape)} {value.dtype}, not "
                f"{tuple(own[name].shape)} {own[name].dtype}); save it again."
            )
        if not bool(value.isfinite().all()):
            raise InputError(f"{subject} holds NaN or infinite weights in {name!r}; train it again.")
    module.load_state_dict(tensors)


class _Budget(TorchFunctionMode):
    """Limits the elements and the calls of tensor factories before the memory is taken.

    Calls are limited because a million modules of a few weights each would fill the memory with modules.
    """

    def __init__(self, elements: int, calls: int):
        super().__init__()
        self.left, self.calls = elements, calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn):
            size = args[0] if args and isinstance(args[0], (tuple, list, torch.Size)) else args
            self.left -= math.prod(n for n in size if isinstance(n, int))
            self.calls -= 1
            if self.left < 0 or self.calls < 0:
                raise InputError("it asks for far more weights than the file holds")
        return func(*args, **(kwargs or {}))


@contextmanager
def limit_allocation(tensors: dict[str, Tensor], subject: str) -> Iterator[None]:
    """Guards the building of a module from a description that a stranger may have written.

    Any error ends in one sentence, and no more memory is taken than the stored weights can explain.

    Raises:
        InputError: the module cannot be built as described.
    """
    held = sum(value.numel() for value in tensors.values())
    try:
        with _Budget(elements=4 * held + 2**26, calls=4 * len(tensors) + 1000):
            yield
    except Exception as error:  # a description can be wrong in as many ways as there are constructors
        raise InputError(
            f"{subject}: its description is unusable ({brief(error)}); save it again."
        ) from error
