"""Tasks to vectors: texts, images behind addresses, or lists of numbers."""

from __future__ import annotations

import json
import numbers
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.acquisition.integrations.label_studio.label_config import VARIABLE
from agents.acquisition.integrations.label_studio.task_files import TaskFiles
from agents.acquisition.items.encoders import EncoderName, encode_images, encode_texts
from metaal_env.datasets.readers.image_files import HEIF_SUFFIXES, SUFFIXES, read_picture
from metaal_env.errors import InputError, brief

Item = str | Path | tuple[float, ...]
UNDEFINED = "$undefined$"
"""Label Studio's name of the only entry of a task, where a list without names was imported."""


class EncodedTasks(NamedTuple):
    """Tasks that could be encoded, their (N, D) vectors, and why others could not be."""

    ids: list[int]
    vectors: np.ndarray
    problems: dict[int, str]


def encode_tasks(
    data: Mapping[int, Any],
    key: str,
    tag: str | None,
    files: TaskFiles,
    encoder: EncoderName,
    is_address: bool = False,
) -> EncodedTasks:
    """Encodes the entry `key` of each task's data. Tasks without a usable one are left out.

    Args:
        data: Task → its data.
        tag: Label Studio's tag for the entry; None where it is unknown.
        files: Fetches what addresses name.
        is_address: Whether the entry is the address of a text.

    Raises:
        InputError: texts, images and numbers side by side, or lists of different lengths.
    """
    items: dict[int, Item] = {}
    problems: dict[int, str] = {}
    for task, entry in data.items():
        try:
            items[task] = item_of(task, entry, key, tag, files, is_address)
        except InputError as error:
            problems[task] = str(error)
    kinds = {type(item): task for task, item in items.items()}
    texts = [item for item in items.values() if isinstance(item, str)]
    images = [item for item in items.values() if isinstance(item, Path)]
    if (texts and images) or len({tuple if issubclass(k, tuple) else str for k in kinds}) > 1:
        some = ", ".join(str(task) for task in kinds.values())
        raise InputError(f"{key!r} is a text in some tasks and something else in others, e.g. in {some}.")
    if not items:
        return EncodedTasks([], np.empty((0, 1)), problems)
    if texts:
        one_word = not any(any(map(str.isalnum, text)) for text in texts)
        enough = len(texts) > 1 and not one_word
        vectors = encode_texts(texts, encoder) if enough else np.ones((len(texts), 1))
    elif images:
        vectors = encode_images(images, encoder)
    else:
        lengths = {len(item): task for task, item in items.items() if isinstance(item, tuple)}
        if len(lengths) > 1:
            raise InputError(
                f"{key!r} has {' or '.join(map(str, sorted(lengths)))} numbers; give equally many."
            )
        vectors = np.array(list(items.values()), dtype=np.float64)
    return EncodedTasks(list(items), vectors, problems)


def item_of(
    task: int, data: Any, key: str, tag: str | None, files: TaskFiles, is_address: bool = False
) -> Item:
    """Returns the item of a task: a text, an image file or numbers.

    Raises:
        InputError: no such entry, or one of another kind.
    """
    value = entry_of(data, key)
    if is_address and tag != "Image" and isinstance(value, str):
        value = _text_at(task, value, files)
        if tag == "Paragraphs":
            try:
                value = json.loads(value)
            except ValueError as error:
                raise InputError(f"task {task}: what {key!r} names is not JSON ({brief(error)}).") from error
    if value is None:
        has = ", ".join(map(str, data)) if isinstance(data, Mapping) and data else "nothing"
        raise InputError(
            f"task {task} has no {key!r} in its data, only {has}; start metaal serve with --key."
        )
    if isinstance(value, str):
        return _file_or_text(task, value, tag, files)
    if isinstance(value, numbers.Real):
        return str(value) if tag is not None else (float(value),)
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        return "\n".join(" ".join(map(str, part.values())) for part in value)  # a dialogue (Paragraphs)
    if isinstance(value, list) and value and all(isinstance(part, numbers.Real) for part in value):
        if not np.isfinite(np.array(value, dtype=np.float64)).all():
            raise InputError(f"task {task}: {key!r} holds NaN or infinity.")
        return tuple(map(float, value))
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return _file_or_text(task, value[0], tag, files) if tag == "Image" else "\n".join(value)
    raise InputError(f"task {task}: {key!r} must be a text, an image's address or a list of numbers.")


def entry_of(data: Any, key: str) -> Any:
    """Returns an entry of a task's data, as Label Studio finds it, or None.

    Args:
        key: a name, a path (``"meta.text"``, ``"parts[0]"``), or a template of several (``"$title: $body"``).
    """
    if not isinstance(data, Mapping):
        return None
    if key in data:
        return data[key]
    if "$" in key:
        parts = {name: entry_of(data, name) for name in VARIABLE.findall(key)}
        filled = VARIABLE.sub(lambda found: str(parts[found[1]]), key)
        return None if any(part is None for part in parts.values()) else filled
    value: Any = data
    for name in re.findall(r"[^.\[\]]+", key):
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            value = None
    return data.get(UNDEFINED) if value is None else value


def _text_at(task: int, address: str, files: TaskFiles) -> str:
    """The text behind an address."""
    try:
        return files.path(address, task).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"task {task}: {address!r} is not a text.") from error


def _file_or_text(task: int, value: str, tag: str | None, files: TaskFiles) -> Item:
    suffix = Path(value.partition("?")[0] if "?d=" not in value else value).suffix.lower()
    if tag == "Image" or (files.is_address(value) and suffix in SUFFIXES | HEIF_SUFFIXES):
        path = files.path(value, task)
        read_picture(path, f"task {task}", 1)  # one damaged image is one task without an item, not all
        return path
    if value.startswith("/data/"):
        path = files.path(value, task)
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"task {task}: {value!r} is neither an image nor a text.") from error
    return value
