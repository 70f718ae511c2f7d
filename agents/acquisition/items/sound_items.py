"""Reads a folder of sounds as items."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from agents.acquisition.items.items import Items
from metaal_env.errors import InputError

MEDIA = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".mp3": "audio/mpeg",
}
"""Suffix of a sound that is read → its media type."""


def sound_files(root: Path) -> list[Path]:
    """Finds the sounds at any depth below a folder, sorted by path; hidden files and folders are skipped."""
    paths: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths += [
            Path(folder) / name for name in names if Path(name).suffix.lower() in MEDIA and name[0] != "."
        ]
    return sorted(path for path in paths if path.is_file())


def read_sound_items(path: Path, files: list[Path]) -> Items:
    """Returns the sounds of a folder. A file's folder is no label: folders often mean something else.

    Raises:
        InputError: the package that reads sounds is not installed.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise InputError(
            f"data={str(path)!r} holds sounds, which need the package soundfile: pip install 'metaal[audio]'."
        )
    names = tuple(file.relative_to(path).as_posix() for file in files)
    shown = [str(file) for file in files]
    return Items(str(path), names, [None] * len(names), shown, sounds=files, id_source="file names")
