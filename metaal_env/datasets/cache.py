"""Built data sets kept on disk as npz without pickles; a broken or read-only cache never stops loading."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from metaal_env.datasets.base import ClassDataset
from metaal_env.errors import InputError
from metaal_env.runtime.files import write_atomic

_LOCK_SECONDS = 120
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError)


def cache_dir() -> Path:
    """Returns the folder of files that can be rebuilt: ``METAAL_CACHE``, else the platform's cache folder."""
    chosen = os.environ.get("METAAL_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    try:
        folder = user_cache_path("metaal", appauthor=False)
    except RuntimeError:  # No home folder, as in some containers; older releases return "~" as it is.
        folder = Path("~")
    return folder if folder.is_absolute() else Path(tempfile.gettempdir()) / "metaal"


def cached(key: str, name: str, build: Callable[[], ClassDataset]) -> ClassDataset:
    """Returns the data set stored under `key`, or builds and stores it.

    Args:
        key: file name without suffix; it must change whenever `build` would return another result.
        name: name of the returned data set.
        build: builds the data set. It is called once, under a lock, when there is no usable file; its errors pass
            through.
    """
    path = cache_dir() / "datasets" / f"{key}.npz"
    data = _read(path, name, warn=True)
    if data is not None:
        return data
    with _locked(path):
        data = _read(path, name, warn=False)  # Another process may have built it while we waited.
        if data is None:
            data = build()
            _write(path, data)
        return data


def _read(path: Path, name: str, warn: bool) -> ClassDataset | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        return ClassDataset(
            name=name,
            inputs=torch.from_numpy(arrays["inputs"]),
            labels=torch.from_numpy(arrays["labels"]),
            class_names=tuple(arrays["class_names"].tolist()),
            groups=tuple(arrays["groups"].tolist()),
            modality="image" if arrays["inputs"].ndim == 4 else "vector",
            class_split=tuple(arrays["class_split"].tolist()) if "class_split" in arrays else None,
            texts=tuple(arrays["texts"].tolist()) if "texts" in arrays else None,
        )
    except (InputError, TypeError, *_DAMAGE) as error:
        if warn:
            warnings.warn(f"the cache file {path} is damaged ({error}); it is built again.", stacklevel=3)
        return None


def _write(path: Path, data: ClassDataset) -> None:
    arrays: dict[str, Any] = {
        "inputs": data.inputs.numpy(),
        "labels": data.labels.numpy(),
        "class_names": np.array(data.class_names),
        "groups": np.array(data.groups),
    }
    if data.class_split is not None:
        arrays["class_split"] = np.array(data.class_split)
    if data.texts is not None:
        arrays["texts"] = np.array(data.texts)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(
            f"{data.name} could not be cached ({error}); it is built anew each time: "
            "set METAAL_CACHE to a folder that can be written.",
            stacklevel=4,
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process build while the others wait; goes on without a lock where none can be had."""
    lock = FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, Timeout, NotImplementedError):
        pass  # A read-only or lock-less file system, or a builder that hangs: two builds do no harm.
    try:
        yield
    finally:
        lock.release()
