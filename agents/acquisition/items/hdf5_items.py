"""Reads HDF5 files: the arrays of an npz file in another container, mapped into memory where they lie in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.array_items import named_array_items
from agents.acquisition.items.items import Items
from agents.acquisition.items.options import ReadOptions
from metaal_env.datasets.readers.array_names import documented_names
from metaal_env.datasets.readers.npz import MAX_BYTES
from metaal_env.errors import InputError, brief

SUFFIXES = {".h5", ".hdf5", ".he5", ".hdf"}
_KINDS = {"X": "biuf", "y": "biufSUO", "text": "SUO", "ids": "biufSUO", "class_names": "SUO"}
MAX_SHOWN = 10


def hdf5_items(path: Path, options: ReadOptions) -> Items:
    """Returns the items of an HDF5 file, whose arrays are named as in an npz file, at any depth.

    Raises:
        InputError: h5py is not installed, a damaged file, no such arrays, or as `named_array_items`.
    """
    what = f"data={str(path)!r}"
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{what} needs the package h5py: pip install h5py.") from error
    try:
        with h5py.File(path, "r") as file:
            places = _places(file, h5py)
            last = [place.rpartition("/")[2] for place in places]
            twice = sorted({name for name in last if last.count(name) > 1})
            found = documented_names(last, what)
            wrong = next((name for name in found.values() if name in twice), None)
            if wrong is not None:
                raise InputError(
                    f"{what} has several arrays called {wrong!r}; rename the right one to another name."
                )
            arrays = {
                key: _array(
                    file[places[last.index(name)]], path, f"{what}: {name!r}", _KINDS.get(key, "biuf")
                )
                for key, name in found.items()
            }
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{what} is not a readable HDF5 file ({brief(error)}); save it again.") from error
    if "X" not in arrays and "text" not in arrays:
        some = ", ".join(places[:MAX_SHOWN]) or "none"
        raise InputError(f"{what} has neither an array X nor text (its arrays: {some}); save one of them.")
    notes = tuple(f"{key} is the array {name!r}" for key, name in found.items() if name != key)
    return named_array_items(path, arrays, notes, options)


def _places(file: Any, h5py: Any) -> list[str]:
    """Paths of all arrays of the file itself; links to other files are not followed."""
    places: list[str] = []

    def visit(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            places.append(name)

    file.visititems(visit)
    return sorted(places)


def _array(node: Any, path: Path, what: str, kinds: str) -> np.ndarray:
    """An array: mapped if it lies in the file in one piece, else read; texts as str."""
    if node.dtype.kind not in kinds or (node.dtype.kind == "V"):
        raise InputError(f"{what} has type {node.dtype}; save numbers or texts.")
    if node.size * node.dtype.itemsize > MAX_BYTES:
        raise InputError(f"{what} declares {node.size * node.dtype.itemsize:,} bytes; save fewer items.")
    if node.dtype.kind in "SO":
        return np.array([text.decode() if isinstance(text, bytes) else str(text) for text in node[()]])
    offset = node.id.get_offset()
    if offset is None or node.chunks is not None or not node.size or node.external:
        return np.asarray(node[()])
    return np.memmap(path, dtype=node.dtype, mode="r", offset=offset, shape=node.shape)
