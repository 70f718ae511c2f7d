"""Reads a folder of sounds as items."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from pathlib import Path

from agents.acquisition.items.items import Items
from agents.acquisition.items.left_out import warn_of_left_out
from agents.acquisition.items.sound_encoders import unreadable_sounds
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


def read_sound_items(path: Path, files: list[Path], skip_unreadable: bool = False) -> Items:
    """Returns the sounds of a folder. A file's folder is no label: folders often mean something else.

    Args:
        skip_unreadable: Leaves out sounds that cannot be decoded, with a warning that lists them.

    Raises:
        InputError: the package that reads sounds is not installed, or no sound can be read.
    """
    if importlib.util.find_spec("soundfile") is None:
        raise InputError(
            f"data={str(path)!r} holds sounds, which need the package soundfile: pip install 'metaal[audio]'."
        )
    if skip_unreadable:
        broken = unreadable_sounds(files)
        warn_of_left_out(broken, path, "sounds")
        files = [file for file in files if file not in broken]
        if not files:
            raise InputError(
                f"data={str(path)!r} holds no sound that can be read; give wav, flac, ogg or mp3 files."
            )
    others = _other_files(path)
    notes = (f"other files left out: {others}",) if others else ()
    names = tuple(file.relative_to(path).as_posix() for file in files)
    shown = [str(file) for file in files]
    return Items(
        str(path), names, [None] * len(names), shown, sounds=files, id_source="file names", notes=notes
    )


def _other_files(root: Path) -> str:
    """How many files of which suffix are no sounds, hidden ones apart."""
    suffixes: Counter[str] = Counter()
    for _, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        suffixes.update(Path(name).suffix.lower() or "without a suffix" for name in names if name[0] != ".")
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(suffixes.items()) if suffix not in MEDIA)
