"""Reads npz files as a `ClassDataset`, without pickles and within bounds."""

from __future__ import annotations

import io
import lzma
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from metaal_env.datasets.base import ClassDataset
from metaal_env.datasets.readers.array_names import documented_names
from metaal_env.datasets.readers.from_arrays import from_arrays
from metaal_env.errors import InputError, brief

MAX_ELEMENTS = 2**31
MAX_BYTES = 2**33
"""Most bytes of all arrays of a file together."""
MAX_RATIO = 1100
"""Deflate cannot shrink further than 1032 : 1, so a higher ratio means that the size is false."""
BOMB_BYTES, BOMB_RATIO = 2**28, 200
"""Above this size, an array that shrank by more than this ratio is taken for an attack."""
MAX_HEADER = 10_000
MAX_MEMBERS = 1000
_SHOWN = 8
DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError),
    *(RuntimeError, OSError, SyntaxError, tokenize.TokenError, TypeError, MemoryError, OverflowError),
)
"""Errors of zipfile and NumPy on hostile bytes."""


def load_npz(path: Path, name: str) -> ClassDataset:
    """Reads the arrays ``X``, ``y``, ``text``, ``class_*`` and ``*_names``, which `from_arrays` describes.

    Raises:
        InputError: the file is no npz, damaged, too large or holds pickled objects, or as `from_arrays`.
    """
    arrays, _ = named_arrays(path, f"dataset={name!r}")
    return from_arrays(name, arrays)


def named_arrays(path: Path, subject: str) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns an npz file's arrays under their documented names, and notes on the other names that were read.

    Raises:
        InputError: as `read_arrays` and `documented_names`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    except DAMAGE:
        members = []  # read_arrays reports the damage
    found = documented_names(members, subject)
    others = {m for m in members if m.startswith("class_") or m.endswith("_names")} - set(found.values())
    wanted = others | set(found.values())
    arrays = read_arrays(path, subject, wanted.__contains__)
    _may_be_labels(found, arrays)
    left = [name for name in members if name not in wanted]
    notes = tuple(f"{key} is the array {name!r}" for key, name in found.items() if name != key)
    notes += (f"left out: {', '.join(left[:_SHOWN])}{', …' if len(left) > _SHOWN else ''}",) if left else ()
    taken = {key: arrays[name] for key, name in found.items()}
    return {name: arrays[name] for name in others if name in arrays} | taken, notes


def _may_be_labels(found: dict[str, str], arrays: dict[str, np.ndarray]) -> None:
    """Takes an array called ``classes`` for the labels where it has one for each item and no other array has them."""
    items = next((arrays[found[key]] for key in ("X", "text") if key in found and found[key] in arrays), None)
    names = arrays.get(found.get("class_names", ""))
    if items is None or names is None or "y" in found or found["class_names"].lower() != "classes":
        return
    if items.ndim and names.ndim and len(names) == len(items) > 1 and len(np.unique(names)) < len(names):
        found["y"] = found.pop("class_names")


def read_arrays(
    path: Path,
    subject: str,
    wanted: Callable[[str], bool],
    *,
    max_bytes: int = MAX_BYTES,
    max_members: int = MAX_MEMBERS,
    bomb_bytes: int = BOMB_BYTES,
) -> dict[str, np.ndarray]:
    """Returns the wanted arrays of an npz file; each header is checked before its memory is taken.

    Args:
        subject: start of error messages, e.g. ``"dataset='a.npz'"``.

    Raises:
        InputError: the file is no npz, damaged, too large, or holds pickled objects.
    """
    arrays: dict[str, np.ndarray] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > max_members:
                raise InputError(
                    f"{subject} holds {len(members):,} arrays, at most {max_members:,} are read; save fewer."
                )
            for member in members:
                key = member.filename.removesuffix(".npy")
                if not wanted(key) or not member.filename.endswith(".npy"):
                    continue
                with archive.open(member) as stream:
                    total += _check_header(stream, member, f"{subject}: array {key!r}", bomb_bytes)
                if total > max_bytes:
                    raise InputError(f"{subject} declares over {max_bytes:,} bytes; save fewer items.")
                with archive.open(member) as stream:
                    arrays[key] = npy.read_array(stream, allow_pickle=False)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{subject} does not fit into memory; save fewer items.") from error
    except DAMAGE as error:
        raise InputError(
            f"{subject} is not a readable npz file ({brief(error)}); save it with numpy.savez."
        ) from error
    return arrays


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo, subject: str, bomb_bytes: int) -> int:
    """Checks an array's header and returns the bytes that the array will take."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise InputError(
            f"{subject} has the unsupported npy version {version}; save plain numbers or strings."
        )
    # Cut here, because NumPy reads as much as the header claims, up to 4 GB, before it checks the length.
    head = io.BytesIO(stream.read(MAX_HEADER + 4))
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(head)
    if dtype.hasobject or dtype.kind not in "biufUS":
        raise InputError(
            f"{subject} has type {dtype}, which is not read (objects are pickles); save numbers or texts, e.g. "
            "[str(value) for value in array], with '' where a label is unknown."
        )
    elements = math.prod(shape)
    size = elements * dtype.itemsize
    if elements > MAX_ELEMENTS or size > MAX_BYTES:
        raise InputError(f"{subject} declares {elements:,} elements, {size:,} bytes; save fewer items.")
    if size > member.file_size or member.file_size > MAX_RATIO * (member.compress_size + 1):
        raise InputError(f"{subject} declares more data than the file holds; it is damaged, save it again.")
    if size > bomb_bytes and size > BOMB_RATIO * member.compress_size:
        raise InputError(
            f"{subject} would swell from {member.compress_size:,} to {size:,} bytes; if that is meant, save it "
            "uncompressed (numpy.savez)."
        )
    return size
