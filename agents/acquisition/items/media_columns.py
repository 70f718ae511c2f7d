"""Columns that hold what to look at themselves: vectors, or images and sounds as files, addresses or bytes."""

from __future__ import annotations

import base64
import binascii
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from agents.acquisition.items.cells import as_cell, is_file, is_vector
from agents.acquisition.items.encoding_cache import content_digest
from agents.acquisition.items.folder_items import MEDIA as SOUNDS
from agents.acquisition.items.items import row_contents
from agents.acquisition.items.options import ReadOptions
from agents.acquisition.items.sound_encoders import unreadable_sounds
from metaal_env.datasets.cache import cache_dir
from metaal_env.datasets.readers.columns import Column
from metaal_env.datasets.readers.image_files import HEIF_SUFFIXES, SUFFIXES, unreadable_images
from metaal_env.errors import InputError, brief, some_of
from metaal_env.runtime.files import write_atomic

IMAGES = SUFFIXES | HEIF_SUFFIXES
_RAGGED = "unequal lists of"
_MAGIC = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
    b"\xff\xf3": ".mp3",
}
"""First bytes of a file → its suffix; RIFF is told apart by its kind."""
_RIFF = {b"WEBP": ".webp", b"WAVE": ".wav"}


@dataclass(frozen=True)
class Media:
    """Holds the column of a table that is what to look at.

    Attributes:
        column: Its name.
        vectors: (N, …) numbers.
        images: N files.
        sounds: N files.
        names: N names of files, where each is another file; else empty.
        rows: N rows of the table that are left, where some are left out.
    """

    column: str
    vectors: np.ndarray | None = None
    images: list[Path] | None = None
    sounds: list[Path] | None = None
    names: tuple[str, ...] = ()
    rows: tuple[int, ...] | None = None
    notes: tuple[str, ...] = field(default=())

    def left(self, columns: Sequence[Column]) -> list[Column]:
        """Returns columns without the rows that are left out."""
        if self.rows is None:
            return list(columns)
        rows = self.rows
        return [
            replace(
                column,
                cells=tuple(column.cells[row] for row in rows),
                numbers=tuple(column.numbers[row] for row in rows) if column.numbers else (),
            )
            for column in columns
        ]

    def __len__(self) -> int:
        return len(self.files) if self.vectors is None else len(self.vectors)

    @property
    def files(self) -> list[Path]:
        """The files, if the column holds some."""
        return self.images or self.sounds or []

    def contents(self) -> list[bytes]:
        """Returns what each item consists of."""
        if self.vectors is not None:
            return list(row_contents(self.vectors))
        return [path.read_bytes() for path in self.files]

    def shown(self, texts: Sequence[str] | None, cells: Mapping[str, Sequence[str]]) -> list[str]:
        """Returns what a terminal shows of each item: its file, its text, its cells or its number."""
        if self.vectors is None:
            return [str(path) for path in self.files]
        if texts is not None:
            return list(texts)
        if not cells:
            return [f"item {i}" for i in range(1, len(self) + 1)]
        rows = zip(*cells.values(), strict=True)
        return [
            ", ".join(f"{name}={cell}" for name, cell in zip(cells, row, strict=True) if cell) for row in rows
        ]


def vector_media(name: str, values: Sequence[Any], what: str) -> Media:
    """Returns a column of lists of numbers as (N, D).

    Raises:
        InputError: a row without a list, lists of different lengths, or a number that is not finite.
    """
    for row, value in enumerate(values, 1):
        if not is_vector(value):
            raise InputError(
                f"{what}: the column {name!r} holds lists of numbers but {_short(value)} in row {row}."
            )
        if _shape(value) != _shape(values[0]) or _shape(value) == _RAGGED:
            raise InputError(
                f"{what}: the column {name!r} holds {_shape(values[0])} numbers in row 1 and {_shape(value)} numbers "
                f"in row {row}; give equally many."
            )
    x = np.asarray([np.asarray(value) for value in values])
    x = x.astype(np.float32) if x.dtype.kind != "f" or x.dtype.itemsize < 4 else x
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0]) + 1
        raise InputError(
            f"{what}: the column {name!r} holds NaN or infinity in row {row}; impute or drop it."
        )
    return Media(name, vectors=x, notes=(f"vectors: column {name!r}",))


def file_media(name: str, values: Sequence[Any], folder: Path | None, what: str, skip: bool = False) -> Media:
    """Returns a column of images or sounds as files. Those given as bytes are kept in METAAL_CACHE.

    Args:
        values: Bytes, mappings of bytes and path, ``data:`` addresses, or names of files.
        folder: Where relative names are looked for; None for the working folder.
        skip: Leaves out rows whose file is not there or cannot be decoded, with a warning that lists them.

    Raises:
        InputError: a row without a file, a file that is not there, one of no known format, or sounds beside images.
    """
    paths: dict[int, Path] = {}
    broken: list[int] = []
    for row, value in enumerate(values):
        try:
            paths[row] = _file(value, folder, f"{what}: the column {name!r}, row {row + 1}")
        except InputError:
            if not skip:
                raise
            broken.append(row)
    kinds = {path.suffix.lower() in SOUNDS for path in paths.values()}
    if len(kinds) > 1:
        raise InputError(f"{what}: the column {name!r} holds images and sounds; give them in two tables.")
    sounds = kinds == {True}
    if skip:
        check = unreadable_sounds if sounds else unreadable_images
        bad = check(list(paths.values()), what)
        broken = sorted([*broken, *(row for row, path in paths.items() if path in bad)])
        _warn_of_rows([f"{as_cell(values[row])!r:.60}" for row in broken], broken)
    kept = [row for row in paths if row not in set(broken)]
    if not kept:
        raise InputError(f"{what}: no file in the column {name!r} can be read.")
    given = [values[row] for row in kept]
    names = tuple(v if isinstance(v, str) and not v.startswith("data:") else "" for v in given)
    files = [paths[row] for row in kept]
    return Media(
        name,
        images=None if sounds else files,
        sounds=files if sounds else None,
        names=names if all(names) and len(set(names)) == len(names) else (),
        rows=tuple(kept) if broken else None,
        notes=(f"{'sounds' if sounds else 'images'}: column {name!r}",),
    )


def _warn_of_rows(cells: list[str], rows: list[int]) -> None:
    if rows:
        named = some_of([f"{row + 1} ({cell})" for row, cell in zip(rows, cells, strict=True)], 10)
        warnings.warn(f"{len(rows)} rows without a readable file are left out: {named}.", stacklevel=3)


def named_media(columns: Sequence[Column], options: ReadOptions, folder: Path, what: str) -> Media | None:
    """Returns the images or sounds that a column names, if there is such a column and its files are there.

    Raises:
        InputError: several such columns, or files of which some are not there.
    """
    out = {name.strip().lower() for name in (*options.ignore, *options.hide, *options.meta)}
    found = [
        column
        for column in columns
        if column.kind in ("names", "categories", "texts")
        and column.name.strip().lower() not in out
        and column.name not in (options.label_column, options.text_column)
        and names_files(column.cells)
        and any(_is_there(cell, folder) for cell in column.cells)
    ]
    if len(found) > 1:
        names = " and ".join(repr(column.name) for column in found)
        raise InputError(f"{what}: the columns {names} name files; --ignore all but one.")
    if not found:
        return None
    return file_media(found[0].name, found[0].cells, folder, what, options.skip_unreadable)


def names_files(values: Sequence[Any]) -> bool:
    """Returns whether texts name images or sounds, by their suffixes or as ``data:`` addresses."""
    return bool(values) and all(
        isinstance(value, str)
        and "\n" not in value
        and (
            value.startswith(("data:image/", "data:audio/"))
            or Path(value).suffix.lower() in IMAGES | SOUNDS.keys()
        )
        for value in values
    )


def _is_there(value: str, folder: Path) -> bool:
    return value.startswith("data:") or os.path.isfile(folder / value)


def _file(value: Any, folder: Path | None, what: str) -> Path:
    path = value.get("path") if isinstance(value, Mapping) else None
    data = value.get("bytes") if isinstance(value, Mapping) else value
    if isinstance(data, (bytes, bytearray)):
        return _kept(bytes(data), what)
    text = path if path else data
    if not isinstance(text, str) or not text:
        raise InputError(f"{what} holds no file but {_short(value)}; drop the row.")
    if text.startswith("data:"):
        try:
            return _kept(base64.b64decode(text.partition(",")[2], validate=True), what)
        except binascii.Error as error:
            raise InputError(
                f"{what} holds a broken data: address ({brief(error)}); drop the row."
            ) from error
    place = (folder or Path()) / text
    if not os.path.isfile(place):
        raise InputError(
            f"{what} names the file {text!r:.200}, which is not there; paths start where the table lies."
        )
    return place


def _kept(data: bytes, what: str) -> Path:
    """Writes the bytes of a file where commands find them again, named by their content."""
    suffix = _RIFF.get(data[8:12]) if data[:4] == b"RIFF" else None
    suffix = suffix or next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), None)
    suffix = ".dcm" if data[128:132] == b"DICM" else suffix
    if suffix is None:
        raise InputError(
            f"{what} holds {len(data):,} bytes of no known image or sound; convert it to PNG or WAV."
        )
    path = cache_dir() / "items" / f"{content_digest(data)}{suffix}"
    if not path.is_file():
        write_atomic(path, data)
    return path


def _short(value: Any) -> str:
    return "nothing" if value is None or as_cell(value) == "" else f"{as_cell(value)!r:.60}"


def _shape(value: Any) -> str:
    try:
        return "×".join(map(str, np.shape(value)))
    except ValueError:
        return _RAGGED


def holds_files(values: Sequence[Any]) -> bool:
    """Returns whether a column holds files as bytes or mappings, in every row where it holds anything."""
    filled = [value for value in values if value is not None]
    return bool(filled) and all(is_file(value) for value in filled)
